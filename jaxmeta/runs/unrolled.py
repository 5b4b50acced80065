"""The gradient-based learners of the command line: each one made from a recipe."""

from collections.abc import Callable

import optax

from jaxmeta import learners, rules
from jaxmeta.core import MetaLearner
from jaxmeta.gradients import Gradient, first_order, implicit, unrolled
from jaxmeta.runs.recipe import Recipe

PUBLISHED_EPOCHS = 100
"""MAML++'s schedules count epochs; a run of any length is cut in so many."""


def make_inner(recipe: Recipe) -> optax.GradientTransformation:
    """The optimiser of the inner loop."""
    if recipe.inner == "sgd":
        return optax.sgd(recipe.inner_rate)
    if recipe.learner == "reptile":
        return optax.adam(recipe.inner_rate, b1=0.0)
    # whatever differentiates its steps needs a derivative at a zero gradient
    return rules.adam(recipe.inner_rate, b1=0.0)


def gradient_of(recipe: Recipe) -> Gradient:
    """How its outer gradient goes through the inner loop."""
    return first_order if recipe.order == "first" else unrolled()


def _maml(build: Callable[..., MetaLearner]) -> Callable[..., MetaLearner]:
    def make(net, r: Recipe, o) -> MetaLearner:
        return build(
            net(o.outputs),
            make_inner(r),
            steps=o.steps,
            gradient=gradient_of(r),
            criterion=o.criterion,
        )

    return make


def _meta_sgd(net, r: Recipe, o) -> MetaLearner:
    return learners.meta_sgd(
        net(o.outputs),
        init_rate=r.inner_rate,
        steps=o.steps,
        gradient=gradient_of(r),
        criterion=o.criterion,
    )


def _maml_plus_plus(net, r: Recipe, o) -> MetaLearner:
    return learners.maml_plus_plus(
        net(o.outputs),
        init_rate=r.inner_rate,
        steps=o.steps,
        sets=max(r.inner_steps, 1),
        epoch=max(r.steps // PUBLISHED_EPOCHS, 1),
        first_order_epochs=0 if r.order == "second" else r.steps,
        criterion=o.criterion,
    )


def _cavia(net, r: Recipe, o) -> MetaLearner:
    layer = "block3/norm" if r.norm != "none" else "block3/conv"
    return learners.cavia(
        net(o.outputs),
        make_inner(r),
        context=r.context,
        film=layer if r.model == "conv4" else None,
        steps=o.steps,
        gradient=gradient_of(r),
        criterion=o.criterion,
    )


def _imaml(net, r: Recipe, o) -> MetaLearner:
    return learners.imaml(
        net(o.outputs),
        make_inner(r),
        steps=o.steps,
        lam=r.lam,
        gradient=implicit(damping=r.damping),
        criterion=o.criterion,
    )


def _proto_maml(net, r: Recipe, o) -> MetaLearner:
    return learners.proto_maml(
        net(None),
        make_inner(r),
        steps=o.steps,
        gradient=gradient_of(r),
        criterion=o.criterion,
    )


UNROLLED: dict[str, tuple[str, Callable[..., MetaLearner]]] = {
    "maml": (
        "learns an initialisation, by the gradient through the inner loop",
        _maml(learners.maml),
    ),
    "anil": (
        "MAML whose inner loop moves the head alone",
        _maml(learners.anil),
    ),
    "boil": (
        "MAML whose inner loop moves everything but the head",
        _maml(learners.boil),
    ),
    "meta_sgd": (
        "MAML that learns a rate for every parameter",
        _meta_sgd,
    ),
    "meta_curvature": (
        "MAML that learns a linear map of its gradients",
        _maml(learners.meta_curvature),
    ),
    "maml_plus_plus": (
        "MAML with rates and norms per step, and a loss at every step",
        _maml_plus_plus,
    ),
    "cavia": (
        "adapts a small context vector and shares all the rest",
        _cavia,
    ),
    "imaml": (
        "MAML by the gradient of a minimum instead of the path to it",
        _imaml,
    ),
    "proto_maml": (
        "MAML whose head starts at the class means",
        _proto_maml,
    ),
}
"""Name -> (one line for `jaxmeta list`, builder)."""
