"""What an inner loop does to one task, step by step: where it diverges, and in what leaf."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import tree
from jaxmeta.core import Episode, Key, Meta, MetaLearner
from jaxmeta.criteria import as_criterion


class InnerStep(NamedTuple):
    """The state of an inner loop after some steps.

    Attributes:
      step: how many.
      score: the support loss as a multiple of what it was before the first step.
      moved: ||phi_k - phi_0|| / ||phi_0|| of the leaf that moved farthest.
      leaf: its path.
      finite: whether all of it is finite.
    """

    step: int
    score: float
    moved: float
    leaf: str
    finite: bool

    def alarming(self, limit: float) -> bool:
        """Whether the loss or a leaf has grown by more than `limit`."""
        return not (self.finite and self.score <= limit and self.moved <= limit)

    def __str__(self) -> str:
        return (
            f"inner step {self.step}: support loss x {self.score:.3g}, "
            f"{self.leaf} moved by {self.moved:.3g} of its norm"
        )


def inner_steps(
    at: Callable[[int], MetaLearner],
    meta: Meta,
    episode: Episode,
    key: Key,
    *,
    steps: int,
) -> list[InnerStep]:
    """Adapts to one task in 0, 1, ..., K steps and compares each with the start.

        r_k = L(phi_k; S) / L(phi_0; S),   m_k = max_leaf ||phi_k - phi_0|| / ||phi_0||

    L is the loss of the learner's criterion.

    Args:
      at: `k -> learner` that takes k inner steps; all of them share `meta`.
      meta: the slow side.
      episode: the task.
      key: for `adapt`.
      steps: K; each one compiles a program.

    Returns:
      An `InnerStep` for k = 1..K; it ends with the first that is not finite.

    >>> import optax, jaxmeta as jm
    >>> model = jm.models.mlp(1, hidden=())
    >>> at = lambda k: jm.maml(model, optax.sgd(1e3), steps=k, criterion=jm.criteria.regression)
    >>> episode = jm.tasks.sinusoid()(jax.random.key(0))
    >>> meta = at(1).init(jax.random.key(1), episode)
    >>> key = jax.random.key(2)
    >>> found = inner_steps(at, meta, episode, key, steps=1)
    >>> found[0].alarming(10.0)
    True
    """

    def measure(learner):
        fast = learner.adapt(meta, episode.support, key)
        outputs = learner.predict(meta, fast, episode.support.inputs)
        criterion = as_criterion(learner.criterion)
        outputs = criterion.prepare(outputs, episode.support)
        seen = episode.support
        return fast, criterion.loss(outputs, seen.targets, seen.weights)

    first, start = jax.jit(lambda: measure(at(0)))()
    found = []
    for k in range(1, steps + 1):
        fast, value = jax.jit(lambda k=k: measure(at(k)))()
        found.append(_compare(k, first, fast, float(value) / max(float(start), 1e-12)))
        if not found[-1].finite:
            break
    return found


def _compare(k: int, first, fast, score: float) -> InnerStep:
    names, before = tree.leaves(tree.paths(first)), tree.leaves(first)
    after, worst = tree.leaves(fast), (-1.0, "nothing")
    if len(before) != len(after):  # a fast that is no longer what it started as
        return InnerStep(k, score, 0.0, "fast", bool(jnp.isfinite(score)))
    for name, a, b in zip(names, before, after, strict=True):
        moved = float(jnp.linalg.norm(jnp.ravel(b - a)))
        if not jnp.isfinite(moved):
            return InnerStep(k, score, float("inf"), name, False)
        # a bias starts at zero: any step is infinitely far from there
        size = max(float(jnp.linalg.norm(jnp.ravel(a))), 1.0)
        worst = max(worst, (moved / size, name))
    return InnerStep(k, score, *worst, bool(jnp.isfinite(score)))
