"""How much a query looks like one of the classes that were given."""

import typing
from typing import Literal

import jax
import jax.numpy as jnp

from jaxmeta.checks import one_of
from jaxmeta.shapes import Array, Float

Score = Literal["max_probability", "energy"]
SCORES: tuple[Score, ...] = typing.get_args(Score)


def familiarity(
    outputs: Float[Array, "... ways"], score: Score = "max_probability"
) -> Float[Array, "..."]:
    """A number for each row of logits: low where it is likely none of the classes.

        max_probability:   log p - log(1 - p),   p = max_c softmax(z)_c
        energy:            log sum_c exp(z_c)

    The first is the probability of the likeliest class as log-odds: the same order, also
    where p is so near 1 that float32 does not tell it from 1. It forgets how far a query
    is from all classes at once; the second, the free energy with its sign turned, does
    not, and says nothing of outputs that are log-probabilities: it is then 0.

    Args:
      outputs: logits `[n, c]`, c >= 2; classes that were taken out (`over_present`) have
        no part in it.
      score: "max_probability" or "energy".

    Returns:
      `[n]`; NaN where a logit is.

    Raises:
      ValueError: an unknown score, or fewer than two classes.

    References:
      Hendrycks and Gimpel 2017, arXiv:1610.02136; Liu et al. 2020, Energy-based
      Out-of-distribution Detection, arXiv:2010.03759, eq. 4 with T = 1.

    >>> z = jnp.log(jnp.array([[0.9, 0.1], [0.5, 0.5]]))
    >>> [round(p, 3) for p in jax.nn.sigmoid(familiarity(z)).tolist()]
    [0.9, 0.5]
    >>> [round(e, 3) for e in familiarity(z + 3, "energy").tolist()]
    [3.0, 3.0]
    """
    one_of(SCORES, score=score)
    if outputs.ndim != 2 or outputs.shape[-1] < 2:
        raise ValueError(f"outputs: got {list(outputs.shape)}, wants [n, c], c >= 2")
    if score == "energy":
        return jax.nn.logsumexp(outputs, -1)
    best = jnp.arange(outputs.shape[-1]) == outputs.argmax(-1)[:, None]
    others = jnp.where(best, -jnp.inf, outputs)
    return outputs.max(-1) - jax.nn.logsumexp(others, -1)
