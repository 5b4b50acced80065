"""Meshes whose axes are Explicit, as `jax.make_mesh` makes them: types carry a sharding."""

from collections.abc import Callable

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxmeta.core import Array


def automatic(
    function: Callable[..., Array],
    *args: Array,
    out: Callable[..., tuple] = lambda *specs: (specs[0][0],),
) -> Array:
    """`function(*args)` with the sharding of what is inside left to the compiler.

    Reshapes and products have many shardings to choose from, and where the axes of a
    mesh are Explicit JAX asks for one at each. What this library reshapes on its way is
    nobody's business: inside, the axes are Auto. Without Explicit axes nothing is done.

    Args:
      function: of arrays, to one array.
      *args: what it is called with.
      out: the partitions of the result, from those of the arguments, an entry an axis;
        by default the first argument's leading axis stays as it is. Axes that are left
        out are whole on every device.

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
    specs = [(*s.spec, *[None] * (x.ndim - len(s.spec))) for s, x in zip(known, args, strict=True)]
    parts, taken = [], set()
    for part in out(*specs):  # no two axes of an array over one of the mesh
        names = part if isinstance(part, tuple) else (part,)
        parts.append(None if taken & {*names} else part)
        taken |= {*names} - {None}
    sharding = NamedSharding(mesh, PartitionSpec(*parts))
    return jax.sharding.auto_axes(function, out_sharding=sharding)(*args)
