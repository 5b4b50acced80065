"""Trained networks from files, recognised by the names and shapes of their weights."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from jaxmeta.core import Meta, Model, Pictures
from jaxmeta.models.files import listed, load_safetensors, names_of, opened
from jaxmeta.models.formats import Known, Shapes
from jaxmeta.models.formats_convolution import (
    efficientnet,
    hugging_face_resnets,
    resnets,
    timm_efficientnet,
)
from jaxmeta.models.formats_vit import clip, hugging_face, timm, torchvision

FORMATS: tuple[Callable[[Shapes], Known | None], ...] = (
    efficientnet,
    timm_efficientnet,
    resnets,
    hugging_face_resnets,
    timm,
    torchvision,
    hugging_face,
    clip,
)
"""Each looks at a file's names and shapes, and says whether they are its own."""


def load(
    path: str | os.PathLike[str],
    *,
    head: bool = False,
    pictures: Pictures | Literal["vit", "deit"] | None = None,
) -> tuple[Model, Meta]:
    """Reads a trained network of timm, torchvision or the Hugging Face hub.

    Known are, by the names in their files: EfficientNet-Lite0 (its PyTorch
    release, and timm's tf_efficientnet_lite0);
    ResNets (torchvision, timm, microsoft/resnet-50); vision transformers (timm's ViT,
    DeiT, also distilled, and DINOv2, torchvision's, google/vit-base-patch16-224,
    facebook/deit-small-distilled-patch16-224, facebook/dinov2-small, also with
    registers, and DINOv2's own release); the image tower of
    openai/clip-vit-base-patch32. How wide and deep one is, is read off the shapes, and
    attention has a head for every 64 channels. Nothing in a file is ever executed: what
    is no `.safetensors` is refused.

    Some things are in no name. timm's ViT and DeiT, tiny to base, are called alike and
    were trained with other pictures: such a file is taken for a ViT, where `pictures`
    does not say "deit". By the names of transformers it is Google's ViT. A CLIP is taken
    for OpenAI's, with its own GELU; timm's efficientnet_lite0, which pads and normalises
    otherwise, for tf_'s. Features of a distilled DeiT are the mean of its two class
    tokens.

    Args:
      path: a `.safetensors` file.
      head: with the classifier that it was trained with; by default features alone.
      pictures: what it was trained with, where that is not what was published under
        these names; "deit" where they are those of ViT as well.

    Returns:
      `(model, meta)`. The model takes pictures in [0, 1], `[n, height, width, 3]` of any
      size, and subtracts the mean itself; `model.pictures` says what it was trained
      with, and `model.init` returns `meta`, whatever its key.

    Raises:
      ValueError: for a file that is none of these, or has names missing or too many, or
        other shapes; for `head` where it has none; for `pictures` that do not fit.

    >>> model, meta = load("efficientnet_lite0.safetensors")  # doctest: +SKIP
    """
    _check_safe(path)
    with opened(path) as file:
        shapes = {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}
    known = _recognised(path, shapes)
    if head and known.ways is None:
        raise ValueError(f"head: got True, and {path} has no classifier, wants False")
    pictures = _trained_with(known, pictures)
    whole = known.build(known.ways, pictures)
    like = _like(whole, pictures)
    _check_names(path, known, shapes, like)
    model = whole if head or known.ways is None else known.build(None, pictures)
    if model is not whole:  # to trace it again takes as long as all the rest
        own = {k: v for k, v in like.params.items() if not k.startswith("head")}
        like = like._replace(params=own)
    meta = load_safetensors(path, like, rename=known.rename, convert=known.convert)
    return model._replace(init=lambda key, inputs: meta), meta


def _check_safe(path) -> None:
    kind = Path(path).suffix
    if kind == ".safetensors":
        return
    wants = "a .safetensors file"
    if kind in (".pth", ".pt", ".bin", ".ckpt", ".tar"):
        code = (
            "import torch, safetensors.torch as s; "
            f"w = torch.load({str(path)!r}, map_location='cpu', weights_only=True); "
            "s.save_file({k: v.contiguous().clone() for k, v in w.items()}, "
            f"{str(Path(path).with_suffix('.safetensors'))!r})"
        )
        wants += f", as this line makes of it where PyTorch is installed: {code}"
    raise ValueError(f"path: got {path}, wants {wants}")


def _trained_with(known: Known, said) -> Pictures:
    """The pictures of the release that a file is of."""
    if isinstance(said, Pictures):
        return said
    found = known.pictures if said is None else known.releases.get(said)
    if found is None:
        wants = " or ".join([*(f"{name!r}" for name in known.releases), "a Pictures"])
        raise ValueError(f"pictures: got {said!r} for {known.name}, wants {wants}")
    return found


def _recognised(path, shapes: Shapes) -> Known:
    for look in FORMATS:
        if (known := look(shapes)) is not None:
            return known
    raise ValueError(
        f"path: got {path} with {listed(shapes)}, wants EfficientNet-Lite0, a ResNet, "
        "ViT, DeiT, DINOv2 or CLIP, by the names of timm, torchvision or transformers"
    )


def _like(model: Model, pictures: Pictures) -> Meta:
    """Shapes and types of a network's leaves, without memory for them."""
    size = (1, pictures.size, pictures.size, len(pictures.mean))
    image = jax.ShapeDtypeStruct(size, "float32")
    like = jax.eval_shape(model.init, jax.random.key(0), image)
    return jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), like)


def _check_names(path, known: Known, shapes: Shapes, like: Meta) -> None:
    wanted = {known.rename(name) for name in names_of(like)}
    strange = {name for name in set(shapes) - wanted if not known.spare(name)}
    missing = wanted - set(shapes)
    said = []
    if missing:
        said.append(f"without {listed(missing)}")
    if strange:
        said.append(f"with {listed(strange)}, of which it knows nothing")
    if said:
        raise ValueError(f"path: got {path} {' and '.join(said)}, wants {known.name}")
