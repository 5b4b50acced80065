"""A norm of its own for every inner step.

Antoniou, Edwards, Storkey 2019, How to train your MAML,
https://arxiv.org/abs/1810.09502, section 4, BNRS and BNWB.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxmeta import tree
from jaxmeta.checks import at_least
from jaxmeta.core import Array, Key, Meta, Model, PyTree
from jaxmeta.models.call import call, check_model
from jaxmeta.models.statistics import norm_layers


class StepApplyFn(Protocol):
    def __call__(
        self,
        meta: Meta,
        inputs: PyTree,
        *,
        train: bool = False,
        key: Key | None = None,
        step: int | Array | None = None,
        weights: Array | None = None,
    ) -> tuple[Array, PyTree]: ...


class PerStep(NamedTuple):
    """A `Model` whose `apply` also takes the inner step; without it, the last one.

    Attributes:
      init: as of a `Model`.
      apply: `(meta, inputs, *, train, key, step) -> (outputs, buffers)`.
    """

    init: Callable[[Key, PyTree], Meta]
    apply: StepApplyFn


def is_norm(path: str) -> bool:
    """Whether a leaf belongs to a norm layer of `jaxmeta.models`.

    >>> is_norm("block1/norm/scale"), is_norm("block1/conv/kernel")
    (True, False)
    """
    return "norm" in path.lower()


def per_step(
    model: Model, steps: int, *, select: Callable[[str], bool] = is_norm
) -> PerStep:
    """Gives every inner step its own copy of the norms' parameters and statistics.

        y = scale_k (x - mean_k) / std_k + bias_k,     k = 0, ..., steps - 1

    The activations' distribution moves during the inner loop; one set of statistics, or
    of scales and biases, cannot be right for all its steps. Inner step k and the query
    pass that follows it use copy k; a longer inner loop goes on with the last copy.

    Args:
      model: the network. With `norm="batch"` its statistics are always those of the
        batch at hand, and only parameters are copied; with `norm="batch_running"`
        running statistics are, too.
      steps: the number of copies.
      select: which parameters are copied, by path; those with "norm" in it by default.
        Buffers all are.

    Returns:
      A `Model` that gradient-based learners tell the inner step. Copied leaves have a
      leading axis `[steps]`, and an inner loop should leave them alone:
      `adapt_only=lambda path: not is_norm(path)`.

    Raises:
      ValueError: if `steps < 1`; at `init`, if `select` matches no parameter, or the
        default one misses a norm: norms may have other names.

    References:
      Antoniou et al. 2019, arXiv:1810.09502, section 4.

    >>> from jaxmeta.models import conv4
    >>> model = per_step(conv4(5, filters=2, blocks=1), 3)
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
    >>> meta.params["block1"]["norm"]["scale"].shape
    (3, 2)
    """
    check_model(model)
    at_least(1, steps=steps)

    def copies(x):
        return jnp.broadcast_to(x, (steps, *jnp.shape(x)))

    def init(key, inputs):
        params, buffers = model.init(key, inputs)
        chosen, rest = tree.partition(params, select)
        _check_selected(model, Meta(params, buffers), inputs, select)
        chosen, buffers = jax.tree.map(copies, (chosen, buffers))
        return Meta(tree.combine(chosen, rest), buffers)

    def apply(meta, inputs, *, train=False, key=None, step=None, weights=None):
        k = jnp.clip(steps - 1 if step is None else step, 0, steps - 1)
        chosen, rest = tree.partition(meta.params, select)
        chosen, buffers = jax.tree.map(lambda x: x[k], (chosen, meta.buffers))
        now = Meta(tree.combine(chosen, rest), buffers)
        outputs, new = call(model, now, inputs, weights=weights, train=train, key=key)
        if not tree.leaves(meta.buffers):
            return outputs, new
        return outputs, jax.tree.map(lambda b, x: b.at[k].set(x), meta.buffers, new)

    return PerStep(init, apply)


def _check_selected(model, meta, inputs, select) -> None:
    """Refuses copies of nothing, where there is something to copy."""
    named = tree.leaves(tree.paths(meta.params))
    chosen, missed = [path for path in named if select(path)], []
    if select is is_norm:
        layers = norm_layers(model, meta, inputs)
        if layers is not None:  # a network without norms has a copy of all of them
            missed = [
                layer
                for layer in layers
                if any(f"/{layer}/" in f"/{path}" for path in named)
                and not any(f"/{layer}/" in f"/{path}" for path in chosen)
            ]
            if not missed:
                return
    if missed or not chosen:
        what = f"misses {', '.join(missed)}" if missed else "matches no parameter"
        raise ValueError(f"select: {what}, wants some of {', '.join(named)}")


def apply_at(
    model: Model | PerStep,
    meta: Meta,
    inputs: PyTree,
    step: int | Array,
    *,
    train: bool = False,
    key: Key | None = None,
    weights: Array | None = None,
) -> tuple[Array, PyTree]:
    """Applies a model at an inner step, which only a `PerStep` one looks at."""
    at = {"step": step} if isinstance(model, PerStep) else {}
    return call(model, meta, inputs, weights=weights, train=train, key=key, **at)


def gather(before: PyTree, visited: PyTree) -> PyTree:
    """Joins the buffers of passes that each changed their own step's copy.

    Args:
      before: buffers with leaves `[steps, ...]`.
      visited: those after a pass at every step, each started from `before`:
        `[passes, steps, ...]`.

    Returns:
      Buffers with all the changes.

    Raises:
      ValueError: if there are more passes than copies.

    >>> gather(jnp.zeros(2), jnp.array([[1.0, 0.0], [0.0, 5.0]])).tolist()
    [1.0, 5.0]
    """

    def join(b, v):
        if v.shape[0] > b.shape[0]:
            raise ValueError(
                f"steps: got {v.shape[0]} inner steps in training, wants at most the "
                f"{b.shape[0]} that have statistics of their own"
            )
        return b + (v - b).sum(0)

    return jax.tree.map(join, before, visited)
