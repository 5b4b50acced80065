"""Full schedules: as long as the papers train, where they say how long; hours on a GPU."""

from typing import Any

from jaxmeta.recipes import presets_omniglot  # noqa: F401 (what these are variants of)
from jaxmeta.runs.options import use
from jaxmeta.runs.registry import RECIPES, preset

_AS_PROTONET = {"steps": 20_000, "schedule": "halving", "halve_every": 2000}

_options: dict[str, Any]
for _name, _summary, _options in (
    (
        "protonet",
        "Snell et al. 2017: 60-way training, the rate halves every 2,000",
        {"sampler": use("fixed", train_ways=60), **_AS_PROTONET},
    ),
    (
        "matching_network",
        "Vinyals et al. 2016, for as long as its authors' own code trains",
        {"steps": 75_000, "rate": 1e-4, "schedule": "constant"},
    ),
    (
        "relation_network",
        "Sung et al. 2018: 19 queries, a million episodes",
        {
            "sampler": use("fixed", train_ways=None, train_queries=19),
            "steps": 1_000_000,
            "schedule": "halving",
            "halve_every": 100_000,
        },
    ),
    ("r2d2", "Bertinetto et al. 2019; for as long as ProtoNet", _AS_PROTONET),
    (
        "metaoptnet",
        "Lee et al. 2019: 60,000 steps of 8 episodes, as on CIFAR-FS",
        {"steps": 60_000, "batch": 8},
    ),
    ("simple_shot", "the control, for as long as ProtoNet", _AS_PROTONET),
    ("baseline_plus_plus", "the control, for as long as ProtoNet", _AS_PROTONET),
    (
        "snail",
        "Mishra et al. 2018: 64 features, 32 episodes a step",
        {"network": use("conv4", filters=64), "batch": 32, "steps": 40_000},
    ),
    (
        "mann",
        "Santoro et al. 2016: ten examples of a class, 100,000 steps",
        {"sampler": use("fixed", queries=9), "steps": 100_000},
    ),
    (
        "lstm_meta_learner",
        "Ravi and Larochelle 2017: 12 steps, an episode at a time",
        {
            "network": use("conv4", filters=32),
            "learner": use("lstm_meta_learner", inner_rate=0.01, inner_steps=12),
            "batch": 1,
            "rate": 1e-3,
            "steps": 75_000,
        },
    ),
    (
        "maml",
        "Finn et al. 2017: 60,000 steps of 32 tasks; published 98.7 %",
        {"steps": 60_000, "schedule": "constant"},
    ),
    (
        "reptile",
        "Nichol et al. 2018: 100,000 steps; published 97.7 %",
        {"steps": 100_000},
    ),
):
    _short = f"omniglot-{_name}-5w1s"
    preset(f"{_short}-full", RECIPES[_short], _summary, **_options)
