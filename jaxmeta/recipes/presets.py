"""Published settings by name."""

from jaxmeta.recipes import (  # noqa: F401 (they register themselves)
    other_presets,
    presets_curves,
    presets_full,
    presets_omniglot,
    presets_speech,
)
from jaxmeta.recipes.presets_omniglot import FEW_SHOT
from jaxmeta.runs.options import use
from jaxmeta.runs.registry import preset

DEFAULT = "glyphs-protonet-5w1s"
"""What `jaxmeta train` runs when it is given no recipe."""

preset(
    "few-shot",
    FEW_SHOT,
    "any learner on any set of classes: --learner, --network, --dataset",
)
preset(
    DEFAULT,
    FEW_SHOT,
    "ProtoNet on drawn glyphs: no download, about a minute on two cores",
    sampler=use("fixed", queries=5, train_ways=10),
    network=use("conv4", filters=32),
    steps=300,
    batch=4,
    schedule="cosine",
)
preset(
    "glyphs-maml-5w1s",
    FEW_SHOT,
    "MAML on drawn glyphs: second order, stride-2 conv4, one inner step",
    sampler=use("fixed", queries=5, train_queries=3),
    network=use("conv4", filters=32, norm="batch", downsample="stride"),
    learner=use("maml", inner_rate=0.4, inner_steps=1, eval_inner_steps=3),
    steps=500,
    schedule="cosine",
    clip=10.0,
)
preset(
    "folder-protonet-5w1s",
    FEW_SHOT,
    "ProtoNet on your own images: --data FOLDER with <class>/*.png",
    dataset=use("folder"),
    sampler=use("fixed", queries=5),
    steps=1000,
    batch=2,
    schedule="cosine",
)
preset(
    "folder-pmf-5w1s",
    FEW_SHOT,
    "Hu et al. 2022, P>M>F: a backbone meets your photographs: --file FILE --data DIR",
    dataset=use("folder", size=144, mode="RGB"),
    sampler=use("fixed", queries=5),
    network=use("backbone"),
    test_time=use("tune"),
    steps=200,
    batch=1,
    rate=1e-5,
    schedule="cosine",
)
