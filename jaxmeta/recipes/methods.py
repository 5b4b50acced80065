"""Learners of the command line: `--learner NAME`, each with options of its own.

A learner of `jaxmeta.LEARNERS` is here by its signature alone. What it takes first says
what it needs, a network with a head (`Model`) or one without (`Features`); an `inner`
optimiser becomes the options inner and inner_rate, the `steps` of what adapts parameters
become inner_steps, and what else a command line can give becomes an option of the same
name. A method in this room replaces that where a learner needs more: a second network, a
schedule, what it believes.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from jaxmeta import criteria
from jaxmeta.core import Features, MetaLearner
from jaxmeta.learners import LEARNERS
from jaxmeta.recipes import (  # noqa: F401 (they register themselves)
    adversarial,
    gradient,
    memory,
    metric,
    online,
    probabilistic,
    tabular,
)
from jaxmeta.recipes.method import (
    OWN,
    Inner,
    built,
    completed,
    make_inner,
    only_classes,
)
from jaxmeta.recipes.method import name_of as name_of
from jaxmeta.recipes.metric import EMBEDDINGS
from jaxmeta.recipes.parts import Embedding, Method, Room, Side
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.options import OneOf


def of(name: str, builder: Callable[..., MetaLearner]) -> Callable[..., Method]:
    """A method from the signature of a learner."""
    parameters = inspect.signature(builder, eval_str=True).parameters
    first = next(iter(parameters.values()))
    head = not takes_features(first.annotation)
    inner = parameters.get("inner")
    takes_inner = inner is not None and inner.default is inspect.Parameter.empty
    # a fit of a head to frozen features has steps, too, but no inner loop
    adapts = "steps" in parameters and (head or takes_inner)
    criterion = head and "criterion" in parameters

    def run(room: Room, **given: Any) -> Method:
        steps = (
            (given.pop("inner_steps"), given.pop("eval_inner_steps"))
            if adapts
            else None
        )
        tx = ()
        if takes_inner:
            tx = (make_inner(given.pop("inner"), given.pop("inner_rate")),)
        if not criterion:
            only_classes(room, name)

        def make(side: Side, k: int) -> MetaLearner:
            more = given | ({"steps": k} if adapts else {})
            if room.criterion is not criteria.classification:
                more["criterion"] = room.criterion
            if room.inner is not None and "inner_criterion" in parameters:
                more["inner_criterion"] = room.inner
            return builder(room.network(side.outputs if head else None), *tx, **more)

        found = built(room, make, steps=steps, head=head)
        if name not in EMBEDDINGS:
            return found
        known = Embedding(room.network(None), *EMBEDDINGS[name])
        return found._replace(embedding=known)

    def keyword(name: str, kind: Any, default: Any) -> inspect.Parameter:
        how = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, how, default=default, annotation=kind)

    own = [inspect.Parameter("room", inspect.Parameter.POSITIONAL_ONLY)]
    if takes_inner:
        own += [keyword("inner", Inner, "sgd"), keyword("inner_rate", float, 0.4)]
    if adapts:
        default = parameters["steps"].default
        default = 5 if default is inspect.Parameter.empty else default
        own += [keyword("inner_steps", int, default)]
        own += [keyword("eval_inner_steps", int | None, None)]
    run.__name__ = name
    run.__doc__ = inspect.getdoc(builder)
    run.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
    return completed(run, builder)


def takes_features(kind: Any) -> bool:
    """Whether a builder's first argument is a network without a head."""
    if kind == Features:
        return True
    return any(arg == Features for arg in typing.get_args(kind))


def table() -> Mapping[str, Callable[..., Method]]:
    """Every method by name: those that are written out, and all learners."""
    return {
        name: OWN.get(name) or of(name, builder) for name, builder in LEARNERS.items()
    } | {name: made for name, made in OWN.items() if name not in LEARNERS}


ANY = OneOf(table)


def check_head(method: Method, train: int, test: int, field: str) -> None:
    """Refuses other ways in training than in the test where a head fixes them."""
    if method.head and train != test:
        raise ConfigError(field, train, f"{test}: the head of this learner is fixed")
