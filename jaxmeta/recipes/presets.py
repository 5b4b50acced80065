"""Published settings by name."""

from jaxmeta.recipes import other_presets as other_presets
from jaxmeta.runs.options import use
from jaxmeta.runs.registry import preset

FEW_SHOT = "jaxmeta.recipes.few_shot:few_shot"
DEFAULT = "glyphs-protonet-5w1s"
"""What `jaxmeta train` runs when it is given no recipe."""

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
    clip=10.0,
)
