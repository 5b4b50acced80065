"""What each learner of the command line is, and how a recipe becomes one."""

from collections.abc import Callable
from typing import NamedTuple

import optax

from jaxmeta import learners, models
from jaxmeta.core import MetaLearner, Model
from jaxmeta.runs.recipes import Recipe


class Method(NamedTuple):
    """A learner of the command line.

    Attributes:
      summary: one line for `jaxmeta list`.
      make: `(net, recipe, options) -> MetaLearner`; `net(outputs)` is the model with
        a head, `net(None)` the model without one.
      steps: whether it adapts by inner steps, so that its score can be drawn over them.
      head: whether its number of ways is fixed when it is trained.
      regression: whether it can do regression.
    """

    summary: str
    make: Callable[..., MetaLearner]
    steps: bool = True
    head: bool = True
    regression: bool = True


class Options(NamedTuple):
    """What a learner is built with, for training or for the test."""

    outputs: int
    steps: int
    inner_batch: int | None
    loss: Callable


METHODS: dict[str, Method] = {
    "maml": Method(
        "learns an initialisation, by the gradient through the inner loop",
        lambda net, r, o: learners.maml(
            net(o.outputs),
            make_inner(r),
            steps=o.steps,
            order=r.order,
            task_loss=o.loss,
        ),
    ),
    "anil": Method(
        "MAML whose inner loop moves the head alone",
        lambda net, r, o: learners.anil(
            net(o.outputs),
            make_inner(r),
            steps=o.steps,
            order=r.order,
            task_loss=o.loss,
        ),
    ),
    "reptile": Method(
        "moves towards the adapted weights; first order",
        lambda net, r, o: learners.reptile(
            net(o.outputs),
            make_inner(r),
            steps=o.steps,
            inner_batch=o.inner_batch,
            task_loss=o.loss,
        ),
    ),
    "protonet": Method(
        "compares with the class means in a learned feature space",
        lambda net, r, o: learners.protonet(net(None)),
        steps=False,
        head=False,
        regression=False,
    ),
    **{
        name: Method(summary, make, steps=False, head=False, regression=False)
        for name, summary, make in (
            (
                "matching_network",
                "takes the labels of the support examples a query resembles",
                lambda net, r, o: learners.matching_network(net(None)),
            ),
            (
                "relation_network",
                "scores pairs of a class and a query with a network of its own",
                lambda net, r, o: learners.relation_network(
                    make_maps(r), relation=models.relation(norm=_norm(r))
                ),
            ),
            (
                "r2d2",
                "fits a ridge regression to the support features, in closed form",
                lambda net, r, o: learners.r2d2(net(None)),
            ),
            (
                "metaoptnet",
                "fits a support vector machine to the support features",
                lambda net, r, o: learners.metaoptnet(net(None)),
            ),
            (
                "baseline_plus_plus",
                "fits a cosine classifier to frozen features; a control",
                lambda net, r, o: learners.baseline_plus_plus(net(None)),
            ),
            (
                "simple_shot",
                "nearest mean of centred, normalised features; a control",
                lambda net, r, o: learners.simple_shot(net(None), temperature=0.1),
            ),
        )
    },
}
"""Every learner by name: one row each."""


def make_net(recipe: Recipe) -> Callable[[int | None], Model]:
    """The network of a recipe, given its number of outputs."""
    if recipe.model == "mlp":
        return lambda outputs: models.mlp(outputs, hidden=recipe.hidden)
    return lambda outputs: models.conv4(
        outputs,
        filters=recipe.filters,
        norm=_norm(recipe),
        downsample=recipe.downsample,
    )


def make_maps(recipe: Recipe) -> Model:
    """The network without its head, as feature maps where it has any."""
    if recipe.model == "mlp":
        return make_net(recipe)(None)
    return models.conv4(
        None,
        filters=recipe.filters,
        norm=_norm(recipe),
        flatten=False,
        pools=2,
        valid=2,
    )


def _norm(recipe: Recipe):
    return None if recipe.norm == "none" else recipe.norm


def make_inner(recipe: Recipe) -> optax.GradientTransformation:
    """The optimiser of the inner loop."""
    if recipe.inner == "adam":
        return optax.adam(recipe.inner_rate, b1=0.0)
    return optax.sgd(recipe.inner_rate)
