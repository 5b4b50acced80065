"""Full schedules: as long as the papers train, where they say how long; hours on a GPU."""

from collections.abc import Iterable
from dataclasses import replace

from jaxmeta.runs.recipe import Recipe

# name of the short recipe -> what is different
_FULL = {
    "omniglot-protonet-5w1s": dict(
        summary="Snell et al. 2017: 60-way training, the rate halves every 2,000",
        train_ways=60, steps=20_000, schedule="halving", halve_every=2000,
    ),
    "omniglot-matching_network-5w1s": dict(
        summary="Vinyals et al. 2016, for as long as its authors' own code trains",
        steps=75_000, rate=1e-4, schedule="constant",
    ),
    "omniglot-relation_network-5w1s": dict(
        summary="Sung et al. 2018: 19 queries, a million episodes",
        train_ways=None, train_queries=19, steps=1_000_000, schedule="halving", halve_every=100_000,
    ),
    "omniglot-r2d2-5w1s": dict(
        summary="Bertinetto et al. 2019; for as long as ProtoNet",
        steps=20_000, schedule="halving", halve_every=2000,
    ),
    "omniglot-metaoptnet-5w1s": dict(
        summary="Lee et al. 2019: 60,000 steps of 8 episodes, as on CIFAR-FS",
        steps=60_000, tasks=8,
    ),
    "omniglot-simple_shot-5w1s": dict(
        summary="the control, for as long as ProtoNet",
        steps=20_000, schedule="halving", halve_every=2000,
    ),
    "omniglot-baseline_plus_plus-5w1s": dict(
        summary="the control, for as long as ProtoNet",
        steps=20_000, schedule="halving", halve_every=2000,
    ),
    "omniglot-snail-5w1s": dict(
        summary="Mishra et al. 2018: 64 features, 32 episodes a step",
        filters=64, tasks=32, steps=40_000,
    ),
    "omniglot-mann-5w1s": dict(
        summary="Santoro et al. 2016: ten examples of a class, 100,000 steps",
        queries=9, train_queries=9, steps=100_000,
    ),
    "omniglot-lstm_meta_learner-5w1s": dict(
        summary="Ravi and Larochelle 2017: 12 steps, an episode at a time",
        filters=32, inner_rate=0.01, inner_steps=12, eval_inner_steps=12, tasks=1,
        rate=1e-3, steps=75_000,
    ),
    "omniglot-maml-5w1s": dict(
        summary="Finn et al. 2017: 60,000 steps of 32 tasks; published 98.7 %",
        steps=60_000, schedule="constant",
    ),
    "omniglot-reptile-5w1s": dict(
        summary="Nichol et al. 2018: 100,000 steps; published 97.7 %",
        steps=100_000,
    ),
}  # fmt: skip


def full_recipes(short: Iterable[Recipe]) -> list[Recipe]:
    """The recipes `<name>-full`: the short ones, trained for long."""
    known = {recipe.name: recipe for recipe in short}
    return [
        replace(known[name], **{"name": f"{name}-full", **changes})
        for name, changes in _FULL.items()
    ]
