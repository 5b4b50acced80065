"""Pictures: two kinds of mark, bright blobs at places that make a class."""

import numpy as np
import optax
from flax import nnx

import jaxmeta as jm


def marks(classes=12, each=8, side=12):
    random = np.random.default_rng(0)
    where = random.integers(2, side - 2, (classes, 2)).repeat(each, axis=0)
    where = where + random.integers(-1, 2, where.shape)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1)
    far = np.square(grid - where[:, None, None]).sum(-1, keepdims=True)
    return np.exp(-far / 3.0).astype("f"), np.repeat(np.arange(classes), each)


class Net(nnx.Module):
    def __init__(self, ways, width, rngs):
        self.conv = nnx.Conv(1, width, (3, 3), strides=2, rngs=rngs)
        self.head = nnx.Linear(36 * width, ways, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.conv(x)).reshape(len(x), -1))


def blobs(*, ways: int = 3, width: int = 4, inner_rate: float = 0.1):
    """MAML on pictures of my own.

    Args:
      ways: classes in a task.
      width: channels.
      inner_rate: rate of the inner loop.
    """
    parts = jm.data.split_classes(jm.data.from_labels(*marks()))
    tasks = jm.runs.Tasks(*(jm.tasks.few_shot(part, ways, 1, 2) for part in parts))
    net = jm.models.from_nnx(lambda rngs: Net(ways, width, rngs))
    return jm.runs.Experiment(
        jm.maml(net, optax.sgd(inner_rate), steps=1),
        tasks,
        optax.adam(1e-3),
        facts={"ways": ways, "shots": 1},
        title="MAML on blobs",
        at_steps=lambda k: jm.maml(net, optax.sgd(inner_rate), steps=k),
        inner_steps=(1, 1),
        pictures=(jm.report.images,),
        head=True,
    )
