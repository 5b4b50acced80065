"""Series: the next values of a sequence, from a few stretches of it."""

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import jaxmeta as jm


def echoes(shots, queries):
    """x_t = a x_{t-1} - b x_{t-2} with a, b of the task: eight values, then the ninth."""

    def sample(key):
        which, where = jax.random.split(key)
        a, b = jax.random.uniform(which, (2,), minval=jnp.array([0.5, 0.1]), maxval=1.5)
        start = jax.random.normal(where, (shots + queries, 2))

        def step(pair, _):
            new = jnp.tanh(a * pair[:, 1] - b * pair[:, 0])
            return jnp.stack([pair[:, 1], new], axis=1), new

        values = jax.lax.scan(step, start, length=9)[1].T[..., None]
        x, y = values[:, :8], values[:, 8]
        return jm.Episode(
            jm.Batch(x[:shots], y[:shots]), jm.Batch(x[shots:], y[shots:])
        )

    return sample


class Net(nnx.Module):
    def __init__(self, width, rngs):
        self.cell = nnx.RNN(nnx.GRUCell(1, width, rngs=rngs))
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.head(self.cell(x)[:, -1])


def forecast(*, learner: Literal["anil", "reptile"] = "anil", width: int = 4):
    """The next value of a series, by a recurrent network.

    Args:
      learner: the method.
      width: of the state.
    """
    net = jm.models.from_nnx(lambda rngs: Net(width, rngs))
    more = {"steps": 1, "criterion": jm.criteria.regression}
    if learner == "anil":
        made = jm.anil(net, optax.sgd(0.1), head="head", **more)
    else:
        made = jm.reptile(net, optax.sgd(0.1), **more)
    task = echoes(4, 4)
    return jm.runs.Experiment(made, jm.runs.Tasks(task, task), optax.adam(1e-3))
