"""What each learner of the command line is, and how a recipe becomes one."""

import math
from collections.abc import Callable
from typing import NamedTuple

from jaxmeta import criteria, learners, models, transfer
from jaxmeta.core import Criterion, MetaLearner, Model
from jaxmeta.learners.mann import MemoryNetwork, memory_network
from jaxmeta.runs.adaptation import ADAPTATION, make_method
from jaxmeta.runs.probabilistic import PROBABILISTIC, make_meta_gan
from jaxmeta.runs.recipes import Recipe
from jaxmeta.runs.unrolled import UNROLLED, make_inner


class Method(NamedTuple):
    """A learner of the command line.

    Attributes:
      summary: one line for `jaxmeta list`.
      make: `(net, recipe, options) -> MetaLearner`; `net(outputs)` is the model with
        a head, `net(None)` the model without one.
      steps: whether it adapts by inner steps, so that its score can be drawn over them.
      head: whether its number of ways is fixed when it is trained.
      regression: whether it can do regression.
      together: whether tasks are differentiated together (see `train.episodic`).
    """

    summary: str
    make: Callable[..., MetaLearner]
    steps: bool = True
    head: bool = True
    regression: bool = True
    together: bool = False


class Options(NamedTuple):
    """What a learner is built with, for training or for the test."""

    outputs: int
    steps: int
    inner_batch: int | None
    criterion: Criterion

    @property
    def regression(self) -> bool:
        """Whether targets are real values."""
        return self.criterion is criteria.regression


def make_mann(net, r: Recipe) -> MemoryNetwork:
    """MANN as a learner, and as a model of a whole sequence."""
    return memory_network(net(None), sharpness=r.sharpness)


METHODS: dict[str, Method] = {
    **{
        name: Method(
            summary, make, head=name != "proto_maml", regression=name != "proto_maml"
        )
        for name, (summary, make) in UNROLLED.items()
    },
    "reptile": Method(
        "moves towards the adapted weights; first order",
        lambda net, r, o: learners.reptile(
            net(o.outputs),
            make_inner(r),
            steps=o.steps,
            inner_batch=o.inner_batch,
            criterion=o.criterion,
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
                lambda net, r, o: learners.matching_network(
                    net(None), learn_temperature=r.learn_temperature
                ),
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
                lambda net, r, o: learners.metaoptnet(net(None), scale=10.0),
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
    "mann": Method(
        "writes examples into a memory and recalls them; labels by sequence",
        lambda net, r, o: make_mann(net, r).learner,
        steps=False,
        regression=False,
        together=True,
    ),
    "snail": Method(
        "reads the support set as a sequence, by attention and causal convolution",
        lambda net, r, o: learners.snail(net(None)),
        steps=False,
        regression=False,
    ),
    "lstm_meta_learner": Method(
        "learns the optimiser, an LSTM for every weight, and where it starts",
        lambda net, r, o: learners.lstm_meta_learner(
            net(o.outputs),
            steps=o.steps,
            inner_batch=o.inner_batch,
            input_bias=_around(r.inner_rate),
            criterion=o.criterion,
        ),
        steps=False,
    ),
    **{
        name: Method(
            summary,
            lambda net, r, o, make=make: make(net, r, o).learner,
            steps=name != "cnp",
        )
        for name, (summary, make) in PROBABILISTIC.items()
    },
    "meta_gan": Method(
        "a base learner that must also tell examples from made-up ones",
        make_meta_gan,
        regression=False,
    ),
    **{
        name: Method(
            row.summary,
            lambda net, r, o: transfer.zero_shot(make_method(r)),
            steps=False,
            regression=False,
        )
        for name, row in ADAPTATION.items()
    },
}
"""Every learner by name: one row each."""


def _around(rate: float) -> tuple[float, float]:
    """Where a gate starts whose sigmoid is a learning rate."""
    middle = math.log(rate / (1 - rate))
    return middle - 0.5, middle + 0.5


def make_net(recipe: Recipe) -> Callable[[int | None], Model]:
    """The network of a recipe, given its number of outputs."""
    if recipe.model == "mlp":
        return lambda outputs: _precise(
            recipe, models.mlp(outputs, hidden=recipe.hidden)
        )
    return lambda outputs: _precise(
        recipe,
        models.conv4(
            outputs,
            filters=recipe.filters,
            norm=_norm(recipe),
            downsample=recipe.downsample,
        ),
    )


def make_maps(recipe: Recipe) -> Model:
    """The network without its head, as feature maps where it has any."""
    if recipe.model == "mlp":
        return make_net(recipe)(None)
    net = models.conv4(
        None,
        filters=recipe.filters,
        norm=_norm(recipe),
        flatten=False,
        pools=2,
        valid=2,
    )
    return _precise(recipe, net)


def _precise(recipe: Recipe, model: Model) -> Model:
    return models.half_precision(model) if recipe.precision == "bfloat16" else model


def _norm(recipe: Recipe):
    return None if recipe.norm == "none" else recipe.norm
