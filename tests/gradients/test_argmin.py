"""Any inner problem: batches a step, rates that are hypers, losses as outputs, nesting."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxmeta as jm
from jaxmeta.gradients import evolution, first_order, implicit, unrolled

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(0)
MEMORY = ("store", "remat", "sqrt", "mixed")


def loss(w, h, x):
    """Weighted squares, each step on another x."""
    return jnp.sum(jnp.tanh(h * w) * x) + 0.25 * jnp.sum(w**4)


XS = np.random.default_rng(0).normal(size=(5, 3))
START, HYPERS = np.array([0.3, 0.9, -0.4]), np.array([1.0, 0.6, 0.8])


def by_hand(w, h, rate=0.1):
    """phi_5, and the losses on the way."""
    losses = []
    for x in np.asarray(XS):
        value, grads = jax.value_and_grad(loss)(w, h, x)
        losses.append(value)
        w = w - rate * grads
    return w, jnp.stack(losses)


def of_losses(answer):
    return jnp.sum(jnp.cos(answer[0])) + jnp.sum(answer[1] ** 2)


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("how", ["array", "function"])
def test_each_step_sees_its_batch_and_losses_are_differentiable(memory, how):
    xs = jnp.asarray(XS)
    batches = xs if how == "array" else lambda step: xs[step]

    def outer(w, h):
        found = jm.argmin(
            loss, w, h, optax.sgd(0.1),
            steps=5, gradient=unrolled(memory=memory), batches=batches,
        )  # fmt: skip
        return of_losses((found.params, found.losses))

    def want(w, h):
        return of_losses(by_hand(w, h))

    args = jnp.asarray(START), jnp.asarray(HYPERS)
    got = jax.jit(jax.value_and_grad(outer, (0, 1)))(*args)
    hand = jax.jit(jax.value_and_grad(want, (0, 1)))(*args)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), got, hand)


def test_batches_and_a_rate_that_is_a_hyper_have_gradients():
    def outer(xs, hypers):
        found = jm.argmin(
            lambda w, h, x: loss(w, h["h"], x),
            jnp.asarray(START),
            hypers,
            lambda h: optax.sgd(h["rate"]),
            steps=5,
            batches=xs,
        )
        return jnp.sum(jnp.sin(found.params))

    hypers = {"h": jnp.asarray(HYPERS), "rate": jnp.array(0.1)}
    check_grads(jax.jit(outer), (jnp.asarray(XS), hypers), order=1, modes=["rev"])


@pytest.mark.parametrize("memory", MEMORY[:3])
def test_second_derivatives_by_finite_differences(memory):
    def outer(h):
        found = jm.argmin(
            loss, jnp.asarray(START), h, optax.sgd(0.1),
            steps=5, gradient=unrolled(memory=memory), batches=jnp.asarray(XS),
        )  # fmt: skip
        return of_losses((found.params, found.losses))

    slope, h = jax.jit(jax.grad(outer)), jnp.asarray(HYPERS)
    step = 1e-4 * jnp.eye(3)
    want = [(slope(h + e) - slope(h - e)) / 2e-4 for e in step]
    np.testing.assert_allclose(jax.hessian(outer)(h), jnp.stack(want), rtol=1e-6)


def test_first_order_losses_have_the_gradients_of_where_they_stand():
    """d losses_k / d phi_0 is the inner gradient at phi_k, phi moving one for one."""

    def outer(w):
        found = jm.argmin(
            loss, w, jnp.asarray(HYPERS), optax.sgd(0.1),
            steps=5, gradient=first_order, batches=jnp.asarray(XS),
        )  # fmt: skip
        return found.losses.sum(), found.params

    w = jnp.asarray(START)
    got, _ = jax.grad(outer, has_aux=True)(w)
    want = jnp.zeros(3)
    for x in np.asarray(XS):
        grads = jax.grad(loss)(w, jnp.asarray(HYPERS), x)
        want, w = want + grads, w - 0.1 * grads
    np.testing.assert_allclose(got, want, rtol=1e-13)


def flops(fn, *args):
    return jax.jit(fn).lower(*args).compile().cost_analysis()["flops"]


@pytest.mark.parametrize("memory", ["store", "mixed"])
def test_a_sum_of_inner_losses_costs_no_second_forward_pass(memory):
    """Products with the data are what a step costs, and are counted in the program."""
    x = jnp.ones((64, 32))

    def net(w, h):
        return jnp.mean(jnp.tanh(x @ w["in"] @ h) @ w["out"])

    w = {"in": jnp.ones((32, 48)), "out": jnp.ones(48)}
    h = jnp.eye(48)

    def outer(judge, **options):
        def value(w, h):
            options_of = dict(steps=4, gradient=unrolled(memory=memory)) | options
            return judge(jm.argmin(net, w, h, optax.sgd(0.1), **options_of))

        return jax.grad(value, (0, 1))

    first = lambda phi: sum(jnp.sum(x) for x in jax.tree.leaves(phi))  # noqa: E731
    ends = flops(outer(lambda found: first(found.params)), w, h)
    sums = flops(outer(lambda found: first(found.params) + found.losses.sum()), w, h)
    again = flops(
        outer(
            lambda found: first(found.params) + found.visits.sum(),
            visit=lambda phi, k: net(phi, h),
        ),
        w, h,
    )  # fmt: skip
    forward = flops(lambda w: net(w, h), w)
    assert sums - ends < 0.5 * forward < forward < again - ends


def test_inside_another_and_mapped():
    """A loss that is itself a solve, for two problems at once: phi(a) = argmin of three
    steps, and the outer solve moves a."""

    def outer(h, scale):
        def middle(a, h):
            inner = jm.argmin(
                lambda w, a: scale * jnp.sum((w - a) ** 2) + 0.1 * jnp.sum(w**4),
                jnp.zeros(2),
                a,
                optax.sgd(0.2),
                steps=3,
            )
            return jnp.sum((inner.params - h) ** 2)

        found = jm.argmin(middle, jnp.ones(2), h, optax.sgd(0.3), steps=4)
        return jnp.sum(jnp.sin(found.params))

    h, scales = jnp.array([0.5, -0.3]), jnp.array([1.0, 0.7])
    both = jax.jit(jax.vmap(jax.grad(outer), (None, 0)))(h, scales)
    for scale, got in zip(scales, both, strict=True):
        check_grads(lambda h, s=scale: outer(h, s), (h,), order=1, modes=["rev"])
        np.testing.assert_allclose(got, jax.grad(outer)(h, scale), rtol=1e-12)


def test_a_minimum_inside_an_unrolled_solve():
    """min_a of a few steps on h-dependent loss of argmin_w (w - a)^2/2 + w^2/2 = a/2."""

    def outer(h):
        def middle(a, h):
            near = jm.argmin(
                lambda w, a: 0.5 * (w - a) ** 2 + 0.5 * w**2,
                jnp.array(0.0), a, optax.sgd(0.5), steps=30, gradient=implicit(),
            )  # fmt: skip
            return 0.5 * (near.params - h) ** 2

        return jm.argmin(middle, jnp.array(0.0), h, optax.sgd(1.0), steps=2).params

    # a <- a - (a/2 - h)/2 = 3/4 a + h/2: a_2 = 7/8 h
    np.testing.assert_allclose(outer(2.0), 7 / 4, rtol=1e-7)
    np.testing.assert_allclose(jax.grad(outer)(2.0), 7 / 8, rtol=1e-12)


def test_over_devices_as_on_one():
    """Sharded problems: one mesh axis, as many problems as it has devices."""
    mesh = jm.train.task_mesh()
    sharding = jax.NamedSharding(mesh, jax.sharding.PartitionSpec("tasks"))
    h = jnp.linspace(0.5, 1.0, 3 * jax.device_count()).reshape(-1, 3)

    def outer(h):
        found = jm.argmin(
            loss,
            jnp.asarray(START),
            h,
            optax.sgd(0.1),
            steps=5,
            batches=jnp.asarray(XS),
        )
        return found.losses.sum()

    run = jax.jit(jax.vmap(jax.grad(outer)))
    got = run(jax.device_put(h, sharding))
    np.testing.assert_allclose(got, run(h), rtol=1e-13)


def test_none_and_integers_pass():
    start = {"w": jnp.array(1.0), "none": None}
    hypers = {"count": 3, "h": jnp.array(2.0)}

    def outer(h):
        found = jm.argmin(
            lambda w, h: h["count"] * 0.5 * (w["w"] - h["h"]) ** 2,
            start, hypers | {"h": h}, optax.sgd(0.1), steps=2,
            gradient=evolution(pairs=4), key=KEY,
        )  # fmt: skip
        return found.params["w"]

    np.testing.assert_allclose(outer(2.0), 2 - 0.49, rtol=1e-12)
    assert jnp.isfinite(jax.grad(outer)(2.0))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(steps=-1), "steps: got -1"),
        (dict(batches=jnp.ones((3, 2))), r"batches: got a leaf of shape \(3, 2\)"),
        (dict(proximal=-1.0), "proximal: got -1.0"),
        (dict(gradient=evolution()), "key: got None"),
    ],
)
def test_refuses(options, text):
    with pytest.raises(ValueError, match=text):
        options = dict(steps=2) | options
        jm.argmin(lambda w, h, *b: w**2, 1.0, (), optax.sgd(0.1), **options)
