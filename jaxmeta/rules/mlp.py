"""A learned optimiser: one small network that reads gradients and gives a step.

Metz et al. 2019, Understanding and correcting pathologies in the training of learned
optimizers, https://arxiv.org/abs/1810.10180.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxmeta.checks import all_at_least, positive, within
from jaxmeta.core import Array, Key, PyTree, Rule
from jaxmeta.shapes import Float

EPS = 1e-5  # under the root that features are divided by


class MLPRuleState(NamedTuple):
    """What the optimiser remembers.

    Attributes:
      step: counts from 0; an integer scalar.
      momenta: a tree like the parameters, leaves `[..., decays]`.
    """

    step: Array
    momenta: PyTree


def features(
    g: Float[Array, "..."], theta: Float[Array, "..."], momenta: Float[Array, "... m"]
) -> Float[Array, "n f"]:
    """What the network sees of each number of one array, whatever the array's scale.

        x = [g, theta, m_1, ..., m_M],   each divided by its root mean square over the array

    Args:
      g: gradient, any shape.
      theta: parameters, likewise.
      momenta: `[..., M]`.

    Returns:
      `[n, 2 + M]` for an array of n numbers.

    >>> features(jnp.array([3.0, -3.0]), jnp.zeros(2), jnp.ones((2, 1))).round(3).tolist()
    [[1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]
    """
    size = momenta.shape[-1]
    x = jnp.concatenate(
        [g.reshape(-1, 1), theta.reshape(-1, 1), momenta.reshape(-1, size)], -1
    )
    return x * lax.rsqrt(EPS + jnp.mean(jnp.square(x), 0))


def coordinate_mlp(
    *,
    hidden: Sequence[int] = (32, 32),
    decays: Sequence[float] = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999),
    times: Sequence[float] = (1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5),
    scale: float = 0.001,
    stretch: float = 0.001,
    key: Key | None = None,
) -> Rule:
    """An update rule that is a network, the same for each single parameter.

        m_j <- b_j m_j + (1 - b_j) g                            for each decay b_j
        d, s = MLP([g, theta, m_1, ..., m_M, tanh(k / t_1 - 1), ..., tanh(k / t_T - 1)])
        u = -scale d exp(stretch s)

    The first 2 + M inputs are divided by their root mean square over their array, so that
    neither the scale of a loss nor that of a layer decides the step; the last T say how
    late it is, k steps after the start. How long a step is is learned with the rest:
    `scale` is where it begins. The rule's parameters do not depend on the size of what it
    optimises: it may be trained on a small network and used on another.

    Hundreds of numbers behind hundreds of steps: short windows are biased, and exact
    gradients may explode. `jaxmeta.gradients.persistent_evolution` needs neither.

    Args:
      hidden: widths of its layers, with ReLUs between them.
      decays: b_j of the momenta, in [0, 1).
      times: t_j, in steps.
      scale: length of a step whose d is 1, at the beginning.
      stretch: how much s changes it.
      key: decides the weights, drawn from N(0, 1 / inputs); a fixed one by default.

    Returns:
      A `Rule` with parameters "layer1/kernel", "layer1/bias", ..., "out/kernel", "out/bias".

    Raises:
      ValueError: for a width below 1, a decay outside [0, 1), or a number that is not
        positive.

    >>> rule = coordinate_mlp(hidden=(8,), decays=(0.9,), times=(10.0,))
    >>> rule.init({"w": jnp.zeros(3)})["layer1"]["kernel"].shape
    (4, 8)
    """
    all_at_least(1, hidden=tuple(hidden))
    for b in decays:
        within("[0, 1)", decays=b)
    for t in times:
        positive(times=t)
    positive(scale=scale, stretch=stretch)
    seen = 2 + len(decays)
    widths = (seen + len(times), *hidden, 2)
    names = [*(f"layer{i}" for i in range(1, len(hidden) + 1)), "out"]

    def init(params):
        # of their type alone, not of their size: the same rule optimises any network
        leaves = jax.tree.leaves(params)
        dtype = jnp.result_type(*leaves) if leaves else jnp.zeros(()).dtype
        keys = jax.random.split(jax.random.key(0) if key is None else key, len(names))

        def layer(key, rows, columns):
            kernel = jax.random.normal(key, (rows, columns), dtype) / rows**0.5
            return {"kernel": kernel, "bias": jnp.zeros(columns, dtype)}

        sizes = zip(keys, widths[:-1], widths[1:], strict=True)
        return {name: layer(*s) for name, s in zip(names, sizes, strict=True)}

    def make(rule_params) -> optax.GradientTransformation:
        def network(x, late):  # x: [n, seen]; what is alike for all is multiplied once
            for name in names:
                kernel, bias = rule_params[name]["kernel"], rule_params[name]["bias"]
                if name == names[0]:
                    x = x @ kernel[:seen] + late @ kernel[seen:] + bias
                else:
                    x = jax.nn.relu(x) @ kernel + bias
            return x

        def begin(params):
            zeros = lambda p: jnp.zeros((*jnp.shape(p), len(decays)), p.dtype)  # noqa: E731
            return MLPRuleState(jnp.zeros((), "int32"), jax.tree.map(zeros, params))

        def update(updates, state, params=None):
            if params is None:
                raise ValueError("params: got None, wants update(grads, state, params)")
            grads, treedef = jax.tree.flatten(updates)
            thetas = treedef.flatten_up_to(params)
            b = jnp.asarray(decays)
            momenta = [
                (b * m + (1 - b) * g[..., None]).astype(m.dtype)
                for m, g in zip(
                    treedef.flatten_up_to(state.momenta), grads, strict=True
                )
            ]
            rows = [features(*z) for z in zip(grads, thetas, momenta, strict=True)]
            x = jnp.concatenate(rows)  # one product for all arrays
            late = jnp.tanh(state.step / jnp.asarray(times, x.dtype) - 1)
            d, s = network(x, late).T
            u = -scale * d * jnp.exp(stretch * s)
            ends = np.cumsum([g.size for g in grads])[:-1]
            parts = [
                part.reshape(g.shape).astype(g.dtype)
                for part, g in zip(jnp.split(u, ends), grads, strict=True)
            ]
            after = MLPRuleState(state.step + 1, treedef.unflatten(momenta))
            return treedef.unflatten(parts), after

        return optax.GradientTransformation(begin, update)

    return Rule(init, make)
