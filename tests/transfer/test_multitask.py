"""Aggregators at their optima, weightings at theirs, and the Jacobian they are given."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

import jaxmeta as jm
from jaxmeta import transfer
from jaxmeta.models import linear_head, mlp
from jaxmeta.transfer.multitask_aggregators import gram

KEY = jax.random.key(0)
AGGREGATORS = {
    "equal": transfer.equal_weights(),
    "fixed": transfer.fixed_weights([0.7, 0.3]),
    "pcgrad": transfer.pcgrad(),
    "cagrad": transfer.cagrad(),
    "mgda": transfer.mgda(),
    "uncertainty": transfer.uncertainty(),
    "gradnorm": transfer.gradnorm(),
}


def jacobians(tasks, size, count=8):
    """Random ones, some of them in conflict."""
    draw = np.random.default_rng(tasks * 100 + size)
    return draw.normal(size=(count, tasks, size)) * draw.uniform(0.1, 3, (tasks, 1))


def over(aggregate, some):
    return np.asarray(jax.jit(jax.vmap(aggregate))(jnp.asarray(some)))


def test_pcgrad_leaves_no_conflict_between_two(x64):
    some = jacobians(2, 3, 20)
    conflicts = np.einsum("np,np->n", some[:, 0], some[:, 1]) < 0
    assert 0 < conflicts.sum() < 20
    found = np.einsum("nkp,np->nk", some, over(transfer.pcgrad(), some))
    assert found[conflicts].min() > -1e-12
    # without a conflict it is the sum
    want = some.sum(1)[~conflicts]
    np.testing.assert_allclose(over(transfer.pcgrad(), some)[~conflicts], want, 1e-12)


def test_pcgrad_is_the_algorithm_of_the_paper(x64):
    some = jacobians(4, 5)

    def one(g, order):
        total = 0
        for i in range(4):
            mine = g[i].copy()
            for j in order:
                if j != i and mine @ g[j] < 0:
                    mine -= mine @ g[j] / (g[j] @ g[j]) * g[j]
            total = total + mine
        return total

    want = np.stack([one(g, range(4)) for g in some])
    np.testing.assert_allclose(over(transfer.pcgrad(), some), want, 1e-10)
    mean = over(transfer.pcgrad(reduction="mean"), some)
    np.testing.assert_allclose(mean, want / 4, 1e-10)
    # with a key the order is drawn: some order, and not always the same one
    drawn = jax.jit(jax.vmap(transfer.pcgrad(), (None, 0)))
    draws = drawn(jnp.asarray(some[0]), jax.random.split(KEY, 8))
    assert np.ptp(np.asarray(draws), 0).max() > 1e-3


@pytest.mark.parametrize("tasks, size", [(2, 5), (3, 2), (5, 4), (6, 30)])
def test_mgda_is_the_shortest_vector_of_the_hull(x64, tasks, size):
    some = jacobians(tasks, size)
    found = over(transfer.mgda(), some)
    gains = np.einsum("nkp,np->nk", some, found)
    squares = (found**2).sum(1)
    # together with d in the hull, this is optimality
    assert (gains - squares[:, None]).min() > -1e-9
    if tasks == 2:  # the closed form of the card
        a, b = some[:, 0], some[:, 1]
        gamma = np.clip(((b - a) * b).sum(1) / ((a - b) ** 2).sum(1), 0, 1)[:, None]
        np.testing.assert_allclose(found, gamma * a + (1 - gamma) * b, 1e-9, 1e-12)


def test_mgda_of_a_hull_around_zero(x64):
    corners = np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, -3.0]])  # of rank 2, and exactly
    np.testing.assert_allclose(transfer.mgda()(jnp.asarray(corners)), 0, atol=1e-14)


def test_mgda_where_gradients_repeat_vanish_or_cancel(x64):
    g = np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 1.0]])
    for some, want in [
        (g[:2], g[0]),
        (np.zeros((2, 2)), np.zeros(2)),
        (np.stack([g[0], -g[0], g[2]]), np.zeros(2)),
        (np.stack([g[0], 0 * g[0]]), np.zeros(2)),
    ]:
        found = transfer.mgda()(jnp.asarray(some))
        np.testing.assert_allclose(found, want, 0, 1e-9)


@pytest.mark.parametrize("tasks, size", [(2, 5), (3, 2), (4, 6)])
def test_cagrad_is_the_best_worst_case_near_the_mean(x64, tasks, size):
    some, c = jacobians(tasks, size), 0.5
    found = over(transfer.cagrad(c, rescale=False), some)
    mean = some.mean(1)
    apart = np.linalg.norm(found - mean, axis=1)
    np.testing.assert_allclose(apart, c * np.linalg.norm(mean, axis=1), 1e-9)
    # no weight of the dual is below the primal value: weak duality is met with equality
    worst = np.einsum("nkp,np->nk", some, found).min(1)
    for g, value in zip(some, worst, strict=True):
        g0 = g.mean(0)

        def dual(w, g=g, g0=g0):
            return w @ g @ g0 + c * np.linalg.norm(g0) * np.linalg.norm(w @ g)

        least = min(dual(np.asarray(w)) for w in _grid(tasks, 40 if tasks < 4 else 20))
        np.testing.assert_array_less(value, least + 1e-9)
        solved = scipy.optimize.minimize(
            dual, np.full(tasks, 1 / tasks), method="SLSQP", bounds=[(0, 1)] * tasks,
            constraints=dict(type="eq", fun=lambda w: w.sum() - 1),
            options=dict(ftol=1e-15, maxiter=500),
        )  # fmt: skip
        np.testing.assert_allclose(value, solved.fun, 0, 1e-7)
    rescaled = over(transfer.cagrad(c), some)
    np.testing.assert_allclose(rescaled, found / 1.25, 1e-12)


def _grid(tasks, n):
    for rest in itertools.product(range(n + 1), repeat=tasks - 1):
        if sum(rest) <= n:
            yield (*(k / n for k in rest), 1 - sum(rest) / n)


def test_cagrad_without_room_is_the_mean(x64):
    some = jacobians(3, 4)
    np.testing.assert_allclose(over(transfer.cagrad(0.0), some), some.mean(1), 1e-12)
    np.testing.assert_allclose(
        over(transfer.equal_weights(), some), some.mean(1), 1e-12
    )
    nearly = over(transfer.cagrad(1e-6), some)
    np.testing.assert_allclose(nearly, some.mean(1), 1e-4, 1e-5)
    assert np.isfinite(transfer.cagrad()(jnp.zeros((2, 3)))).all()


def test_a_tree_is_its_matrix(x64):
    (matrix,) = jacobians(3, 7, 1)
    matrix = jnp.asarray(matrix)
    parts = {"a": matrix[:, :4].reshape(3, 2, 2), "b": matrix[:, 4:]}
    np.testing.assert_allclose(gram(parts), matrix @ matrix.T, 1e-12)
    for name in ("equal", "pcgrad", "cagrad", "mgda"):
        d, want = AGGREGATORS[name](parts), AGGREGATORS[name](matrix)
        got = np.append(np.ravel(d["a"]), d["b"])
        np.testing.assert_allclose(got, want, 1e-10)


@pytest.mark.parametrize(
    "kind, optimum", [("classification", np.log(2)), ("regression", 0)]
)
def test_uncertainty_at_its_optimum_weighs_every_loss_a_half(x64, kind, optimum):
    method = transfer.uncertainty(kind=kind)
    losses = jnp.asarray([0.1, 1.0, 20.0])

    def objective(s):
        return method.weigh(jm.Meta({"log_variance": s}), losses, {})[1]

    s = jnp.log(losses) + optimum
    np.testing.assert_allclose(jax.grad(objective)(s), 0, atol=1e-12)
    weights, _, _ = method.weigh(jm.Meta({"log_variance": s}), losses, {})
    np.testing.assert_allclose(weights * losses, 0.5, 1e-12)
    away = jax.grad(objective)(s + 0.3)
    assert (away > 0).all()
    # a vanishing loss does not send it to minus infinity, and it comes back
    tiny = transfer.uncertainty(kind=kind, limit=2.0)
    low = tiny.weigh(jm.Meta({"log_variance": jnp.full(3, -50.0)}), 0 * losses, {})
    assert np.all(low[0] <= np.exp(2.0) + 1e-9) and low[1] >= -3


@pytest.mark.parametrize("tx", [optax.sgd(0.1), optax.adam(0.3)], ids=["sgd", "adam"])
def test_uncertainty_comes_back_from_its_limit(x64, tx):
    method = transfer.uncertainty(limit=2.0)

    @jax.jit
    def run(s, losses):
        def step(carry, _):
            s, state = carry
            grad = jax.grad(
                lambda s: method.weigh(jm.Meta({"log_variance": s}), losses, {})[1]
            )(s)
            updates, state = tx.update(grad, state)
            return (s + updates, state), s

        return jax.lax.scan(step, (s, tx.init(s)), None, length=400)[1]

    ends = jnp.array([0.0, 20.0])  # nothing to learn, and too much
    out = run(jnp.zeros(2), ends)
    np.testing.assert_allclose(out[-1], [-2.0, 2.0], atol=0.3)
    assert np.abs(out).max() < 4  # no run-up beyond that it would have to walk back
    # at the limit, and far beyond it: losses of 1 want log 2
    for start in (jnp.array([-2.0, 2.0]), jnp.array([-9.0, 9.0])):
        back = run(start, jnp.ones(2))
        np.testing.assert_allclose(back[-1], np.log(2), atol=1e-2)


def test_gradnorm_weights_add_up_and_balance(x64):
    method = transfer.gradnorm(alpha=0.0)
    jacobian = {"a": jnp.asarray([[3.0, 4.0], [0.3, 0.4], [1.0, 0.0]])}
    meta, losses = method.init(3), jnp.ones(3)

    def weigh(params):
        weights, objective, _ = method.weigh(
            meta._replace(params=params), losses, jacobian
        )
        return objective, weights

    def step(params, _):
        grads, weights = jax.grad(weigh, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), weights

    _, weights = jax.jit(lambda p: jax.lax.scan(step, p, None, length=400))(meta.params)
    np.testing.assert_allclose(weights.sum(1), 3, 1e-12)
    # alpha = 0: all weighted gradients end equally long
    lengths = weights[-1] * jnp.asarray([5.0, 0.5, 1.0])
    np.testing.assert_allclose(lengths, lengths.mean(), 0.1)
    assert np.ptp(weights[0] * jnp.asarray([5.0, 0.5, 1.0])) > 4


def test_gradnorm_follows_its_equation(x64):
    draw = np.random.default_rng(0)
    g, losses, first = draw.normal(size=(3, 4)), draw.uniform(1, 2, 3), np.ones(3)
    v, alpha = draw.normal(size=3), 1.5
    norms = np.linalg.norm(g[:, :2], axis=1)  # W is only a part
    method = transfer.gradnorm(alpha=alpha, select=transfer.within("last"))
    jacobian = {"last": jnp.asarray(g[:, :2]), "rest": jnp.asarray(g[:, 2:])}

    def objective(v):
        state = jm.Meta({"logits": v}, {"first": jnp.asarray(first)})
        return method.weigh(state, jnp.asarray(losses), jacobian)[1]

    def weights(v):
        return 3 * np.exp(v) / np.exp(v).sum()

    pace = losses / first
    target = (weights(v) * norms).mean() * (pace / pace.mean()) ** alpha

    def paper(v):  # the target is a constant of the gradient
        return np.abs(weights(v) * norms - target).sum()

    np.testing.assert_allclose(objective(jnp.asarray(v)), paper(v), 1e-12)
    want = scipy.optimize.approx_fprime(v, paper, 1e-7)
    np.testing.assert_allclose(jax.grad(objective)(jnp.asarray(v)), want, 1e-4, 1e-5)


# --- the objective


HEADS = {"left": linear_head(3), "right": mlp(2, hidden=(3,))}
TRUNK = mlp(None, hidden=(4,), activation=jnp.tanh)
ONE = jm.Batch(
    np.random.default_rng(0).normal(size=(6, 5)).astype("float32"),
    {"left": np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]],
     "right": np.eye(2, dtype="float32")[[0, 1, 1, 0, 0, 1]]},
)  # fmt: skip
MANY = {
    "left": jm.Batch(ONE.inputs, ONE.targets["left"]),
    "right": jm.Batch(ONE.inputs[:4] + 1, ONE.targets["right"][:4]),
}


def as64(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, float), tree)


def test_the_parameters_are_the_branched_networks():
    model = transfer.branched(TRUNK, HEADS)
    objective = transfer.multitask(TRUNK, HEADS, transfer.uncertainty())
    meta = objective.init(KEY, ONE)
    plain = model.init(KEY, ONE.inputs)
    assert jax.tree.structure(plain.params) == jax.tree.structure(
        {k: v for k, v in meta.params.items() if k != "weighting"}
    )
    outputs, buffers = model.apply(meta, ONE.inputs)
    assert jax.tree.map(jnp.shape, outputs) == {"left": (6, 3), "right": (6, 2)}
    assert jax.tree.structure(buffers) == jax.tree.structure(meta.buffers)
    outputs, _ = model.apply(jm.Meta(plain.params), ONE.inputs)
    assert outputs["left"].shape == (6, 3)


@pytest.mark.parametrize("batch", [ONE, MANY], ids=["one", "many"])
def test_equal_weights_are_the_gradient_of_the_mean_loss(x64, batch):
    model = transfer.branched(TRUNK, HEADS)
    meta = as64(transfer.multitask(TRUNK, HEADS).init(KEY, batch))
    meta = jax.tree.map(
        lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape), meta
    )
    batch = as64(batch)

    def losses(params):
        def one(name):
            inputs = batch.inputs if isinstance(batch, jm.Batch) else batch[name].inputs
            outputs, _ = model.apply(jm.Meta(params, meta.buffers), inputs)
            targets = batch.targets if isinstance(batch, jm.Batch) else batch[name]
            targets = targets[name] if isinstance(batch, jm.Batch) else targets.targets
            return jm.losses.cross_entropy(outputs[name], targets)

        return jnp.stack([one("left"), one("right")])

    seen = []

    def spy(jacobian):
        seen.append(jacobian)
        return transfer.equal_weights()(jacobian)

    objective = transfer.multitask(TRUNK, HEADS, spy)

    @jax.jit
    def run(meta, batch):
        return *objective.value_and_grad(meta, batch, KEY), seen[-1]

    (value, aux), grads, jacobian = run(meta, batch)
    rows, each = jax.jit(lambda p: (jax.jacrev(losses)(p), losses(p)))(meta.params)
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-10, 1e-13)  # noqa: E731
    jax.tree.map(close, jacobian, rows["trunk"])
    jax.tree.map(
        close, grads["trunk"], jax.tree.map(lambda x: x.mean(0), rows["trunk"])
    )
    # a head has the gradient of its own loss
    jax.tree.map(close, grads["heads"], jax.tree.map(lambda x: x.sum(0), rows["heads"]))
    close(value, each.mean())
    close(aux.metrics["loss/right"], each[1])


def test_a_weighting_is_the_gradient_of_its_weighted_loss(x64):
    model = transfer.branched(TRUNK, HEADS)
    objective = transfer.multitask(TRUNK, HEADS, transfer.uncertainty(start=0.5))
    meta, batch = as64((objective.init(KEY, ONE), ONE))
    meta = jax.tree.map(lambda x: x + 0.1, meta)

    def total(params):
        outputs, _ = model.apply(jm.Meta(params, meta.buffers), batch.inputs)
        s = params["weighting"]["log_variance"]
        each = [
            jm.losses.cross_entropy(outputs[n], batch.targets[n])
            for n in ("left", "right")
        ]
        return sum(jnp.exp(-s[k]) * each[k] + s[k] / 2 for k in range(2))

    _, grads = objective.value_and_grad(meta, batch, KEY)
    want = jax.grad(total)(meta.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-10, 1e-13), grads, want
    )


@pytest.mark.parametrize("name", AGGREGATORS)
def test_every_aggregator_trains(name):
    batch = jax.tree.map(jnp.asarray, MANY if name == "mgda" else ONE)
    objective = transfer.multitask(TRUNK, HEADS, AGGREGATORS[name])
    trainer = jm.make_trainer(objective, optax.adam(0.03))
    start = trainer.init(KEY, batch)

    @jax.jit
    def run(state, batch):
        return jax.lax.scan(
            lambda s, _: trainer.step(s, batch, KEY), state, None, length=40
        )

    state, metrics = run(start, batch)
    for task in ("left", "right"):
        found = metrics[f"loss/{task}"]
        assert found[-1] < 0.75 * found[0], task
    if name == "gradnorm":
        total = metrics["weight/left"] + metrics["weight/right"]
        np.testing.assert_allclose(total, 2, 1e-5)
        first = state.meta.buffers["weighting"]["first"]
        want = [metrics["loss/left"][0], metrics["loss/right"][0]]
        np.testing.assert_allclose(first, want, 1e-6)


def test_running_averages_of_many_inputs_are_the_mean_of_the_tasks():
    trunk = jm.models.conv4(None, filters=2, blocks=1, norm="batch_running")
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 4, 1)).astype("float32")
    heads = {"a": linear_head(2), "b": linear_head(2)}
    labels = np.eye(2, dtype="float32")[[0, 1, 0, 1]]
    batch = {n: jm.Batch(x, labels) for n, x in zip("ab", images, strict=True)}
    objective = transfer.multitask(trunk, heads)
    meta = objective.init(KEY, batch)
    (_, aux), _ = jax.jit(objective.value_and_grad)(meta, batch, KEY)
    body = jm.Meta(meta.params["trunk"], meta.buffers["trunk"])
    each = [trunk.apply(body, x, train=True)[1] for x in images]
    jax.tree.map(
        lambda got, a, b: np.testing.assert_allclose(got, (a + b) / 2, 1e-5, 1e-6),
        aux.buffers["trunk"], *each,
    )  # fmt: skip


def test_a_key_goes_to_what_is_called_a_key():
    seen = {}

    def keyed(jacobian, *, scale=2.0, key):
        seen["key"], seen["scale"] = key, scale
        return transfer.equal_weights()(jacobian)

    def scaled(jacobian, scale=2.0):
        seen["scale"] = scale
        return transfer.equal_weights()(jacobian)

    for aggregate in (keyed, scaled):
        objective = transfer.multitask(TRUNK, HEADS, aggregate)
        objective.value_and_grad(objective.init(KEY, ONE), ONE, KEY)
        assert seen.pop("scale") == 2.0
    assert jnp.issubdtype(seen["key"].dtype, jax.dtypes.prng_key)
    with pytest.raises(
        ValueError, match="aggregate: got a function that needs 'scale'"
    ):
        transfer.multitask(TRUNK, HEADS, lambda jacobian, scale: jacobian)


def test_every_part_of_a_branched_network_has_noise_of_its_own():
    noise = jm.Model(
        lambda key, x: jm.Meta({"w": jnp.zeros(())}),
        lambda meta, x, *, train=False, key=None: (
            x + meta.params["w"] + (jax.random.normal(key, (1,)) if train else 0), ()
        ),
    )  # fmt: skip
    model = transfer.branched(noise, {"a": noise, "b": noise})
    x = jnp.zeros((1, 1))
    meta = model.init(KEY, x)
    found, _ = model.apply(meta, x, train=True, key=KEY)
    alone, _ = noise.apply(jm.Meta({"w": 0.0}), x, train=True, key=KEY)
    assert found["a"] != found["b"] and found["a"] != 2 * alone
    # in training, the same network: outputs are what the regression is of
    none = {"a": x, "b": x}
    objective = transfer.multitask(
        noise, {"a": noise, "b": noise}, criterion=jm.criteria.regression
    )
    (_, aux), _ = objective.value_and_grad(meta, jm.Batch(x, none), KEY)
    assert aux.metrics["mse/a"] != aux.metrics["mse/b"]


def test_messages():
    with pytest.raises(ValueError, match="heads: got none"):
        transfer.multitask(TRUNK, {})
    objective = transfer.multitask(TRUNK, HEADS)
    with pytest.raises(ValueError, match="batch: got tasks"):
        objective.init(KEY, {"left": MANY["left"]})
    with pytest.raises(ValueError, match="weights: got 3"):
        transfer.fixed_weights([1, 1, 1])(jnp.eye(2))
    with pytest.raises(ValueError, match="J: got 11 tasks"):
        transfer.mgda()(jnp.eye(11))
    with pytest.raises(ValueError, match=r"c: got 1\.0"):
        transfer.cagrad(1.0)
    with pytest.raises(ValueError, match="reduction: got 'max'"):
        transfer.pcgrad(reduction="max")
    with pytest.raises(ValueError, match="kind: got"):
        transfer.uncertainty(kind="both")
    with pytest.raises(ValueError, match="limit: got"):
        transfer.uncertainty(start=6.0)
    with pytest.raises(ValueError, match="alpha: got"):
        transfer.gradnorm(alpha=-1)
    lost = transfer.gradnorm(select=transfer.within("none"))
    with pytest.raises(ValueError, match="select: got none"):
        lost.weigh(lost.init(2), jnp.ones(2), {"a": jnp.eye(2)})
