"""Learners of the command line: `--learner NAME`, each with options of its own.

A learner of `jaxmeta.LEARNERS` is here by its signature alone. What it takes first says
what it needs, a network with a head (`Model`) or one without (`Features`); an `inner`
optimiser becomes the options inner and inner_rate, `steps` becomes inner_steps, and what
else a command line can give becomes an option of the same name. A function in this room
replaces that where a learner needs more: a second network, a schedule, what it believes.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import optax

from jaxmeta import criteria, rules
from jaxmeta.core import Features, MetaLearner
from jaxmeta.learners import LEARNERS
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.recipes.parts import Method, Room
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.options import OneOf, own_options

Inner = Literal["sgd", "adam"]

OWN: dict[str, Callable[..., Method]] = {}
"""Methods that are written out, by the name of their learner."""


def method(function: Callable[..., Method]) -> Callable[..., Method]:
    """Registers a method that is written out."""
    OWN[function.__name__] = function
    return function


def make_inner(inner: Inner, rate: float) -> optax.GradientTransformation:
    """The optimiser of an inner loop that is differentiated; adam has beta1 = 0."""
    if not 0 < rate < float("inf"):
        raise ConfigError("inner_rate", rate, "a finite number > 0")
    # whatever differentiates its steps needs a derivative at a zero gradient
    return optax.sgd(rate) if inner == "sgd" else rules.adam(rate, b1=0.0)


def built(
    room: Room,
    make: Callable[[int, int], MetaLearner],
    *,
    inner_steps: int | None = None,
    eval_inner_steps: int | None = None,
    head: bool,
    **more: Any,
) -> Method:
    """A method from `make(outputs, inner steps) -> learner`.

    Args:
      room: what it is built in.
      make: builds the learner; it ignores its second argument where there are no steps.
      inner_steps: on a training task; `None`: the learner has none.
      eval_inner_steps: on a task of the test; `None`: as in training.
      head: whether the number of classes is fixed by training.
      **more: fields of `Method`.
    """
    if inner_steps is None:
        learner, tester = (make(n, 0) for n in room.outputs)
        return Method(learner, tester, head=head, **{**_belief(room, tester), **more})
    later = inner_steps if eval_inner_steps is None else eval_inner_steps
    tester = make(room.outputs[1], later)
    return Method(
        make(room.outputs[0], inner_steps),
        tester,
        at_steps=partial(make, room.outputs[1]),
        inner_steps=(inner_steps, later),
        head=head,
        **{**_belief(room, tester), **more},
    )


def _belief(room: Room, tester: MetaLearner) -> dict[str, Any]:
    """Logits say what a classifier believes; scores of pairs do not."""
    if (tester.criterion or criteria.classification) is not criteria.classification:
        return {}
    return {"predictive": classifier(tester).predictive}


def of(name: str, builder: Callable[..., MetaLearner]) -> Callable[..., Method]:
    """A method from the signature of a learner."""
    signature = inspect.signature(builder, eval_str=True)
    first = next(iter(signature.parameters.values()))
    head = not _is_features(first.annotation)
    takes_inner = "inner" in signature.parameters and (
        signature.parameters["inner"].default is inspect.Parameter.empty
    )
    steps = signature.parameters.get("steps")
    criterion = "criterion" in signature.parameters
    options = [o for o in own_options(builder) if o.name != "steps"]

    def run(room: Room, **given: Any) -> Method:
        first_steps = given.pop("inner_steps", None)
        later = given.pop("eval_inner_steps", None)
        tx = ()
        if takes_inner:
            tx = (make_inner(given.pop("inner"), given.pop("inner_rate")),)
        if room.criterion is not criteria.classification and not criterion:
            raise ConfigError("learner", name, "one that can do regression")

        def make(outputs: int, k: int) -> MetaLearner:
            more = dict(given)
            if steps is not None:
                more["steps"] = k
            if room.criterion is not criteria.classification:
                more["criterion"] = room.criterion
            return builder(room.network(outputs if head else None), *tx, **more)

        return built(
            room, make, inner_steps=first_steps, eval_inner_steps=later, head=head
        )

    def keyword(name: str, kind: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
        )

    made = [keyword(o.name, o.kind, o.default) for o in options]
    if steps is not None:
        default = 5 if steps.default is inspect.Parameter.empty else steps.default
        made.insert(0, keyword("eval_inner_steps", int | None, None))
        made.insert(0, keyword("inner_steps", int, default))
    if takes_inner:
        made.insert(0, keyword("inner_rate", float, 0.4))
        made.insert(0, keyword("inner", Inner, "sgd"))
    run.__name__ = name
    run.__doc__ = _doc(builder, options)
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("room", inspect.Parameter.POSITIONAL_ONLY), *made]
    )
    run.__annotations__ = {p.name: p.annotation for p in made}
    return run


def _doc(builder: Callable, options) -> str:
    """The builder's summary, and a sentence for each option."""
    summary = (inspect.getdoc(builder) or "").split("\n", 1)[0]
    lines = [
        "inner: optimiser of the inner loop; adam has beta1 = 0.",
        "inner_rate: its learning rate.",
        "inner_steps: inner steps on a training task.",
        "eval_inner_steps: inner steps on a task of the test; None: as in training.",
        *(f"{o.name}: {o.help}" for o in options),
    ]
    return "\n".join([summary, "", "Args:", *(f"  {line}" for line in lines)])


def _is_features(kind: Any) -> bool:
    if kind == Features:
        return True
    return any(arg == Features for arg in typing.get_args(kind))


def table() -> Mapping[str, Callable[..., Method]]:
    """Every method by name: those that are written out, and all learners."""
    return {
        name: OWN.get(name) or of(name, builder) for name, builder in LEARNERS.items()
    } | {name: made for name, made in OWN.items() if name not in LEARNERS}


ANY = OneOf(table)


def name_of(chosen: Callable) -> str:
    """What a chosen part is called."""
    while isinstance(chosen, partial):
        chosen = chosen.func
    return chosen.__name__


def check_head(method: Method, train: int, test: int, field: str) -> None:
    """Refuses other ways in training than in the test where a head fixes them."""
    if method.head and train != test:
        raise ConfigError(field, train, f"{test}: the head of this learner is fixed")
