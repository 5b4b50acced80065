"""Evolution strategies against closed forms, and what truncation loses against them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.gradients import (
    antithetic,
    argmin,
    evolution,
    first_order,
    persistent_evolution,
    unrolled,
)
from jaxmeta.gradients.evolution import normal
from tests.learners.quadratic import W, episode, half_square, model

pytestmark = pytest.mark.usefixtures("x64")


def quartic(w):
    return jnp.sum(w**4)


def mean_and_error(run, keys):
    found = np.asarray(jax.jit(lambda keys: jax.lax.map(run, keys))(keys))
    return found.mean(0), found.std(0, ddof=1) / np.sqrt(len(keys))


def test_antithetic_closed_form():
    """Central differences of w^4 along e: sum 4 w^3 e + 4 sigma^2 w e^3."""
    w, sigma = np.array([0.5, -1.0, 2.0]), 0.3
    directions = np.array([[1.0, 2, 0], [0, -1, 1], [2, 0, 1]])
    slopes = [np.sum(4 * w**3 * e + 4 * sigma**2 * w * e**3) for e in directions]
    want = np.mean([s * e for s, e in zip(slopes, directions, strict=True)], 0)
    got = antithetic(quartic, jnp.array(w), directions, sigma=sigma, chunk=2)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_it_is_the_gradient_of_the_smoothed_loss():
    """E sum (w + s e)^4 has gradient 4 w^3 + 12 s^2 w; within 5 standard errors."""
    w, sigma = np.array([0.5, -1.0, 2.0]), 0.5
    gradient = evolution(sigma=sigma, pairs=20_000, chunk=1000)
    keys = jax.random.split(jax.random.key(0), 10)
    got, error = mean_and_error(
        lambda key: gradient.slope(quartic, jnp.array(w), key), keys
    )
    want = 4 * w**3 + 12 * sigma**2 * w
    assert np.all(np.abs(got - want) < 5 * error)
    # and the error is small enough to tell the smoothed gradient from the plain one
    assert np.all(np.abs(12 * sigma**2 * w) > 10 * error)


def cubic_answer(h, gradient, key=None):
    """One step of rate 1 from 0 arrives at h^3 exactly."""
    return argmin(
        lambda w, h: 0.5 * jnp.sum((w - h**3) ** 2), jnp.zeros(2), h, optax.sgd(1.0),
        steps=1, gradient=gradient, key=key,
    ).params  # fmt: skip


def test_the_smoothed_answer_of_argmin():
    """E (h + s e)^3 has the derivative 3 h^2 + 3 s^2, and the start none."""
    h, sigma = jnp.array([0.4, -1.0]), 0.5
    gradient = evolution(sigma=sigma, pairs=5000, chunk=5000)

    def run(key):
        return jax.grad(lambda h: cubic_answer(h, gradient, key).sum())(h)

    got, error = mean_and_error(run, jax.random.split(jax.random.key(0), 20))
    want = 3 * h**2 + 3 * sigma**2
    assert np.all(np.abs(got - want) < 5 * error) and np.all(error < 0.1 * sigma**2)


def test_as_sigma_goes_to_zero_it_is_the_slope_along_its_directions():
    h, key = jnp.array([0.4, -1.0]), jax.random.key(3)
    gradient = evolution(sigma=1e-5, pairs=3)
    outer = lambda h, g: jnp.sum(jnp.sin(cubic_answer(h, g, key)))  # noqa: E731
    exact = jax.grad(outer)(h, unrolled())
    _, e = normal(key, [jnp.zeros(2), h], 3)
    want = np.mean([(exact @ d) * d for d in e], 0)
    np.testing.assert_allclose(jax.grad(outer)(h, gradient), want, rtol=1e-8)


def test_a_learner_by_evolution():
    """Its whole loss is smoothed: quadratic after one step, so its gradient is exact."""
    task = episode([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    meta = jm.Meta(jnp.array(W, jnp.float64))
    build = lambda g: jm.maml(  # noqa: E731
        model(), optax.sgd(0.01), steps=1, criterion=half_square, gradient=g
    )
    by_es = build(evolution(sigma=0.1, pairs=200))

    def run(learner):
        return lambda key: jax.grad(lambda w: learner.loss(jm.Meta(w), task, key)[0])(
            meta.params
        )

    keys = jax.random.split(jax.random.key(0), 50)
    got, error = mean_and_error(run(by_es), keys)
    want = run(build(unrolled()))(keys[0])
    assert np.all(np.abs(got - want) < 5 * error)
    assert np.all(error < 0.02 * np.linalg.norm(want))
    value, aux = by_es.loss(meta, task, keys[0])
    np.testing.assert_allclose(value, build(first_order).loss(meta, task, keys[0])[0])
    assert len(aux.metrics) == len(
        build(unrolled()).loss(meta, task, keys[0])[1].metrics
    )


def test_it_needs_no_derivative():
    """A loss with a jump has no useful gradient; its smoothed version has."""
    stepped = jm.Criterion(
        lambda outputs, targets, weights: jnp.floor(half_square(outputs, targets)),
        lambda outputs, targets, weights: {},
        lambda outputs, support: outputs,
    )
    learner = jm.maml(
        model(), optax.sgd(0.01), steps=1, criterion=stepped,
        gradient=evolution(sigma=1.0, pairs=8),
    )  # fmt: skip
    task = jax.tree.map(lambda x: x[None], episode([1.0, 2, 3], [4.0, 5, 6]))
    grads, _ = jm.meta_gradient(learner, jm.Meta(jnp.array(W)), task, jax.random.key(0))
    assert np.all(grads != 0)


# Windows: a long way to h, so that what a window does counts long after it.
STEPS, WINDOW, START = 12, 3, np.array(4.0)
RATE = optax.sgd(0.1)


def distance(w, h):
    return 0.5 * (w - h) ** 2


def sum_of_losses(h, gradient, key=None, start=START, steps=STEPS):
    found = argmin(distance, start, h, RATE, steps=steps, gradient=gradient, key=key)
    return found.losses.sum(), found.params


def truncated(h, gradient, keys):
    """Each window on its own: what came before it is a constant."""
    w, total = START, 0.0
    for key in keys:
        value, w = sum_of_losses(h, gradient, key, jax.lax.stop_gradient(w), WINDOW)
        total, w = total + value, jax.lax.stop_gradient(w)
    return total


def test_persistent_evolution_is_unbiased_where_truncation_is_not():
    """Losses are quadratic in all directions: E is the exact gradient."""
    h = jnp.array(-1.0)
    exact = jax.grad(lambda h: sum_of_losses(h, unrolled())[0])(h)
    keys = jax.random.split(jax.random.key(0), 100)
    ways = persistent_evolution(sigma=0.1, pairs=20, window=WINDOW)
    got, error = mean_and_error(
        lambda key: jax.grad(lambda h: sum_of_losses(h, ways, key)[0])(h),
        keys,
    )
    assert abs(got - exact) < 5 * error
    windows = STEPS // WINDOW
    cut = jax.grad(lambda h: truncated(h, unrolled(), [None] * windows))(h)
    short = evolution(sigma=0.1, pairs=20)
    es, es_error = mean_and_error(
        lambda key: jax.grad(
            lambda h: truncated(h, short, jax.random.split(key, windows))
        )(h),
        keys,
    )
    # both kinds of truncation agree with each other, and not with the truth
    assert abs(es - cut) < 5 * es_error
    assert abs(cut - exact) > 10 * error and abs(es - exact) > 10 * es_error


def test_persistent_evolution_differentiates_start_and_answer():
    """phi_K = h + 0.9^K (start - h): slopes in both, through all windows."""
    gradient = persistent_evolution(sigma=0.1, pairs=20, window=WINDOW)

    def run(key):
        def answer(start, h):
            return sum_of_losses(h, gradient, key, start)[1]

        return jnp.stack(jax.grad(answer, (0, 1))(START, jnp.array(-1.0)))

    got, error = mean_and_error(run, jax.random.split(jax.random.key(1), 100))
    want = np.array([0.9**STEPS, 1 - 0.9**STEPS])
    assert np.all(np.abs(got - want) < 5 * error) and np.all(error < 0.2)


def test_hypers_that_move_after_every_window():
    """`begin`, `advance`, `estimate`: their sum over windows is that of `argmin`."""
    gradient = persistent_evolution(sigma=0.1, pairs=4, window=WINDOW)
    problem = jm.gradients.Problem(
        lambda w, h, batch: distance(w, h), lambda h: RATE, STEPS
    )
    h = jnp.array(-1.0)
    particles = gradient.begin(problem, START, h)
    total = 0.0
    for key in jax.random.split(jax.random.key(0), STEPS // WINDOW):
        particles, values = gradient.advance(problem, particles, h, key)
        total = total + gradient.estimate(particles, values)[1][0]
    assert values.shape == (4, 2) and int(particles.step) == STEPS
    exact = jax.grad(lambda h: sum_of_losses(h, unrolled())[0])(h)
    assert np.sign(total) == np.sign(exact)


def test_a_rule_is_trained_window_by_window():
    """A learned rate and decay of momentum, moved after each window of a long solve.

    From a rate that hardly moves they come near the best there is on a grid.
    """
    rule = jm.rules.learn(
        optax.sgd, learning_rate=0.003, momentum=0.5,
        spaces={"learning_rate": "exp", "momentum": "sigmoid"},
    )  # fmt: skip
    curvature, start, steps = jnp.array([1.0, 0.05]), jnp.array([1.0, 1.0]), 40

    def loss(w, h, batch):
        return 0.5 * jnp.sum(curvature * w**2)

    problem = jm.gradients.Problem(loss, rule.make, steps)
    hypers = rule.init(start)
    gradient = persistent_evolution(sigma=0.1, pairs=16, window=8)
    outer = optax.adam(0.05)

    def solve(carry, key):
        hypers, moments = carry

        def window(carry, key):
            hypers, moments, particles = carry
            particles, values = gradient.advance(problem, particles, hypers, key)
            slopes = gradient.estimate(particles, values)[1]
            slopes = jax.tree.unflatten(jax.tree.structure(hypers), slopes)
            updates, moments = outer.update(slopes, moments)
            return (optax.apply_updates(hypers, updates), moments, particles), None

        begun = gradient.begin(problem, start, hypers)
        keys = jax.random.split(key, steps // gradient.window)
        (hypers, moments, _), _ = jax.lax.scan(window, (hypers, moments, begun), keys)
        return (hypers, moments), None

    def total(hypers):
        found = argmin(
            lambda w, h: loss(w, h, ()), start, hypers, rule.make, steps=steps
        )
        return found.losses.sum()

    keys = jax.random.split(jax.random.key(0), 60)
    first = (hypers, outer.init(hypers))
    (learned, _), _ = jax.jit(lambda: jax.lax.scan(solve, first, keys))()
    assert total(hypers) > 15 and total(learned) < 3


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: evolution(sigma=0), "sigma: got 0"),
        (lambda: evolution(pairs=0), "pairs: got 0"),
        (lambda: evolution(chunk=0), "chunk: got 0"),
        (lambda: persistent_evolution(sigma=0.0), "sigma: got 0.0"),
        (lambda: persistent_evolution(window=0), "window: got 0"),
        (
            lambda: sum_of_losses(1.0, persistent_evolution(window=5), KEY),
            "steps: got 12, wants a multiple of the window, 5",
        ),
        (lambda: sum_of_losses(1.0, persistent_evolution()), "key: got None"),
        (
            lambda: jm.maml(model(), RATE, gradient=persistent_evolution()),
            r"gradient: got PersistentEvolution\(...\), wants one of",
        ),
    ],
)
def test_refuses(build, text):
    with pytest.raises(ValueError, match=text):
        build()


KEY = jax.random.key(0)
