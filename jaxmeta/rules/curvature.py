"""Meta-Curvature: a learned linear map of every gradient.

Park, Oliva 2019, Meta-Curvature, https://arxiv.org/abs/1902.03356.
"""

import math

import jax
import jax.numpy as jnp
import optax

from jaxmeta.core import Array, Rule
from jaxmeta.rules.base import chain


def meta_curvature(inner: optax.GradientTransformation | Rule) -> Rule:
    """Multiplies each mode of a gradient by a learned matrix, then steps with `inner`.

        MC(G) = G x_3 M_f x_2 M_i x_1 M_o                               (eq. 6)
        phi <- phi - alpha MC(grad L(phi))

    The modes of a convolution's kernel `[h, w, i, o]` are its h w positions, its inputs
    and its outputs; a dense kernel `[i, o]` has the last two. Vectors (biases, scales)
    have the output mode alone. All matrices start as identities, so that the method
    starts as MAML. The paper's inner rate is fixed: `meta_curvature(optax.sgd(0.1))`.

    Args:
      inner: what receives the transformed gradient: an Optax transform, or a rule.

    Returns:
      A `Rule`; each leaf of the model has a dict of matrices "o", "i", "f".

    References:
      Park, Oliva 2019, arXiv:1902.03356, section 3.2.

    >>> matrices, _ = meta_curvature(optax.sgd(0.1)).init(jnp.ones((3, 3, 1, 8)))
    >>> {mode: m.shape for mode, m in sorted(matrices.items())}
    {'f': (9, 9), 'i': (1, 1), 'o': (8, 8)}
    """

    def init(params):
        return jax.tree.map(_identities, params)

    def make(matrices):
        def update(updates, state, params=None):
            return jax.tree.map(_transform, updates, matrices), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    return chain(Rule(init, make), inner)


def _modes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A kernel's shape as (positions, inputs, outputs); a missing mode is 1."""
    outputs = shape[-1] if shape else 1
    inputs = shape[-2] if len(shape) > 1 else 1
    return math.prod(shape[:-2]), inputs, outputs


def _identities(param: Array) -> dict[str, Array]:
    shape = jnp.shape(param)
    sizes = dict(zip("fio", _modes(shape), strict=True))
    there = {0: "o", 1: "o", 2: "io"}.get(len(shape), "fio")
    return {mode: jnp.eye(sizes[mode], dtype=jnp.result_type(param)) for mode in there}


def _transform(grad: Array, matrices: dict[str, Array]) -> Array:
    g = grad.reshape(_modes(grad.shape))  # [f, i, o]
    if "f" in matrices:
        g = jnp.einsum("pf,fio->pio", matrices["f"], g)
    if "i" in matrices:
        g = jnp.einsum("qi,fio->fqo", matrices["i"], g)
    return jnp.einsum("ro,fio->fir", matrices["o"], g).reshape(grad.shape)
