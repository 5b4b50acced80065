"""The optimiser that is a network, against its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm

pytestmark = pytest.mark.usefixtures("x64")

DECAYS, TIMES = (0.5, 0.9), (2.0, 5.0)
RULE = jm.rules.coordinate_mlp(
    hidden=(3,), decays=DECAYS, times=TIMES, scale=0.1, stretch=0.5
)
PARAMS = {"b": np.array([0.5, -3.0]), "w": np.array([[1.0, 2.0], [-4.0, 0.1]])}
GRADS = [{name: s * np.cos(x) for name, x in PARAMS.items()} for s in (1.0, -7.0)]


def by_hand(numbers, params, grads):
    """The updates of all steps, one parameter at a time."""
    memory = {name: np.zeros((*x.shape, len(DECAYS))) for name, x in params.items()}
    out = []
    for k, grad in enumerate(grads):
        late = [np.tanh(k / t - 1) for t in TIMES]
        update = {}
        for name, g in grad.items():
            m = memory[name]
            for j, b in enumerate(DECAYS):
                m[..., j] = b * m[..., j] + (1 - b) * g
            seen = [g, params[name], *(m[..., j] for j in range(len(DECAYS)))]
            seen = [x / np.sqrt(1e-5 + np.mean(x**2)) for x in seen]
            u = np.zeros(g.shape)
            for at in np.ndindex(g.shape):
                x = np.array([*(f[at] for f in seen), *late])
                x = x @ numbers["layer1"]["kernel"] + numbers["layer1"]["bias"]
                d, s = (
                    np.maximum(x, 0) @ numbers["out"]["kernel"] + numbers["out"]["bias"]
                )
                u[at] = -0.1 * d * np.exp(0.5 * s)
            update[name] = u
        out.append(update)
    return out


@pytest.fixture(scope="module")
def numbers():
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(RULE.init, {"w": jax.ShapeDtypeStruct((1,), "float64")})
    return jax.tree.map(lambda x: draw.normal(size=x.shape), shapes)


def run(numbers, params, grads):
    tx = RULE.make(numbers)
    state, out = tx.init(jax.tree.map(jnp.asarray, params)), []
    for g in grads:
        u, state = tx.update(g, state, params)
        out.append(u)
    return out


def close(a, b, **options):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **options), a, b)


def test_it_is_its_equation(numbers):
    close(run(numbers, PARAMS, GRADS), by_hand(numbers, PARAMS, GRADS), rtol=1e-12)


def test_the_scale_of_an_array_does_not_matter(numbers):
    """But for what is added under the root, which is next to nothing beside these."""
    one, other = (
        [{"b": b * g["b"], "w": w * g["w"]} for g in GRADS]
        for b, w in ((1e3, 1e5), (1e5, 1e4))
    )
    step = jax.jit(lambda grads: run(numbers, PARAMS, grads))
    close(step(one), step(other), rtol=1e-6)


def test_its_numbers_are_those_of_any_network():
    """Of the type of the parameters alone; a scalar and an empty tree are networks, too."""
    shapes = jax.tree.map(jnp.shape, RULE.init(PARAMS))
    assert shapes == jax.tree.map(jnp.shape, RULE.init({"x": jnp.zeros(7)}))
    one = {"x": jnp.float32(2.0)}
    tx = RULE.make(RULE.init(one))
    u, _ = jax.eval_shape(lambda x: tx.update(x, tx.init(x), x), one)
    assert u["x"].shape == () and u["x"].dtype == "float32"


def test_slopes_are_finite_where_nothing_is_left_to_learn(numbers):
    zero = jax.tree.map(jnp.zeros_like, PARAMS)

    def moved(numbers, g):
        return sum(jnp.sum(x) for x in jax.tree.leaves(run(numbers, zero, [g, g])))

    slopes = jax.jit(jax.grad(moved, (0, 1)))(numbers, zero)
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(slopes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": ()}, "hidden: got"),
        ({"decays": (0.9, 1.0)}, r"decays: got 1.0, wants a number in \[0, 1\)"),
        ({"times": (0.0,)}, "times: got 0.0, wants a positive number"),
        ({"scale": 0.0}, "scale: got 0.0, wants a positive number"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        jm.rules.coordinate_mlp(**options)


def test_parameters_are_asked_for():
    tx = RULE.make(RULE.init(PARAMS))
    with pytest.raises(ValueError, match="params: got None"):
        tx.update(GRADS[0], tx.init(PARAMS))
