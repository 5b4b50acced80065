"""Transfer layer by layer: rates that fall with depth, layers that wake one by one.

Howard and Ruder 2018, Universal Language Model Fine-tuning,
https://arxiv.org/abs/1801.06146; Yosinski et al. 2014, How transferable are features in
deep neural networks?, https://arxiv.org/abs/1411.1792.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import optax

from jaxmeta import tree
from jaxmeta.checks import at_least, positive
from jaxmeta.core import Array, Meta, Model, PyTree
from jaxmeta.transfer.freeze import Holding, within


def parts_in_order(model: Model, inputs: PyTree) -> tuple[str, ...]:
    """The parts of a network, from the input to the output.

    What it computes says so, not their names: a part comes where one of its parameters
    is used for the first time.

    Args:
      model: the network; its parameters are a dictionary.
      inputs: an example.

    Returns:
      The keys of its parameters; those that it does not use are last.

    >>> import jaxmeta as jm
    >>> parts_in_order(jm.models.mlp(2, hidden=(3,)), jnp.ones((1, 4)))
    ('layer1', 'head')
    """
    meta = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))

    def run(params, buffers):
        return model.apply(Meta(params, buffers), inputs)[0]

    program = jax.make_jaxpr(run)(meta.params, meta.buffers).jaxpr
    first: dict = {}
    for i, step in enumerate(program.eqns):
        for x in step.invars:
            if not isinstance(x, jax.extend.core.Literal):
                first.setdefault(x, i)
    never = len(program.eqns)
    names = tree.leaves(tree.paths(meta.params))
    order: dict[str, int] = {}
    for path, x in zip(names, program.invars, strict=False):  # buffers come after
        part = path.split("/")[0]
        order[part] = min(order.get(part, never), first.get(x, never))
    return tuple(sorted(order, key=order.__getitem__))


def discriminative(
    tx: optax.GradientTransformation, layers: Sequence[str], *, factor: float = 2.6
) -> optax.GradientTransformation:
    """Smaller steps for earlier layers: the general features are at the bottom.

        eta_{l-1} = eta_l / factor                              (section 3.2)

    Args:
      tx: the optimiser of the last layer; its updates are scaled, weight decay included.
      layers: names of the parts of the network, from the input to the output, such as
        `("block1", "block2", "head")`.
      factor: positive; 1 changes nothing.

    Returns:
      An Optax transform.

    Raises:
      ValueError: if `factor` is not positive; at its `init`, for a leaf in no layer.

    References:
      Howard and Ruder 2018, arXiv:1801.06146.

    >>> tx = discriminative(optax.sgd(1.0), ("body", "head"), factor=2.0)
    >>> params = {"body": 1.0, "head": 1.0}
    >>> jax.tree.map(float, tx.update(params, tx.init(params), params)[0])
    {'body': -0.5, 'head': -1.0}
    """
    positive(factor=factor)

    def scale(updates, params=None):
        del params
        depth = _depths(updates, layers)
        last = len(layers) - 1
        return jax.tree.map(lambda u, d: u / factor ** (last - d), updates, depth)

    return optax.chain(tx, _checked(layers), optax.stateless(scale))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("step", "inner"),
    meta_fields=("layers", "every"),
)
@dataclass(frozen=True)
class UnfreezingState(Holding):
    """The step, the optimiser's state of each layer, and the parameters in it.

    The last layer comes first.
    """

    step: Array
    inner: tuple[PyTree, ...]
    layers: tuple[tuple[str, ...], ...]
    every: int

    def held(self) -> dict[str, bool | Array]:
        asleep = [self.step < i * self.every for i in range(len(self.layers))]
        return {
            path: asleep[i] for i, inside in enumerate(self.layers) for path in inside
        }


def gradual_unfreezing(
    tx: optax.GradientTransformation, layers: Sequence[str], *, every: int
) -> optax.GradientTransformationExtraArgs:
    """Wakes the layers one after another, the last one first.

        layer l learns from step (L - l) every on,   l = 1..L           (section 3.3)

    The first `every` steps train the last layer alone, the next ones the last two, and
    so on. A layer that sleeps is not touched, nor is its optimiser's state; its moments
    and schedule begin when it wakes. The running averages of its norms begin to move
    then, too (see `freeze`).

    Args:
      tx: the optimiser; each layer has its own copy.
      layers: names of the parts of the network, from the input to the output.
      every: steps between two awakenings, >= 1; an epoch as published.

    Returns:
      An Optax transform.

    Raises:
      ValueError: if `every < 1`; at its `init`, for a leaf in no layer.

    References:
      Howard and Ruder 2018, arXiv:1801.06146.

    >>> tx = gradual_unfreezing(optax.sgd(1.0), ("body", "head"), every=100)
    >>> params = {"body": 1.0, "head": 1.0}
    >>> jax.tree.map(float, tx.update(params, tx.init(params), params)[0])
    {'body': 0.0, 'head': -1.0}
    """
    at_least(1, every=every)
    names = tuple(reversed(layers))
    tx = optax.with_extra_args_support(tx)

    def part(params, name) -> Any:
        return None if params is None else tree.partition(params, within(name))[0]

    def init(params) -> Any:
        _depths(params, layers)
        inner = tuple(tx.init(part(params, name)) for name in names)
        inside = tuple(
            tuple(tree.leaves(tree.paths(part(params, name)))) for name in names
        )
        return UnfreezingState(jnp.zeros((), jnp.int32), inner, inside, every)

    def update(updates, state, params=None, **extra):
        found, inner = jax.tree.map(lambda x: None, updates), []
        for i, name in enumerate(names):
            mine = part(updates, name)
            new, after = tx.update(mine, state.inner[i], part(params, name), **extra)
            awake = state.step >= i * every
            inner.append(_where(awake, after, state.inner[i]))
            still = jax.tree.map(jnp.zeros_like, new)
            found = tree.combine(found, _where(awake, new, still))
        return found, replace(state, step=state.step + 1, inner=tuple(inner))

    return optax.GradientTransformationExtraArgs(init, update)


def slanted_triangular(
    peak: float, steps: int, *, cut: float = 0.1, ratio: float = 32.0
) -> Callable[[Array | int], Array]:
    """A rate that rises for a short while and falls for a long one, both on a line.

        c = cut steps,   p = t / c before c,   1 - (t - c) / (c (1/cut - 1)) after
        eta = peak (1 + p (ratio - 1)) / ratio                           (eq. 3)

    Args:
      peak: the largest rate.
      steps: length of the schedule; later steps keep the last rate.
      cut: share of the steps that rise, in (0, 1).
      ratio: of the largest to the smallest rate, >= 1.

    Returns:
      A schedule for Optax.

    Raises:
      ValueError: for numbers out of range.

    References:
      Howard and Ruder 2018, arXiv:1801.06146.

    >>> rate = slanted_triangular(3.2, 100)
    >>> [round(float(rate(t)), 3) for t in (0, 10, 100)]
    [0.1, 3.2, 0.1]
    """
    at_least(1, steps=steps)
    if not 0 < cut < 1:
        raise ValueError(f"cut: got {cut}, wants a number in (0, 1)")
    if not ratio >= 1:
        raise ValueError(f"ratio: got {ratio}, wants a number >= 1")
    top = max(cut * steps, 1.0)

    def rate(t):
        t = jnp.clip(t, 0, steps)
        p = jnp.where(t < top, t / top, 1 - (t - top) / max(steps - top, 1e-9))
        return peak * (1 + p * (ratio - 1)) / ratio

    return rate


def _where(condition: Array, first: PyTree, second: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)


def _depths(params: PyTree, layers: Sequence[str]) -> PyTree:
    """The index of the layer that each leaf is in."""

    def depth(path):
        for i, name in enumerate(layers):
            if within(name)(path):
                return i
        raise ValueError(f"layers: got {tuple(layers)}, wants one that holds {path!r}")

    return jax.tree.map(depth, tree.paths(params))


def _checked(layers: Sequence[str]) -> optax.GradientTransformation:
    """Does nothing but look, at `init`, whether every leaf is in a layer."""

    def init(params):
        _depths(params, layers)
        return optax.EmptyState()

    return optax.GradientTransformation(
        init, lambda updates, state, params=None: (updates, state)
    )
