"""Learned rules against their equations, and transforms that stay finite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxmeta as jm

pytestmark = pytest.mark.usefixtures("x64")

GRADS = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([4.0, 0.25])}


def grads():
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), GRADS)


def updates(tx, steps=1):
    """The updates of `steps` steps that all see the same gradient."""
    state, out = tx.init(grads()), []
    for _ in range(steps):
        u, state = tx.update(grads(), state, grads())
        out.append(u)
    return out


def close(a, b, **options):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **options), a, b)


def test_meta_sgd_multiplies_entry_by_entry():
    rule = jm.rules.meta_sgd(0.5)
    rates = rule.init(grads())
    assert jax.tree.map(jnp.shape, rates) == {"w": (2, 2), "b": (2,)}
    rates["w"] = jnp.array([[1.0, 0.0], [-1.0, 0.5]])
    (u,) = updates(rule.make(rates))
    close(u, {"w": jnp.array([[-1.0, 0], [0.5, -1.5]]), "b": jnp.array([-2.0, -0.125])})


def test_meta_sgd_rate_per_leaf_in_log_space():
    rule = jm.rules.meta_sgd(0.5, per="leaf", space="exp")
    rates = rule.init(grads())
    close(rates, {"w": np.log(0.5), "b": np.log(0.5)}, rtol=1e-15)
    close(updates(rule.make(rates))[0], jax.tree.map(lambda g: -0.5 * g, grads()))


def test_lslr_takes_the_rate_of_the_step_and_then_the_last():
    rule = jm.rules.lslr(0.1, steps=3)
    assert jax.tree.map(jnp.shape, rule.init(grads())) == {"w": (3,), "b": (3,)}
    rates = {"w": jnp.array([0.1, 0.2, 0.3]), "b": jnp.array([1.0, 2.0, 3.0])}
    for k, u in enumerate(updates(rule.make(rates), steps=5)):
        last = min(k, 2)
        expected = {name: -rates[name][last] * grads()[name] for name in rates}
        close(u, expected, rtol=1e-15)


def test_meta_curvature_is_a_kronecker_product():
    rule = jm.rules.meta_curvature(optax.sgd(1.0))
    shapes = {"conv": (2, 2, 3, 4), "dense": (3, 4), "bias": (4,), "gain": ()}
    keys = iter(jax.random.split(jax.random.key(0), 20))
    g = {name: jax.random.normal(next(keys), shape) for name, shape in shapes.items()}
    matrices, empty = rule.init(g)
    assert {name: sorted(m) for name, m in matrices.items()} == {
        "conv": ["f", "i", "o"], "dense": ["i", "o"], "bias": ["o"], "gain": ["o"],
    }  # fmt: skip
    matrices = jax.tree.map(lambda m: jax.random.normal(next(keys), m.shape), matrices)
    tx = rule.make((matrices, empty))
    out, _ = tx.update(g, tx.init(g))
    for name, m in matrices.items():
        # vec of the C-ordered [f, i, o]: (M_f x M_i x M_o) vec(G)
        dense = functools.reduce(np.kron, [m[k] for k in "fio" if k in m])
        expected = -(dense @ g[name].reshape(-1)).reshape(shapes[name])
        np.testing.assert_allclose(out[name], expected, rtol=1e-12, atol=1e-12)


def test_learned_hyper_parameters_have_the_derivatives_of_the_unrolled_path():
    rule = jm.rules.learn(jm.rules.momentum, learning_rate=0.1, decay=0.5)
    params = rule.init(grads())
    assert params == {"learning_rate": 0.1, "decay": 0.5}

    def moved(p):
        return sum(jnp.sum(u["w"]) for u in updates(rule.make(p), steps=3))

    # all gradients are g: the velocities are g (1, 1 + d, 1 + d + d^2)
    total, rate, decay = grads()["w"].sum(), 0.1, 0.5
    slope = jax.grad(moved)(params)
    lengths = 3 + 2 * decay + decay**2
    np.testing.assert_allclose(slope["learning_rate"], -lengths * total, rtol=1e-13)
    np.testing.assert_allclose(slope["decay"], -rate * (2 + 2 * decay) * total)


def test_learned_hyper_parameters_stay_in_their_space():
    spaces = {"learning_rate": "exp", "b1": "sigmoid"}
    rule = jm.rules.learn(jm.rules.adam, learning_rate=0.1, b1=0.8, spaces=spaces)
    params = rule.init(grads())
    close(updates(rule.make(params), 2), updates(jm.rules.adam(0.1, b1=0.8), 2))
    far = jax.tree.map(lambda x: x - 50.0, params)
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(updates(rule.make(far))))


def test_learned_state_starts_where_optax_does_and_then_moves():
    rule = jm.rules.learn_state(jm.rules.adam(0.1))
    params = rule.init(grads())
    assert len(jax.tree.leaves(params)) == 4  # two moments of two leaves, no counter
    close(updates(rule.make(params), 2), updates(jm.rules.adam(0.1), 2))

    def moved(p):
        return sum(jnp.sum(u["w"]) for u in updates(rule.make(p), steps=2))

    params = jax.tree.map(lambda x: x + 0.3, params)
    check_grads(moved, (params,), order=1, modes=["rev"])
    assert all(
        (g != 0).all()
        for g in jax.tree.leaves(jax.grad(moved)(params)["state"][0].mu["w"])
    )


def test_a_negative_second_moment_is_taken_as_zero():
    tx = jm.rules.adam(0.1)
    first, *rest = tx.init(grads())
    first = first._replace(nu=jax.tree.map(lambda x: x - 9.0, first.nu))
    out, _ = tx.update(grads(), (first, *rest), grads())
    close(out, updates(tx)[0])


def test_chain_applies_from_left_to_right():
    clip = jm.rules.clip_by_global_norm(1.0)
    rule = jm.rules.chain(clip, jm.rules.lslr(0.5, steps=2))
    (u,) = updates(rule.make(rule.init(grads())))
    np.testing.assert_allclose(optax.tree.norm(u), 0.5, rtol=1e-12)
    other = jm.rules.chain(jm.rules.lslr(0.5, steps=2), clip)
    (u,) = updates(other.make(other.init(grads())))
    np.testing.assert_allclose(optax.tree.norm(u), 1.0, rtol=1e-12)


@pytest.mark.parametrize("length", [0.5, 2.0, 100.0])
def test_clipping_is_that_of_optax(length):
    ours, theirs = (
        jm.rules.clip_by_global_norm(length),
        optax.clip_by_global_norm(length),
    )
    close(updates(ours)[0], updates(theirs)[0], rtol=1e-14)


@pytest.mark.parametrize("at", [0.0, 0.3, 5.0])
def test_clipping_has_a_derivative_everywhere(at):
    tx = jm.rules.clip_by_global_norm(1.0)
    clip = lambda g: tx.update(g, tx.init(g))[0]  # noqa: E731
    g = at * jnp.array([0.6, 0.8])
    if at < 1:
        np.testing.assert_array_equal(jax.jacobian(clip)(g), np.eye(2))
    else:  # the projection onto the circle: nothing along g, 1/||g|| across
        across = np.array([[0.64, -0.48], [-0.48, 0.36]]) / at
        np.testing.assert_allclose(jax.jacobian(clip)(g), across, atol=1e-12)


def test_adam_is_that_of_optax():
    close(
        updates(jm.rules.adam(0.1, 0.8, 0.9), 3),
        updates(optax.adam(0.1, 0.8, 0.9, eps_root=1e-8), 3),
        rtol=1e-14,
    )


SPOILT = {
    "adam": lambda: optax.adam(0.1),
    "adamw": lambda: optax.adamw(0.1),
    "clip": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)),
    "learned adam": lambda: jm.rules.learn(optax.adam, learning_rate=0.1),
    "curvature": lambda: jm.rules.meta_curvature(optax.adam(0.1)),
}
FINE = {
    "sgd": lambda: optax.sgd(0.1, momentum=0.9),
    "eps_root": lambda: optax.adam(0.1, eps_root=1e-8),
    "adam": lambda: jm.rules.adam(0.1),
    "clip": lambda: jm.rules.clip_by_global_norm(1.0),
    "lslr": lambda: jm.rules.lslr(0.1, steps=1),
}


@pytest.mark.parametrize("name", SPOILT)
def test_an_infinite_derivative_is_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=r"inner: .* not finite.*eps_root > 0"):
        jm.maml(jm.models.mlp(1), SPOILT[name]())
    jm.maml(jm.models.mlp(1), SPOILT[name](), gradient=jm.gradients.first_order)


# zero biases, and names and shapes that masks go by
TREE = {
    "body": {"kernel": jnp.ones((3, 3, 1, 4)), "bias": jnp.zeros(4)},
    "head": {"kernel": jnp.ones((5, 2)), "bias": jnp.zeros(2)},
}
HEAD = jax.tree_util.tree_map_with_path(lambda path, _: path[0].key == "head", TREE)
LABELS = {"body": "sgd", "head": "adam"}


def _partition(adam):
    return optax.partition({"sgd": optax.sgd(0.1), "adam": adam}, LABELS)


WRAPPED = {
    "masked": lambda tx: optax.masked(tx, HEAD),
    "masked by shape": lambda tx: optax.masked(
        tx, lambda p: jax.tree.map(lambda x: x.ndim > 1, p)
    ),
    "partition": _partition,
    "chain": lambda tx: optax.chain(optax.identity(), optax.masked(tx, HEAD)),
    "named chain": lambda tx: optax.named_chain(("all", _partition(tx))),
    "apply if finite": lambda tx: optax.apply_if_finite(optax.masked(tx, HEAD), 3),
    "several steps": lambda tx: optax.MultiSteps(_partition(tx), 3),
    "freeze": lambda tx: jm.transfer.freeze(tx, jm.transfer.within("body")),
    "curvature": lambda tx: jm.rules.meta_curvature(optax.masked(tx, HEAD)),
    "rule": lambda tx: jm.rules.frozen(jm.rules.chain(optax.masked(tx, HEAD))),
    "learned state": lambda tx: jm.rules.learn_state(_partition(tx)),
    "kept shapes": lambda tx: optax.chain(
        optax.masked(tx, HEAD),
        optax.stateless(lambda u, p: jax.tree.map(jnp.add, u, TREE)),
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_goes_by_name_is_judged_on_the_real_parameters(name):
    check = jm.rules.check_differentiable
    spoilt = WRAPPED[name](optax.adam(0.1))
    with pytest.raises(ValueError, match=r"inner: .* at a zero gradient is not finite"):
        check(spoilt, TREE, steps=3)
    check(WRAPPED[name](jm.rules.adam(0.1)), TREE, steps=3)


JUDGING = {  # builders that know the parameters no sooner than at init
    "maml": jm.maml,
    "platipus": jm.platipus,
    "bmaml": functools.partial(jm.bmaml, particles=2),
    "meta_gan": functools.partial(
        jm.meta_gan,
        generator=jm.models.mlp(8, hidden=()),
        encoder=jm.models.mlp(None),
        latent=2,
    ),
}


@pytest.mark.parametrize("name", JUDGING)
def test_learners_judge_the_parameters_that_they_move(name):
    episode = jm.testing.probe()(jax.random.key(0))
    biases = {"head": {"kernel": False, "bias": True}}

    def init(tx, **options):
        learner = JUDGING[name](jm.models.mlp(3, hidden=()), tx, **options)
        return jax.eval_shape(learner.init, jax.random.key(1), episode)

    spoilt = optax.masked(optax.adam(0.1), biases)
    with pytest.raises(ValueError, match=r"inner: .* not finite"):
        init(spoilt)
    init(spoilt, gradient=jm.gradients.first_order)
    init(optax.masked(optax.adam(0.1, eps_root=1e-8), biases))


def test_hyper_parameters_that_are_injected_or_scheduled():
    check, shapes = jm.rules.check_differentiable, jax.eval_shape(lambda: TREE)
    schedule = optax.cosine_decay_schedule(0.1, 10)
    for rate in (0.1, schedule):
        for spoilt in (
            optax.masked(optax.inject_hyperparams(optax.adam)(rate), HEAD),
            _partition(optax.adamw(rate)),
        ):
            with pytest.raises(ValueError, match="not finite"):
                check(spoilt, shapes)
            # where the parameters are traced, too
            with pytest.raises(ValueError, match="not finite"):
                jax.jit(lambda p, tx=spoilt: check(tx, p))(TREE)
        fine = optax.inject_hyperparams(optax.adam)(rate, eps_root=1e-8)
        check(optax.masked(fine, HEAD), shapes)


def test_what_begins_later_is_judged_by_more_steps():
    late = optax.conditionally_transform(optax.adam(0.1), lambda step: step >= 3)
    jm.rules.check_differentiable(late, TREE)
    with pytest.raises(ValueError, match="not finite"):
        jm.rules.check_differentiable(late, TREE, steps=4)


def test_a_parameter_that_is_zero_counts():
    # the derivative in the parameter, infinite at a bias that starts at zero
    root = optax.stateless(lambda u, p: jax.tree.map(lambda x: jnp.sqrt(jnp.abs(x)), p))
    with pytest.raises(ValueError, match="not finite"):
        jm.rules.check_differentiable(root, TREE)
    jm.rules.check_differentiable(root, TREE["head"]["kernel"])


@pytest.mark.parametrize("name", FINE)
def test_a_finite_derivative_is_accepted(name):
    jm.maml(jm.models.mlp(1), FINE[name]())


def test_builders_work_inside_a_traced_function():
    def build(rate):
        jm.maml(jm.models.mlp(1), optax.sgd(rate))  # a traced rate cannot be judged
        with pytest.raises(ValueError, match="not finite"):
            jm.maml(jm.models.mlp(1), optax.adam(0.1))
        return rate

    jax.jit(build)(0.1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda r: r.adam(0.1, eps_root=0.0), "eps_root: got 0.0, wants a positive"),
        (lambda r: r.clip_by_global_norm(0.0), "max_norm: got 0.0, wants a positive"),
        (lambda r: r.lslr(0.1, steps=0), "steps: got 0, wants an integer >= 1"),
        (lambda r: r.meta_sgd(-0.1, space="exp"), "init_rate: got -0.1, wants a pos"),
        (lambda r: r.meta_sgd(0.1, per="layer"), "per: got 'layer', wants"),
        (lambda r: r.meta_sgd(0.1, space="log"), "space: got 'log', wants"),
        (lambda r: r.learn(optax.sgd), "hyper: got none"),
        (
            lambda r: r.learn(optax.sgd, learning_rate=1.0, spaces={"b": "exp"}),
            "spaces",
        ),
    ],
)
def test_bad_options_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build(jm.rules)
