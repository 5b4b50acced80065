"""Environments: their laws by hand, and a scan that is a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import rl

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    "reward, wants", [("squared", -0.18), ("distance", -(0.18**0.5))]
)
def test_navigation_moves_and_pays(reward, wants):
    env = rl.point_navigation(reward=reward)
    goal = jnp.array([0.4, -0.3])
    seen, state = env.reset(KEY, goal)
    assert seen.tolist() == [0.0, 0.0]
    # the first coordinate is clipped to the speed, the second is not
    seen, _, value, done = env.step(KEY, state, jnp.array([3.0, 0.0]), goal)
    np.testing.assert_allclose(seen, [0.1, 0.0], rtol=1e-6)
    np.testing.assert_allclose(value, wants, rtol=1e-6)
    assert not done


def test_navigation_ends_at_the_goal_and_is_not_paid_after():
    env = rl.point_navigation(horizon=6, reward="distance")
    goal = jnp.array([0.1, 0.1])

    def act(seen, key):
        return jnp.full_like(seen, 0.05)

    played = rl.rollout(env, act, goal, KEY, episodes=2)
    assert played.mask[0].tolist() == [1, 1, 0, 0, 0, 0]
    assert (played.rewards[:, 2:] == 0).all()
    np.testing.assert_allclose(played.returns, -0.05 * 2**0.5, atol=1e-6)
    np.testing.assert_allclose(played.last, 0.1, atol=1e-6)


def test_bandit_pays_by_its_probabilities():
    env = rl.bandit(3, pulls=2000)
    task = jnp.array([0.1, 0.5, 0.9])
    for arm, p in enumerate(task):
        choose = lambda seen, key, arm=arm: jnp.full(seen.shape[0], arm)  # noqa: E731
        found = rl.rollout(env, choose, task, KEY, episodes=1).rewards.mean()
        assert abs(found - p) < 4 * (p * (1 - p) / 2000) ** 0.5
    tasks = jax.vmap(rl.bandit(4, pulls=1, goal=(0.2, 0.8)).tasks)(
        jax.random.split(KEY, 50)
    )
    assert ((tasks > 0.5).sum(1) == 1).all()
    assert set(tasks.argmax(1).tolist()) == {0, 1, 2, 3}


def test_tabular_moves_by_its_table():
    env = rl.tabular(3, 2, horizon=1, noise=0.0)
    task = env.tasks(KEY)
    np.testing.assert_allclose(task.transitions.sum(-1), 1, rtol=1e-5)
    act = lambda seen, key: jnp.ones(seen.shape[0], int)  # noqa: E731
    played = rl.rollout(env, act, task, KEY, episodes=4000)
    np.testing.assert_allclose(played.rewards, task.rewards[0, 1], rtol=1e-6)
    odds = np.asarray(task.transitions[0, 1])
    error = np.sqrt(odds * (1 - odds) / 4000)
    assert (np.abs(played.last.mean(0) - odds) < 4 * error).all()


def test_rollout_is_a_loop():
    env = rl.point_navigation(horizon=4)
    goal = jnp.array([0.2, 0.1])

    def act(seen, key):
        return 0.3 * (goal - seen)  # no luck, so that the loop needs no keys

    played = rl.rollout(env, act, goal, KEY, episodes=1)
    seen, state = env.reset(KEY, goal)
    for t in range(4):
        np.testing.assert_allclose(played.observations[0, t], seen, rtol=1e-6)
        action = 0.3 * (goal - seen)
        seen, state, value, _ = env.step(KEY, state, action, goal)
        np.testing.assert_allclose(played.rewards[0, t], value, rtol=1e-6)
    np.testing.assert_allclose(played.last[0], seen, rtol=1e-6)


class Counter:
    """A functional environment as Gymnasium writes them: counts up to a goal."""

    default_params = 3.0

    def initial(self, rng, params=None):
        return jnp.zeros(())

    def observation(self, state, rng, params=None):
        return state[None]

    def transition(self, state, action, rng, params=None):
        return state + action

    def reward(self, state, action, next_state, rng, params=None):
        return 1.0

    def terminal(self, state, rng, params=None):
        return state >= params


class GymnaxCounter:
    """The same with the names of gymnax, old and new."""

    class Params:
        max_steps_in_episode = 5

    default_params = Params()

    def reset_env(self, key, params):
        return jnp.zeros(1), jnp.zeros(())

    def step_env(self, key, state, action, params):
        state = state + action
        return state[None], state, jnp.ones(()), state >= 3.0, {}

    def is_truncated(self, state, params):
        return jnp.array(False)


def test_adapters_end_where_the_environment_ends():
    func = rl.from_func_env(Counter(), horizon=5)
    gymnax = rl.from_gymnax(GymnaxCounter())
    assert gymnax.horizon == 5
    act = lambda seen, key: jnp.ones(seen.shape[0])  # noqa: E731
    for env, task in ((func, func.tasks(KEY)), (gymnax, None)):
        played = rl.rollout(env, act, task, KEY, episodes=2)
        assert played.rewards.tolist() == [[1, 1, 1, 0, 0]] * 2
        assert played.last.tolist() == [[3], [3]]


class Noisy(Counter):
    """Everything that happens is the luck of the key it is given."""

    def initial(self, rng, params=None):
        return jax.random.uniform(rng)

    def observation(self, state, rng, params=None):
        return jnp.stack([state, jax.random.uniform(rng)])

    def transition(self, state, action, rng, params=None):
        return jax.random.uniform(rng)

    def reward(self, state, action, next_state, rng, params=None):
        return jax.random.uniform(rng)


def test_what_is_seen_has_luck_of_its_own():
    env = rl.from_func_env(Noisy(), horizon=2)
    seen, state = env.reset(KEY, 3.0)
    assert seen[0] != seen[1]
    seen, _, reward, _ = env.step(KEY, state, 0.0, 3.0)
    assert len({float(seen[0]), float(seen[1]), float(reward)}) == 3


def blocks(horizon=4):
    """A dictionary is seen, an integer is paid: the block that was asked for."""

    def seen(state, task):
        return {"picture": jnp.full((2, 2), state, float), "time": state}

    def reset(key, task):
        del key
        return seen(jnp.array(0), task), jnp.array(0)

    def step(key, state, action, task):
        del key
        state = state + 1
        # no floating point anywhere: 3 for the right one, and an end that is a number
        return seen(state, task), state, 3 * (action == task).astype(int), state == 3

    return rl.Env(reset, step, lambda key: jax.random.randint(key, (), 0, 2), horizon)


def network():
    """A policy's network that takes the dictionary as it is."""

    def features(x):
        flat = [v.reshape(len(v), -1).astype(float) for v in jax.tree.leaves(x)]
        return jnp.concatenate(flat, 1)

    head = jm.models.linear_head(2)
    return jm.Model(
        lambda key, x: head.init(key, features(x)),
        lambda meta, x, **_: head.apply(meta, features(x)),
    )


@pytest.mark.parametrize("name", ["maml_pg", "rl2"])
def test_dictionaries_are_seen_and_integers_paid(name):
    env, family = blocks(), rl.categorical(2)
    agent = {
        "maml_pg": lambda: rl.maml_pg(
            env, rl.policy(network(), family), optax.sgd(0.1), episodes=3
        ),
        "rl2": lambda: rl.rl2(env, family, hidden=2),
    }[name]()
    tasks = jnp.array([0, 1])
    trainer = jm.make_trainer(rl.policy_gradient(agent), optax.adam(0.1))
    state = trainer.init(KEY, tasks)
    _, metrics = jax.jit(trainer.step)(state, tasks, KEY)
    assert jnp.isfinite(metrics["loss"]) and 0 <= metrics["return"] <= 9
    found = agent.play(state.meta, agent.adapt(state.meta, 0, KEY), 0, KEY, 2)
    assert jnp.issubdtype(found.rewards.dtype, jnp.floating)
    # three steps are paid, the fourth is masked and the picture stays
    np.testing.assert_array_equal(
        found.rewards, 3.0 * (found.actions == 0) * jnp.array([1, 1, 1, 0])
    )
    np.testing.assert_array_equal(found.observations["time"], [[0, 1, 2, 3]] * 2)
    np.testing.assert_array_equal(found.last["picture"], jnp.full((2, 2, 2), 3.0))


def test_returns_of_integers():
    paid = jnp.array([1, 0, 2])
    found = rl.discounted(paid, 0.5)
    np.testing.assert_allclose(found, [1.5, 1.0, 2.0])
    ones = jnp.ones(3, int)
    advantages = rl.generalised_advantages(
        paid, 0 * ones, ones, discount=0.5, trace=1.0
    )
    np.testing.assert_allclose(advantages, found)


def test_gymnasium_cart_pole():
    gymnasium = pytest.importorskip("gymnasium")
    del gymnasium
    cartpole = pytest.importorskip("gymnasium.envs.phys2d.cartpole")
    env = rl.from_func_env(cartpole.CartPoleFunctional(), horizon=30)
    act = lambda seen, key: jnp.ones(seen.shape[0], int)  # noqa: E731
    played = rl.rollout(env, act, env.tasks(KEY), KEY, episodes=2)
    assert played.observations.shape == (2, 30, 4)
    assert (played.mask.sum(1) < 30).all()  # always to the right: the pole falls


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: rl.point_navigation(reward="cubed"), "reward: got 'cubed'"),
        (lambda: rl.point_navigation(speed=0), "speed: got 0"),
        (lambda: rl.bandit(1, pulls=3), "arms"),
        (lambda: rl.bandit(3, pulls=3, goal=(0.1, 2)), "goal: got"),
        (lambda: rl.tabular(0), "states"),
        (lambda: rl.tabular(noise=-1), "noise: got -1"),
        (lambda: rl.from_func_env(Counter(), horizon=0), "horizon: got 0"),
    ],
)
def test_bad_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
