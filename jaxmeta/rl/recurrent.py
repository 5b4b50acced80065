"""A policy with a memory: what it saw, did and got goes into an LSTM."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Key, PyTree
from jaxmeta.functional.recurrent import Carry, lstm_scan, lstm_step
from jaxmeta.rl.policies import Family
from jaxmeta.rl.returns import flat_observations


class Memory(NamedTuple):
    """What a recurrent policy knows of a task.

    Attributes:
      carry: of the LSTM.
      action: the last one, as the LSTM sees it.
      reward: the last one.
      done: one where an episode has just ended.
    """

    carry: Carry
    action: Array
    reward: Array
    done: Array


class Recurrent(NamedTuple):
    """An LSTM with a policy and a value on top, as functions of its parameters.

    Attributes:
      family: of the actions.
      hidden: width of the LSTM.
    """

    family: Family
    hidden: int

    def init(self, key: Key, observation: PyTree) -> PyTree:
        """Parameters; the heads start small, so that every action is about as likely."""
        features = sum(jnp.size(x) for x in jax.tree.leaves(observation))
        features += self.encoded + 2
        keys, h = jax.random.split(key, 3), self.hidden
        glorot = jax.nn.initializers.glorot_uniform()

        def head(key, width):
            kernel = 0.1 * glorot(key, (h, width))
            return {"kernel": kernel, "bias": jnp.zeros(width)}

        cell = {"kernel": glorot(keys[0], (features + h, 4 * h)),
                "bias": jnp.zeros(4 * h)}  # fmt: skip
        return {"cell": cell, "policy": head(keys[1], self.family.width),
                "value": head(keys[2], 1), "family": self.family.init()}  # fmt: skip

    @property
    def encoded(self) -> int:
        """Width of an action as an input: a number a coordinate, or one-hot."""
        return self.family.width

    def encode(self, action: Array, like: Array) -> Array:
        """Actions `[..., d]` as they are, integers as one-hot rows."""
        if jnp.issubdtype(action.dtype, jnp.integer):
            return jax.nn.one_hot(action, self.family.width, dtype=like.dtype)
        return action

    def empty(self, params: PyTree) -> Memory:
        """The memory of a task that has not been seen."""
        dtype = params["cell"]["bias"].dtype
        zeros = jnp.zeros(self.hidden, dtype)
        none = jnp.zeros((), dtype)
        return Memory(Carry(zeros, zeros), jnp.zeros(self.encoded, dtype), none, none)

    def inputs(self, seen: PyTree, action: Array, reward: Array, done: Array) -> Array:
        """`[..., features]` of observations, and what came before them."""
        seen = flat_observations(seen, reward.ndim, reward.dtype)
        return jnp.concatenate([seen, action, reward[..., None], done[..., None]], -1)

    def step(
        self, params: PyTree, memory: Memory, seen: PyTree
    ) -> tuple[PyTree, Carry]:
        """One observation: the distribution of the action, and the new carry."""
        x = self.inputs(seen, memory.action, memory.reward, memory.done)
        carry = lstm_step(**params["cell"], carry=memory.carry, inputs=x, forget_bias=1)
        return self.heads(params, carry.hidden)[0], carry

    def scan(self, params: PyTree, inputs: Array) -> tuple[PyTree, Array]:
        """Distributions and values `[t]` of a sequence of inputs `[t, features]`."""
        _, hidden = lstm_scan(**params["cell"], inputs=inputs, forget_bias=1)
        return self.heads(params, hidden)

    def heads(self, params: PyTree, hidden: Array) -> tuple[PyTree, Array]:
        top, value = params["policy"], params["value"]
        dist = self.family.dist(params["family"], hidden @ top["kernel"] + top["bias"])
        return dist, (hidden @ value["kernel"] + value["bias"])[..., 0]
