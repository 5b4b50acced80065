"""Any learner or run, with scikit-learn's interface."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.estimators import library  # noqa: F401 (says how to get what follows)

from sklearn.base import BaseEstimator, ClassifierMixin  # isort: skip
from sklearn.utils import check_X_y, check_array  # isort: skip
from sklearn.utils.multiclass import check_classification_targets  # isort: skip
from sklearn.utils.validation import check_is_fitted, validate_data  # isort: skip

from jaxmeta.alike import Shared
from jaxmeta.core import Batch, Meta, MetaLearner
from jaxmeta.criteria import as_criterion
from jaxmeta.data.arrays import unit_range
from jaxmeta.estimators.reading import bucket
from jaxmeta.learners.protonet import protonet
from jaxmeta.models.flat import flat


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that learns from a few examples as a learner has learned to.

    `fit` adapts to the examples, `predict` asks. Examples are rows or images, whatever
    the learner was trained on; uint8 images are brought to [0, 1]. Shapes are padded to
    powers of four times 16, so that sets of like sizes share a compiled program.

    Args:
      learner: a `MetaLearner`, or a trained run (`jaxmeta.runs.load`), which brings its
        parameters. None: prototypes of the inputs themselves, the nearest class mean.
      meta: its parameters, where it is no run.
      seed: of what the learner draws as it adapts.

    Attributes:
      classes_: the classes, sorted.
      n_features_in_: of rows: how many columns.

    >>> x, y = np.array([[0.0], [0.2], [1.0]]), ["a", "a", "b"]
    >>> FewShotClassifier().fit(x, y).predict([[0.3], [0.9]]).tolist()
    ['a', 'b']
    """

    def __init__(self, learner: Any = None, meta: Meta | None = None, *, seed: int = 0):
        self.learner = learner
        self.meta = meta
        self.seed = seed

    def fit(self, X: Any, y: Any) -> "FewShotClassifier":
        """Adapts to examples.

        Args:
          X: `[n, ...]`.
          y: `[n]` labels, of two classes or more.

        Raises:
          ValueError: for anything else; or as the learner does, if it was built for
            another number of classes.
        """
        validate_data(self, X, y, skip_check_array=True)
        X, y = check_X_y(X, y, dtype="numeric", allow_nd=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y: got one class, {self.classes_.tolist()[0]!r}, wants two or more classes"
            )
        learner, meta = self._made()
        size = bucket(len(X), 16)
        targets = np.zeros((size, len(self.classes_)), "float32")
        targets[np.arange(len(X)), labels] = 1
        weights = (np.arange(size) < len(X)).astype("float32")
        support = Batch(_filled(X, size), jnp.asarray(targets), jnp.asarray(weights))
        fast = _programs(learner).adapt(meta, support, jax.random.key(self.seed))
        self._fast = jax.tree.map(np.asarray, fast)
        self._support = Batch(None, targets, weights)  # type: ignore[arg-type]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities `[n, classes]`, in the order of `classes_`."""
        check_is_fitted(self)
        numbers = check_array(X, dtype="numeric", allow_nd=True)
        validate_data(self, X, reset=False, skip_check_array=True)
        X = numbers
        learner, meta = self._made()
        ask, found = _programs(learner).ask, []
        for start in range(0, len(X), 64):
            part = X[start : start + 64]
            out = ask(meta, self._fast, _filled(part, 64), self._support)
            found.append(np.asarray(out, float)[: len(part)])
        logits = np.concatenate(found)
        p = np.exp(logits - logits.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each example."""
        best = self.predict_proba(X).argmax(-1)
        return self.classes_[best]

    def _made(self) -> tuple[MetaLearner, Meta]:
        if self.learner is None:
            return _nearest_mean(), Meta({}, {})
        if isinstance(self.learner, MetaLearner):
            if self.meta is None:
                raise ValueError("meta: got None, wants the learner's parameters")
            return self.learner, self.meta
        return self.learner.learner, self.learner.meta


def _filled(x: np.ndarray, size: int) -> np.ndarray:
    """`[size, ...]`: the last rows are zeros, and weigh nothing."""
    x = unit_range(x).astype("float32")
    return np.pad(x, ((0, size - len(x)), *((0, 0),) * (x.ndim - 1)))


@functools.cache
def _nearest_mean() -> MetaLearner:
    """One learner for all estimators that were given none."""
    return protonet(flat())


class _Programs:
    """What is compiled for learners that are built alike."""

    def __init__(self, learner: MetaLearner):
        criterion = as_criterion(learner.criterion)

        def ask(meta, fast, inputs, support):
            return criterion.prepare(learner.predict(meta, fast, inputs), support)

        self.adapt, self.ask = jax.jit(learner.adapt), jax.jit(ask)


_shared = Shared()


def _programs(learner: MetaLearner) -> _Programs:
    more = learner.predict, learner.criterion
    return _shared.of(learner.adapt, more, functools.partial(_Programs, learner))
