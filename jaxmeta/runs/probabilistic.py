"""The learners of the command line that say how sure they are, and what they say."""

from collections.abc import Callable

from jaxmeta import learners, models
from jaxmeta.core import MetaLearner
from jaxmeta.functional.predictive import of_gaussian
from jaxmeta.learners.bmaml import bmaml_process
from jaxmeta.learners.cnp import neural_process
from jaxmeta.learners.platipus import platipus_process
from jaxmeta.learners.probabilistic import Believe, Probabilistic, classifier
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.recipe import Recipe
from jaxmeta.runs.unrolled import gradient_of, make_inner


def make_cnp(net, r: Recipe, o) -> Probabilistic:
    plain = r.attention == "none"
    process = neural_process(
        models.mlp(None, hidden=r.hidden),
        models.mlp(2 * o.outputs, hidden=r.hidden),
        attention=r.attention,
        keys=None if plain else models.mlp(None, hidden=r.hidden[:2]),
        min_std=0.01,
    )
    return Probabilistic(
        process.learner,
        lambda meta, fast, x: of_gaussian(process.predictive(meta, fast, x)),
    )


def make_platipus(net, r: Recipe, o) -> Probabilistic:
    return platipus_process(
        net(o.outputs),
        make_inner(r),
        steps=o.steps,
        gradient=gradient_of(r),
        criterion=o.criterion,
        kl_weight=r.kl_weight,
        init_std=r.init_std,
        noise=r.noise if o.regression else None,
        samples=r.samples,
        train_samples=r.train_samples,
        bound="mean" if r.objective == "paper" else "mixture",
    )


def make_bmaml(net, r: Recipe, o) -> Probabilistic:
    return bmaml_process(
        net(o.outputs),
        make_inner(r),
        particles=r.particles,
        steps=o.steps,
        objective="chaser" if r.objective == "paper" else "likelihood",
        repulsion=r.repulsion,
        gradient=gradient_of(r),
        criterion=o.criterion,
        noise=r.noise if o.regression else None,
    )


def make_meta_gan(net, r: Recipe, o) -> MetaLearner:
    small = r.model == "mlp"
    if not small and r.size % 4:
        raise ConfigError("size", r.size, "a multiple of 4: a generator doubles twice")
    return learners.meta_gan(
        _maps(r) if r.base == "relation" else net(o.outputs),
        make_inner(r),
        base=r.base,
        relation=models.relation(norm=None if r.norm == "none" else r.norm),
        generator=models.mlp(r.size**2, hidden=r.hidden) if small else _generator(r),
        encoder=models.mlp(None, hidden=r.hidden) if small else None,
        lam_gan=r.lam_gan,
        steps=o.steps,
        gradient=gradient_of(r),
    )


def _generator(r: Recipe):
    # no more filters than the classifier: most of the work is at the full size
    filters = (r.filters, max(r.filters // 2, 1))
    return models.generator(r.size, 3 if r.mode == "RGB" else 1, filters=filters)


def _maps(r: Recipe):
    if r.model == "mlp":
        return models.mlp(None, hidden=r.hidden)
    norm = None if r.norm == "none" else r.norm
    return models.conv4(
        None, filters=r.filters, norm=norm, flatten=False, pools=2, valid=2
    )


PROBABILISTIC: dict[str, tuple[str, Callable[..., Probabilistic]]] = {
    "cnp": (
        "a conditional neural process: regression that says how sure it is",
        make_cnp,
    ),
    "platipus": (
        "MAML from a distribution of initialisations: draws, and their mean",
        make_platipus,
    ),
    "bmaml": (
        "MAML with particles that adapt together and keep apart (SVGD)",
        make_bmaml,
    ),
}
"""Name -> (one line for `jaxmeta list`, builder)."""


def believe(net, recipe: Recipe, options, tester: MetaLearner) -> Believe | None:
    """What a recipe's learner believes, where its outputs say it: else `None`."""
    if recipe.learner in PROBABILISTIC:
        return PROBABILISTIC[recipe.learner][1](net, recipe, options).predictive
    scores = recipe.learner == "relation_network" or (
        recipe.learner == "meta_gan" and recipe.base == "relation"
    )
    if options.regression or scores:  # a relation score is no logit
        return None
    return classifier(tester).predictive
