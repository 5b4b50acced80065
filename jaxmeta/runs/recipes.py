"""Recipes: everything that decides a run, one commented line a knob.

A recipe is a value. `RECIPES` holds the ones that come with the package, named after
what they reproduce; `dataclasses.replace(RECIPES["sinusoid-maml"], steps=100)` is
another one, and so is `jaxmeta train sinusoid-maml --steps 100`.
"""

from dataclasses import replace

from jaxmeta.runs.recipe import Recipe as Recipe
from jaxmeta.runs.recipes_domains import domain_recipes
from jaxmeta.runs.recipes_full import full_recipes
from jaxmeta.runs.recipes_probabilistic import recipes as probabilistic_recipes

_GLYPHS = Recipe(
    name="glyphs-protonet-5w1s",
    summary="ProtoNet on drawn glyphs: no download, about a minute on two cores",
    queries=5, train_ways=10, filters=32, steps=300, tasks=4, schedule="cosine",
)  # fmt: skip

_OMNIGLOT = Recipe(
    name="omniglot",
    summary="",
    dataset="omniglot", rotations=True, episodes=1000, validate_episodes=300,
)  # fmt: skip

_SINUSOID = Recipe(
    name="sinusoid-maml",
    summary="Finn et al. 2017: 10-shot regression; published mse 0.85 +- 0.14",
    dataset="sinusoid", shots=10, queries=10, learner="maml", model="mlp",
    inner_rate=0.01, steps=20_000, tasks=25, schedule="cosine", episodes=1000,
    chunk=500,
)  # fmt: skip

_OMNIGLOT_MAML = replace(
    _OMNIGLOT,
    name="omniglot-maml-5w1s",
    summary="Finn et al. 2017: 5-way 1-shot, stride-2 conv4; published 98.7 %",
    learner="maml", norm="batch", downsample="stride", train_queries=1, queries=1,
    inner_rate=0.4, inner_steps=1, eval_inner_steps=3, steps=5000, tasks=32,
    schedule="cosine",
)  # fmt: skip

_ALL = (
    _GLYPHS,
    replace(
        _GLYPHS,
        name="glyphs-maml-5w1s",
        summary="MAML on drawn glyphs: second order, stride-2 conv4, one inner step",
        learner="maml", norm="batch", downsample="stride", train_ways=None,
        train_queries=3, inner_rate=0.4, inner_steps=1, eval_inner_steps=3,
        steps=500, tasks=16, clip=10.0,
    ),
    _SINUSOID,
    *(
        replace(_SINUSOID, name=f"sinusoid-{learner}", learner=learner, **options)
        for learner, options in {
            "anil": dict(
                summary="Raghu et al. 2020: MAML that adapts its head alone",
            ),
            "boil": dict(
                summary="Oh et al. 2021: MAML that adapts all but its head",
            ),
            "meta_sgd": dict(
                summary="Li et al. 2017: a learned rate for every parameter",
            ),
            "meta_curvature": dict(
                summary="Park and Oliva 2019: learned maps of the gradient",
            ),
            "maml_plus_plus": dict(
                summary="Antoniou et al. 2019: rates per step, multi-step loss",
                inner_steps=5, clip=10.0,
            ),
            "cavia": dict(
                summary="Zintgraf et al. 2019: 5 context parameters",
                inner_rate=1.0, context=5,
            ),
            "imaml": dict(
                summary="Rajeswaran et al. 2019: the implicit gradient, 160 steps",
                # the implicit gradient is right at the minimum only, and SGD that is
                # stable where the loss is steep needs many steps to get near it
                inner_rate=0.003, inner_steps=160, lam=5.0, clip=1.0, steps=2500,
                chunk=250,
            ),
        }.items()
    ),
    Recipe(
        name="sinusoid-reptile",
        summary="Nichol et al. 2018: sinusoids without second derivatives",
        dataset="sinusoid", shots=10, queries=10, train_shots=50, learner="reptile",
        model="mlp", hidden=(64, 64), inner_rate=0.02, inner_steps=10, inner_batch=10,
        eval_inner_steps=32, steps=20_000, tasks=5, optimiser="sgd", rate=0.5,
        schedule="linear", episodes=1000, chunk=500,
    ),
    replace(
        _SINUSOID,
        name="sinusoid-lstm_meta_learner",
        summary="Ravi and Larochelle 2017: a learned optimiser, 5 steps",
        learner="lstm_meta_learner", inner_steps=5, clip=0.25, rate=5e-3, steps=2500,
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-protonet-5w1s",
        summary="Snell et al. 2017: 5-way 1-shot, Vinyals split; published 98.8 %",
        train_ways=20, train_queries=5, steps=9000, tasks=1, schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-matching_network-5w1s",
        summary="Vinyals et al. 2016: cosine attention, T from 0.1; published 98.1 %",
        learner="matching_network", learn_temperature=True, train_ways=20,
        train_queries=5, steps=9000, tasks=1, schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-r2d2-5w1s",
        summary="Bertinetto et al. 2019: ridge regression on 64 features",
        learner="r2d2", train_ways=20, train_queries=5, steps=9000, tasks=1,
        schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-metaoptnet-5w1s",
        summary="Lee et al. 2019: a support vector machine on 64 features",
        learner="metaoptnet", train_ways=20, train_queries=5, steps=9000, tasks=1,
        schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-simple_shot-5w1s",
        summary="Wang et al. 2019, trained by episodes: a control",
        learner="simple_shot", train_ways=20, train_queries=5, steps=9000, tasks=1,
        schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-baseline_plus_plus-5w1s",
        summary="Chen et al. 2019, trained by episodes: a control",
        learner="baseline_plus_plus", train_ways=20, train_queries=5, steps=9000, tasks=1,
        schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-relation_network-5w1s",
        summary="Sung et al. 2018: feature maps, pairs, squared error; published 99.6 %",
        learner="relation_network", train_ways=20, train_queries=5, steps=9000, tasks=1,
        schedule="cosine", clip=0.5,
    ),
    _OMNIGLOT_MAML,
    *(
        replace(
            _OMNIGLOT_MAML,
            name=f"omniglot-{learner}-5w1s",
            learner=learner,
            # a short schedule, so that the whole family can be compared in an hour
            **({"steps": 1000} | options),
        )
        for learner, options in {
            "anil": dict(
                summary="Raghu et al. 2020: MAML that adapts its head alone",
            ),
            "boil": dict(
                summary="Oh et al. 2021: MAML that adapts all but its head",
                inner_rate=0.5, eval_inner_steps=1,
            ),
            "meta_sgd": dict(
                summary="Li et al. 2017: a learned rate for every parameter, one step",
                eval_inner_steps=1,
            ),
            "meta_curvature": dict(
                summary="Park and Oliva 2019: learned maps of the gradient",
            ),
            "maml_plus_plus": dict(
                summary="Antoniou et al. 2019: 5 steps; published 99.5 %",
                inner_rate=0.1, inner_steps=5, eval_inner_steps=5, tasks=8,
            ),
            "cavia": dict(
                summary="Zintgraf et al. 2019: 100 context parameters by FiLM",
                inner_rate=1.0, inner_steps=2, eval_inner_steps=2, context=100,
                tasks=16,
            ),
            "imaml": dict(
                summary="Rajeswaran et al. 2019: 5 steps, damped; published 99.2 %",
                # near theta the loss is concave in some directions: the damped system
                # is definite, and leans towards the first-order gradient
                inner_rate=0.4, inner_steps=5, eval_inner_steps=5, lam=0.1,
                damping=30.0, tasks=16, steps=2500,
            ),
            "proto_maml": dict(
                summary="Triantafillou et al. 2020: a head of prototypes, 3 steps",
                inner_rate=0.01, inner_steps=3, eval_inner_steps=3, tasks=8,
            ),
        }.items()
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-reptile-5w1s",
        summary="Nichol et al. 2018: first order, 10 training shots; published 97.7 %",
        learner="reptile", norm="batch", downsample="stride", train_shots=10,
        train_queries=1, queries=1, inner="adam", inner_rate=1e-3, inner_steps=5,
        inner_batch=10, eval_inner_steps=50, steps=1500, tasks=5, optimiser="sgd",
        rate=1.0, schedule="linear",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-snail-5w1s",
        summary="Mishra et al. 2018: attention, causal convolutions; published 99.1 %",
        learner="snail", norm="batch_renorm", filters=32, train_queries=3, steps=8000, tasks=8,
        schedule="cosine", clip=1.0,
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-mann-5w1s",
        summary="Santoro et al. 2016: with conv4, sharp heads; published 82.8 % at the 2nd",
        # its measure is the accuracy at the 2nd and the 5th example of a class; statistics
        # of five classes are far from the averages that it is tested with
        learner="mann", norm="batch_renorm", size=20, filters=32, downsample="stride", queries=4,
        train_queries=4, sharpness=10.0, steps=24_000, tasks=16, rate=2e-3,
        schedule="cosine", clip=10.0,
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-lstm_meta_learner-5w1s",
        summary="Ravi and Larochelle 2017: a learned optimiser, 2 steps from a rate of 0.4",
        # the gates are most of the work of a step, so few steps see the most tasks
        learner="lstm_meta_learner", filters=16, norm="batch", downsample="stride",
        train_queries=3, inner_rate=0.4, inner_steps=2, steps=12_000, tasks=8,
        rate=0.01, schedule="cosine", clip=0.25,
    ),
    *probabilistic_recipes(_OMNIGLOT_MAML),
    Recipe(
        name="sinusoid-cnp",
        summary="Garnelo et al. 2018: means with their standard deviations",
        dataset="sinusoid", shots=10, queries=10, learner="cnp", model="mlp",
        hidden=(128, 128, 128), steps=10_000, tasks=25, schedule="cosine",
        episodes=1000, chunk=500,
    ),
    Recipe(
        name="sinusoid-attentive_cnp",
        summary="Kim et al. 2019: eight heads of attention over the context",
        dataset="sinusoid", shots=10, queries=10, learner="cnp", model="mlp",
        hidden=(128, 128, 128), attention="multihead", steps=10_000, tasks=25,
        schedule="cosine", episodes=1000, chunk=500,
    ),
    *domain_recipes(),
    Recipe(
        name="folder-protonet-5w1s",
        summary="ProtoNet on your own images: --data FOLDER with <class>/*.png",
        dataset="folder", queries=5, steps=1000, tasks=2, schedule="cosine",
    ),
)  # fmt: skip

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (*_ALL, *full_recipes(_ALL))
}
"""The recipes that come with the package, by name."""

DEFAULT = _GLYPHS.name
"""What `jaxmeta train` runs when it is given no recipe."""
