"""Holding a part of a network still: its parameters, its statistics, its gradient."""

from collections.abc import Callable

import jax
import optax
from jax import lax

from jaxmeta import tree
from jaxmeta.core import Model

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


def freeze(
    tx: optax.GradientTransformation, select: Select
) -> optax.GradientTransformation:
    """An optimiser that leaves the selected leaves alone.

        theta_frozen <- theta_frozen,   theta_free <- theta_free + tx(grad_free)

    Frozen leaves do not see `tx` at all: no update, no weight decay, no momentum, no
    share in a global norm. That holds parameters; `frozen` holds the running averages
    of their norms, and saves the gradient.

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
        named = tree.paths(params)
        found = jax.tree.map(lambda p: "frozen" if select(p) else "free", named)
        if "frozen" not in tree.leaves(found):
            raise ValueError(f"select: got none of {sorted(tree.leaves(named))}")
        return found

    return optax.partition({"free": tx, "frozen": optax.set_to_zero()}, labels)


def unfreeze(
    tx: optax.GradientTransformation, select: Select
) -> optax.GradientTransformation:
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


def frozen(model: Model, select: Select) -> Model:
    """A network a part of which is a constant: no gradient, and norms stay as they are.

        f(x; sg theta_frozen, theta_free)

    A submodule all of whose parameters are selected runs at inference even in training:
    its norms use their running averages and do not move them, nothing is dropped in it.

    Args:
      model: the network; one of `jaxmeta.models`, or from `from_nnx`.
      select: what is frozen, by path.

    Returns:
      A `Model` with the same parameters and buffers.

    Raises:
      TypeError: in training, for a network from `from_linen`, whose parts have one mode.

    References:
      "Frozen" statistics: features of a frozen extractor must not drift.

    >>> from jaxmeta.models import conv4
    >>> model = frozen(conv4(5, norm="batch_running"), within("block1", "block2"))
    """

    def apply(meta, inputs, *, train=False, key=None):
        held, free = tree.partition(meta.params, select)
        params = tree.combine(lax.stop_gradient(held), free)
        named = tree.leaves(tree.paths(meta.params))

        def learns(part: str) -> bool:
            inside = [path for path in named if within(part)(path)]
            free = not inside or not all(map(select, inside))
            return free and (train(part) if callable(train) else True)

        mode = learns if train and not all(map(select, named)) else False
        outputs, buffers = model.apply(
            meta._replace(params=params), inputs, train=mode, key=key
        )
        return outputs, buffers if mode else meta.buffers

    return Model(model.init, apply)


def inference_mode(model: Model) -> Model:
    """A network that always runs at inference, although all its parameters learn.

    Norms use the running averages of the pretraining and keep them: with a handful of
    examples, better than statistics of the handful. Nothing is dropped.

    >>> from jaxmeta.models import conv4
    >>> model = inference_mode(conv4(5, norm="batch_running"))
    """

    def apply(meta, inputs, *, train=False, key=None):
        del train
        return model.apply(meta, inputs, train=False, key=key)[0], meta.buffers

    return Model(model.init, apply)
