"""Refuses inner optimisers whose derivative is infinite where gradients are zero."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from jaxmeta.core import PyTree, Rule
from jaxmeta.rules.base import as_rule

_AT = (
    "at a zero gradient",
    "where one entry of the gradient is zero",
    "at a gradient of length 0.5",
)
_SIDE = 2  # entries of each axis that are judged: all of them would say the same
# by a digest of the steps and of their numbers: the same ones have the same answer
_KNOWN: dict[bytes, np.ndarray] = {}


def check_differentiable(
    inner: optax.GradientTransformation | Rule,
    params: PyTree = None,
    *,
    steps: int = 2,
) -> None:
    """Checks that a second-order meta-gradient through `inner` can be finite.

        d u_K(g, ..., g) / d (g, params)   at three g, zero one of them

    Differentiates K steps, forwards and backwards. With the parameters that `inner` will
    move, it is judged on a small copy of them: each leaf by its name, its number of axes
    and two entries of each. So masks and partitions that go by name or shape are met as
    they are. Without, on a problem of two parameters. A transform that cannot be built
    for the problem, or that holds traced values, is not judged.

    Args:
      inner: an Optax transform or a rule.
      params: a tree of what it will move, arrays, traced or not, or shapes.
      steps: K, at least 2: as many as are taken, for what begins later than that.

    Raises:
      ValueError: with the reason, if a derivative is infinite or not a number.

    >>> check_differentiable(optax.sgd(0.1))
    >>> params = {"body": jnp.ones(2), "head": jnp.ones(2)}
    >>> tx = optax.masked(optax.adam(1e-3), {"body": False, "head": True})
    >>> check_differentiable(tx, params)
    Traceback (most recent call last):
    ...
    ValueError: inner: got a transform whose derivative at a zero gradient is not...
    """
    if params is None:
        params = {"w": jax.ShapeDtypeStruct((2,), jnp.result_type(float))}
    finite = _finite(inner, jax.tree.map(_small, params), max(steps, 2))
    if finite is None:  # it may have kept something of the real shapes
        finite = _finite(inner, jax.tree.map(_whole, params), max(steps, 2))
    for where, good in zip(_AT, () if finite is None else finite, strict=False):
        if not good:
            raise ValueError(
                f"inner: got a transform whose derivative {where} is not finite, which "
                "makes second-order meta-gradients NaN. optax.adam and its kin want "
                "eps_root > 0 (1e-8 is usual), or use jaxmeta.rules.adam(rate); for "
                "clipping use jaxmeta.rules.clip_by_global_norm; or take "
                "gradient=first_order"
            )


def _finite(inner, params: PyTree, steps: int) -> np.ndarray | None:
    """Whether the derivatives of some steps are finite, a boolean for each of `_AT`."""
    rule = as_rule(inner)

    def walk(at):
        g, params = at
        tx = optax.with_extra_args_support(rule.make(rule.init(params)))
        # rules that look at the loss find it as `value`
        loss = 1.0 + sum(jnp.sum(x) for x in jax.tree.leaves(g))
        state, u = tx.init(params), g
        for _ in range(steps):
            u, state = tx.update(g, state, params, value=loss)
        return u

    def derivatives(g, params):
        at = (g, params)
        _, forward = jax.jvp(walk, (at,), (jax.tree.map(jnp.ones_like, at),))
        out, pull = jax.vjp(walk, at)
        backward = pull(jax.tree.map(jnp.ones_like, out))
        leaves = jax.tree.leaves((forward, backward))
        return jnp.all(jnp.stack([jnp.isfinite(x).all() for x in leaves]))

    @jax.jit  # some hundred operations: one program compiles faster than each of them
    def judge(params):
        return jax.vmap(derivatives, (0, None))(_gradients(params), params)

    try:
        traced = judge.trace(params)
        numbers = (*traced.jaxpr.consts, *jax.tree.leaves(params))
        digest = hashlib.sha256(str(traced.jaxpr).encode())
        for x in numbers:
            digest.update(np.asarray(x).tobytes())
        same = digest.digest()
        if same not in _KNOWN:
            program = traced.lower().compile()
            # a builder may be called while its caller is traced: run this now all the same
            with jax.ensure_compile_time_eval():
                _KNOWN[same] = np.asarray(program(params))
        return _KNOWN[same]
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        return None


def _gradients(params: PyTree) -> PyTree:
    """The gradients of `_AT`, stacked on a leading axis."""
    leaves, treedef = jax.tree.flatten(params)
    entries = sum(x.size for x in leaves)

    def three(x):
        last = jnp.zeros(x.size, x.dtype).at[-1:].set(0.5).reshape(x.shape)
        # no two entries alike, neither sign alone, and the whole of length 0.5 about
        some = jnp.linspace(-1.0, 1.7, x.size, dtype=x.dtype).reshape(x.shape)
        return jnp.stack([jnp.zeros_like(x), last, some * 0.55 / entries**0.5])

    return treedef.unflatten([three(x) for x in leaves])


def _small(x) -> np.ndarray:
    """A corner of a leaf."""
    return _values(x, tuple(min(n, _SIDE) for n in jnp.shape(x)))


def _whole(x) -> np.ndarray:
    return _values(x, jnp.shape(x))


def _values(x, shape: tuple[int, ...]) -> np.ndarray:
    """The first entries of a leaf; ones where there are no values yet."""
    if isinstance(x, Tracer | jax.ShapeDtypeStruct):
        return np.ones(shape, x.dtype)
    return np.asarray(x)[tuple(slice(0, n) for n in shape)]
