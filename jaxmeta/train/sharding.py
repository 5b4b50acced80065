"""The task axis over several devices: tasks apart, one reduction an outer step."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxmeta.core import PyTree

AXIS = "tasks"


def task_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:  # type: ignore[valid-type]
    """A mesh with one axis, "tasks".

    Args:
      devices: all devices of all processes by default.

    Returns:
      A `Mesh` for `episodic(..., mesh=...)`.

    >>> task_mesh().axis_names
    ('tasks',)
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Puts the same values on every device of a mesh, in every process.

    Args:
      tree: the same in every process.
      mesh: from `task_mesh`.

    Returns:
      A tree of global arrays.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())

    def put(x):
        if jnp.issubdtype(getattr(x, "dtype", float), jax.dtypes.prng_key):
            data = put(jax.random.key_data(x))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        if isinstance(x, jax.Array) and x.sharding == everywhere:
            return x
        # from the host: an array of one process cannot move to another's devices
        return jax.device_put(np.asarray(x), everywhere)

    return jax.tree.map(put, tree)


def mean_over_mesh(
    mean: Callable[..., PyTree], mesh: Mesh
) -> Callable[[PyTree, PyTree], PyTree]:
    """`mean(shared, tasks)`, each device taking its part of the tasks.

    The results of all leaves travel in one buffer, so that an outer step costs one
    all-reduce whatever the number of parameters.

    Args:
      mean: `(shared, tasks) -> tree`, the mean over the leading axis of `tasks`.
      mesh: with an axis "tasks" whose size divides the number of tasks; its axes may be
        Auto, as those of `task_mesh`, or Explicit, as `jax.make_mesh` makes them.

    Returns:
      A function of the same arguments and result.

    >>> import jax.numpy as jnp
    >>> mean = mean_over_mesh(lambda w, x: jnp.mean(w * x, 0), task_mesh())
    >>> mean(jnp.float32(2.0), jnp.arange(4.0)).item()
    3.0
    """
    return _shard(lambda *args: _pmean(mean(*args)), mesh)


def exact_mean_over_mesh(
    one: Callable[..., PyTree], mesh: Mesh | None
) -> Callable[[PyTree, PyTree], PyTree]:
    """The mean of `one(shared, task)`, whose bits do not depend on the mesh.

    Tasks run one after another on each device, and the sum over all tasks is taken in
    the order of the tasks, on every device alike. It gathers every task's result:
    memory and traffic grow with the number of tasks.

    XLA rounds where it fuses. Barriers keep it from fusing a task, the sum and what is
    done with the mean with what surrounds them, which is not the same on every mesh.

    Args:
      one: `(shared, task) -> tree`.
      mesh: with an axis "tasks" whose size divides the number of tasks, or `None`.

    Returns:
      A function `(shared, tasks) -> tree`.

    >>> mean = exact_mean_over_mesh(lambda w, x: w * x, task_mesh())
    >>> mean(jnp.float32(2.0), jnp.arange(4.0)).item()
    3.0
    """

    def alone(shared, task):
        return lax.optimization_barrier(one(*lax.optimization_barrier((shared, task))))

    def each(shared, tasks):
        return lax.map(lambda task: alone(shared, task), tasks)

    def gathered(shared, tasks):
        results, unravel = ravel_pytree(each(shared, tasks))
        parts = jax.vmap(unravel)(lax.all_gather(results, AXIS))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), parts)

    def add(total, x):
        return jax.tree.map(jnp.add, total, x), None

    run = each if mesh is None else _shard(gathered, mesh)

    def mean(shared, tasks):
        results = lax.optimization_barrier(run(shared, tasks))
        count = jax.tree.leaves(results)[0].shape[0]
        first = jax.tree.map(lambda x: x[0], results)
        rest = jax.tree.map(lambda x: x[1:], results)
        total, _ = lax.scan(add, first, rest)
        return lax.optimization_barrier(jax.tree.map(lambda x: x / count, total))

    return mean


def map_over_mesh(
    one: Callable[..., PyTree],
    mesh: Mesh | None,
    chunk: int = 1,
    *,
    whole: bool = True,
) -> Callable[..., PyTree]:
    """`one(shared, task)` for every task, each device its part of them.

    Args:
      one: of one task.
      mesh: with an axis "tasks" whose size divides the number of tasks, or `None`.
      chunk: tasks side by side on a device.
      whole: whether every device gets all results; otherwise each keeps its own.

    Returns:
      `(shared, tasks) -> results [tasks, ...]`.

    >>> run = map_over_mesh(lambda w, x: w * x, task_mesh())
    >>> run(jnp.ones(()), jnp.arange(4.0)).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """

    def each(shared, tasks):
        size = None if chunk == 1 else chunk
        return lax.map(lambda task: one(shared, task), tasks, batch_size=size)

    def gathered(shared, tasks):
        return jax.tree.map(
            lambda x: lax.all_gather(x, AXIS, tiled=True), each(shared, tasks)
        )

    if mesh is None:
        return each
    return _shard(gathered, mesh) if whole else _shard(each, mesh, AXIS)


def _shard(body, mesh, *out):
    def sharded(shared, tasks):
        count, size = jax.tree.leaves(tasks)[0].shape[0], mesh.shape[AXIS]
        if count % size:
            raise ValueError(
                f"mesh: got {size} devices for {count} tasks, wants a divisor of them"
            )
        # Checked shard_map casts the parameters to vary over the devices, and the
        # derivative of that cast is a sum over devices: an inner gradient step would
        # see the sum of every device's gradient. Unchecked, there is no such cast.
        specs = (PartitionSpec(), PartitionSpec(AXIS))
        now = jax.sharding.get_abstract_mesh()
        # the mesh that is set is this one, perhaps with another type of axes
        over = now if now.shape == mesh.shape else mesh
        if AxisType.Explicit in over.axis_types:
            # what has a sharding in its type is not moved unasked
            apart = (NamedSharding(over, spec) for spec in specs)
            shared, tasks = map(_moved, (shared, tasks), apart)
        return jax.shard_map(
            body,
            mesh=over,
            in_specs=specs,
            out_specs=PartitionSpec(*out),
            check_vma=False,
        )(shared, tasks)

    return sharded


def _moved(tree, sharding):
    return jax.tree.map(lambda x: jax.reshard(x, sharding), tree)


def _pmean(tree):
    flat, unravel = ravel_pytree(tree)
    return unravel(lax.pmean(flat, AXIS))
