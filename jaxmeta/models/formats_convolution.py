"""Convolutional networks in files: what they are called by torchvision, timm and others."""

from jaxmeta.core import Pictures
from jaxmeta.models.efficientnet_lite0 import LITE0, efficientnet_lite0
from jaxmeta.models.formats import (
    Known,
    Shapes,
    count,
    counter,
    prefix,
    renamed,
    rows,
    transposed,
)
from jaxmeta.models.pretrained import IMAGENET
from jaxmeta.models.resnet import resnet

# (x - 127) / 128 of bytes
_LITE = Pictures(224, (127 / 255,) * 3, (128 / 255,) * 3)
_LITE_NAMES = {
    "stem": "_conv_stem", "stem_norm": "_bn0", "top": "_conv_head", "top_norm": "_bn1",
    "head": "_fc", "block#": "_blocks.@", "expand": "_expand_conv", "expand_norm": "_bn0",
    "depthwise": "_depthwise_conv", "depthwise_norm": "_bn1",
    "project": "_project_conv", "project_norm": "_bn2",
}  # fmt: skip


def efficientnet(shapes: Shapes) -> Known | None:
    """The names of the PyTorch release of EfficientNet-Lite0."""
    if (
        "_conv_stem.weight" not in shapes
        or "_blocks.0._depthwise_conv.weight" not in shapes
    ):
        return None
    return Known(
        "EfficientNet-Lite0",
        lambda ways, pictures: efficientnet_lite0(ways, pictures=pictures),
        rows(shapes, "_fc.weight"),
        _LITE,
        lambda path: renamed(path, _LITE_NAMES),
        counter,
        transposed,
    )


_TIMM_LITE_NAMES = {
    "stem": "conv_stem", "stem_norm": "bn1", "top": "conv_head", "top_norm": "bn2",
    "head": "classifier", "expand": "conv_pw", "expand_norm": "bn1",
    "depthwise": "conv_dw", "depthwise_norm": "bn2", "project": "conv_pwl",
    "project_norm": "bn3",
}  # fmt: skip
# the first block does not expand, and its norms are counted from there
_TIMM_FIRST = {"depthwise_norm": "bn1", "project": "conv_pw", "project_norm": "bn2"}
_PLACES = [(i, j) for i, stage in enumerate(LITE0) for j in range(stage.blocks)]


def timm_efficientnet(shapes: Shapes) -> Known | None:
    """The names of timm, for its tf_efficientnet_lite0."""
    if "conv_stem.weight" not in shapes or "blocks.0.0.conv_dw.weight" not in shapes:
        return None

    def rename(path):
        at = {f"block{k}": f"blocks.{i}.{j}" for k, (i, j) in enumerate(_PLACES, 1)}
        first = _TIMM_FIRST if path.startswith("block1/", path.index("/") + 1) else {}
        return renamed(path, _TIMM_LITE_NAMES | at | first)

    return Known(
        "timm's tf_efficientnet_lite0",
        lambda ways, pictures: efficientnet_lite0(ways, pictures=pictures),
        rows(shapes, "classifier.weight"),
        Pictures(224, (0.5,) * 3, (0.5,) * 3),
        rename,
        counter,
        transposed,
    )


_TORCHVISION = {
    "stem": "conv1", "stem_norm": "bn1", "head": "fc", "stage#": "layer#", "block#": "@",
    "conv#": "conv#", "norm#": "bn#", "shortcut": "downsample.0",
    "shortcut_norm": "downsample.1",
}  # fmt: skip
_HUGGING_FACE = {
    "stem": "embedder.embedder.convolution",
    "stem_norm": "embedder.embedder.normalization", "stage#": "encoder.stages.@",
    "block#": "layers.@", "conv#": "layer.@.convolution", "norm#": "layer.@.normalization",
    "shortcut": "shortcut.convolution", "shortcut_norm": "shortcut.normalization",
}  # fmt: skip


def resnets(shapes: Shapes) -> Known | None:
    """ResNets by the names of torchvision and timm, which are the same."""
    if "conv1.weight" not in shapes or "layer1.0.conv1.weight" not in shapes:
        return None
    blocks = tuple(count(shapes, f"layer{i}.{{}}.conv1.weight") for i in (1, 2, 3, 4))
    return _resnet(
        rows(shapes, "conv1.weight"),
        blocks,
        "layer1.0.conv3.weight" in shapes,
        rows(shapes, "fc.weight"),
        lambda path: renamed(path, _TORCHVISION),
    )


def hugging_face_resnets(shapes: Shapes) -> Known | None:
    """ResNets of transformers, such as microsoft/resnet-50, with or without a head."""
    stem = "embedder.embedder.convolution.weight"
    start = prefix(shapes, stem)
    if start is None:
        return None

    def rename(path):
        if path.startswith("params/head"):
            return renamed(path, {"head": "classifier.1"})
        return start + renamed(path, _HUGGING_FACE)

    layer = "{}encoder.stages.{}.layers.{}.layer.{}.convolution.weight"
    blocks = tuple(count(shapes, layer.format(start, i, "{}", 0)) for i in (0, 1, 2, 3))
    return _resnet(
        rows(shapes, start + stem),
        blocks,
        layer.format(start, 0, 0, 2) in shapes,
        rows(shapes, "classifier.1.weight"),
        rename,
    )


def _resnet(width, blocks, bottleneck, ways, rename) -> Known:
    depth = 50 if bottleneck else 18
    layers = 2 + (3 if bottleneck else 2) * sum(blocks)
    return Known(
        f"ResNet-{layers} with {blocks} blocks",
        lambda ways, pictures: resnet(
            depth, ways, width=width, blocks=blocks, pictures=pictures
        ),
        ways,
        IMAGENET,
        rename,
        counter,
        transposed,
    )
