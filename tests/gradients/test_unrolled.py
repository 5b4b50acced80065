"""The inner loop: four ways to keep memory, one gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxmeta as jm
from jaxmeta.gradients import annealed, argmin, first_order, unrolled

pytestmark = pytest.mark.usefixtures("x64")

MEMORY = ["store", "remat", "sqrt", "mixed"]

# half of the time to compile, and the same float64 arithmetic
quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def unroll(loss, params, tx, batch, *, steps, memory="store", last=None, **options):
    """The inner loop on one batch; the loss knows the step."""
    gradient = unrolled(memory=memory, last=last)
    options = dict(gradient=gradient, batches=lambda step: step) | options
    return argmin(loss, params, batch, tx, steps=steps, **options)


def assert_same(got, want, rtol=1e-12):
    """Relative to the size of each array: an entry near zero has no digits of its own."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * float(jnp.abs(b).max()))


def conv4(key):
    """Classification by a short Conv4: batch norm, pooling, a meta-learned rate."""
    model = jm.models.conv4(3, filters=3, blocks=2)
    images = jax.random.normal(key, (9, 8, 8, 1))
    batch = jm.Batch(images, jnp.tile(jnp.eye(3), (3, 1)))
    meta = jax.tree.map(lambda x: x.astype(jnp.float64), model.init(key, batch.inputs))

    def loss(params, batch, step):
        outputs, _ = model.apply(meta._replace(params=params), batch.inputs, train=True)
        return jm.losses.cross_entropy(outputs, batch.targets)

    return loss, meta.params, batch


def transformer(key):
    """Regression by one block of attention and a gated layer, with layer norm."""
    width = 4
    keys = jax.random.split(key, 6)
    theta = {
        name: 0.5 * jax.random.normal(k, shape)
        for name, k, shape in zip(
            ["qkv", "out", "up", "down"],
            keys,
            [(width, 3 * width), (width, width), (width, 8), (8, width)],
            strict=False,
        )
    }
    batch = (
        jax.random.normal(keys[4], (2, 5, width)),
        jax.random.normal(keys[5], (2,)),
    )

    def norm(x):
        x = x - x.mean(-1, keepdims=True)
        return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5)

    def loss(params, batch, step):
        x, y = batch  # [n, t, d], [n]
        q, k, v = jnp.split(norm(x) @ params["qkv"], 3, -1)
        weights = jax.nn.softmax(q @ k.mT / jnp.sqrt(width))
        x = x + weights @ v @ params["out"]
        x = x + jax.nn.gelu(norm(x) @ params["up"]) @ params["down"]
        return jnp.mean((x.sum((1, 2)) - y) ** 2)

    return loss, theta, batch


def outer(problem, tx, steps, **options):
    """The gradient of the loss after adapting, in the start and in the rate."""
    loss, theta, batch = problem

    def value(theta, rate):
        phi = unroll(loss, theta, tx(rate), batch, steps=steps, **options).params
        return loss(phi, batch, steps)

    return quick(jax.grad(value, argnums=(0, 1)))(theta, jnp.array(0.1))


def momentum(rate):
    return optax.chain(optax.trace(0.9), optax.scale_by_learning_rate(rate))


def adam(rate):
    return optax.adam(rate, eps=1e-3)


@pytest.mark.parametrize(
    ("problem", "tx", "steps"), [(conv4, momentum, 5), (transformer, adam, 7)]
)
def test_memory_modes_agree(problem, tx, steps):
    problem = problem(jax.random.key(0))
    want = outer(problem, tx, steps, memory="store")
    for memory in MEMORY[1:]:
        assert_same(outer(problem, tx, steps, memory=memory), want)


@pytest.mark.parametrize("memory", ["store", "mixed"])
def test_agrees_with_finite_differences(memory):
    def value(w, frozen, rate):
        def loss(w, x, step):
            return jnp.sum(jnp.tanh(frozen * x * w) ** 2) + jnp.sum(w**4) / 4

        x = jnp.array([1.0, -0.5, 2.0])
        phi = unroll(loss, w, adam(rate), x, steps=3, memory=memory).params
        return jnp.sum(jnp.sin(phi) * frozen)

    args = jnp.array([0.3, 0.9, -0.4]), jnp.array([1.0, 0.6, 0.8]), jnp.array(0.05)
    check_grads(jax.jit(value), args, order=1, modes=["rev"])


def net(w, x):
    return jnp.tanh(x @ w["in"]) @ w["out"]  # [n, 3]


def hidden_inputs(memory):
    """A loss that closes over everything a learner's does, as one function of tracers.

    Frozen parameters, buffers, a key, integer labels, a learned rate, outputs of visits
    that enter the outer loss, and a rule that looks at the loss.
    """

    def value(theta, frozen, rate, buffers, key, labels):
        x = jnp.linspace(-1.0, 1.0, 8).reshape(4, 2)

        def loss(w, batch, step):
            inputs, labels = batch
            # the bits of the key stand for a draw, which is slow to compile
            noise = jax.random.key_data(key).sum() / 2.0**33 + 0.1 * step
            logits = net(w, inputs * frozen) * noise + buffers
            rows = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
            return -rows.mean()

        def update(grads, state, params=None, *, value, **extra):
            scale = rate * (1 + value)
            return jax.tree.map(lambda g: -scale * g, grads), state

        tx = optax.GradientTransformationExtraArgs(lambda params: (), update)
        out = unroll(
            loss,
            theta,
            tx,
            (x, labels),
            steps=3,
            memory=memory,
            visit=lambda w, k: {"loss": loss(w, (x, labels), k), "k": k},
        )
        value = out.visits["loss"] @ jnp.array([0.2, 0.3, 0.5])
        return value, (out.losses, out.visits["k"])

    return value


def hidden_arguments(tasks):
    keys = jax.random.split(jax.random.key(4), 3)
    theta = {
        "in": jax.random.normal(keys[0], (2, 5)),
        "out": jax.random.normal(keys[1], (5, 3)),
    }
    shared = (theta, jnp.array([1.0, 0.5]), jnp.array(0.3), jnp.array([0.1, 0, -0.1]))
    labels = jax.random.randint(keys[2], (tasks, 4), 0, 3)
    return shared, (jax.random.split(keys[2], tasks), labels)


def test_everything_passes_in_every_mode_under_vmap_and_map():
    shared, each = hidden_arguments(2)

    def both(memory):
        grad = jax.grad(hidden_inputs(memory), argnums=(0, 1, 2, 3), has_aux=True)
        one = lambda task: grad(*shared, *task)  # noqa: E731
        return quick(lambda each: (jax.vmap(one)(each), jax.lax.map(one, each)))(each)

    (want, (losses, visited)), mapped = both("store")
    assert_same(mapped[0], want)
    assert losses.shape == (2, 3)
    np.testing.assert_array_equal(visited[0], [1, 2, 3])
    assert all(np.any(x != 0) for x in jax.tree.leaves(want))
    for memory in MEMORY[1:]:
        vmapped, mapped = both(memory)
        assert_same(vmapped[0], want)
        assert_same(mapped[0], want)
        assert_same(vmapped[1][0], losses)


@pytest.mark.parametrize("memory", MEMORY)
def test_annealing_chooses_inside_one_program(memory):
    """phi_2 = w - r a w^3 - ..., for two tasks a at a time."""
    loss = lambda w, a, step: 0.25 * a * w**4  # noqa: E731
    gradient = annealed(first_order, unrolled(memory=memory), at=3)

    def slopes(now):
        def phi(w, a):
            options = dict(steps=2, gradient=gradient, now=now)
            return unroll(loss, w, optax.sgd(0.1), a, **options).params

        return jax.vmap(jax.grad(phi), (None, 0))(jnp.array(0.8), jnp.array([1.0, 2]))

    compiled = jax.jit(slopes)
    np.testing.assert_allclose(compiled(jnp.array(2)), 1.0, rtol=1e-14)
    w, a = 0.8, np.array([1.0, 2.0])
    want = (1 - 0.3 * a * w**2) * (1 - 0.3 * a * (w - 0.1 * a * w**3) ** 2)
    np.testing.assert_allclose(compiled(jnp.array(3)), want, rtol=1e-14)
    assert compiled._cache_size() == 1
    with pytest.raises(ValueError, match="now: got None, wants the outer step"):
        slopes(None)


def quadratic(steps, **options):
    """phi_K and its derivative, for L = 1/2 a w^2 and rate r: (1 - r a)^K."""

    def phi(w):
        loss = lambda w, a, step: 0.5 * a * w**2  # noqa: E731
        out = unroll(loss, w, optax.sgd(0.1), jnp.array(3.0), steps=steps, **options)
        return out.params, out.losses

    return jax.value_and_grad(phi, has_aux=True)(jnp.array(2.0))


@pytest.mark.parametrize("last", [0, 1, 3, 5, 9, None])
def test_truncated_keeps_the_last_steps(last):
    (value, losses), slope = quadratic(5, last=last)
    kept = 5 if last is None else min(last, 5)
    np.testing.assert_allclose(value, 2 * 0.7**5, rtol=1e-14)
    np.testing.assert_allclose(slope, 0.7**kept, rtol=1e-14)
    np.testing.assert_allclose(losses, 1.5 * 4 * 0.49 ** np.arange(5), rtol=1e-14)


@pytest.mark.parametrize("memory", MEMORY)
def test_every_number_of_steps(memory):
    """Perfect squares, their neighbours and primes: blocks of the two-level loop."""
    for steps in (0, 1, 2, 3, 4, 7, 9, 10):
        (value, losses), slope = quadratic(steps, memory=memory)
        np.testing.assert_allclose(value, 2 * 0.7**steps, rtol=1e-13)
        np.testing.assert_allclose(slope, 0.7**steps, rtol=1e-13)
        assert losses.shape == (steps,)


def test_a_single_step_is_no_loop():
    loss = lambda w, x, step: 0.5 * w**2  # noqa: E731

    def loops(steps):
        run = lambda w: unroll(loss, w, optax.sgd(0.1), (), steps=steps).params  # noqa: E731
        return str(jax.make_jaxpr(run)(1.0)).count("scan[")

    assert [loops(1), loops(4)] == [0, 1]


def test_forward_mode_passes_but_for_mixed():
    def value(w, memory):
        loss = lambda w, a, step: 0.25 * a * w**4  # noqa: E731
        tx = optax.sgd(0.1)
        return unroll(loss, w, tx, jnp.array(2.0), steps=4, memory=memory).params

    w = jnp.array(0.8)
    want = jax.grad(value)(w, "mixed")
    for memory in MEMORY[:3]:
        along = jax.jvp(functools.partial(value, memory=memory), (w,), (1.0,))[1]
        np.testing.assert_allclose(along, want, rtol=1e-13)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(functools.partial(value, memory="mixed"), (w,), (1.0,))


def test_zero_steps_and_state():
    tx = optax.adam(0.1)
    w = jnp.array(2.0)
    loss = lambda w, x, step: 0.5 * w**2  # noqa: E731
    out = unroll(loss, w, tx, (), steps=0)
    assert out.params is w and out.losses.shape == (0,)
    half = unroll(loss, w, tx, (), steps=3)
    rest = unroll(loss, half.params, tx, (), steps=2, state=half.state)
    np.testing.assert_allclose(rest.params, unroll(loss, w, tx, (), steps=5).params)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(steps=-1), "steps: got -1"),
        (dict(memory="cheap"), "memory: got 'cheap'"),
        (dict(last=-1), "last: got -1"),
    ],
)
def test_refuses(options, text):
    with pytest.raises(ValueError, match=text):
        quadratic(**(dict(steps=2) | options))
