"""A Markov decision process of 2 states, small enough that all its futures are listed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from jaxmeta import rl
from jaxmeta.rl.maml_pg import Sample

HORIZON, ALPHA = 3, 0.7
ENV = rl.tabular(2, 2, horizon=HORIZON, noise=0.0)
POLICY = rl.policy(jm.models.linear_head(2), rl.categorical(2))


def problem():
    """The process and a policy that is not at a special point, in the ambient precision."""
    mdp = rl.Mdp(
        jnp.array([[[0.7, 0.3], [0.2, 0.8]], [[0.6, 0.4], [0.1, 0.9]]]),
        jnp.array([[1.0, 0.0], [-1.0, 2.0]]),
    )
    kernel = jnp.array([[0.3, -0.2], [-0.4, 0.5]])
    params = {"kernel": kernel, "bias": jnp.array([0.1, -0.3])}
    return mdp, jm.Meta({"model": params, "family": {}})


def agent(**options):
    chosen = {
        "episodes": 1000,
        "baseline": None,
        "discount": 1.0,
        "normalise": False,
        **options,
    }
    return rl.maml_pg(ENV, POLICY, optax.sgd(ALPHA), **chosen)


def exact_return(params, mdp):
    """J by backward induction: no trajectory, no sample."""
    model = params["model"]
    chances = jax.nn.softmax(model["kernel"] + model["bias"])  # [s, a]
    value = jnp.zeros(2)
    for _ in range(HORIZON):
        value = jnp.sum(chances * (mdp.rewards + mdp.transitions @ value), 1)
    return value[0]


def exact_meta_gradient(params, mdp):
    """d/d theta of J(theta + alpha grad J(theta))."""

    def adapted(params):
        slope = jax.grad(exact_return)(params, mdp)
        phi = jax.tree.map(lambda p, g: p + ALPHA * g, params, slope)
        return exact_return(phi, mdp)

    return jax.grad(adapted)(params)


def all_futures(params, mdp, offset=0.0):
    """Every trajectory; its probability is a weight in the advantages, as data.

    `offset` is a baseline that depends on the state and the time.
    """
    rows = []
    paths = itertools.product([0, 1], repeat=2 * HORIZON - 1)
    chances = np.asarray(
        jax.nn.softmax(params["model"]["kernel"] + params["model"]["bias"])
    )
    moves, pays = np.asarray(mdp.transitions), np.asarray(mdp.rewards)
    for path in paths:
        actions, states = path[:HORIZON], (0, *path[HORIZON:])
        weight = np.prod([chances[s, a] for s, a in zip(states, actions, strict=True)])
        for t in range(HORIZON - 1):
            weight *= moves[states[t], actions[t], states[t + 1]]
        rows.append((states, actions, weight))
    states, actions, weights = (np.array(x) for x in zip(*rows, strict=True))
    assert abs(weights.sum() - 1) < 1e-12
    rewards = pays[states, actions]
    togo = np.cumsum(rewards[:, ::-1], 1)[:, ::-1]
    togo = togo - offset * (1 + states) * (1 + np.arange(HORIZON))
    seen = jnp.eye(2)[states]
    played = rl.Trajectory(
        seen, jnp.asarray(actions), jnp.asarray(rewards), jnp.ones(rewards.shape),
        seen[:, -1],
    )  # fmt: skip
    return Sample(played, jnp.asarray(togo * weights[:, None] * len(rows)))


def enumerating(agent, meta, mdp, offset=0.0):
    """The same agent, whose samples are all there is: expectations, not estimates."""
    before = all_futures(meta.params, mdp, offset)
    slope = jax.grad(exact_return)(meta.params, mdp)
    phi = jax.tree.map(lambda p, g: p + ALPHA * g, meta.params, slope)
    after = all_futures(phi, mdp, offset)
    rows = after.played.observations
    dist = POLICY.apply(jm.Meta(phi), rows.reshape(-1, 2)).reshape(rows.shape)
    found = rl.Experience(
        [before], after.played, after.advantages, after.advantages, dist, {}
    )
    return agent._replace(collect=lambda meta, task, key: found)


def flat(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
