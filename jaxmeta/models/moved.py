"""A frozen network that few parameters move, as a `Model`; and as a network again."""

from collections.abc import Callable
from typing import Any

import jax

from jaxmeta import tree
from jaxmeta.core import Array, Key, Meta, Model, PyTree
from jaxmeta.models.beside import whole
from jaxmeta.models.call import call, check_model

Where = Callable[[str], bool]
Named = dict[str, Array]


def everywhere(path: str) -> bool:
    """Selects every leaf."""
    del path
    return True


class MovedNetwork:
    """The two functions of a `Model` whose network is in its buffers.

    It always runs at inference: nothing is dropped, and norms use their running averages,
    which do not move.
    """

    def __init__(
        self,
        model: Model,
        start: Callable[[Key, Named], PyTree],
        move: Callable[[PyTree, PyTree], PyTree],
    ):
        self.model = model
        self.start = start
        self.move = move

    def made_of(self) -> tuple:
        """What makes a difference between two of them (`jaxmeta.alike`)."""
        return self.model, self.start, self.move

    def init(self, key: Key, inputs: PyTree) -> Meta:
        base = self.model.init(key, inputs)
        own = self.start(jax.random.fold_in(key, 1), by_path(base.params))
        return Meta(own, {"params": base.params, "buffers": base.buffers})

    def moved(self, meta: Meta) -> Meta:
        params = self.move(meta.params, meta.buffers["params"])
        return Meta(params, meta.buffers["buffers"])

    def apply(self, meta: Meta, inputs, *, train=False, key=None, weights=None):
        del train
        outputs, _ = call(
            self.model, self.moved(meta), inputs, weights=weights, key=key
        )
        return outputs, meta.buffers

    def merged(self, meta: Meta) -> Meta:
        found = self.moved(meta)
        return found._replace(params=whole(found.params))


def moved_network(model: Model, start, move) -> Model:
    """A `Model` of a `MovedNetwork`; what is known of its pictures goes through."""
    check_model(model)
    net = MovedNetwork(model, start, move)
    return model._replace(init=net.init, apply=net.apply)


def merged(model: Model, meta: Meta) -> tuple[Model, Meta]:
    """The network without its wrappers, with parameters that do the same: for export.

        W' = W + (a/r) B A,   W' = W * S1,   b' = b + S2

    Args:
      model: from `lora`, `adapter`, `scale_shift`, `bias_only` or `frozen`; one of them
        may be around another.
      meta: its parameters and buffers: of a learner's, its part.

    Returns:
      `(model, meta)` of the network inside: what `save_safetensors` writes, and any
      program reads.

    Raises:
      TypeError: for a model that is none of these, or an adapter with an activation,
        which no kernel is equal to.

    >>> import jaxmeta as jm
    >>> net, x = jm.models.mlp(2, hidden=(3,)), jax.numpy.ones((1, 4))
    >>> small = jm.models.lora(net, 1)
    >>> whole, found = merged(small, small.init(jax.random.key(0), x))
    >>> whole is net, sorted(found.params)
    (True, ['head', 'layer1'])
    """
    if not mergeable(model):
        raise TypeError(
            "model: got one with nothing to merge, wants what lora, adapter, "
            "scale_shift, bias_only or frozen gave (of with_head, its body)"
        )
    owner: Any = getattr(model.apply, "__self__", None)
    model, meta = owner.model, owner.merged(meta)
    return merged(model, meta) if mergeable(model) else (model, meta)


def mergeable(model: Model) -> bool:
    """Whether a network is in a wrapper that `merged` takes off."""
    return hasattr(getattr(model.apply, "__self__", None), "merged")


def by_path(params: PyTree) -> Named:
    """Path -> leaf."""
    return dict(zip(tree.leaves(tree.paths(params)), tree.leaves(params), strict=True))


def kernels(named: Named, where: Where) -> Named:
    """The kernels that are selected: leaves of that name with two axes or more.

    Raises:
      ValueError: if there is none.
    """
    found = {p: x for p, x in named.items() if is_kernel(p, x) and where(p)}
    if not found:
        raise ValueError(f"model: wants kernels that are selected, got {sorted(named)}")
    return found


def is_kernel(path: str, x: Array) -> bool:
    return path.split("/")[-1] == "kernel" and x.ndim >= 2


def is_bias(path: str, x: Array) -> bool:
    return path.split("/")[-1] == "bias" and x.ndim >= 1
