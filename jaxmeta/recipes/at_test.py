"""What happens to a task of the test before it is adapted to: `--test-time NAME`.

Five of them classify all queries of a task together, so that results are transductive and
say so; they are the builders of `jaxmeta.transfer`, with their options and words.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import optax

from jaxmeta import transfer
from jaxmeta.core import MetaLearner
from jaxmeta.functional import augment
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.recipes.method import completed
from jaxmeta.recipes.metric import EMBEDDINGS
from jaxmeta.recipes.parts import Method
from jaxmeta.runs.docstrings import summary_of
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
    return _tested_by(tester, method)


def views(
    method: Method,
    *,
    count: int = 8,
    degrees: float = 8.0,
    shear: float = 0.1,
    scale: float = 0.1,
    shift: float = 0.03,
) -> Method:
    """Every image is seen in several affine views, and what is said of them averaged.

    Args:
      method: the learner.
      count: views, the image itself among them.
      degrees: a view is turned by so much at most.
      shear: slanted by so much at most.
      scale: stretched by so much at most, in the logarithm.
      shift: moved by so much at most, in shares of a side.
    """
    if count < 1:
        raise ConfigError("test_time_count", count, "an integer >= 1")
    warp = partial(
        augment.affine, degrees=degrees, shear=shear, scale=scale, shift=shift
    )
    tester = transfer.several_views(method.tester, warp, views=count)
    return _tested_by(tester, method)


def _tested_by(tester: MetaLearner, method: Method) -> Method:
    """The method with another learner in its test, and that one's probabilities."""
    believed = None if method.predictive is None else classifier(tester).predictive
    return method._replace(tester=tester, predictive=believed, at_steps=None)


def together(builder: Callable) -> Callable[..., Method]:
    """A way from a builder of `(learner, model, *, where, options)`."""

    def run(method: Method, **more) -> Method:
        if method.embedding is None:
            wants = f"nothing: it is for learners that compare features: {_NAMES}"
            raise ConfigError("test_time", builder.__name__, wants)
        model, where, _ = method.embedding
        tester = builder(method.tester, model, where=where, **more)
        return _tested_by(tester, method)

    run.__name__ = builder.__name__
    run.__doc__ = summary_of(builder)
    return completed(run, builder, hide=("where",))


_NAMES = ", ".join(EMBEDDINGS)
_TOGETHER = (
    transfer.tim,
    transfer.alpha_tim,
    transfer.laplacian_shot,
    transfer.bd_cspn,
    transfer.pt_map,
)

TEST_TIME = {f.__name__: f for f in (nothing, tune, views, *map(together, _TOGETHER))}
"""Every way by name."""

ANY = OneOf(TEST_TIME)
