"""Regression: sine waves, sine waves or lines, Gaussian processes."""

from typing import Any

from jaxmeta.runs.options import use
from jaxmeta.runs.registry import preset

REGRESSION = "jaxmeta.recipes.regression:regression"
_LONG = {"episodes": 1000, "chunk": 500}

preset(
    "regression",
    REGRESSION,
    "curves from a few of their points: --task, --learner, --network",
)
_sinusoid = preset(
    "sinusoid-maml",
    REGRESSION,
    "Finn et al. 2017: 10-shot regression; published mse 0.85 +- 0.14",
    settings=_LONG,
    learner=use("maml", inner_rate=0.01, inner_steps=1),
    steps=20_000,
    schedule="cosine",
)
_options: dict[str, Any]
for _learner, _summary, _options in (
    (
        use("anil", inner_rate=0.01, inner_steps=1),
        "Raghu et al. 2020: MAML that adapts its head alone",
        {},
    ),
    (
        use("boil", inner_rate=0.01, inner_steps=1),
        "Oh et al. 2021: MAML that adapts all but its head",
        {},
    ),
    (
        use("meta_sgd", init_rate=0.01, inner_steps=1),
        "Li et al. 2017: a learned rate for every parameter",
        {},
    ),
    (
        use("meta_curvature", inner_rate=0.01, inner_steps=1),
        "Park and Oliva 2019: learned maps of the gradient",
        {},
    ),
    (
        use("maml_plus_plus", init_rate=0.01, inner_steps=5),
        "Antoniou et al. 2019: rates per step, multi-step loss",
        {"clip": 10.0},
    ),
    (
        use("cavia", inner_rate=1.0, inner_steps=1, context=5),
        "Zintgraf et al. 2019: 5 context parameters",
        {},
    ),
    (
        # the implicit gradient is right at the minimum only, and SGD that is stable
        # where the loss is steep needs many steps to get near it
        use("imaml", inner_rate=0.003, inner_steps=160, lam=5.0),
        "Rajeswaran et al. 2019: the implicit gradient, 160 steps",
        {"clip": 1.0, "steps": 2500, "settings": {"chunk": 250}},
    ),
    (
        use("lstm_meta_learner", inner_rate=0.01, inner_steps=5),
        "Ravi and Larochelle 2017: a learned optimiser, 5 steps",
        {"clip": 0.25, "rate": 5e-3, "steps": 2500},
    ),
    (
        use("online_maml", inner_rate=0.01),
        "Sun et al. 2024: each point is foretold, then learned: ten steps of one",
        {"clip": 10.0},
    ),
):
    preset(
        f"sinusoid-{_learner.name}", _sinusoid, _summary, learner=_learner, **_options
    )

preset(
    "sinusoid-reptile",
    REGRESSION,
    "Nichol et al. 2018: sinusoids without second derivatives",
    settings=_LONG,
    train_shots=50,
    network=use("mlp", hidden=(64, 64)),
    learner=use(
        "reptile",
        inner="sgd",
        inner_rate=0.02,
        inner_steps=10,
        inner_batch=10,
        eval_inner_steps=32,
    ),
    steps=20_000,
    batch=5,
    optimiser="sgd",
    rate=0.5,
    schedule="linear",
)

# a rate of 0.003 and a short gradient: validation chose them for both CNPs
_fast: dict[str, Any] = {"rate": 3e-3, "clip": 1.0}
for _name, _summary, _learner, _options in (
    (
        "cnp",
        "Garnelo et al. 2018: means with their standard deviations",
        use("cnp"),
        _fast,
    ),
    (
        "attentive_cnp",
        "Kim et al. 2019: eight heads of attention over the context",
        # attention finds the context's own targets at once: a loss that counts them
        # too has little to say about the queries
        use("cnp", attention="multihead", predict_support=False),
        _fast,
    ),
    (
        "np",
        "Garnelo et al. 2018: a latent variable, a draw of which is a curve",
        use("np", bound="importance", train_samples=4, latent=128),
        {},
    ),
):
    preset(
        f"sinusoid-{_name}",
        _sinusoid,
        _summary,
        network=use("mlp", hidden=(128, 128, 128)),
        learner=_learner,
        steps=10_000,
        **_options,
    )
preset(
    "sinusoid-tnp",
    _sinusoid,
    "Nguyen and Grover 2022: TNP-D, a transformer over points",
    network=use("mlp", hidden=(64, 64, 64)),
    learner=use("tnp"),
    steps=10_000,
    rate=5e-4,
)
preset(
    "sinusoid-conv_cnp",
    _sinusoid,
    "Gordon et al. 2020: convolutions over a grid of places",
    network=use("mlp", hidden=(32, 32)),
    learner=use("conv_cnp", filters=32),
    steps=10_000,
)

_ambiguous = preset(
    "sine_or_line-maml",
    REGRESSION,
    "Finn et al. 2018: 5 noisy points of a sine wave or a line; the control",
    settings=_LONG,
    task=use("sine_or_line"),
    shots=5,
    learner=use("maml", inner_rate=0.003, inner_steps=5),
    steps=6000,
    batch=10,
    rate=3e-3,
    schedule="cosine",
    clip=10.0,
)
preset(
    "sine_or_line-platipus",
    _ambiguous,
    "Finn et al. 2018: draws of initialisations, by the likelihood of all",
    learner=use(
        "platipus",
        inner_rate=0.003,
        inner_steps=5,
        bound="mixture",
        train_samples=5,
        samples=50,  # five draws say less than MAML's single answer
        kl_weight=0.1,  # 1 over the queries: the paper's bound
        init_std=0.1,
    ),
)
preset(
    "sine_or_line-bmaml",
    _ambiguous,
    "Yoon et al. 2018: five particles, by the likelihood of all",
    learner=use("bmaml", inner_rate=0.02, inner_steps=5, objective="likelihood"),
)

# As in Nguyen and Grover 2022, who train 100,000 steps; their log-likelihoods a point.
_functions = preset(
    "gp-cnp",
    REGRESSION,
    "Garnelo et al. 2018 on Gaussian processes; published log-likelihood 0.26",
    settings={"episodes": 1000, "chunk": 250},
    task=use("gaussian_process"),
    shots=46,
    queries=20,
    network=use("mlp", hidden=(128, 128, 128)),
    learner=use("cnp"),
    steps=10_000,
    batch=16,
    rate=5e-4,
    schedule="cosine",
    clip=10.0,
)
preset(
    "gp-attentive_cnp",
    _functions,
    "Kim et al. 2019 without noise, on Gaussian processes; published 0.79",
    learner=use("cnp", attention="multihead", predict_support=False),
)
preset(
    "gp-tnp",
    _functions,
    "Nguyen and Grover 2022: TNP-D on Gaussian processes; published 1.39",
    network=use("mlp", hidden=(64, 64, 64)),
    learner=use("tnp"),
)
preset(
    "gp-conv_cnp",
    _functions,
    "Gordon et al. 2020 on Gaussian processes: translation-equivariant",
    network=use("mlp", hidden=(32, 32)),
    learner=use("conv_cnp", filters=32),
)
preset(
    "gp-np",
    _functions,
    "Garnelo et al. 2018 on Gaussian processes: a draw is a function",
    # four draws and their importance, as in the program behind the table
    learner=use("np", bound="importance", train_samples=4, latent=128),
)
