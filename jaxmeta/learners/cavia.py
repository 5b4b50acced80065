"""CAVIA: adapt a few context parameters, share everything else.

Zintgraf et al. 2019, Fast Context Adaptation via Meta-Learning,
https://arxiv.org/abs/1810.03642.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxmeta import criteria, tree
from jaxmeta.checks import at_least
from jaxmeta.core import Array, Criterion, Key, Meta, MetaLearner, Model, PyTree, Rule
from jaxmeta.gradients import Gradient, unrolled
from jaxmeta.learners.common import Part
from jaxmeta.learners.inner_loop import QueryWeights, unrolled_learner
from jaxmeta.models.call import check_model
from jaxmeta.models.per_step import PerStep, apply_at, gather


def cavia(
    model: Model | PerStep,
    inner: optax.GradientTransformation | Rule,
    *,
    context: int = 5,
    film: str | None = None,
    steps: int = 1,
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    query_weights: QueryWeights | None = None,
) -> MetaLearner:
    """Context adaptation: the inner loop moves a small vector that starts at zero.

        phi_0 = 0,  phi_{k+1} = phi_k - alpha grad_phi L(phi_k, theta; S)   (eq. 5)
        min_theta  E_task L(phi_K, theta; Q)                                (eq. 6)

    phi enters the network in one of two ways: appended to the inputs (regression), as
    constant channels where they are images; or by FiLM, h -> gamma(phi) h + beta(phi)
    with linear gamma and beta, after one layer (classification). A layer is affine in
    its scale and bias, so FiLM is written as a change of them: it needs no change in
    the network.

    Args:
      model: the network.
      inner: the inner optimiser of the context, often SGD of rate 1.
      context: length of phi: 5 for sinusoids, 100 for images in the paper.
      film: path of the layer to modulate: "block3/norm" (the paper's third convolution);
        `None` appends phi to the inputs.
      steps: inner steps K; 1 for sinusoids, 2 for images as published.
      gradient: as in `maml`; `implicit(...)`, too: the rest is shared.
      criterion: what a task is judged by, see `jaxmeta.criteria`.
      inner_criterion: whose loss the inner loop descends, `criterion` by default.
      inner_batch: support examples a step, drawn anew each step without replacement;
        `None` takes all of them.
      query_weights: as in `maml`.

    Returns:
      A `MetaLearner` whose `fast` is phi `[context]`. With FiLM the model's parameters
      are `{"net": ..., "film": ...}`.

    Raises:
      ValueError: as `maml`; if `context < 1`; or if no layer is called `film`.

    >>> import jaxmeta as jm
    >>> learner = jm.cavia(jm.models.mlp(1), optax.sgd(1.0), criterion=jm.criteria.regression)
    """
    check_model(model)
    at_least(1, context=context)

    def init(key, inputs):
        if film is None:
            return model.init(key, _append(inputs, jnp.zeros(context)))
        net_key, film_key = jax.random.split(key)
        net = model.init(net_key, inputs)
        maps = _film_init(film_key, net.params, film, context)
        return Meta({"net": net.params, "film": maps}, net.buffers)

    def start(meta, support, train, key):
        return jnp.zeros(context, jnp.result_type(*jax.tree.leaves(meta.params)))

    def apply(meta, phi, inputs, step, train, key, weights):
        if film is None:
            inputs = _append(inputs, phi)
        else:
            params = _modulate(meta.params["net"], meta.params["film"], film, phi)
            meta = meta._replace(params=params)
        return apply_at(
            model, meta, inputs, step, train=train, key=key, weights=weights
        )

    per_step = gather if isinstance(model, PerStep) else None
    return unrolled_learner(
        Part(init, start, apply, per_step, shares=True),
        inner,
        steps=steps,
        gradient=gradient,
        criterion=criterion,
        inner_criterion=inner_criterion,
        inner_batch=inner_batch,
        query_weights=query_weights,
    )


def _append(inputs: Array, phi: Array) -> Array:
    """Inputs `[n, ..., c]` with phi as further channels."""
    more = jnp.broadcast_to(phi, (*inputs.shape[:-1], phi.shape[0]))
    return jnp.concatenate([inputs, more.astype(inputs.dtype)], -1)


def _inside(layer: str) -> Callable[[str], bool]:
    return lambda path: path.startswith(layer + "/")


def _film_init(key: Key, params: PyTree, layer: str, context: int) -> dict[str, Array]:
    """gamma = 1 + phi G and beta = phi B for the layer's features, all 1 and 0 at phi = 0.

    Zero maps would never leave zero: phi moves only if they are not, and they only if
    phi is not.
    """
    chosen = tree.leaves(tree.partition(params, _inside(layer))[0])
    widths = {leaf.shape[-1] for leaf in chosen}
    if len(widths) != 1:
        raise ValueError(
            f"film: got {layer!r}, wants the path of a layer: the parameters are "
            f"{sorted(tree.leaves(tree.paths(params)))}"
        )
    bound, dtype = 1 / math.sqrt(context), chosen[0].dtype
    shape = (context, widths.pop())
    draw = lambda k: jax.random.uniform(k, shape, dtype, -bound, bound)  # noqa: E731
    gamma, beta = jax.random.split(key)
    return {"gamma": draw(gamma), "beta": draw(beta)}


def _modulate(params: PyTree, maps: dict[str, Array], layer: str, phi: Array) -> PyTree:
    gamma, beta = 1 + phi @ maps["gamma"], phi @ maps["beta"]

    def change(path, leaf):
        name = tree.path_name(path)
        if not _inside(layer)(name):
            return leaf
        # gamma (W x + b) + beta = (gamma W) x + (gamma b + beta)
        return gamma * leaf + beta if name.endswith("bias") else gamma * leaf

    return jax.tree_util.tree_map_with_path(change, params)
