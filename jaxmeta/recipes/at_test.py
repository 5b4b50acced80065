"""What happens to a task of the test before it is adapted to: `--test-time NAME`."""

from typing import Literal

import optax

from jaxmeta import transfer
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.recipes.parts import Method
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.options import OneOf


def nothing(method: Method) -> Method:
    """A task is adapted to as in training.

    Args:
      method: the learner.
    """
    return method


def tune(
    method: Method,
    *,
    steps: int = 50,
    rate: float = 1e-4,
    optimiser: Literal["adam", "sgd"] = "adam",
) -> Method:
    """The network is fine-tuned on other views of the support, as P>M>F does.

    Args:
      method: the learner.
      steps: of fine-tuning.
      rate: its learning rate: the one thing to choose by validation.
      optimiser: of fine-tuning.
    """
    if not 0 <= rate < float("inf"):
        raise ConfigError("test_time_rate", rate, "a finite number >= 0")
    if steps < 0:
        raise ConfigError("test_time_steps", steps, "an integer >= 0")
    tx = optax.adam(rate) if optimiser == "adam" else optax.sgd(rate, momentum=0.9)
    tester = transfer.tuned_at_test(method.tester, tx, steps=steps)
    believed = None if method.predictive is None else classifier(tester).predictive
    return method._replace(tester=tester, predictive=believed, at_steps=None)


TEST_TIME = {f.__name__: f for f in (nothing, tune)}
"""Every way by name."""

ANY = OneOf(TEST_TIME)
