"""Growing a network without changing what it computes.

Chen, Goodfellow, Shlens 2016, Net2Net, https://arxiv.org/abs/1511.05641; Wei et al. 2016,
Network Morphism, https://arxiv.org/abs/1603.01670.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

from jaxmeta import tree
from jaxmeta.core import Key, Meta, Model, PyTree

# What an optimiser keeps for each parameter, as a power of the gradient.
POWERS = dict(trace=1, mu=1, acc_grads=1, nu=2, nu_max=2, sum_of_squares=2)


class Morph(NamedTuple):
    """A change of a network that keeps its function, as two functions of plain trees.

    Attributes:
      meta: `Meta -> Meta`, parameters and buffers.
      opt_state: `(opt_state, params before) -> opt_state`: averages of gradients become
        those that the new network would have had at the same function, squares
        likewise; counts stay. For Optax states made of "mu", "nu", "trace" and the like
        (SGD, Adam, RMSProp, Lion, ...), also inside `optax.partition`.
    """

    meta: Callable[[Meta], Meta]
    opt_state: Callable[[PyTree, PyTree], PyTree]


def chain_morphs(*morphs: Morph) -> Morph:
    """One morph after the other.

    >>> from jaxmeta.transfer import widen
    >>> widths = [widen("layer1", "layer2", 8, key=jax.random.key(0)),
    ...           widen("layer2", "head", 8, key=jax.random.key(1))]
    >>> morph = chain_morphs(*widths)
    """

    def meta(found: Meta) -> Meta:
        for morph in morphs:
            found = morph.meta(found)
        return found

    def opt_state(state, params):
        for morph in morphs:
            state = morph.opt_state(state, params)
            params = morph.meta(Meta(params)).params
        return state

    return Morph(meta, opt_state)


def morphed(model: Model, morph: Morph, network: Model | None = None) -> Model:
    """The network that a morph makes of another.

        f'(x; morph(theta)) = f(x; theta)

    Args:
      model: the network before.
      morph: from `widen`, `deepen`, `grow_kernel` or `chain_morphs`.
      network: the network after, from its own builder, `mlp(1, hidden=(8, 8, 8))` say.
        `deepen` needs it. Without it `model.apply` runs the new parameters: layers of
        this library take their sizes from their parameters.

    Returns:
      A `Model` that starts where `model` starts, and computes the same.

    Raises:
      ValueError: at `init`, if what the morph makes does not fit `network`.

    >>> import jax.numpy as jnp
    >>> from jaxmeta.models import mlp
    >>> from jaxmeta.transfer import widen
    >>> model = morphed(mlp(1), widen("layer1", "layer2", 80, key=jax.random.key(0)))
    >>> model.init(jax.random.key(1), jnp.zeros((1, 1))).params["layer2"]["kernel"].shape
    (80, 40)
    """

    def init(key: Key, inputs: PyTree) -> Meta:
        meta = morph.meta(model.init(key, inputs))
        if network is not None:
            _check_fits(meta, jax.eval_shape(network.init, key, inputs))
        return meta

    return Model(init, (network or model).apply)


def carried(move: Callable[[PyTree, PyTree, int], PyTree]) -> Callable:
    """Applies `move(moments, params, power)` to all that an Optax state keeps by leaf."""

    def opt_state(state: PyTree, params: PyTree) -> PyTree:
        wanted = jax.tree.structure(params)

        def like_params(x):
            return jax.tree.structure(x, is_leaf=is_masked) == wanted

        def one(path, x):
            if not like_params(x):
                return x
            name = next((k.name for k in path[::-1] if hasattr(k, "name")), "")
            if name not in POWERS:
                raise ValueError(
                    f"opt_state: got a field {name!r}, wants one of {sorted(POWERS)}"
                )
            return move(x, params, POWERS[name])

        return jax.tree_util.tree_map_with_path(one, state, is_leaf=like_params)

    return opt_state


def is_masked(x) -> bool:
    """A hole that `optax.partition` or `optax.masked` leaves in a tree."""
    return isinstance(x, optax.MaskedNode)


def by_path(params: PyTree) -> dict:
    """Path -> leaf."""
    return dict(zip(tree.leaves(tree.paths(params)), tree.leaves(params), strict=True))


def _check_fits(meta: Meta, wanted: Meta) -> None:
    got, want = ({p: x.shape for p, x in by_path(t).items()} for t in (meta, wanted))
    for path in sorted(got.keys() | want.keys()):
        if got.get(path) != want.get(path):
            raise ValueError(
                f"network: wants {want.get(path)} at {path}, got {got.get(path)}"
            )
