"""What pictures and measures are given: a trained run, as plain values."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxmeta.core import Key, Meta, MetaLearner
from jaxmeta.train import Evaluation


class Finished(NamedTuple):
    """A trained run.

    Attributes:
      tester: the learner as it was tested; `None` where the experiment has none.
      meta: the parameters that were tested.
      test: the tasks of the test.
      key: fixes the test: episode t is made from `fold_in(key, t)`.
      drawing: a key for episodes that are drawn; no episode of the test.
      episodes: how many episodes the test had.
      found: what it found.
      at_steps: k -> the tester with k inner steps, where it has any.
      inner_steps: `(in training, in the test)`.
    """

    tester: MetaLearner | None
    meta: Meta
    test: Any
    key: Key
    drawing: Key
    episodes: int
    found: Evaluation
    at_steps: Callable[[int], MetaLearner] | None = None
    inner_steps: tuple[int, int] | None = None
