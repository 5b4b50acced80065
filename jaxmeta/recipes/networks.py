"""Networks of the command line: `--network NAME`, each with options of its own."""

import functools
from typing import Any, Literal

from jaxmeta import models, transfer
from jaxmeta.core import Model
from jaxmeta.models.layers import NormName
from jaxmeta.runs.backbone import load_backbone
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.options import OneOf
from jaxmeta.runs.usage import Release

Norm = Literal["batch", "batch_running", "batch_renorm", "group", "layer", "none"]
Precision = Literal["float32", "bfloat16"]


def conv4(
    outputs: int | None,
    maps: bool = False,
    *,
    filters: int = 64,
    norm: Norm = "batch_running",
    downsample: Literal["pool", "stride"] = "pool",
    precision: Precision = "float32",
) -> Model:
    """Four layers of convolution, for small images.

    Args:
      outputs: of the head; `None`: features alone.
      maps: features as maps, for a learner that compares them place by place.
      filters: channels of each layer.
      norm: normalisation. batch: of the batch at hand, at the test too, which lets
        queries see one another; batch_running: with running averages at the test;
        batch_renorm: with running averages at all times.
      downsample: how it shrinks: 2x2 max-pooling, or convolutions of stride 2.
      precision: what it computes in; parameters and statistics are float32.
    """
    shape: dict[str, Any] = dict(flatten=False, pools=2, valid=2) if maps else {}
    net = models.conv4(
        outputs, filters=filters, norm=_norm(norm), downsample=downsample, **shape
    )
    return precise(net, precision)


def convnet(
    outputs: int | None,
    *,
    widths: tuple[int, ...] = (48, 64, 128, 128),
    sizes: tuple[int, ...] = (7, 3, 3, 3),
    strides: tuple[int, ...] = (4, 2, 2, 1),
    norm: Norm = "batch_running",
    precision: Precision = "float32",
) -> Model:
    """A chain of convolutions of any sizes, features by place, for drawings of 64x64.

    Args:
      outputs: of the head; `None`: features alone.
      widths: channels of each layer.
      sizes: side of its kernel.
      strides: its stride.
      norm: normalisation, see conv4.
      precision: what it computes in.
    """
    net = models.convnet(
        outputs, widths=widths, sizes=sizes, strides=strides, norm=_norm(norm)
    )
    return precise(net, precision)


def resnet12(
    outputs: int | None,
    *,
    widths: tuple[int, ...] = (64, 160, 320, 640),
    norm: Norm = "batch_running",
    drop_rate: float = 0.1,
    precision: Precision = "float32",
) -> Model:
    """Twelve layers with shortcuts and DropBlock, for photographs.

    Args:
      outputs: of the head; `None`: features alone.
      widths: channels of the four blocks.
      norm: normalisation, see conv4.
      drop_rate: share of a map that DropBlock takes out.
      precision: what it computes in.
    """
    net = models.resnet12(outputs, widths=widths, norm=_norm(norm), drop_rate=drop_rate)
    return precise(net, precision)


def mlp(
    outputs: int | None,
    *,
    hidden: tuple[int, ...] = (40, 40),
    precision: Precision = "float32",
) -> Model:
    """Dense layers.

    Args:
      outputs: of the head; `None`: features alone.
      hidden: widths of the hidden layers.
      precision: what it computes in.
    """
    return precise(models.mlp(outputs, hidden=hidden), precision)


def transformer(
    outputs: int | None,
    *,
    patch: int = 7,
    width: int = 64,
    depth: int = 4,
    heads: int = 4,
    precision: Precision = "float32",
) -> Model:
    """A vision transformer.

    Args:
      outputs: of the head; `None`: features alone.
      patch: side of a patch in pixels; it divides the image.
      width: of a token.
      depth: layers.
      heads: of attention.
      precision: what it computes in.
    """
    net = models.transformer(
        outputs, patch=patch, width=width, depth=depth, heads=heads
    )
    return precise(net, precision)


def resnet(
    outputs: int | None,
    *,
    depth: Literal["18", "34", "50"] = "18",
    stem: Literal["small", "imagenet"] = "small",
    width: int = 64,
    norm: Norm = "batch_running",
    precision: Precision = "float32",
) -> Model:
    """The residual networks of ImageNet.

    Args:
      outputs: of the head; `None`: features alone.
      depth: layers.
      stem: how it begins. small: at full size, for 32x32 or 84x84; imagenet: at a quarter.
      width: channels of the first of four stages; each has twice those of the last.
      norm: normalisation, see conv4.
      precision: what it computes in.
    """
    deep: Any = int(depth)
    net = models.resnet(deep, outputs, stem=stem, width=width, norm=_norm(norm))
    return precise(net, precision)


def efficientnet_lite0(
    outputs: int | None,
    *,
    norm: Norm = "batch_running",
    dropout: float = 0.2,
    drop_path: float = 0.2,
    precision: Precision = "float32",
) -> Model:
    """Depthwise convolutions, for photographs on small machines.

    Args:
      outputs: of the head; `None`: features alone.
      norm: normalisation, see conv4.
      dropout: of features before the head.
      drop_path: how often the last block is left out, earlier ones less.
      precision: what it computes in.
    """
    net = models.efficientnet_lite0(
        outputs, norm=_norm(norm), dropout=dropout, drop_path=drop_path
    )
    return precise(net, precision)


def vit(
    outputs: int | None,
    *,
    patch: int = 16,
    width: int = 384,
    depth: int = 12,
    heads: int = 6,
    size: int = 224,
    registers: int = 0,
    drop_path: float = 0.0,
    precision: Precision = "float32",
) -> Model:
    """The vision transformer of ImageNet, for photographs of any size.

    Args:
      outputs: of the head; `None`: features alone.
      patch: side of a patch in pixels.
      width: of a token.
      depth: layers.
      heads: of attention.
      size: side of the pictures whose positions are learned; others are interpolated.
      registers: tokens that stand for no patch.
      drop_path: how often the last block is left out, earlier ones less.
      precision: what it computes in.
    """
    net = models.vit(
        outputs, patch=patch, width=width, depth=depth, heads=heads, size=size,
        registers=registers, drop_path=drop_path,
    )  # fmt: skip
    return precise(net, precision)


def backbone(
    outputs: int | None,
    *,
    file: str | None = None,
    pictures: Release | None = None,
    tune: Literal[
        "full", "lora", "adapter", "scale_shift", "bias_only", "frozen"
    ] = "full",
    precision: Precision = "float32",
) -> Model:
    """A trained network of a file: of timm, torchvision or the Hub.

    Its norms keep the statistics of its pretraining.

    Args:
      outputs: of a new linear head; `None`: features alone.
      file: FILE.safetensors.
      pictures: deit, where timm's names are those of ViT as well.
      tune: what of it learns: everything, or a few parameters on a network that is a
        constant, common to all tasks.
      precision: what it computes in.
    """
    if file is None:
        raise ConfigError("file", "nothing", "a trained network, FILE.safetensors")
    body = load_backbone(file, "file", pictures=pictures).model
    if tune == "full":
        body = transfer.inference_mode(body)
    elif tune == "scale_shift":
        body = models.scale_shift(body, scale="output")
    else:
        body = getattr(models, tune)(body)
    net = (
        body if outputs is None else models.with_head(body, models.linear_head(outputs))
    )
    return precise(net, precision)


def precise(model: Model, precision: Precision) -> Model:
    """The network in half precision, where that is wanted."""
    return models.half_precision(model) if precision == "bfloat16" else model


def _norm(norm: Norm):
    return None if norm == "none" else norm


NETWORKS = {
    f.__name__: f
    for f in (
        conv4,
        convnet,
        resnet12,
        resnet,
        efficientnet_lite0,
        mlp,
        transformer,
        vit,
        backbone,
    )
}
"""Every network by name."""

OF_IMAGES = set(NETWORKS) - {"mlp"}
"""Those that take images and nothing else."""

ANY = OneOf(NETWORKS, files=True)
"""One of them, or a function of one's own: `FILE.py:FUNCTION`, outputs -> Model."""


def norm_of(network) -> NormName | None:
    """What a chosen network is told about its norm, where it has one."""
    inner = network
    while isinstance(inner, functools.partial):
        if "norm" in inner.keywords:
            return _norm(inner.keywords["norm"])
        inner = inner.func
    return None
