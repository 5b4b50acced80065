"""Recipes: everything that decides a run, one commented line a knob.

A recipe is a value. `RECIPES` holds the ones that come with the package, named after
what they reproduce; `dataclasses.replace(RECIPES["sinusoid-maml"], steps=100)` is
another one, and so is `jaxmeta train sinusoid-maml --steps 100`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from tyro.conf import Suppress

Schedule = Literal["constant", "cosine", "linear", "halving"]


@dataclass(frozen=True)
class Recipe:
    """One run: the tasks, the learner, the outer loop, the test."""

    name: Suppress[str]
    """What the recipe is called; the run folder is named after it."""
    summary: Suppress[str]
    """One line: what it reproduces and what to expect."""

    # The tasks.
    dataset: Literal["glyphs", "sinusoid", "omniglot", "folder"] = "glyphs"
    """Where tasks come from. glyphs and sinusoid are made on the fly."""
    data: str | None = None
    """Folder with the data: Omniglot's zips (or their content), or <class>/*.png."""
    split: Literal["vinyals", "official"] = "vinyals"
    """Omniglot's classes: Vinyals' 1028/172/423, or background/evaluation."""
    size: int = 28
    """Side of the images in pixels; every image is resized to it."""
    mode: Literal["L", "RGB"] = "L"
    """Grey or colour images, where dataset is folder."""
    invert: bool = False
    """Turn dark on light into light on dark, where dataset is folder."""
    rotations: bool = False
    """Make four classes of each one by quarter turns (all splits, as published)."""
    ways: int = 5
    """Classes in a task."""
    shots: int = 1
    """Support examples of a class (in all, for sinusoid)."""
    queries: int = 15
    """Query examples of a class (in all, for sinusoid)."""
    train_ways: int | None = None
    """Ways of the training tasks; None: as ways."""
    train_shots: int | None = None
    """Shots of the training tasks; None: as shots."""
    train_queries: int | None = None
    """Queries of the training tasks; None: as queries."""

    # The learner.
    learner: str = "protonet"
    """The method; `jaxmeta list` shows them."""
    model: Literal["conv4", "mlp"] = "conv4"
    """The network."""
    filters: int = 64
    """Channels of each layer of conv4."""
    norm: Literal["batch", "batch_running", "group", "layer", "none"] = "batch_running"
    """Normalisation in conv4. batch: of the batch at hand, at test time too, which lets
    queries see one another; batch_running: with running averages at test time."""
    downsample: Literal["pool", "stride"] = "pool"
    """How conv4 shrinks: 2x2 max-pooling, or convolutions of stride 2."""
    hidden: tuple[int, ...] = (40, 40)
    """Widths of the hidden layers of mlp."""
    inner: Literal["sgd", "adam"] = "sgd"
    """Optimiser of the inner loop. adam has beta1 = 0, as in Reptile."""
    inner_rate: float = 0.4
    """Its learning rate."""
    inner_steps: int = 1
    """Inner steps on a training task."""
    inner_batch: int | None = None
    """Support examples an inner step draws (reptile); None: all of them."""
    order: Literal["second", "first"] = "second"
    """Differentiate through the inner gradient, or hold it constant."""
    lam: float = 2.0
    """Strength of imaml's proximal term."""
    context: int = 5
    """Length of cavia's context vector."""
    attention: Literal["none", "dot", "multihead"] = "none"
    """How cnp reads its context: the mean of all of it, or by attention."""

    # The outer loop.
    steps: int = 1000
    """Outer steps."""
    tasks: int = 16
    """Tasks an outer step averages over (the meta-batch)."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """Optimiser of the outer loop."""
    rate: float = 1e-3
    """Its learning rate."""
    schedule: Schedule = "constant"
    """How the rate falls: not, by a half cosine to 0, linearly to 0, or by halves."""
    halve_every: int = 1000
    """Outer steps between halvings, where schedule is halving."""
    clip: float | None = None
    """Largest global norm of the outer gradient; None: not clipped."""

    # The test, and the choice of parameters.
    episodes: int = 600
    """Test episodes."""
    eval_inner_steps: int | None = None
    """Inner steps on a validation or test task; None: as inner_steps."""
    validate_every: int | None = None
    """Outer steps between validations; None: a tenth of the run; 0: never."""
    validate_episodes: int = 200
    """Validation episodes; no test episode ever chooses anything."""
    keep: Literal["best", "last"] = "best"
    """Parameters to test: the best by validation, or those of the last step."""

    # The run.
    seed: int = 0
    """Everything random follows from it."""
    out: str | None = None
    """Run folder; None: runs/<recipe>-<n>. An unfinished run in it is continued."""
    chunk: int = 25
    """Outer steps in one compiled call, and between two lines of metrics."""
    task_chunk: int | None = None
    """Tasks computed side by side; None: chosen for the machine. Trades memory, speed."""
    checkpoint_every: int | None = None
    """Outer steps between checkpoints; None: a tenth of the run."""


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
    inner_rate=0.4, inner_steps=1, eval_inner_steps=3, steps=6000, tasks=32,
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
                summary="Li et al. 2017: learned rates; published mse 0.53 +- 0.09",
            ),
            "meta_curvature": dict(
                summary="Park and Oliva 2019: learned maps of the gradient",
            ),
            "maml_plus_plus": dict(
                summary="Antoniou et al. 2019: rates per step, multi-step loss",
                inner_steps=5,
            ),
            "cavia": dict(
                summary="Zintgraf et al. 2019: 5 context parameters; published 0.19",
                inner_rate=1.0, context=5,
            ),
            "imaml": dict(
                summary="Rajeswaran et al. 2019: the implicit gradient, 16 steps",
                inner_rate=0.02, inner_steps=16, lam=0.5,
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
        _OMNIGLOT,
        name="omniglot-protonet-5w1s",
        summary="Snell et al. 2017: 5-way 1-shot, Vinyals split; published 98.8 %",
        train_ways=20, train_queries=5, steps=3000, tasks=1, schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-matching_network-5w1s",
        summary="Vinyals et al. 2016: cosine attention at T = 0.1; published 98.1 %",
        learner="matching_network", train_ways=20, train_queries=5, steps=3000, tasks=1,
        schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-r2d2-5w1s",
        summary="Bertinetto et al. 2019: ridge regression on 64 features",
        learner="r2d2", train_ways=20, train_queries=5, steps=3000, tasks=1,
        schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-metaoptnet-5w1s",
        summary="Lee et al. 2019: a support vector machine on 64 features",
        learner="metaoptnet", train_ways=20, train_queries=5, steps=3000, tasks=1,
        schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-simple_shot-5w1s",
        summary="Wang et al. 2019, trained by episodes: a control",
        learner="simple_shot", train_ways=20, train_queries=5, steps=3000, tasks=1,
        schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-baseline_plus_plus-5w1s",
        summary="Chen et al. 2019, trained by episodes: a control",
        learner="baseline_plus_plus", train_ways=20, train_queries=5, steps=3000, tasks=1,
        schedule="cosine",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-relation_network-5w1s",
        summary="Sung et al. 2018: feature maps, pairs, squared error; published 99.6 %",
        learner="relation_network", train_queries=10, steps=6000, tasks=1,
        schedule="cosine", clip=0.5,
    ),
    _OMNIGLOT_MAML,
    *(
        replace(
            _OMNIGLOT_MAML,
            name=f"omniglot-{learner}-5w1s",
            learner=learner,
            **options,
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
                summary="Li et al. 2017: learned rates, one step; published 99.5 %",
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
                summary="Rajeswaran et al. 2019: 16 steps; published 99.2 %",
                inner_rate=0.1, inner_steps=16, eval_inner_steps=16, lam=2.0, tasks=8,
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
        inner_batch=10, eval_inner_steps=50, steps=6000, tasks=5, optimiser="sgd",
        rate=1.0, schedule="linear",
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-snail-5w1s",
        summary="Mishra et al. 2018: attention, causal convolutions; published 99.1 %",
        learner="snail", train_queries=3, steps=5000, tasks=8, schedule="cosine",
        clip=1.0,
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-mann-5w1s",
        summary="Santoro et al. 2016: with a conv4 embedding; 2nd instance 82.8 %",
        learner="mann", filters=32, train_queries=9, steps=10_000, tasks=8,
        schedule="cosine", clip=10.0,
    ),
    replace(
        _OMNIGLOT,
        name="omniglot-lstm_meta_learner-5w1s",
        summary="Ravi and Larochelle 2017: a learned optimiser, 5 steps from a rate of 0.1",
        learner="lstm_meta_learner", filters=16, norm="batch", downsample="stride",
        train_queries=3, inner_rate=0.1, inner_steps=5, steps=5000, tasks=8,
        schedule="cosine", clip=0.25,
    ),
    Recipe(
        name="sinusoid-cnp",
        summary="Garnelo et al. 2018: means with their standard deviations",
        dataset="sinusoid", shots=10, queries=10, learner="cnp", model="mlp",
        hidden=(128, 128, 128), steps=20_000, tasks=25, schedule="cosine",
        episodes=1000, chunk=500,
    ),
    Recipe(
        name="sinusoid-attentive_cnp",
        summary="Kim et al. 2019: eight heads of attention over the context",
        dataset="sinusoid", shots=10, queries=10, learner="cnp", model="mlp",
        hidden=(128, 128, 128), attention="multihead", steps=20_000, tasks=25,
        schedule="cosine", episodes=1000, chunk=500,
    ),
    Recipe(
        name="folder-protonet-5w1s",
        summary="ProtoNet on your own images: --data FOLDER with <class>/*.png",
        dataset="folder", queries=5, steps=1000, tasks=2, schedule="cosine",
    ),
)  # fmt: skip

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
"""The recipes that come with the package, by name."""

DEFAULT = _GLYPHS.name
"""What `jaxmeta train` runs when it is given no recipe."""
