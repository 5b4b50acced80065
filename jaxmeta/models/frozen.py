"""A network a part of which is a constant, kept where nothing is learned."""

from collections.abc import Callable

from jax import lax

from jaxmeta import tree
from jaxmeta.core import Key, Meta, Model, PyTree
from jaxmeta.models.call import call, check_model
from jaxmeta.models.moved import Where, everywhere

FROZEN = "frozen"
"""The buffers that hold the frozen parameters, beside those of the network."""


class FrozenNetwork:
    """The two functions of a `Model` with a frozen part."""

    def __init__(self, model: Model, where: Where):
        self.model = model
        self.where = where

    def made_of(self) -> tuple:
        """What makes a difference between two of them (`jaxmeta.alike`)."""
        return self.model, self.where

    def init(self, key: Key, inputs: PyTree) -> Meta:
        base = self.model.init(key, inputs)
        held, free = tree.partition(base.params, self.where)
        if not tree.leaves(held):
            raise ValueError(
                f"where: got none of {sorted(tree.leaves(tree.paths(base.params)))}"
            )
        if isinstance(base.buffers, dict) and FROZEN not in base.buffers:
            return Meta(free, {**base.buffers, FROZEN: held})
        if not tree.leaves(base.buffers):
            return Meta(free, {FROZEN: held})
        raise ValueError(
            "model: wants buffers that are a dictionary without 'frozen': freeze all "
            "parts at once"
        )

    def merged(self, meta: Meta) -> Meta:
        own = {name: b for name, b in meta.buffers.items() if name != FROZEN}
        return Meta(tree.combine(meta.buffers[FROZEN], meta.params), own)

    def apply(self, meta: Meta, inputs, *, train=False, key=None, weights=None):
        whole = self.merged(meta)
        held = lax.stop_gradient(meta.buffers[FROZEN])
        whole = whole._replace(params=tree.combine(held, meta.params))
        mode = self._mode(whole.params, train)
        outputs, buffers = call(
            self.model, whole, inputs, weights=weights, train=mode, key=key
        )
        if not mode or not tree.leaves(buffers):
            return outputs, meta.buffers
        return outputs, {**buffers, FROZEN: meta.buffers[FROZEN]}

    def _mode(self, params: PyTree, train) -> bool | Callable[[str], bool]:
        """In training a part all of whose parameters are frozen runs at inference."""
        named = tree.leaves(tree.paths(params))
        if not train or all(map(self.where, named)):
            return False

        def learns(part: str) -> bool:
            inside = [p for p in named if p == part or p.startswith(f"{part}/")]
            free = not inside or not all(map(self.where, inside))
            return free and bool(train(part) if callable(train) else True)

        return learns


def frozen(model: Model, where: Where = everywhere) -> Model:
    """A network a part of which is a constant: no gradient, and norms stay as they are.

        f(x; sg theta_frozen, theta_free)

    The frozen parameters are buffers: no optimiser sees them, and all tasks share them. A
    submodule all of whose parameters are frozen runs at inference even in training: its
    norms use their running averages and do not move them, nothing is dropped in it. For
    weights that were trained: `frozen(models.pretrained(model, meta))`.

    Args:
      model: the network; one of `jaxmeta.models`, or from `from_nnx`. Its buffers are a
        dictionary, or there are none.
      where: what is frozen, by path; all of it by default. `transfer.within("block1")`.

    Returns:
      A `Model` whose parameters are the free ones, at their paths (`None` where one is
      frozen). Its buffers are the network's, and the frozen parameters under "frozen".

    Raises:
      ValueError: at `init`, if nothing is selected, or of a network that is frozen.
      TypeError: in training, for a network from `from_linen` that is frozen in part: it
        has one mode.

    References:
      Yosinski et al. 2014, arXiv:1411.1792: layers that are taken over and frozen.

    >>> import jax, jaxmeta as jm
    >>> body = frozen(jm.models.mlp(None, hidden=(3,)))
    >>> net = jm.models.with_head(body, jm.models.linear_head(2))
    >>> meta = net.init(jax.random.key(0), jax.numpy.ones((1, 4)))
    >>> tree.leaves(tree.paths(meta.params)), tree.leaves(tree.paths(meta.buffers))
    (['head/bias', 'head/kernel'], ['frozen/layer1/bias', 'frozen/layer1/kernel'])
    """
    check_model(model)
    net = FrozenNetwork(model, where)
    return model._replace(init=net.init, apply=net.apply)
