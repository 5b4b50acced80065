"""The meta-policy-gradient: exact where all futures are listed, unbiased where sampled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import rl
from tests.rl import small

pytestmark = pytest.mark.usefixtures("x64")


def gradient_over_all_futures(agent, offset=0.0):
    mdp, meta = small.problem()
    fixed = small.enumerating(agent, meta, mdp, offset)
    tasks = jax.tree.map(lambda x: x[None], mdp)
    objective = rl.policy_gradient(fixed)
    _, grads = jax.jit(objective.value_and_grad)(meta, tasks, jax.random.key(0))
    exact = jax.jit(small.exact_meta_gradient)(meta.params, mdp)
    return -small.flat(grads), small.flat(exact)


@pytest.mark.parametrize("offset", [0.0, 0.37])
def test_dice_is_the_gradient_after_one_step(offset):
    found, exact = gradient_over_all_futures(small.agent(surrogate=rl.dice), offset)
    np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient": jm.gradients.first_order},
        {"surrogate": rl.score},
        {"surrogate": rl.lvc},
    ],
    ids=["first order", "score", "lvc"],
)
def test_the_others_are_not(options):
    found, exact = gradient_over_all_futures(small.agent(**options))
    assert np.abs(found - exact).max() > 0.02 * np.abs(exact).max()


def replicates(agent, count=100):
    """Independent meta-gradients of 1000 episodes before and after: `[count, p]`."""
    mdp, meta = small.problem()
    objective = rl.policy_gradient(agent)
    tasks = jax.tree.map(lambda x: x[None], mdp)

    @jax.jit
    def run(keys):
        return jax.lax.map(
            lambda key: objective.value_and_grad(meta, tasks, key)[1], keys
        )

    grads = run(jax.random.split(jax.random.key(7), count))
    found = [np.reshape(x, (count, -1)) for x in jax.tree.leaves(grads)]
    return -np.concatenate(found, 1)


def in_errors(found):
    """Distance of the mean from the exact gradient, in standard errors, a component."""
    mdp, meta = small.problem()
    exact = small.flat(small.exact_meta_gradient(meta.params, mdp))
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    return np.abs(found.mean(0) - exact) / error


def test_sampled_dice_is_unbiased_within_its_interval():
    # six components, 95 % jointly: a t-quantile of 2.7
    assert in_errors(replicates(small.agent(surrogate=rl.dice))).max() < 2.7


def test_sampled_first_order_is_not():
    assert (
        in_errors(replicates(small.agent(gradient=jm.gradients.first_order))).max() > 10
    )


def test_zero_steps_are_the_policy_gradient():
    mdp, meta = small.problem()
    found = replicates(small.agent(steps=0), count=50)
    exact = small.flat(jax.grad(small.exact_return)(meta.params, mdp))
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(0) - exact) < 2.8 * error).all()


def test_a_learned_rate_gets_its_gradient():
    mdp, meta = small.problem()
    agent = rl.maml_pg(
        small.ENV, small.POLICY, jm.rules.meta_sgd(0.1), episodes=5, baseline=None
    )
    meta = agent.init(jax.random.key(0), mdp)
    tasks = jax.tree.map(lambda x: x[None], mdp)
    (value, _), grads = rl.policy_gradient(agent).value_and_grad(
        meta, tasks, jax.random.key(1)
    )
    assert jnp.isfinite(value)
    assert optax.tree.norm(grads["rule"]) > 0


def test_magic_box_gathers_derivatives():
    def f(x):
        return rl.magic_box(jnp.sin(x))

    # derivatives of exp(u - u0) at u0: 1, u', u'^2 + u''
    x = 0.6
    np.testing.assert_allclose(f(x), 1.0)
    np.testing.assert_allclose(jax.grad(f)(x), np.cos(x), rtol=1e-14)
    second = jax.grad(jax.grad(f))(x)
    np.testing.assert_allclose(second, np.cos(x) ** 2 - np.sin(x), rtol=1e-13)
