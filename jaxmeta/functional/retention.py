"""What is left of what was learned first: measures of a table of accuracies.

    R_tj: accuracy on the examples of stage j after stages 0 to t were learned, j <= t

Lopez-Paz, Ranzato 2017, Gradient Episodic Memory, https://arxiv.org/abs/1706.08840;
Chaudhry et al. 2018, Riemannian Walk, https://arxiv.org/abs/1801.10112.
"""

import jax.numpy as jnp

from jaxmeta.checks import refusal
from jaxmeta.core import Array, Scalar
from jaxmeta.shapes import Float, Num


def seen_accuracy(
    table: Float[Array, "t t"], sizes: Num[Array, " t"] | None = None
) -> Float[Array, " t"]:
    """Accuracy on all that has been seen so far, after each stage.

        A_t = sum_{j <= t} s_j R_tj / sum_{j <= t} s_j

    Args:
      table: R, `[t, t]`; what is above the diagonal is not read.
      sizes: s, `[t]`: examples (or classes) of each stage; `None`: stages count alike,
        which is the average accuracy of Chaudhry et al.

    Returns:
      `[t]` in [0, 1].

    Raises:
      ValueError: for a table that is not square, or other sizes than stages.

    >>> seen_accuracy(jnp.array([[1.0, 9.0], [0.5, 1.0]])).tolist()
    [1.0, 0.75]
    """
    table = _square(table, 1)
    sizes = jnp.ones(len(table)) if sizes is None else jnp.asarray(sizes, table.dtype)
    if sizes.shape != (len(table),):
        raise refusal("sizes", f"a shape {sizes.shape}", f"({len(table)},)")
    below = _lower(table)
    return jnp.where(below, table * sizes, 0).sum(1) / jnp.where(below, sizes, 0).sum(1)


def forgetting(table: Float[Array, "T T"]) -> Scalar:
    """How far each stage has fallen from its best.

        F = 1/(T-1) sum_{j < T-1} ( max_{j <= t < T-1} R_tj  -  R_{T-1,j} )

    Negative where later stages helped. Where all classes are told apart at once, it has
    two parts that it does not tell apart: what was lost, and that there are more classes
    to be taken for.

    Args:
      table: R, `[T, T]`, two stages or more; what is above the diagonal is not read.

    Returns:
      A scalar in [-1, 1].

    Raises:
      ValueError: for a table that is not square, or of one stage.

    References:
      Chaudhry et al. 2018, arXiv:1801.10112, section 3, "Forgetting measure".

    >>> round(float(forgetting(jnp.array([[0.9, 0.0], [0.5, 1.0]]))), 4)
    0.4
    """
    table = _square(table, 2)
    before = jnp.where(_lower(table), table, -jnp.inf)[:-1, :-1]
    return (before.max(0) - table[-1, :-1]).mean()


def backward_transfer(table: Float[Array, "T T"]) -> Scalar:
    """What later stages did to earlier ones; negative is forgetting.

        BWT = 1/(T-1) sum_{j < T-1} ( R_{T-1,j} - R_jj )

    Args:
      table: as of `forgetting`.

    Returns:
      A scalar in [-1, 1].

    Raises:
      ValueError: as of `forgetting`.

    References:
      Lopez-Paz, Ranzato 2017, arXiv:1706.08840, eq. 3.

    >>> round(float(backward_transfer(jnp.array([[0.9, 0.0], [0.5, 1.0]]))), 4)
    -0.4
    """
    table = _square(table, 2)
    return (table[-1] - jnp.diagonal(table))[:-1].mean()


def _square(table: Array, least: int) -> Array:
    table = jnp.asarray(table)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < least:
        wants = f"[t, t] with t >= {least}"
        raise refusal("table", f"a shape {table.shape}", wants)
    return table


def _lower(table: Array) -> Array:
    return jnp.tril(jnp.ones(table.shape, bool))
