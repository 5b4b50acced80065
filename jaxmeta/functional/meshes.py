"""Meshes whose axes are Explicit, as `jax.make_mesh` makes them: types carry a sharding."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxmeta.core import Array, PyTree

P = ParamSpec("P")
T = TypeVar("T")


def automatic(
    function: Callable[..., PyTree],
    *args: Array,
    out: Callable[..., PyTree] = lambda *specs: PartitionSpec(specs[0][0]),
) -> PyTree:
    """`function(*args)` with the sharding of what is inside left to the compiler.

    Reshapes and products have many shardings to choose from, and where the axes of a
    mesh are Explicit JAX asks for one at each. What this library reshapes on its way is
    nobody's business: inside, the axes are Auto. Without Explicit axes nothing is done.

    Args:
      function: of arrays.
      *args: what it is called with.
      out: the `PartitionSpec` of each result, from those of the arguments, an entry an
        axis; by default one result, whose leading axis is the first argument's. Axes
        that are left out are whole on every device.

    Returns:
      What `function` returns.

    >>> automatic(lambda x: x.reshape(-1), jax.numpy.ones((2, 3))).shape
    (6,)
    """
    known = [jax.typeof(x).sharding for x in args]
    meshes = [jax.sharding.get_abstract_mesh(), *(s.mesh for s in known)]
    mesh = next((m for m in meshes if AxisType.Explicit in m.axis_types), None)
    if mesh is None:
        return function(*args)
    specs = [
        (*s.spec, *[None] * (x.ndim - len(s.spec)))
        for s, x in zip(known, args, strict=True)
    ]
    shardings = jax.tree.map(
        lambda spec: NamedSharding(mesh, _once(spec)),
        out(*specs),
        is_leaf=lambda x: isinstance(x, PartitionSpec),
    )
    return jax.sharding.auto_axes(function, out_sharding=shardings)(*args)


def by_rows(results: int = 1) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: `automatic` for a function of examples and what else it takes.

    Args:
      results: how many arrays it returns; the first has an example a row, as its first
        argument, and the others are whole on every device.

    Returns:
      A decorator.

    >>> by_rows()(lambda x, scale: scale * x)(jax.numpy.ones(2), scale=2.0).tolist()
    [2.0, 2.0]
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def run(*args: P.args, **options: P.kwargs) -> T:
            call: Callable[..., T] = function  # put together again from its leaves
            leaves, treedef = jax.tree.flatten((args, options))
            at = [i for i, x in enumerate(leaves) if hasattr(x, "shape")]

            def inside(*arrays: Any):
                given = list(leaves)
                for i, x in zip(at, arrays, strict=True):
                    given[i] = x
                args, options = treedef.unflatten(given)
                return call(*args, **options)

            def out(x, *rest):
                first = PartitionSpec(x[0])
                others = (PartitionSpec(),) * (results - 1)
                return (first, *others) if others else first

            return automatic(inside, *(leaves[i] for i in at), out=out)

        return run

    return decorate


def _once(spec: PartitionSpec) -> PartitionSpec:
    """Without the entries that name an axis of the mesh again."""
    parts, taken = [], set()
    for part in spec:
        names = {*(part if isinstance(part, tuple) else (part,))} - {None}
        parts.append(None if taken & names else part)
        taken |= names
    return PartitionSpec(*parts)
