"""The outer steps: TRPO against a dense solve, PPO's first step, RL2's two forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import jaxmeta as jm
from jaxmeta import rl
from jaxmeta.functional.recurrent import lstm_scan
from tests.rl import small

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(3)


def batch(count=3):
    mdp, meta = small.problem()
    return jax.tree.map(lambda x: jnp.stack([x] * count), mdp), meta


AGENT = small.agent(episodes=30)
DAMPING, DELTA = 1e-3, 1e-4
TRPO = jax.jit(
    rl.trpo(AGENT, max_kl=DELTA, cg_steps=30, damping=DAMPING).value_and_grad
)


def test_trpo_takes_the_natural_step_of_a_dense_solve():
    agent, damping, delta = AGENT, DAMPING, DELTA
    tasks, meta = batch()
    (_, aux), moved = TRPO(meta, tasks, KEY)
    assert 0 < aux.metrics["kl"] <= delta
    assert aux.metrics["accepted"] > 0

    # the same by matrices: gradient, Hessian of the KL, solve
    collect = jax.jit(jax.vmap(agent.collect, (None, 0, 0)))
    found = collect(meta, tasks, jax.random.split(KEY, 3))
    vector, unflatten = ravel_pytree(meta.params)

    def of(params, what):
        def one(found):
            dist, _ = agent.replay(meta._replace(params=unflatten(params)), found)
            if what == "kl":
                return small.POLICY.family.kl(found.dist, dist).mean()
            now = agent.family.log_prob(dist, found.played.actions)
            old = agent.family.log_prob(found.dist, found.played.actions)
            return -jnp.mean(jnp.exp(now - old) * found.advantages)

        return jax.vmap(one)(found).mean()

    slope = jax.jit(jax.grad(lambda v: of(v, "gain")))(vector)
    curvature = jax.jit(jax.hessian(lambda v: of(v, "kl")))(vector)
    curvature += damping * jnp.eye(len(vector))
    x = jnp.linalg.solve(curvature, slope)
    full = jnp.sqrt(2 * delta / (x @ curvature @ x)) * x
    wants = aux.metrics["accepted"] * full
    np.testing.assert_allclose(small.flat(moved), wants, rtol=1e-6, atol=1e-10)
    # and the step is what it promises
    assert of(vector - wants, "gain") < of(vector, "gain")
    np.testing.assert_allclose(of(vector - wants, "kl"), aux.metrics["kl"], rtol=1e-8)


def test_trpo_stays_where_nothing_helps():
    tasks, meta = batch()
    unpaid = tasks._replace(rewards=0 * tasks.rewards)
    (_, aux), moved = TRPO(meta, unpaid, KEY)
    assert (small.flat(moved) == 0).all()
    assert aux.metrics["accepted"] == 0


def test_the_first_step_of_ppo_is_the_policy_gradient():
    agent = small.agent(episodes=10)
    tasks, meta = batch()
    objective = rl.ppo(agent, optax.sgd(0.3), epochs=1)
    _, moved = jax.jit(objective.value_and_grad)(meta, tasks, KEY)
    _, grads = jax.jit(rl.policy_gradient(agent).value_and_grad)(meta, tasks, KEY)
    # PPO means over steps, the policy gradient sums over the steps of an episode
    wants = 0.3 * small.flat(grads) / small.HORIZON
    np.testing.assert_allclose(small.flat(moved), wants, rtol=1e-9, atol=1e-12)


def test_ppo_stops_pulling_outside_its_clip():
    agent = small.agent(episodes=10, steps=0)

    def collect(meta, task, key):
        found = agent.collect(meta, task, key)
        # the first action is good, the other one neither good nor bad
        good = (found.played.actions == 0).astype(float)
        return found._replace(advantages=good)

    tasks, meta = batch()

    def moved(epochs, clip):
        objective = rl.ppo(
            agent._replace(collect=collect), optax.sgd(1.0), epochs=epochs, clip=clip
        )
        return small.flat(jax.jit(objective.value_and_grad)(meta, tasks, KEY)[1])

    # after one step every ratio that counts is above 1 + clip: no gradient is left
    np.testing.assert_array_equal(moved(2, 1e-6), moved(1, 1e-6))
    assert np.abs(moved(2, 1e6) - moved(1, 1e6)).max() > 0.01


def test_rl2_plays_what_it_replays():
    env = rl.tabular(3, 2, horizon=4)
    agent = rl.rl2(env, rl.categorical(2), hidden=5, episodes=3, adapt_episodes=3)
    task = env.tasks(KEY)
    meta = agent.init(jax.random.key(1), task)
    found = jax.jit(agent.collect)(meta, task, KEY)
    memory = jax.jit(agent.adapt)(meta, task, KEY)  # the same key: the same trial

    trial = found.past
    assert trial.rewards.shape == (3, 4)
    seen = np.asarray(trial.observations).reshape(12, 3)
    took = np.eye(2)[np.asarray(trial.actions).ravel()]
    paid = np.asarray(trial.rewards).ravel()[:, None]
    over = (np.arange(12) % 4 == 3).astype(float)[:, None]
    before = np.concatenate([took, paid, over], 1)
    before = np.concatenate([np.zeros((1, 4)), before[:-1]])
    carry, _ = lstm_scan(
        **meta.params["cell"],
        inputs=jnp.asarray(np.concatenate([seen, before], 1)),
        forget_bias=1,
    )
    np.testing.assert_allclose(memory.carry.hidden, carry.hidden, rtol=1e-10)
    np.testing.assert_allclose(memory.reward, paid[-1, 0])
    assert memory.done == 1

    dist, values = agent.replay(meta, found)
    np.testing.assert_allclose(dist, found.dist, rtol=1e-12)
    assert values.shape == (1, 12)


def _lstm(cell, head, inputs):
    """The textbook's cell in NumPy, a step at a time: logits of a sequence."""
    kernel, bias = (np.asarray(cell[name]) for name in ("kernel", "bias"))
    h = c = np.zeros(kernel.shape[1] // 4)
    out = []
    for x in inputs:
        gates = np.concatenate([x, h]) @ kernel + bias
        i, f, g, o = np.split(gates, 4)
        sig = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
        c = sig(f + 1) * c + sig(i) * np.tanh(g)
        h = sig(o) * np.tanh(c)
        out.append(h @ np.asarray(head["kernel"]) + np.asarray(head["bias"]))
    return np.stack(out)


def test_rl2_replays_what_it_was_told_when_it_acted():
    """What came before, the end of an episode too, is told one step later."""
    env = rl.tabular(3, 2, horizon=3)
    agent = rl.rl2(env, rl.categorical(2), hidden=3, episodes=2)
    task = env.tasks(KEY)
    meta = agent.init(jax.random.key(1), task)
    found = jax.jit(agent.collect)(meta, task, KEY)
    trial, told, inputs = found.past, np.zeros(4), []
    for episode in range(2):
        for t in range(3):
            inputs.append(np.append(trial.observations[episode, t], told))
            took = np.eye(2)[trial.actions[episode, t]]
            told = np.append(took, [trial.rewards[episode, t], float(t == 2)])
    want = _lstm(meta.params["cell"], meta.params["policy"], inputs)
    assert np.ptp(want, 0).min() > 1e-3
    dist, _ = agent.replay(meta, found)
    np.testing.assert_allclose(dist[0], want, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.dist[0], want, rtol=1e-9, atol=1e-12)


def test_parameters_that_are_nan_score_nan():
    env = rl.bandit(2, pulls=3)  # an arm is pulled whatever the logits are
    policy = rl.policy(jm.models.linear_head(2), rl.categorical(2))
    for at in (
        lambda k: rl.maml_pg(env, policy, optax.sgd(0.1), steps=k, episodes=2),
        lambda k: rl.rl2(env, rl.categorical(2), hidden=2, adapt_episodes=k),
        # at first they are numbers; adapted they are not
        lambda k: rl.maml_pg(env, policy, optax.sgd(np.nan), steps=k, episodes=2),
    ):
        meta = at(0).init(KEY, env.tasks(KEY))
        good = rl.adaptation_curve(at, meta, env.tasks, KEY, steps=(0, 1), count=2)
        assert np.isfinite(good.scores[0]).all()
        spoilt = jax.tree.map(lambda x: x.at[..., 0].set(jnp.nan), meta)
        curve = rl.adaptation_curve(at, spoilt, env.tasks, KEY, steps=(0,), count=2)
        assert np.isnan(curve.scores).all() and np.isnan(curve.mean).all()
    assert np.isnan(good.scores[1]).all()


def test_an_inner_adam_is_refused_at_init():
    policy = rl.policy(jm.models.linear_head(2), rl.categorical(2))
    inner = optax.masked(optax.adam(0.1), {"family": False, "model": True})
    agent = rl.maml_pg(small.ENV, policy, inner)
    with pytest.raises(ValueError, match=r"inner: .* not finite"):
        agent.init(KEY, small.problem()[0])
    way = jm.gradients.first_order
    rl.maml_pg(small.ENV, policy, inner, gradient=way).init(KEY, small.problem()[0])


def test_adapting_helps_on_goal_bandits():
    env = rl.bandit(3, pulls=10, goal=(0.1, 0.9))
    policy = rl.policy(jm.models.linear_head(3), rl.categorical(3))

    def at(k):
        return rl.maml_pg(
            env, policy, optax.sgd(0.5), steps=k, episodes=10, normalise=False
        )

    trainer = jm.make_trainer(rl.policy_gradient(at(1)), optax.adam(0.05))
    some = jm.train.sample_batch(env.tasks, KEY, 2)
    state = trainer.init(KEY, some)
    state, metrics = jax.jit(
        lambda state: jm.fit(trainer, env.tasks, state, KEY, steps=20, batch=10)
    )(state)
    assert jnp.isfinite(metrics["loss"]).all()
    curve = rl.adaptation_curve(
        at, state.meta, env.tasks, jax.random.key(9), steps=(0, 1), count=40, chunk=40
    )
    gain = curve.scores[1] - curve.scores[0]
    assert gain.mean() > 4 * gain.std(ddof=1) / 40**0.5


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: small.agent(steps=-1), "steps: got -1"),
        (lambda: small.agent(episodes=0), "episodes: got 0"),
        (lambda: small.agent(discount=2), "discount: got 2"),
        (lambda: rl.trpo(small.agent(), max_kl=0), "max_kl: got 0"),
        (lambda: rl.trpo(small.agent(), shrink=1), "shrink: got 1"),
        (lambda: rl.ppo(small.agent(), optax.sgd(1.0), epochs=0), "epochs: got 0"),
        (lambda: rl.rl2(small.ENV, rl.categorical(2), hidden=0), "hidden"),
        (lambda: rl.categorical(1), "actions: got 1"),
        (lambda: rl.gaussian(0), "size: got 0"),
    ],
)
def test_bad_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
