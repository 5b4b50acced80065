"""The file that `jaxmeta new` writes: a learner, a network and data of one's own."""

from pathlib import Path

from jaxmeta.runs.errors import ConfigError

TEXT = '''\
"""An experiment of my own: jaxmeta train {name}:mine --width 64"""
import numpy as np
import optax
from flax import nnx
import jaxmeta as jm

def waves(*, classes=30, each=20):  # your data: inputs [n, 128, 3] and labels [n]
    random, labels = np.random.default_rng(0), np.repeat(np.arange(classes), each)
    pace = random.uniform(1, 20, (classes, 1, 3))[labels]  # what makes a class
    clean = np.sin(pace * np.linspace(0, 6, 128)[:, None])
    return clean + random.normal(0, 0.5, clean.shape), labels

class Net(nnx.Module):  # your network: [n, 128, 3] in, features [n, width] out
    def __init__(self, width, rngs):
        self.conv = nnx.Conv(3, width, (9,), strides=4, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)
    def __call__(self, x):
        return self.drop(nnx.relu(self.conv(x))).mean(axis=1)

def nearest_mean(net, judge=jm.criteria.classification):  # your method: four functions
    mean = lambda x, targets: targets.T @ x / targets.sum(0)[:, None]
    score = lambda x, means: -((x[:, None] - means) ** 2).sum(-1)
    init = lambda key, task: net.init(key, task.support.inputs)  # first parameters
    def adapt(meta, support, key):  # what is kept of a new task; targets are one-hot
        return mean(net.apply(meta, support.inputs)[0], support.targets)
    def predict(meta, means, inputs):  # a score of each class for new inputs, [n, ways]
        return score(net.apply(meta, inputs)[0], means)
    def loss(meta, task, key):  # training follows its gradient, here with dropout
        x, y = (net.apply(meta, part.inputs, train=True, key=key)[0] for part in task)
        said = score(y, mean(x, task.support.targets)), task.query.targets, None
        return judge.loss(*said), jm.Aux(judge.metrics(*said))
    return jm.MetaLearner(init, adapt, predict, loss)

def mine(*, ways: int = 5, shots: int = 1, width: int = 32, rate: float = 1e-3):
    """Waves, told apart by a few examples of each."""
    parts = jm.data.split_classes(jm.data.from_labels(*waves()))  # train, val, test
    tasks = jm.runs.Tasks(*(jm.tasks.few_shot(p, ways, shots, 5) for p in parts))
    learner = nearest_mean(jm.models.from_nnx(lambda rngs: Net(width, rngs)))
    facts = {{"ways": ways, "shots": shots}}
    return jm.runs.Experiment(learner, tasks, optax.adam(rate), 150, facts=facts)
'''


def write_starter(path: Path) -> Path:
    """Writes a short experiment that runs as it is, to be changed.

    Args:
      path: the file; it must not be there yet.

    Returns:
      The path.

    Raises:
      ConfigError: a file that is there, or that cannot be written.
    """
    if path.suffix != ".py":
        raise ConfigError("new", path, "a name that ends in .py")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(TEXT.format(name=path.name))
    except FileExistsError:
        wants = "a new name: a file that is there is not written over"
        raise ConfigError("new", path, wants) from None
    except OSError as error:
        wants = f"a place that can be written ({error.strerror})"
        raise ConfigError("new", path, wants) from error
    return path
