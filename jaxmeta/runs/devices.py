"""The devices of a run: cores of a CPU, or accelerators."""

import os

import jax
from jax.sharding import Mesh

from jaxmeta import train
from jaxmeta.core import PyTree
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.recipe import Recipe


def prepare(recipe: Recipe) -> None:
    """Splits the CPU into as many devices as the recipe wants. Before JAX's first use.

    For the command line only: a library does not set its user's global flags.
    """
    if recipe.devices == 1:
        return
    jax.config.update("jax_num_cpu_devices", recipe.devices)
    flags = os.environ.get("XLA_FLAGS", "")
    # a device that has a core to itself splits no operation over cores
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def make_mesh(recipe: Recipe) -> Mesh | None:
    """The mesh of a recipe; `None` for one device.

    Raises:
      ConfigError: more devices than there are, or no divisor of the tasks.
    """
    if recipe.devices == 1:
        return None
    found = jax.devices()
    if recipe.devices > len(found):
        have = f"at most {len(found)}: the {found[0].platform} devices there are"
        raise ConfigError("devices", recipe.devices, have)
    if recipe.tasks % recipe.devices:
        wants = f"a divisor of tasks = {recipe.tasks}"
        raise ConfigError("devices", recipe.devices, wants)
    return train.task_mesh(found[: recipe.devices])


def spread(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """Copies a tree to every device of the mesh, if there is one."""
    return tree if mesh is None else train.replicate(tree, mesh)


def gather(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """One device's copy of a tree that all devices hold."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0), tree)
