"""What methods of the command line are written with.

A method is a function `(room, *, options) -> Method`. One that is written out for a
learner lists the options that it treats by itself and takes the others as `**more`: those
are the builder's own, with its defaults and its words.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import optax

from jaxmeta import criteria, rules
from jaxmeta.core import MetaLearner
from jaxmeta.learners.maml import maml
from jaxmeta.learners.probabilistic import Probabilistic, classifier
from jaxmeta.recipes import gradients  # noqa: F401 (the choice that `gradient` is)
from jaxmeta.recipes.parts import Method, Room, Side
from jaxmeta.runs.docstrings import help_of, summary_of, unbound
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.options import annotation_of, own_options

Inner = Literal["sgd", "adam"]
Make = Callable[[Side, int], MetaLearner | Probabilistic]

OWN: dict[str, Callable[..., Method]] = {}
"""Methods that are written out, by the name of their learner."""

_COMMON = {
    "inner": "optimiser of the inner loop; adam has beta1 = 0.",
    "inner_rate": "its learning rate.",
    "inner_steps": "inner steps on a training task.",
    "eval_inner_steps": "inner steps on a task of the test; None: as in training.",
}
_AS_MAML = help_of(maml)  # for builders that say "as in `maml`"


def method(builder: Callable, *, hide: Sequence[str] = ()) -> Callable:
    """Registers a method that is written out for the learner of its name.

    Args:
      builder: of the learner: what the method does not list is an option of the builder.
      hide: options of the builder that the method decides.
    """

    def register(function: Callable[..., Method]) -> Callable[..., Method]:
        OWN[function.__name__] = completed(function, builder, hide)
        return function

    return register


def completed(
    function: Callable[..., Method], builder: Callable, hide: Sequence[str] = ()
) -> Callable[..., Method]:
    """The function, with the options of the builder that it takes as `**more`."""
    signature = inspect.signature(function, eval_str=True)
    own = [
        p
        for p in signature.parameters.values()
        if p.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    names = {p.name for p in own}
    if "inner_steps" in names:  # `steps` by another name: the recipe has one of its own
        names.add("steps")
    more = [o for o in own_options(builder) if o.name not in names | set(hide)]
    said = (
        {k: v for k, v in _COMMON.items() if k in names}
        | {o.name: _AS_MAML[o.name] for o in more if o.name in _AS_MAML}
        | {o.name: o.help for o in more if o.help}
        | help_of(function)
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(o.name, kind, default=o.default, annotation=annotation_of(o))
        for o in more
    ]
    function.__signature__ = inspect.Signature([*own, *added])  # type: ignore
    lines = [f"  {name}: {text}" for name, text in said.items()]
    function.__doc__ = "\n".join([summary_of(function), "", "Args:", *lines])
    return function


def make_inner(inner: Inner, rate: float) -> optax.GradientTransformation:
    """The optimiser of an inner loop that is differentiated; adam has beta1 = 0."""
    if not 0 < rate < float("inf"):
        raise ConfigError("inner_rate", rate, "a finite number > 0")
    # whatever differentiates its steps needs a derivative at a zero gradient
    return optax.sgd(rate) if inner == "sgd" else rules.adam(rate, b1=0.0)


def built(
    room: Room,
    make: Make,
    *,
    steps: tuple[int, int | None] | None = None,
    head: bool,
    **more: Any,
) -> Method:
    """A method from `make(side, inner steps) -> learner`, or a learner that believes.

    Args:
      room: what it is built in.
      make: builds the learner; it ignores its second argument where there are no steps.
      steps: inner steps on a training task, and on one of the test, `None` there: as in
        training; `None`: the learner has none.
      head: whether the number of classes is fixed by training.
      **more: fields of `Method`.
    """
    first, other = steps or (0, None)
    later = first if other is None else other
    with _called("inner_steps" if other is None else "eval_inner_steps"):
        made = make(room.test, later)
    with _called("inner_steps"):
        learner = _learner(make(room.train, first))
    tester, believed = made if isinstance(made, Probabilistic) else (made, _of(made))
    fields: dict[str, Any] = {"predictive": believed, "head": head}
    if steps is not None:
        fields["at_steps"] = lambda k: _learner(make(room.test, k))
        fields["inner_steps"] = (first, later)
    return Method(learner, tester, **{**fields, **more})


@contextmanager
def _called(name: str):
    """What a builder calls steps has another name here: a run has steps, too."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("steps: "):
            raise
        raise ValueError(str(error).replace("steps", name, 1)) from error


def _learner(made: MetaLearner | Probabilistic) -> MetaLearner:
    return made.learner if isinstance(made, Probabilistic) else made


def _of(tester: MetaLearner):
    """Logits say what a classifier believes; scores of pairs do not."""
    criterion = tester.criterion or criteria.classification
    logits = criterion is criteria.classification
    return classifier(tester).predictive if logits else None


def only_classes(room: Room, name: str) -> None:
    """Refuses a regression."""
    if room.criterion is not criteria.classification:
        raise ConfigError("learner", name, "one that can do regression")


def name_of(chosen: Callable) -> str:
    """What a chosen part is called."""
    return unbound(chosen).__name__
