"""Which statistics a batch norm uses: of which rows, and gathered when."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.checks import one_of
from jaxmeta.core import Meta, Model, PyTree
from jaxmeta.functional.rows import check_not_dropped, spread

Statistics = Literal["running", "batch"]


class RowWeights(nnx.Variable):
    """How much each row of the batch counts; a layer has it for the time of a call."""


class Place(NamedTuple):
    """Where a batch norm is, and what was said about its statistics.

    Attributes:
      path: its path in the module, "block1/norm".
      owner: tells one network's layers from another's.
      of_batch: statistics of the batch at inference, too, even if there are averages.
    """

    path: str = "the norm"
    owner: int = 0
    of_batch: bool = False


def check_statistics(statistics: Statistics) -> None:
    """Refuses an unknown name."""
    one_of(("running", "batch"), statistics=statistics)


def rows_of(x: jax.Array, weights: jax.Array | None, path: str) -> jax.Array | None:
    """The weights of a layer's rows `x`, as `[n, 1, ...]`; `None` where there are none.

    Raises:
      ValueError: if weights were lost on the way, or the rows are not the batch's.
    """
    if weights is None:
        check_not_dropped(path)
        return None
    if x.shape[0] != weights.shape[0]:
        raise ValueError(
            f"weights: {path} normalises {x.shape[0]} rows, and the batch has weights "
            f"for {weights.shape[0]}: it wants the rows of the batch, one for one"
        )
    return spread(weights, x)


class _Notes(NamedTuple):
    batch: set  # places of norms that take the statistics of the batch
    running: set  # and of those that use running averages
    norms: set  # paths of norms of any kind
    networks: set  # Flax modules: their layers are known


_notes: contextvars.ContextVar[_Notes | None] = contextvars.ContextVar(
    "statistics_notes", default=None
)


def note(what: Any, kind: str) -> None:
    """A layer says what it does, to whom it may concern."""
    notes = _notes.get()
    if notes is not None:
        getattr(notes, kind).add(what)


@contextlib.contextmanager
def _listening() -> Iterator[_Notes]:
    notes = _Notes(set(), set(), set(), set())
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def _noted(model: Model, meta: Meta, inputs: PyTree, train: bool) -> _Notes:
    def run(meta, inputs, key):
        return model.apply(meta, inputs, train=train, key=key)[0]

    with _listening() as notes:
        jax.eval_shape(run, meta, inputs, jax.random.key(0))
    return notes


def running_averages_at_test(
    model: Model, meta: Meta, inputs: PyTree
) -> tuple[str, ...]:
    """The norms that a test runs by averages which training only gathers.

    In training they use the statistics of the batch. An inner loop that was
    meta-learned with those may be lost with the others. The network is traced, and its
    layers say what they do: so wrappers, frozen parts and modules of Flax are all seen,
    and averages that training uses as well (batch renormalisation, a frozen extractor)
    are not counted. What a network built by hand does with its buffers is not known.

    Args:
      model: a `Model`, or a `PerStep` one.
      meta: its parameters and buffers.
      inputs: as of `apply`; only shapes and dtypes matter.

    Returns:
      Their paths, sorted; none is `()`. To use the statistics of the batch in both:
      `norm="batch"` for networks of this library, `statistics="batch"` of `from_nnx` and
      `from_linen`.

    >>> import jaxmeta as jm
    >>> x = jnp.zeros((2, 4, 4, 1))
    >>> for norm in ("batch", "batch_running", "batch_renorm"):
    ...     model = jm.models.conv4(2, filters=2, blocks=1, norm=norm)
    ...     running_averages_at_test(model, model.init(jax.random.key(0), x), x)
    ()
    ('block1/norm',)
    ()
    """

    test, training = (_noted(model, meta, inputs, train) for train in (False, True))
    return tuple(sorted(place.path for place in test.running & training.batch))


def norm_layers(model: Model, meta: Meta, inputs: PyTree) -> list[str] | None:
    """Paths of a network's norms of any kind; `None` where no Flax module is in it."""
    notes = _noted(model, meta, inputs, False)
    return sorted(notes.norms) if notes.networks else None


def normalised(x, mean, var, scale, bias, *, feature_axis, epsilon, dtype):
    """Flax's batch norm by given statistics, which have the rank of `x`."""
    shape = [1] * x.ndim
    for axis in feature_axis:
        shape[axis] = x.shape[axis]
    factor = jax.lax.rsqrt(var + epsilon)
    factor = factor if scale is None else factor * scale.reshape(shape)
    y = (x - mean) * factor
    y = y if bias is None else y + bias.reshape(shape)
    given = [a for a in (x, scale, bias) if a is not None]
    return y.astype(jnp.result_type(*given) if dtype is None else dtype)
