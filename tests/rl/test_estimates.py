"""Returns, advantages, baselines and distributions against other ways to get them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import jaxmeta as jm
from jaxmeta import rl

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def test_generalised_advantages_are_the_double_sum():
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, 3, 6))
    mask = np.ones((3, 6))
    mask[1, 4:] = 0
    rewards = rewards * mask
    found = rl.generalised_advantages(
        *map(jnp.asarray, (rewards, values, mask)), discount=0.9, trace=0.7
    )
    for i, end in enumerate((6, 4, 6)):
        for t in range(end):
            total = 0.0
            for k in range(t, end):
                after = values[i, k + 1] if k + 1 < end else 0.0
                delta = rewards[i, k] + 0.9 * after - values[i, k]
                total += (0.9 * 0.7) ** (k - t) * delta
            np.testing.assert_allclose(found[i, t], total, rtol=1e-12)
    assert (found[1, 4:] == 0).all()


def test_the_baseline_is_a_ridge_regression():
    rng = np.random.default_rng(1)
    seen, returns = rng.normal(size=(4, 5, 2)), rng.normal(size=(4, 5))
    mask = np.ones((4, 5))
    mask[2, 3:] = 0
    played = rl.Trajectory(*map(jnp.asarray, (seen, seen, returns, mask, seen[:, 0])))
    found = rl.linear_baseline(played, jnp.asarray(returns), ridge=0.1)
    t = np.broadcast_to(np.arange(5) / 100, (4, 5))[..., None]
    rows = np.concatenate([seen, seen**2, t, t**2, t**3, np.ones_like(t)], -1)
    kept, targets = rows[mask > 0], returns[mask > 0]
    # ridge by augmented rows: another route than normal equations
    more = np.sqrt(0.1 * len(kept)) * np.eye(rows.shape[-1])
    w = np.linalg.lstsq(
        np.concatenate([kept, more]),
        np.concatenate([targets, np.zeros(len(more))]),
        rcond=None,
    )[0]
    np.testing.assert_allclose(found, rows @ w, rtol=1e-9, atol=1e-12)


def test_normal_actions():
    family = rl.gaussian(2, std=0.7)
    mean = jax.random.normal(KEY, (4, 2))
    dist = family.dist(family.init(), mean)
    x = jax.random.normal(jax.random.key(1), (4, 2))
    oracle = scipy.stats.norm(mean, 0.7)
    np.testing.assert_allclose(
        family.log_prob(dist, x), oracle.logpdf(x).sum(1), rtol=1e-12
    )
    np.testing.assert_allclose(
        family.entropy(dist), oracle.entropy().sum(1), rtol=1e-12
    )
    other = family.dist(jnp.array([0.1, -0.4]), mean + 0.3)
    # the integral itself, on a fine grid, a coordinate at a time
    grid = np.linspace(-12, 12, 200_001)
    total = np.zeros(4)
    for i in range(4):
        for d in range(2):
            p = scipy.stats.norm(mean[i, d], 0.7)
            q = scipy.stats.norm(other.mean[i, d], np.exp(other.log_std[i, d]))
            inside = p.pdf(grid) * (p.logpdf(grid) - q.logpdf(grid))
            total[i] += np.trapezoid(inside, grid)
    np.testing.assert_allclose(family.kl(dist, other), total, rtol=1e-8)
    drawn = family.sample(
        jax.tree.map(lambda x: jnp.broadcast_to(x[:1], (20_000, 2)), dist), KEY
    )
    np.testing.assert_allclose(drawn.mean(0), mean[0], atol=4 * 0.7 / 20_000**0.5)
    np.testing.assert_allclose(drawn.std(0), 0.7, rtol=0.03)


def test_categorical_actions():
    family = rl.categorical(3)
    dist = family.dist({}, jax.random.normal(KEY, (4, 3)))
    other = family.dist({}, jax.random.normal(jax.random.key(1), (4, 3)))
    p, q = scipy.special.softmax(dist, 1), scipy.special.softmax(other, 1)
    taken = jnp.array([0, 2, 1, 1])
    np.testing.assert_allclose(
        family.log_prob(dist, taken), np.log(p[np.arange(4), taken]), rtol=1e-12
    )
    np.testing.assert_allclose(
        family.entropy(dist), scipy.stats.entropy(p, axis=1), rtol=1e-12
    )
    np.testing.assert_allclose(
        family.kl(dist, other), scipy.stats.entropy(p, q, axis=1), rtol=1e-10
    )


def test_gittins_published_indices():
    # Gittins 1989, Bernoulli reward process, gamma = 0.9 and 0.5, uniform prior
    table = rl.gittins_indices(60, discount=0.9, grid=1000)
    for (wins, losses), wants in {
        (0, 0): 0.7029,
        (0, 1): 0.5001,
        (1, 0): 0.8001,
    }.items():
        # of a fresh episode: the whole horizon is still to come, but for one pull
        assert abs(table[wins + losses, wins, losses] - wants) < 0.004
    last = rl.gittins_indices(4, grid=1000)[3]  # one pull left: the mean
    for wins in range(4):
        for losses in range(4 - wins):
            wants = (wins + 1) / (wins + losses + 2)
            assert abs(last[wins, losses] - wants) < 2e-3


def test_gittins_regrets_less_than_thompson():
    env = rl.bandit(4, pulls=15)
    index = rl.gittins(rl.gittins_indices(15))

    def one(key):
        task = env.tasks(key)
        return tuple(
            rl.regret(task, rl.pull(rule, task, key, pulls=15))
            for rule in (index, rl.thompson, lambda key, w, f, t: t % 4)
        )

    good, fair, poor = jax.lax.map(one, jax.random.split(KEY, 1000), batch_size=250)
    assert good.mean() < 0.9 * fair.mean()
    assert fair.mean() < 0.9 * poor.mean()


def test_an_action_is_as_good_as_it_pays():
    p = jnp.array([0.25, 0.75])
    arms = jnp.array([0, 1, 1, 0])
    np.testing.assert_allclose(rl.regret(p, arms), 1.0)
    np.testing.assert_allclose(rl.expected_reward(p, arms), 2.0)


def test_a_small_head_begins_near_zero():
    seen = jax.random.normal(KEY, (3, 2))
    model = jm.models.mlp(2, hidden=(4,))
    whole = rl.policy(model, rl.gaussian(2)).init(KEY, seen).params["model"]
    small = rl.policy(model, rl.gaussian(2), head_scale=0.1).init(KEY, seen)
    head = small.params["model"]["head"]["kernel"]
    np.testing.assert_allclose(head, 0.1 * whole["head"]["kernel"], rtol=1e-12)
    layer = small.params["model"]["layer1"]["kernel"]
    np.testing.assert_array_equal(layer, whole["layer1"]["kernel"])
