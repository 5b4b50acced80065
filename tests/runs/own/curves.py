"""Regression with varying shots: tasks have one to eight examples, the rest is padding."""

from typing import Annotated

import jax
import jax.numpy as jnp
import optax

import jaxmeta as jm

MOST = 8


def parabolas(key):
    """y = a x^2 + b, seen at 1 to 8 places; rows of weight 0 are no examples."""
    task, many, places = jax.random.split(key, 3)
    a, b = jax.random.uniform(task, (2,), minval=-1)
    x = jax.random.uniform(places, (2 * MOST, 1), minval=-2, maxval=2)
    y = a * x**2 + b
    shots = jax.random.randint(many, (), 1, MOST + 1)
    weights = (jnp.arange(MOST) < shots).astype(x.dtype)
    return jm.Episode(
        jm.Batch(x[:MOST], y[:MOST], weights), jm.Batch(x[MOST:], y[MOST:])
    )


def wide(outputs, *, width: int = 8):
    """A network of one hidden layer.

    Args:
      width: of the hidden layer.
    """
    return jm.models.mlp(outputs, hidden=(width,))


NETWORKS = {"wide": wide}


def curves(
    *,
    network: Annotated[object, jm.runs.OneOf(NETWORKS, files=True)] = jm.runs.use(
        "wide"
    ),
    rate: float = 0.01,
):
    """MAML on parabolas of which one to eight points are known.

    Args:
      network: what fits the curve.
      rate: of the inner loop.
    """
    criterion = jm.criteria.regression
    learner = jm.maml(network(1), optax.sgd(rate), steps=1, criterion=criterion)
    tasks = jm.runs.Tasks(parabolas, parabolas, parabolas)
    return jm.runs.Experiment(
        learner, tasks, optax.adam(1e-3), facts={"shots": "1 to 8"}
    )
