"""DANN's gradient is that of the two-player game, by finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.core import Aux, Batch, Meta, Model
from jaxmeta.tasks.domains import DomainPair, Unlabelled, domain_pair
from jaxmeta.transfer.adversarial import annealed, cdan, dann, ramp
from jaxmeta.transfer.domain import source_only, zero_shot

RANDOM = np.random.default_rng(0)
X_S, X_T = RANDOM.normal(size=(6, 3)), RANDOM.normal(size=(5, 3)) + 1
Y_S = np.eye(2)[RANDOM.integers(0, 2, 6)]
PAIR = DomainPair(Batch(X_S, Y_S), Unlabelled(X_T))
KEY = jax.random.key(0)


def linear(outputs, act=lambda z: z, norm=False):
    """A layer of one matrix, float64 where the inputs are; `norm` by batch statistics."""

    def init(key, x):
        dtype = jax.dtypes.canonicalize_dtype(x.dtype)
        w = 0.5 * jax.random.normal(key, (x.shape[1], outputs), dtype)
        return Meta({"w": w}, {"seen": jnp.zeros(())})

    def apply(meta, x, *, train=False, key=None):
        z = x @ meta.params["w"]
        if norm and train:
            z = z - z.mean(0)
        return act(z), {"seen": meta.buffers["seen"] + train}

    return Model(init, apply)


def nets(norm=False):
    return linear(4, jnp.tanh, norm), linear(2), linear(1)


def at_progress(method, p, steps):
    meta = method.init(KEY, PAIR)
    return meta._replace(buffers={**meta.buffers, "step": jnp.asarray(p * steps)})


def flat(tree):
    return jnp.concatenate([x.ravel() for x in jax.tree.leaves(tree)])


def differences(f, tree, h=1e-5):
    leaves, treedef = jax.tree.flatten(tree)
    out = []
    for i, x in enumerate(leaves):
        for j in range(x.size):
            step = jnp.zeros(x.size).at[j].set(h).reshape(x.shape)
            values = [
                f(jax.tree.unflatten(treedef, [*leaves[:i], x + s, *leaves[i + 1 :]]))
                for s in (step, -step)
            ]
            out.append((values[0] - values[1]) / (2 * h))
    return np.asarray(out)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("build", [dann, cdan])
def test_gradient_is_that_of_the_game(build):
    """d descends D unscaled; f descends CE - lambda D; c descends CE."""
    steps, p, strength = 10, 0.2, 0.7
    method = build(*nets(), steps=steps, strength=strength)
    meta = at_progress(method, p, steps)
    lam = strength * (2 / (1 + np.exp(-10 * p)) - 1)

    def loss(params):
        return method.loss(meta._replace(params=params), PAIR, KEY)

    (_, aux), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(meta.params)
    np.testing.assert_allclose(aux.metrics["strength"], lam, rtol=1e-7)

    fixed = meta.params  # CDAN's condition is held at the present prediction

    def part(name, params):
        """The task's and the domain's loss, written out, for one changed network."""
        now = {**meta.params, name: params}
        h_s, h_t = (jnp.tanh(x @ now["features"]["w"]) for x in (X_S, X_T))
        y_s = h_s @ now["classifier"]["w"]
        task = -jnp.mean(jnp.sum(Y_S * jax.nn.log_softmax(y_s), -1))
        w_s, w_t = jnp.ones(6) / 6, jnp.ones(5) / 5
        if build is cdan:
            p_s, p_t = (
                jax.nn.softmax(
                    jnp.tanh(x @ fixed["features"]["w"]) @ fixed["classifier"]["w"]
                )
                for x in (X_S, X_T)
            )
            h_s, h_t = (
                jnp.stack([jnp.outer(a, b).ravel() for a, b in zip(h, q, strict=True)])
                for h, q in ((h_s, p_s), (h_t, p_t))
            )
            w_s, w_t = (1 + jnp.exp(jnp.sum(q * jnp.log(q), -1)) for q in (p_s, p_t))
            w_s, w_t = w_s / w_s.sum(), w_t / w_t.sum()
        d_s, d_t = (
            jax.nn.sigmoid(h @ now["discriminator"]["w"])[:, 0] for h in (h_s, h_t)
        )
        game = -jnp.sum(w_s * jnp.log(d_s)) - jnp.sum(w_t * jnp.log(1 - d_t))
        return task, game

    task, game = part("features", meta.params["features"])
    np.testing.assert_allclose(aux.metrics["task_loss"], task, rtol=1e-12)
    np.testing.assert_allclose(aux.metrics["domain_loss"], game, rtol=1e-12)
    sign = {"features": (1, -lam), "classifier": (1, 0), "discriminator": (0, 1)}
    for name, (a, b) in sign.items():

        def player(params, name=name, a=a, b=b):
            task, game = part(name, params)
            return a * task + b * game

        slow = differences(jax.jit(player), meta.params[name])
        np.testing.assert_allclose(flat(grads[name]), slow, rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_statistics_joint_or_separate():
    """Where features are centred by the batch, the two choices differ; buffers say how."""
    values = {}
    for statistics in ("joint", "separate"):
        method = dann(*nets(norm=True), steps=10, statistics=statistics)
        meta = method.init(KEY, PAIR)
        value, aux = method.loss(meta, PAIR, KEY)
        values[statistics] = value
        passes = 1 if statistics == "joint" else 2
        assert aux.buffers["features"]["seen"] == passes
        assert aux.buffers["step"] == 1
        assert jax.tree.structure(aux.buffers) == jax.tree.structure(meta.buffers)
    assert abs(values["joint"] - values["separate"]) > 1e-3
    plain = [
        dann(*nets(), steps=10, statistics=s).loss(meta, PAIR, KEY)[0]
        for s in ("joint", "separate")
    ]
    np.testing.assert_allclose(*plain, rtol=1e-12)


def test_schedules():
    p = np.linspace(0, 1, 11)
    np.testing.assert_allclose(ramp(p), 2 / (1 + np.exp(-10 * p)) - 1, rtol=1e-5)
    assert ramp(0.0) == 0
    rate = annealed(0.01, 100)
    np.testing.assert_allclose(rate(0), 0.01)
    np.testing.assert_allclose(rate(50), 0.01 / 6**0.75)
    method = dann(*nets(), steps=10, strength=0.3, gamma=float("inf"))
    _, aux = method.loss(method.init(KEY, PAIR), PAIR, KEY)
    np.testing.assert_allclose(aux.metrics["strength"], 0.3, rtol=1e-6)


def test_without_strength_features_learn_the_task_alone():
    method, plain = dann(*nets(), steps=10), source_only(*nets()[:2])
    meta = method.init(KEY, PAIR)  # step 0: the ramp is 0

    def grad(m):
        return jax.grad(lambda p: m.loss(meta._replace(params=p), PAIR, KEY)[0])(
            meta.params
        )

    for name in ("features", "classifier"):
        np.testing.assert_allclose(
            flat(grad(method)[name]), flat(grad(plain)[name]), rtol=1e-5, atol=1e-7
        )


def test_bad_arguments():
    with pytest.raises(ValueError, match="steps: got 0"):
        dann(*nets(), steps=0)
    with pytest.raises(ValueError, match="statistics: got 'both'"):
        dann(*nets(), steps=1, statistics="both")
    with pytest.raises(ValueError, match="discriminator: got 2 outputs"):
        method = dann(linear(4), linear(2), linear(2), steps=1)
        method.loss(method.init(KEY, PAIR), PAIR, KEY)


def shifted(key, n=200):
    """Two classes told apart by x_0; the target lies elsewhere along x_1 and x_2, where
    the source has a shortcut to its labels that the target lacks."""
    a, b, c = jax.random.split(key, 3)
    y = jax.random.bernoulli(a, shape=(2, n)).astype(int)
    sign = 2.0 * y - 1
    x = 0.6 * jax.random.normal(b, (2, n, 3))
    x = x.at[..., 0].add(sign)
    x = x.at[0, :, 1].add(1.5 * sign[0])
    x = x.at[1, :, 1].add(jax.random.normal(c, (n,)) + 3.0)
    one_hot = jnp.stack([1 - y, y], -1).astype(x.dtype)
    return Batch(x[0], one_hot[0]), Batch(x[1], one_hot[1])


def test_same_trainer_and_adaptation_helps():
    source, target = shifted(jax.random.key(3))
    draw = domain_pair(source, Unlabelled(target.inputs))
    scores = {}
    net = jm.models.mlp(None, hidden=(8,)), jm.models.mlp(2, hidden=())
    judge = jm.models.mlp(1, hidden=(16,))
    for name, method in {
        "source": source_only(*net),
        "dann": dann(*net, judge, steps=400),
    }.items():
        trainer = jm.make_trainer(
            jm.from_loss(method.init, method.loss), optax.adam(1e-2)
        )

        @jax.jit
        def run(draw, key, trainer=trainer):
            state = trainer.init(key, jm.train.sample_batch(draw, key, 2))
            return jm.fit(trainer, draw, state, key, steps=400, batch=32)

        state, reports = run(draw, jax.random.key(0))
        assert jnp.all(jnp.isfinite(reports["loss"]))
        outputs = method.predict(state.meta, target.inputs)
        scores[name] = float(jm.metrics.accuracy(outputs, target.targets))
    assert scores["dann"] > scores["source"] + 0.05, scores
    assert isinstance(method.loss(state.meta, draw_two(draw), KEY)[1], Aux)


def draw_two(draw):
    return jm.train.sample_batch(draw, KEY, 2)


def test_zero_shot_learner_ignores_the_support():
    source, target = shifted(jax.random.key(0), n=20)
    method = source_only(*nets()[:2])
    learner = zero_shot(method)
    episode = jm.Episode(source, target)
    meta = learner.init(KEY, episode)
    fast = learner.adapt(meta, source, KEY)
    assert jax.tree.leaves(fast) == []
    np.testing.assert_allclose(
        learner.predict(meta, fast, target.inputs), method.predict(meta, target.inputs)
    )
    task = jm.evaluate(learner, meta, lambda key: episode, KEY, episodes=2)
    assert task.metric == "accuracy" and not task.transductive
