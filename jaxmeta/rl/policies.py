"""Policies: a network, and a distribution over actions on top of it."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import tree
from jaxmeta.checks import at_least, positive
from jaxmeta.core import Array, Key, Meta, Model, PyTree
from jaxmeta.learners.maml import is_head


class Family(NamedTuple):
    """A family of distributions over actions; `dist` is a pytree of its parameters.

    They are free: nothing constrains them (logits, not probabilities), so that the KL
    has no first derivative in them where both are equal.

    Attributes:
      width: how many outputs of a network it takes.
      init: `() -> params`, its own parameters (a standard deviation).
      dist: `(params, outputs [..., width]) -> dist`.
      sample: `(dist, key) -> actions`.
      log_prob: `(dist, actions) -> [...]`.
      entropy: `dist -> [...]`.
      kl: `(dist, dist) -> [...]`, of the first from the second.
    """

    width: int
    init: Callable[[], PyTree]
    dist: Callable[[PyTree, Array], PyTree]
    sample: Callable[[PyTree, Key], Array]
    log_prob: Callable[[PyTree, Array], Array]
    entropy: Callable[[PyTree], Array]
    kl: Callable[[PyTree, PyTree], Array]


class Policy(NamedTuple):
    """How to act.

    Attributes:
      init: `(key, observations) -> Meta`; observations are an array or a pytree, leaves
        `[n, ...]`, as the network takes them.
      apply: `(meta, observations) -> dist`, leaves `[n, ...]`.
      family: what to do with `dist`.
    """

    init: Callable[[Key, PyTree], Meta]
    apply: Callable[[Meta, PyTree], PyTree]
    family: Family


class Normal(NamedTuple):
    """Independent normal distributions: `mean` and `log_std`, both `[..., d]`."""

    mean: Array
    log_std: Array


def gaussian(size: int, *, std: float = 1.0) -> Family:
    """Normal actions; one learned standard deviation a coordinate, for all states.

        a ~ N(mu(o), diag(exp(2 s)))

    Args:
      size: d, coordinates of an action.
      std: exp(s) to begin with.

    Returns:
      A `Family` whose own parameter is s `[d]`.

    Raises:
      ValueError: if `size < 1` or `std` is not positive.

    >>> family = gaussian(2)
    >>> dist = family.dist(family.init(), jnp.zeros((3, 2)))
    >>> family.log_prob(dist, jnp.zeros((3, 2))).shape
    (3,)
    """
    at_least(1, size=size)
    positive(std=std)

    def init():
        # a number of Python's has a weak type, and would be compiled for twice
        return jnp.full(size, math.log(std), float)

    def dist(log_std, outputs):
        return Normal(outputs, jnp.broadcast_to(log_std, outputs.shape))

    def sample(dist, key):
        noise = jax.random.normal(key, dist.mean.shape, dist.mean.dtype)
        return dist.mean + jnp.exp(dist.log_std) * noise

    def log_prob(dist, actions):
        z = (actions - dist.mean) * jnp.exp(-dist.log_std)
        return -jnp.sum(0.5 * z**2 + dist.log_std + 0.5 * jnp.log(2 * jnp.pi), -1)

    def entropy(dist):
        return jnp.sum(dist.log_std + 0.5 * (1 + jnp.log(2 * jnp.pi)), -1)

    def kl(p, q):
        gap = jnp.square(p.mean - q.mean) + jnp.exp(2 * p.log_std)
        inside = q.log_std - p.log_std - 0.5 + 0.5 * gap * jnp.exp(-2 * q.log_std)
        return jnp.sum(inside, -1)

    return Family(size, init, dist, sample, log_prob, entropy, kl)


def categorical(actions: int) -> Family:
    """One of some actions, by the softmax of the outputs; actions are integers.

    Args:
      actions: how many there are.

    Returns:
      A `Family` without parameters of its own; `dist` are logits.

    Raises:
      ValueError: if `actions < 2`.

    >>> family = categorical(4)
    >>> round(float(family.entropy(family.dist({}, jnp.zeros(4)))), 4)
    1.3863
    """
    at_least(2, actions=actions)

    def log_prob(dist, taken):
        found = jax.nn.log_softmax(dist)
        return jnp.take_along_axis(found, taken[..., None], -1)[..., 0]

    def entropy(dist):
        return -jnp.sum(jax.nn.softmax(dist) * jax.nn.log_softmax(dist), -1)

    def kl(p, q):
        gap = jax.nn.log_softmax(p) - jax.nn.log_softmax(q)
        return jnp.sum(jax.nn.softmax(p) * gap, -1)

    return Family(
        actions,
        dict,
        lambda params, outputs: outputs,
        lambda dist, key: jax.random.categorical(key, dist),
        log_prob,
        entropy,
        kl,
    )


def policy(model: Model, family: Family, *, head_scale: float = 1.0) -> Policy:
    """A network whose outputs parametrise a distribution over actions.

    Args:
      model: the network, with `family.width` outputs and without buffers that move. It
        runs at inference, in training too: what acted and what is replayed are one
        policy, so nothing is dropped.
      family: `gaussian(d)` or `categorical(n)`.
      head_scale: the last layer ("head") starts this much smaller, so that every
        policy begins near zero whatever its seed.

    Returns:
      A `Policy` with parameters `{"model": ..., "family": ...}`.

    Raises:
      ValueError: at `init`, if the network's width is not the family's.

    >>> from jaxmeta.models import mlp
    >>> pi, seen = policy(mlp(2, hidden=(8,)), gaussian(2)), jnp.zeros((5, 3))
    >>> pi.apply(pi.init(jax.random.key(0), seen), seen).mean.shape
    (5, 2)
    """

    def init(key, observations):
        meta = model.init(key, observations)
        width = jax.eval_shape(model.apply, meta, observations)[0].shape[-1]
        if width != family.width:
            raise ValueError(f"model: got {width} outputs, wants {family.width}")
        if head_scale != 1.0:
            head, body = tree.partition(meta.params, is_head)
            head = jax.tree.map(lambda x: head_scale * x, head)
            meta = meta._replace(params=tree.combine(head, body))
        return Meta({"model": meta.params, "family": family.init()}, meta.buffers)

    def apply(meta, observations):
        inner = Meta(meta.params["model"], meta.buffers)
        outputs, _ = model.apply(inner, observations)
        return family.dist(meta.params["family"], outputs)

    return Policy(init, apply, family)
