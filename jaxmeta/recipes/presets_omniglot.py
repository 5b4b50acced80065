"""Omniglot, Vinyals' classes by quarter turns: 5 ways, 1 shot."""

from typing import Any

from jaxmeta.runs.options import Use, use
from jaxmeta.runs.registry import Recipe, preset

FEW_SHOT = "jaxmeta.recipes.few_shot:few_shot"
_SETTINGS = {"episodes": 1000, "validate_episodes": 300}


def _omniglot(
    learner: Use,
    summary: str,
    name: str = "",
    base: Recipe | str = FEW_SHOT,
    dataset: Use = use("omniglot"),
    **options,
) -> Recipe:
    return preset(
        f"omniglot-{name or learner.name}-5w1s",
        base,
        summary,
        settings=_SETTINGS,
        dataset=dataset,
        learner=learner,
        **options,
    )


# Learners that compare: many ways in training, one episode a step.
_more: dict[str, Any]
for _learner, _summary, _more in (
    (
        use("protonet"),
        "Snell et al. 2017: 5-way 1-shot, Vinyals split; published 98.8 %",
        {},
    ),
    (
        use("matching_network", learn_temperature=True),
        "Vinyals et al. 2016: cosine attention, T from 0.1; published 98.1 %",
        {},
    ),
    (use("r2d2"), "Bertinetto et al. 2019: ridge regression on 64 features", {}),
    (
        use("metaoptnet", scale=10.0),
        "Lee et al. 2019: a support vector machine on 64 features",
        {},
    ),
    (
        use("simple_shot", temperature=0.1),
        "Wang et al. 2019, trained by episodes: a control",
        {},
    ),
    (
        use("baseline_plus_plus"),
        "Chen et al. 2019, trained by episodes: a control",
        {},
    ),
    (
        use("relation_network"),
        "Sung et al. 2018: feature maps, pairs, squared error; published 99.6 %",
        {"clip": 0.5},
    ),
):
    _omniglot(
        _learner,
        _summary,
        sampler=use("fixed", train_ways=20, train_queries=5),
        steps=9000,
        batch=1,
        schedule="cosine",
        **_more,
    )

_maml = _omniglot(
    use("maml", inner_rate=0.4, inner_steps=1, eval_inner_steps=3),
    "Finn et al. 2017: 5-way 1-shot, stride-2 conv4; published 98.7 %",
    sampler=use("fixed", queries=1, train_queries=1),
    network=use("conv4", norm="batch", downsample="stride"),
    steps=5000,
    batch=32,
    schedule="cosine",
)

# A short schedule, so that the whole family can be compared in an hour.
for _learner, _summary, _more in (
    (
        use("anil", inner_rate=0.4, inner_steps=1, eval_inner_steps=3),
        "Raghu et al. 2020: MAML that adapts its head alone",
        {},
    ),
    (
        use("boil", inner_rate=0.5, inner_steps=1),
        "Oh et al. 2021: MAML that adapts all but its head",
        {},
    ),
    (
        use("meta_sgd", init_rate=0.4, inner_steps=1),
        "Li et al. 2017: a learned rate for every parameter, one step",
        {},
    ),
    (
        use("meta_curvature", inner_rate=0.4, inner_steps=1, eval_inner_steps=3),
        "Park and Oliva 2019: learned maps of the gradient",
        {},
    ),
    (
        use("maml_plus_plus", init_rate=0.1, inner_steps=5),
        "Antoniou et al. 2019: 5 steps; published 99.5 %",
        {"batch": 8},
    ),
    (
        use("cavia", inner_rate=1.0, inner_steps=2, context=100, film="block3/norm"),
        "Zintgraf et al. 2019: 100 context parameters by FiLM",
        {"batch": 16},
    ),
    (
        # near theta the loss is concave in some directions: the damped system is
        # definite, and leans towards the first-order gradient
        use(
            "imaml",
            inner_rate=0.4,
            inner_steps=5,
            lam=0.1,
            gradient=use("implicit", damping=30.0),
        ),
        "Rajeswaran et al. 2019: 5 steps, damped; published 99.2 %",
        {"batch": 16, "steps": 2500},
    ),
    (
        use("proto_maml", inner_rate=0.01, inner_steps=3),
        "Triantafillou et al. 2020: a head of prototypes, 3 steps",
        {"batch": 8},
    ),
):
    _omniglot(_learner, _summary, base=_maml, **{"steps": 1000, **_more})

# Learners that say how sure they are, and one that plays a game.
for _name, _learner, _summary, _more in (
    (
        "platipus",
        # the public code's 1e-6 lets the posterior read the answers off the queries,
        # 8,000 nats of them: then the prior, which is tested, knows little
        use("platipus", inner_rate=0.4, inner_steps=1, kl_weight=1e-3),
        "Finn et al. 2018: published on miniImageNet, 50.1 % (MAML 48.7)",
        {},
    ),
    (
        "bmaml",
        use("bmaml", inner_rate=1.0, inner_steps=1, objective="likelihood"),
        "Yoon et al. 2018: five particles by their likelihood",
        {},
    ),
    (
        "meta_gan",
        use("meta_gan", inner_rate=0.4, inner_steps=1, generator=(32, 16)),
        "Zhang et al. 2018: MAML against a generator; published 99.1 %",
        {},
    ),
    (
        "meta_gan_relation",
        use("meta_gan", base="relation", generator=(32, 16)),
        "Zhang et al. 2018: a relation network against it; published 99.7 %",
        {
            "sampler": use("fixed", queries=15, train_queries=10),
            "network": use(
                "conv4", filters=32, norm="batch_running", downsample="pool"
            ),
            "batch": 1,
            "clip": 0.5,
        },
    ),
):
    _short = {
        "sampler": use("fixed", queries=15, train_queries=5),
        "network": use("conv4", filters=32),
        "steps": 2000,
        "batch": 4,
    }
    _omniglot(_learner, _summary, _name, _maml, **(_short | _more))

_omniglot(
    # as in the published program Adam's moments outlive a task: steps of a new one are as
    # large as its gradients are against those of training
    use(
        "reptile",
        reset_inner_opt=False,
        inner="adam",
        inner_rate=1e-3,
        inner_steps=5,
        inner_batch=10,
        eval_inner_steps=50,
    ),
    "Nichol et al. 2018: first order, 10 training shots; published 97.7 %",
    sampler=use("fixed", queries=1, train_shots=10, train_queries=1),
    network=use("conv4", norm="batch", downsample="stride"),
    steps=2400,
    batch=5,
    optimiser="sgd",
    rate=1.0,
    schedule="linear",
)
_omniglot(
    use("snail"),
    "Mishra et al. 2018: attention, causal convolutions; published 99.1 %",
    sampler=use("fixed", train_queries=3),
    network=use("conv4", filters=32, norm="batch_renorm"),
    steps=8000,
    batch=8,
    schedule="cosine",
    clip=1.0,
)
_omniglot(
    # its measure is the accuracy at the 2nd and the 5th example of a class; statistics
    # of five classes are far from the averages that it is tested with
    use("mann", sharpness=10.0),
    "Santoro et al. 2016: with conv4, sharp heads; published 82.8 % at the 2nd",
    dataset=use("omniglot", size=20),
    sampler=use("fixed", queries=4),
    network=use("conv4", filters=32, norm="batch_renorm", downsample="stride"),
    steps=24_000,
    batch=16,
    rate=2e-3,
    schedule="cosine",
    clip=10.0,
)
_omniglot(
    # the gates are most of the work of a step, so few steps see the most tasks
    use("lstm_meta_learner", inner_rate=0.4, inner_steps=2),
    "Ravi and Larochelle 2017: a learned optimiser, 2 steps from a rate of 0.4",
    sampler=use("fixed", train_queries=3),
    network=use("conv4", filters=16, norm="batch", downsample="stride"),
    steps=12_000,
    batch=8,
    rate=0.01,
    schedule="cosine",
    clip=0.25,
)

# Streams: 10 classes one after another, 5 examples each; rates and numbers of outer steps
# are the published ones, classes and images are not (there: 84x84, all training classes
# behind one head). A norm of one example at a time, or none: a step sees one.
for _learner, _summary, _more in (
    (
        use("oml", inner_rate=0.03),
        "Javed and White 2019: a stream of classes, the head alone learns; rates as published",
        {"network": use("conv4", norm="none"), "steps": 15_000, "rate": 1e-4},
    ),
    (
        use("anml", inner_rate=0.1),
        "Beaulieu et al. 2020: a stream of classes, features with gates; rates as published",
        {"network": use("conv4", norm="group"), "steps": 20_000, "rate": 1e-3},
    ),
):
    preset(
        f"omniglot-{_learner.name}-10w5s",
        FEW_SHOT,
        _summary,
        settings=_SETTINGS,
        dataset=use("omniglot"),
        learner=_learner,
        sampler=use("fixed", ways=10, shots=5, queries=5),
        batch=1,
        **_more,
    )

# People err in 4.5 % of these tasks. Where and how large a character stands is the hand's,
# not the character's, so it is cut out; each image of training is warped as if by another
# hand. Widths and warps are by validation alphabets: a wider network with weaker warps is
# level in the end, and takes twice as long. The temperature is where a learned one went.
preset(
    "omniglot-one_shot",
    FEW_SHOT,
    "Lake et al. 2015: 20 characters of one alphabet, other hands; people err in 4.5 %",
    settings={"episodes": 400, "validate_every": 1000, "validate_episodes": 400},
    dataset=use("omniglot", split="official", size=64, trim=True),
    sampler=use("within_groups", ways=20, shots=1, queries=1),
    network=use("convnet"),
    learner=use("protonet", normalise="l2", temperature=0.06),
    test_time=use("views", count=8),
    steps=12_000,
    batch=4,
    rate=3e-3,
    schedule="cosine",
)
