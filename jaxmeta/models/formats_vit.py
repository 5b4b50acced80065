"""Vision transformers in files: what they are called by timm, torchvision and others."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxmeta.core import Pictures
from jaxmeta.models.formats import (
    Known,
    Shapes,
    count,
    prefix,
    renamed,
    rows,
    transposed,
)
from jaxmeta.models.pretrained import IMAGENET
from jaxmeta.models.vit import vit

HALF = Pictures(224, (0.5,) * 3, (0.5,) * 3, 1.0, "bilinear")
"""What Google's vision transformers were trained with."""

DINO = IMAGENET._replace(resample="bicubic")
"""What DINOv2 is used with, though its positions are learned at 518 pixels."""

DEIT = IMAGENET._replace(crop=0.9, resample="bicubic")
"""What DeiT was trained with."""

CLIP = Pictures(
    224,
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
    1.0,
    "bicubic",
)
"""What OpenAI's CLIP was trained with."""

_TIMM = {
    "embed": "patch_embed.proj", "cls": "cls_token", "position": "pos_embed",
    "distilled": "dist_token", "head_distilled": "head_dist", "registers": "reg_token",
    "block#": "blocks.@", "attention": "attn", "query": "qkv", "key": "qkv",
    "value": "qkv", "out": "proj", "gamma1": "ls1.gamma", "gamma2": "ls2.gamma",
    "up": "mlp.fc1", "down": "mlp.fc2", "norm1": "norm1", "norm2": "norm2",
}  # fmt: skip
_TORCHVISION = {
    "embed": "conv_proj", "cls": "class_token", "position": "encoder.pos_embedding",
    "block#": "encoder.layers.encoder_layer_@", "attention": "self_attention",
    "query": "in_proj", "key": "in_proj", "value": "in_proj", "out": "out_proj",
    "norm1": "ln_1", "norm2": "ln_2", "up": "mlp.0", "down": "mlp.3",
    "norm": "encoder.ln", "head": "heads.head",
}  # fmt: skip
_EMBEDDINGS = {
    "embed": "embeddings.patch_embeddings.projection", "cls": "embeddings.cls_token",
    "position": "embeddings.position_embeddings", "norm": "layernorm",
    "registers": "embeddings.register_tokens",
    "distilled": "embeddings.distillation_token", "block#": "encoder.layer.@",
    "attention": "attention", "query": "attention.query", "key": "attention.key",
    "value": "attention.value", "out": "output.dense",
}  # fmt: skip
_VIT = _EMBEDDINGS | {
    "norm1": "layernorm_before", "norm2": "layernorm_after", "up": "intermediate.dense",
    "down": "output.dense",
}  # fmt: skip
_DINO = _EMBEDDINGS | {
    "norm1": "norm1", "norm2": "norm2", "up": "mlp.fc1", "down": "mlp.fc2",
    "gamma1": "layer_scale1.lambda1", "gamma2": "layer_scale2.lambda1",
}  # fmt: skip
_CLIP = {
    "embed": "embeddings.patch_embedding", "cls": "embeddings.class_embedding",
    "position": "embeddings.position_embedding.weight", "pre_norm": "pre_layrnorm",
    "block#": "encoder.layers.@", "attention": "self_attn", "query": "q_proj",
    "key": "k_proj", "value": "v_proj", "out": "out_proj", "norm1": "layer_norm1",
    "norm2": "layer_norm2", "up": "mlp.fc1", "down": "mlp.fc2",
    "norm": "post_layernorm",
}  # fmt: skip


_RELEASES = {"vit": HALF, "deit": DEIT}


def timm(shapes: Shapes) -> Known | None:
    """ViT, DeiT and DINOv2 by the names of timm, and of DINOv2's own release.

    ViT and DeiT, tiny to base, have the same names and shapes, and other pictures.
    """
    if (
        "patch_embed.proj.weight" not in shapes
        or "blocks.0.attn.qkv.weight" not in shapes
    ):
        return None
    names = _TIMM
    if "register_tokens" in shapes:  # DINOv2's own
        names = names | {"registers": "register_tokens"}
    depth = count(shapes, "blocks.{}.attn.qkv.weight")
    scaled, distilled = "blocks.0.ls1.gamma" in shapes, "dist_token" in shapes
    pictures, releases = HALF, {}
    if scaled:
        # the third DeiT has scales as DINOv2 has, and no place for its class token
        third = "reg_token" not in shapes and _alone(shapes["pos_embed"][-2])
        pictures = DEIT if third else DINO
    elif distilled:
        pictures = DEIT
    elif shapes["patch_embed.proj.weight"][-1] == 16 and depth == 12:
        releases = _RELEASES  # a ViT, unless the user says "deit"
    return _known(
        shapes,
        "a vision transformer of timm",
        names,
        depth,
        pictures=pictures,
        releases=releases,
        scaled=scaled,
        distilled=distilled,
        spare=("mask_token",),
        # timm averages always, DINOv2's own release where it has registers
        smooth="mask_token" not in shapes or "register_tokens" in shapes,
    )


def torchvision(shapes: Shapes) -> Known | None:
    """ViT by the names of torchvision."""
    if "encoder.layers.encoder_layer_0.ln_1.weight" not in shapes:
        return None
    return _known(
        shapes,
        "a vision transformer of torchvision",
        _TORCHVISION,
        count(shapes, "encoder.layers.encoder_layer_{}.ln_1.weight"),
        pictures=IMAGENET,
    )


def hugging_face(shapes: Shapes) -> Known | None:
    """ViT, DeiT, DINOv2 by the names of transformers' files, with or without a head."""
    start = prefix(shapes, "embeddings.patch_embeddings.projection.weight")
    if start is None:
        return None
    first, releases = f"{start}encoder.layer.0.", {}
    distilled = f"{start}embeddings.distillation_token" in shapes
    heads = {"head": "classifier"}
    if distilled:
        name, names, pictures, epsilon = "facebook/deit", _VIT, DEIT, 1e-12
        heads = {"head": "cls_classifier", "head_distilled": "distillation_classifier"}
    elif f"{first}layernorm_before.weight" in shapes:
        name, names, pictures, epsilon = "google/vit", _VIT, HALF, 1e-12
        releases = _RELEASES
    elif f"{first}layer_scale1.lambda1" in shapes:
        name, names, pictures, epsilon = "facebook/dinov2", _DINO, DINO, 1e-6
    else:
        return None
    return _known(
        shapes,
        f"a network like {name}",
        names | heads,
        count(shapes, f"{start}encoder.layer.{{}}.norm1.weight")
        or count(shapes, f"{start}encoder.layer.{{}}.layernorm_before.weight"),
        pictures=pictures,
        releases=releases,
        scaled=names is _DINO,
        distilled=distilled,
        smooth=f"{start}embeddings.register_tokens" in shapes,
        start=start,
        epsilon=epsilon,
        # a map that is trained with masks, or on the class token, and is used by nothing
        spare=(f"{start}embeddings.mask_token", f"{start}pooler."),
    )


def clip(shapes: Shapes) -> Known | None:
    """The image tower of openai/clip-vit-base-patch32 and its like."""
    start = prefix(shapes, "vision_model.embeddings.class_embedding")
    if start is None:
        return None
    start += "vision_model."
    return _known(
        shapes,
        "a network like openai/clip",
        _CLIP | {"projection": "visual_projection"},
        count(shapes, f"{start}encoder.layers.{{}}.layer_norm1.weight"),
        pictures=CLIP,
        start=start,
        epsilon=1e-5,
        pre_norm=True,
        activation="quick_gelu",
        projection=rows(shapes, "visual_projection.weight"),
        spare=("text_", "logit_scale", f"{start}embeddings.position_ids"),
    )


def _known(
    shapes: Shapes,
    name: str,
    names: Mapping[str, str],
    depth: int,
    *,
    pictures: Pictures,
    releases: Mapping[str, Pictures] = MappingProxyType({}),
    start: str = "",
    scaled: bool = False,
    distilled: bool = False,
    spare: tuple[str, ...] = (),
    **options,
) -> Known:
    tops = ("params/head", "params/projection")

    def rename(path):
        found = renamed(path, names)
        found = found.replace("in_proj.", "in_proj_")  # one parameter, not a layer's
        return found if path.startswith(tops) else start + found

    width, _, patch, _ = shapes[rename("params/embed/kernel")]
    places = shapes[rename("params/position")][-2]
    # with a place for the class token, or one less; two, where there is a second one
    cls = distilled or not _alone(places)
    side = math.isqrt(places - cls - distilled)
    hidden = shapes[rename("params/block1/up/kernel")][0]
    registers = shapes.get(rename("params/registers"), (0, 0))[-2]
    head = shapes.get(rename("params/head/kernel"))
    if head is not None and head[1] == 2 * width:  # a linear probe of DINOv2
        options["pool"] = "cls_mean"
    given: dict[str, Any] = dict(
        patch=patch,
        width=width,
        depth=depth,
        heads=16
        if width == 1280
        else max(width // 64, 1),  # as in all that are published
        hidden=hidden,
        size=side * patch,
        registers=registers,
        layer_scale=1.0 if scaled else None,
        distilled=distilled,
        patch_bias=rename("params/embed/bias") in shapes,
        **options,
    )

    fused = names["query"] == names["key"]

    def convert(path, array):
        return _converted(path, array, cls, fused)

    def sized(one: Pictures) -> Pictures:
        # what was trained at a larger size is not cut
        if one is DEIT and side * patch > DEIT.size:
            one = one._replace(crop=1.0)
        return one if one is DINO else one._replace(size=side * patch)

    return Known(
        name,
        lambda ways, pictures: vit(ways, pictures=pictures, **given),
        None if head is None else head[0],
        sized(pictures),
        rename,
        lambda other: other.startswith(spare),
        convert,
        {release: sized(one) for release, one in releases.items()},
    )


def _alone(places: int) -> bool:
    """Whether the patches of a square have all places, and the class token none."""
    return math.isqrt(places) ** 2 == places


def _converted(path: str, array: np.ndarray, cls: bool, fused: bool) -> np.ndarray:
    parts = path.split("/")
    if (
        path == "params/embed/kernel"
    ):  # [width, c, p, p]: patches have their channels last
        return array.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])
    if parts[-1] in ("cls", "position", "registers", "distilled"):
        array = array.reshape(-1, array.shape[-1])
        if parts[-1] == "position" and not cls:
            array = np.concatenate([np.zeros_like(array[:1]), array])
        return array
    names = ("query", "key", "value")
    if fused and parts[-2] in names:
        array = np.split(array, 3)[names.index(parts[-2])]
    return transposed(path, array)
