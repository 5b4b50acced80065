"""Holding a part of a network still: its parameters, its statistics, its gradient."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxmeta import tree
from jaxmeta.core import Array, Meta, Model, PyTree
from jaxmeta.models.call import call

Select = Callable[[str], bool]


def within(*names: str) -> Select:
    """Selects the leaves inside the named parts of a network.

    >>> select = within("block1", "block2")
    >>> select("block1/conv/kernel"), select("block10/conv/kernel")
    (True, False)
    """
    return lambda path: any(
        path == name or path.startswith(f"{name}/") for name in names
    )


class Holding:
    """The state of an optimiser that holds some parameters; who steps asks it which."""

    inner: PyTree

    def held(self) -> dict[str, bool | Array]:
        """Paths of parameters, and whether the next step leaves them alone."""
        raise NotImplementedError


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("inner",), meta_fields=("paths",)
)
@dataclass(frozen=True)
class FreezeState(Holding):
    """The state of the optimiser of what is free, and the paths of what is not."""

    inner: PyTree
    paths: tuple[str, ...]

    def held(self) -> dict[str, bool | Array]:
        return dict.fromkeys(self.paths, True)


def freeze(
    tx: optax.GradientTransformation, select: Select
) -> optax.GradientTransformationExtraArgs:
    """An optimiser that leaves the selected leaves alone.

        theta_frozen <- theta_frozen,   theta_free <- theta_free + tx(grad_free)

    Frozen leaves do not see `tx` at all: no update, no weight decay, no momentum, no
    share in a global norm. Nor do running averages move in a part all of whose
    parameters are frozen: `make_trainer` and `as_learner` see to that. In training such
    a part still works on the statistics of its batch; `models.frozen` makes it use the
    running averages, drop nothing, and saves the gradient: for what never learns.

    Args:
      tx: the optimiser of what is free.
      select: what is frozen, by path; see `within`.

    Returns:
      An Optax transform.

    Raises:
      ValueError: at its `init`, if no leaf is selected.

    >>> tx = freeze(optax.adamw(0.1, weight_decay=0.1), within("body"))
    >>> params = {"body": 1.0, "head": 1.0}
    >>> updates, _ = tx.update(params, tx.init(params), params)
    >>> float(updates["body"])
    0.0
    """

    def labels(params):
        return jax.tree.map(
            lambda path: "frozen" if select(path) else "free", tree.paths(params)
        )

    both = optax.partition({"free": tx, "frozen": optax.set_to_zero()}, labels)

    def init(params) -> Any:
        named = tree.leaves(tree.paths(params))
        chosen = tuple(path for path in named if select(path))
        if not chosen:
            raise ValueError(f"select: got none of {sorted(named)}")
        return FreezeState(both.init(params), chosen)

    def update(updates, state, params=None, **extra) -> Any:
        updates, inner = both.update(updates, state.inner, params, **extra)
        return updates, FreezeState(inner, state.paths)

    return optax.GradientTransformationExtraArgs(init, update)


def hold_buffers(opt_state: PyTree, meta: Meta, after: PyTree | None) -> PyTree:
    """New buffers, but for those of parts that the optimiser holds.

    A buffer belongs to the innermost part around it that has parameters, the norm say,
    and stays as it is where all of those are held.

    Args:
      opt_state: of the optimiser, before its step.
      meta: the parameters and buffers before the step.
      after: the buffers that an objective returned; `None` if they are unchanged.

    Returns:
      The buffers after the step.

    >>> tx = freeze(optax.sgd(0.1), within("body"))
    >>> meta = Meta({"body": {"w": 1.0}, "head": 1.0}, {"body": {"mean": 0.0}, "step": 1.0})
    >>> hold_buffers(tx.init(meta.params), meta, {"body": {"mean": 5.0}, "step": 2.0})
    {'body': {'mean': 0.0}, 'step': 2.0}
    """
    if after is None:
        return meta.buffers
    held: dict[str, bool | Array] = {}
    for state in _holding(opt_state):
        for path, still in state.held().items():
            held[path] = held.get(path, False) | still
    if not held:
        return after
    named = tree.leaves(tree.paths(meta.params))

    def choose(path, old, new):
        part, inside = path, []
        while part and not inside:
            part = part.rpartition("/")[0]
            inside = [p for p in named if not part or within(part)(p)]
        still = [held.get(p, False) for p in inside]
        if all(x is True for x in still):
            return old
        if any(x is False for x in still):
            return new
        return jnp.where(jnp.all(jnp.stack(still)), old, new)

    return jax.tree.map(choose, tree.paths(meta.buffers), meta.buffers, after)


def _holding(opt_state: PyTree) -> Iterator[Holding]:
    """The states inside that hold parameters; one may be inside another."""
    found = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, Holding))
    for state in found:
        if isinstance(state, Holding):
            yield state
            yield from _holding(state.inner)


def unfreeze(
    tx: optax.GradientTransformation, select: Select
) -> optax.GradientTransformationExtraArgs:
    """`freeze` the other way round: only the selected leaves learn.

    Args:
      tx: their optimiser.
      select: what learns, by path.

    Returns:
      An Optax transform.

    Raises:
      ValueError: at its `init`, if every leaf is selected.

    >>> tx = unfreeze(optax.sgd(0.1), within("head"))
    """
    return freeze(tx, lambda path: not select(path))


def inference_mode(model: Model) -> Model:
    """A network that always runs at inference, although all its parameters learn.

    Norms use the running averages of the pretraining and keep them: with a handful of
    examples, better than statistics of the handful. Nothing is dropped.

    >>> from jaxmeta.models import conv4
    >>> model = inference_mode(conv4(5, norm="batch_running"))
    """

    def apply(meta, inputs, *, train=False, key=None, weights=None):
        del train
        outputs, _ = call(model, meta, inputs, weights=weights, key=key)
        return outputs, meta.buffers

    return model._replace(apply=apply)
