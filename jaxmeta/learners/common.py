"""What learners with an inner loop share: what adapts, and by which optimiser."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import optax

from jaxmeta import tree
from jaxmeta.core import (
    Array,
    Batch,
    Key,
    Meta,
    Model,
    PyTree,
    Rule,
)
from jaxmeta.models.statistics import running_averages_at_test
from jaxmeta.rules import as_rule


class Slow(NamedTuple):
    """How `Meta.params` is laid out, as two functions.

    Attributes:
      init: `(the model's Meta, what adapts) -> the learner's Meta`.
      open: `Meta.params -> (model params, inner optimiser)`.
    """

    init: Callable[..., Meta]
    open: Callable[[PyTree], tuple[PyTree, optax.GradientTransformation]]


def learned(inner: optax.GradientTransformation | Rule) -> Slow:
    """Plain model parameters for an Optax transform; `{"model", "rule"}` for a rule."""
    rule = as_rule(inner)
    if not isinstance(inner, Rule):
        return Slow(lambda meta, phi=None: meta, lambda params: (params, rule.make(())))

    def init(meta: Meta, phi: PyTree = None) -> Meta:
        of = meta.params if phi is None else phi
        return meta._replace(params={"model": meta.params, "rule": rule.init(of)})

    return Slow(init, lambda params: (params["model"], rule.make(params["rule"])))


class Part(NamedTuple):
    """What of a network adapts to a task, as pure functions.

    Attributes:
      init: `(key, inputs) -> Meta`, the slow side without the inner optimiser's.
      start: `(meta, support, train, key) -> phi_0`.
      apply: `(meta, phi, inputs, step, train, key, weights) -> (outputs, buffers)`;
        inner step k and the query pass after it have `step` k.
      gather: joins the buffers of the query passes after every step, for models that
        keep statistics per step: `(before, visited [steps, ...]) -> buffers`.
      shares: whether something is learned beside where phi starts: only then is there
        an implicit gradient, since a minimum does not depend on a start.
    """

    init: Callable[[Key, PyTree], Meta]
    start: Callable[[Meta, Batch, bool, Key], PyTree]
    apply: Callable[..., tuple[Array, PyTree]]
    gather: Callable[[PyTree, PyTree], PyTree] | None = None
    shares: bool = False


class Only(NamedTuple):
    """An `adapt_only` that is the head alone."""

    head: Callable[[str], bool]

    def __call__(self, path: str) -> bool:
        return bool(self.head(path))


class AllBut(NamedTuple):
    """An `adapt_only` that leaves a part out, which must be there."""

    part: Callable[[str], bool]
    name: str = "head"
    wants: str | None = None

    def __call__(self, path: str) -> bool:
        return not self.part(path)


def choose(
    params: PyTree, adapt_only: Callable[[str], bool] | None
) -> tuple[PyTree, PyTree]:
    """Splits parameters in what the inner loop moves and the rest."""
    chosen, rest = tree.partition(params, adapt_only or (lambda path: True))
    names = sorted(tree.leaves(tree.paths(params)))
    if not tree.leaves(chosen):
        field = "head" if isinstance(adapt_only, Only) else "adapt_only"
        raise ValueError(f"{field}: selects none of the parameters {names}")
    if isinstance(adapt_only, AllBut) and not tree.leaves(rest):
        usual = f"give {adapt_only.name}=, a function of the path"
        wants = adapt_only.wants or usual
        raise ValueError(
            f"{adapt_only.name}: selects none of the parameters {names}, and all would "
            f"adapt: {wants}"
        )
    return chosen, rest


def warn_of_averages(model: Model, meta: Meta, inputs: PyTree) -> None:
    """Warns where adapting at a test uses statistics that meta-training never did."""
    if norms := running_averages_at_test(model, meta, inputs):
        warnings.warn(
            f"adapt and predict will use the running averages of {', '.join(norms)}, and "
            "the inner loop is meta-learned with those of the batch: scores in a test "
            'may be far lower; norm="batch" of conv4 and resnet12, or statistics="batch" '
            "of from_nnx and from_linen, uses the same statistics",
            stacklevel=3,
        )
