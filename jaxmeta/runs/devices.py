"""The devices of a run: cores of a CPU, or accelerators."""

import os

import jax
from jax.sharding import Mesh

from jaxmeta import train
from jaxmeta.core import PyTree
from jaxmeta.runs.errors import ConfigError


def prepare(devices: int) -> None:
    """Splits the CPU into so many devices. Before JAX's first use.

    For the command line only: a library does not set its user's global flags.
    """
    if devices == 1:
        return
    jax.config.update("jax_num_cpu_devices", devices)
    flags = os.environ.get("XLA_FLAGS", "")
    # a device that has a core to itself splits no operation over cores
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def make_mesh(devices: int, batch: int) -> Mesh | None:
    """The mesh of a run; `None` for one device.

    Raises:
      ConfigError: more devices than there are, or no divisor of the tasks.
    """
    if devices == 1:
        return None
    found = jax.devices()
    if devices > len(found):
        have = f"at most {len(found)}: the {found[0].platform} devices there are"
        raise ConfigError("devices", devices, have)
    if batch % devices:
        raise ConfigError("devices", devices, f"a divisor of batch = {batch}")
    return train.task_mesh(found[:devices])


def spread(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """Copies a tree to every device of the mesh, if there is one."""
    return tree if mesh is None else train.replicate(tree, mesh)


def gather(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """One device's copy of a tree that all devices hold."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0), tree)
