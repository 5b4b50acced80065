"""From descriptions to features in closed form: what a class will look like.

Shigeto et al. 2015, Ridge Regression, Hubness, and Zero-Shot Learning,
https://arxiv.org/abs/1507.00825: the map goes from the text to the picture, since the
other way round a few texts become the nearest of nearly all pictures.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxmeta.checks import positive, refusal
from jaxmeta.core import Array, Meta
from jaxmeta.functional.ridge import ridge
from jaxmeta.shapes import Float


class TextMap(NamedTuple):
    """A linear map from texts to features.

    Attributes:
      meta: its parameters, those of `models.linear_head(d)`.
      left_out: `[c, d]`: what a map without class k says of its text.
    """

    meta: Meta
    left_out: Array


def text_map(
    texts: Float[Array, "c v"], means: Float[Array, "c d"], lam: Array | float
) -> TextMap:
    """Ridge regression from the texts of seen classes to their class means.

        W = argmin sum_k ||(x_k - x) W - (m_k - m)||^2 + lam ||W||^2
        s(t) = m + (t - x) W

    with x and m the means over classes. Of a class that was left out it says

        m_k - (m_k - s(x_k)) / (1 - h_k),   h_k = 1/c + [K (K + lam I)^-1]_kk

    with K the inner products of the centred texts: exactly what a map learned from the
    other classes says, at no further cost. `functional.worth_of` wants these: of its own
    classes a map with more words than classes knows nearly all.

    Args:
      texts: `[c, v]`, one a class.
      means: m, `[c, d]`, the class means of the features.
      lam: lam > 0.

    Returns:
      A `TextMap`.

    Raises:
      ValueError: fewer than two classes, rows that do not fit, or `lam` <= 0.

    >>> found = text_map(jnp.eye(3), jnp.array([[1.0], [2.0], [6.0]]), 1e-3)
    >>> (jnp.eye(3) @ found.meta.params["kernel"] + found.meta.params["bias"])[:, 0].round(2)
    Array([1., 2., 6.], dtype=float32)
    >>> found.left_out[:, 0].round(1)  # words that no other has: the mean of the others
    Array([4. , 3.5, 1.5], dtype=float32)
    """
    if texts.ndim != 2 or means.ndim != 2 or len(texts) != len(means):
        raise refusal(
            "means", f"shape {list(means.shape)}", f"[{len(texts)}, d], a row a text"
        )
    if len(texts) < 2:
        raise refusal("texts", f"{len(texts)} class", "two or more")
    positive(lam=lam)
    middle, mean = texts.mean(0), means.mean(0)
    x, y = texts - middle, means - mean
    kernel = ridge(x, y, lam)
    # h by the same solver: of targets that are the classes themselves
    hat = x @ ridge(x, jnp.eye(len(x), dtype=x.dtype), lam)
    h = jnp.diagonal(hat)[:, None] + 1 / len(x)
    left_out = means - (y - x @ kernel) / (1 - h)
    return TextMap(Meta({"kernel": kernel, "bias": mean - middle @ kernel}), left_out)
