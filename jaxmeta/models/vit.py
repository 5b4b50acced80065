"""The vision transformer, in the forms whose trained weights are passed around.

Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.checks import at_least, one_of
from jaxmeta.core import Array, Model, Pictures
from jaxmeta.functional.causal import attention_weights
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.layers import drop_path
from jaxmeta.models.positions import resized
from jaxmeta.models.pretrained import check_images, standardised
from jaxmeta.models.transformer import patches

Pool = Literal["cls", "mean", "cls_mean"]
Activation = Literal["gelu", "quick_gelu"]


class _Form(NamedTuple):
    """The options of `vit`, checked."""

    patch: int
    width: int
    depth: int
    heads: int
    hidden: int
    size: int
    registers: int
    layer_scale: float | None
    pre_norm: bool
    activation: Activation
    projection: int | None
    pool: Pool
    distilled: bool
    epsilon: float
    patch_bias: bool
    smooth: bool
    drop: float
    pictures: Pictures | None


class Attention(nnx.Module):
    """Heads of queries, keys and values with biases."""

    def __init__(self, width, heads, *, rngs):
        self.heads = heads
        self.query = nnx.Linear(width, width, rngs=rngs)
        self.key = nnx.Linear(width, width, rngs=rngs)
        self.value = nnx.Linear(width, width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x):
        q, k, v = (self._split(f(x)) for f in (self.query, self.key, self.value))
        y = jnp.swapaxes(attention_weights(q, k) @ v, 1, 2)  # [n, t, heads, d]
        return self.out(y.reshape(x.shape))

    def _split(self, x):
        return jnp.swapaxes(x.reshape(*x.shape[:2], self.heads, -1), 1, 2)


class Block(nnx.Module):
    """Attention and a perceptron, each after a norm, scaled, and added to its input."""

    def __init__(self, form, rate, *, rngs):
        width = form.width
        self.norm1 = _norm(form, rngs)
        self.attention = Attention(width, form.heads, rngs=rngs)
        self.norm2 = _norm(form, rngs)
        self.up = nnx.Linear(width, form.hidden, rngs=rngs)
        self.down = nnx.Linear(form.hidden, width, rngs=rngs)
        start = form.layer_scale
        self.gamma1 = None if start is None else nnx.Param(jnp.full(width, start))
        self.gamma2 = None if start is None else nnx.Param(jnp.full(width, start))
        self.quick = form.activation == "quick_gelu"
        self.rate = rate
        self.deterministic = False  # set by module.train() and module.eval()

    def __call__(self, x, rngs):
        x = self._add(x, self.attention(self.norm1(x)), self.gamma1, rngs)
        y = self.up(self.norm2(x))
        y = y * nnx.sigmoid(1.702 * y) if self.quick else nnx.gelu(y, approximate=False)
        return self._add(x, self.down(y), self.gamma2, rngs)

    def _add(self, x, y, gamma, rngs):
        y = y if gamma is None else y * gamma[...]
        if not self.deterministic and self.rate > 0:
            y = drop_path(y, rngs(), rate=self.rate)
        return x + y


def _norm(form, rngs):
    return nnx.LayerNorm(
        form.width, epsilon=form.epsilon, use_fast_variance=False, rngs=rngs
    )


class VisionTransformer(nnx.Module):
    """`embed`, `cls`, `position`, `block1`, ..., `norm` and, with classes, a `head`."""

    def __init__(self, channels, ways, form, *, rngs):
        self.form = form
        width, small = form.width, jax.nn.initializers.normal(0.02)
        taps = form.patch**2 * channels
        self.embed = nnx.Linear(taps, width, use_bias=form.patch_bias, rngs=rngs)
        places = (form.size // form.patch) ** 2
        self.cls = nnx.Param(small(rngs.params(), (1, width)))
        self.distilled = (
            nnx.Param(small(rngs.params(), (1, width))) if form.distilled else None
        )
        # the class token's is the first, the distillation token's follows
        self.first = 1 + form.distilled
        self.position = nnx.Param(small(rngs.params(), (self.first + places, width)))
        kept = (form.registers, width)
        self.registers = nnx.Param(small(rngs.params(), kept)) if kept[0] else None
        self.pre_norm = _norm(form, rngs) if form.pre_norm else None
        for i in range(1, form.depth + 1):
            rate = form.drop * (i - 1) / max(form.depth - 1, 1)
            setattr(self, f"block{i}", Block(form, rate, rngs=rngs))
        self.norm = _norm(form, rngs)
        features = 2 * width if form.pool == "cls_mean" else width
        if form.projection is None:
            self.projection = None
        else:
            self.projection = nnx.Linear(
                features, form.projection, use_bias=False, rngs=rngs
            )
            features = form.projection
        self.head = None if ways is None else nnx.Linear(features, ways, rngs=rngs)
        self.head_distilled = (
            nnx.Linear(features, ways, rngs=rngs)
            if ways is not None and form.distilled
            else None
        )

    def __call__(self, x, rngs):
        x = self.tokens(standardised(x, self.form.pictures))
        x = x if self.pre_norm is None else self.pre_norm(x)
        for i in range(1, self.form.depth + 1):
            x = getattr(self, f"block{i}")(x, rngs)
        x = self.norm(x)
        if self.head is not None and self.head_distilled is not None:
            # one has learned from labels, one from a teacher
            return (self.head(x[:, 0]) + self.head_distilled(x[:, 1])) / 2
        x = self._pooled(x)
        x = x if self.projection is None else self.projection(x)
        return x if self.head is None else self.head(x)

    def tokens(self, x):
        """The class token, others, and a token a patch: `[n, 1 + r + t, width]`."""
        patch = self.form.patch
        # as a convolution of that stride: pixels that fill no patch are left out
        rows, columns = (side // patch for side in x.shape[1:3])
        x = patches(x[:, : rows * patch, : columns * patch], patch)
        position = self.position[...]
        of_patches = position[self.first :]
        places = resized(of_patches, (rows, columns), smooth=self.form.smooth)
        x = self.embed(x) + places
        first = self.cls[...]
        if self.distilled is not None:
            first = jnp.concatenate([first, self.distilled[...]])
        first = first + position[: self.first]
        if self.registers is not None:
            first = jnp.concatenate([first, self.registers[...]])
        first = jnp.broadcast_to(first, (x.shape[0], *first.shape))
        return jnp.concatenate([first.astype(x.dtype), x], 1)

    def _pooled(self, x: Array) -> Array:
        if self.distilled is not None:
            return x[:, :2].mean(1)
        cls, mean = x[:, 0], x[:, 1 + self.form.registers :].mean(1)
        if self.form.pool == "cls_mean":
            return jnp.concatenate([cls, mean], -1)
        return cls if self.form.pool == "cls" else mean


def vit(
    ways: int | None,
    *,
    patch: int = 16,
    width: int = 384,
    depth: int = 12,
    heads: int = 6,
    hidden: int | None = None,
    size: int = 224,
    registers: int = 0,
    layer_scale: float | None = None,
    pre_norm: bool = False,
    activation: Activation = "gelu",
    projection: int | None = None,
    pool: Pool = "cls",
    distilled: bool = False,
    epsilon: float = 1e-6,
    patch_bias: bool = True,
    smooth: bool = False,
    drop_path: float = 0.0,
    pictures: Pictures | None = None,
) -> Model:
    """A vision transformer, for pictures of any size: ViT, DeiT, DINOv2, CLIP's images.

        x <- x + g_1 Attention(LN(x)),   x <- x + g_2 W_2 gelu(W_1 LN(x))

    The defaults are ViT-S/16, which is DeiT-S. DINOv2 is `patch=14, size=518,
    layer_scale=1.0`, with `registers=4` in its second form; CLIP's image tower
    `pre_norm=True, activation="quick_gelu", patch_bias=False, epsilon=1e-5` and a
    `projection`. Positions that were learned for another size are interpolated.

    Args:
      ways: classes of the linear head, or `None` for features only.
      patch: side of a patch in pixels; what fills none at an edge is left out.
      width: length of a token.
      depth: blocks.
      heads: attention heads, a divisor of `width`.
      hidden: width of the perceptrons; by default 4 `width`.
      size: side of the pictures whose positions are learned.
      registers: tokens beside the class token that stand for no patch.
      layer_scale: where g_1 and g_2, learned for each channel, start; `None`: none.
      pre_norm: a norm before the first block, too.
      activation: "gelu", the exact one, or "quick_gelu", x / (1 + exp(-1.702 x)).
      projection: width of a linear map without bias after the last norm, or `None`.
      pool: features are the class token, "cls", the mean over patches, "mean", or both,
        "cls_mean".
      distilled: a second class token, with a head of its own, that learned from a teacher:
        features are the mean of the two tokens, and outputs that of the two heads.
      epsilon: what the norms add to a variance.
      patch_bias: whether the map of patches to tokens has a bias.
      smooth: how positions come to a coarser grid: averaged, as timm does, and DINOv2
        with registers, or not, as ViT of transformers and DINOv2 without.
      drop_path: how often the last block is taken out, in training; earlier ones less.
      pictures: as of `efficientnet_lite0`.

    Returns:
      A `Model` for `[n, height, width, channels]` pictures, with parameters
      "embed/kernel", "block1/attention/query/kernel", ..., "head/bias".

    Raises:
      ValueError: for options out of range.

    References:
      Dosovitskiy et al. 2021, arXiv:2010.11929, eqs. (1)-(4); Touvron et al. 2021, DeiT,
      arXiv:2012.12877, and 2021, LayerScale, arXiv:2103.17239; Oquab et al. 2023, DINOv2,
      arXiv:2304.07193; Darcet et al. 2024, registers, arXiv:2309.16588; Radford et al.
      2021, CLIP, arXiv:2103.00020.

    >>> model, x = vit(5, patch=4, width=8, depth=1, heads=2, size=8), jnp.zeros((2, 12, 8, 3))
    >>> model.apply(model.init(jax.random.key(0), x), x)[0].shape
    (2, 5)
    """
    at_least(1, patch=patch, width=width, depth=depth, heads=heads, size=size)
    at_least(0, registers=registers)
    if ways is not None:
        at_least(1, ways=ways)
    if width % heads:
        raise ValueError(f"heads: got {heads}, wants a divisor of the width {width}")
    if size < patch:
        raise ValueError(f"size: got {size}, wants at least a patch of {patch}")
    if not 0 <= drop_path < 1:
        raise ValueError(f"drop_path: got {drop_path}, wants a number in [0, 1)")
    one_of(("gelu", "quick_gelu"), activation=activation)
    one_of(("cls", "mean", "cls_mean"), pool=pool)
    if distilled and (pool != "cls" or projection is not None):
        raise ValueError("distilled: got True, wants pool='cls' and no projection")
    form = _Form(
        patch, width, depth, heads, 4 * width if hidden is None else hidden, size,
        registers, layer_scale, pre_norm, activation, projection, pool, distilled,
        epsilon, patch_bias, smooth, drop_path, pictures,
    )  # fmt: skip

    def build(rngs, inputs):
        check_images(inputs)
        if min(inputs.shape[1:3]) < patch:
            raise ValueError(
                f"inputs: got pictures of {inputs.shape[1]}x{inputs.shape[2]}, wants at "
                f"least a patch of {patch} pixels"
            )
        return VisionTransformer(inputs.shape[3], ways, form, rngs=rngs)

    return from_nnx_for(build)._replace(pictures=pictures)
