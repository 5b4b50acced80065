"""Many runs in one program: hyper-parameters and seeds as two axes of `vmap`."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, PartitionSpec

from jaxmeta.core import Array, Key, Keys, PyTree
from jaxmeta.train.trainer import Trainer, TrainState, fit, sample_batch

AXIS = "members"
Make = Callable[[PyTree], Trainer]


def fit_population(
    make: Make,
    hypers: PyTree,
    sample: Callable[[Key], PyTree],
    keys: Keys,
    *,
    steps: int,
    batch: int,
    states: TrainState | None = None,
    mesh: Mesh | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """Trains H settings from S seeds each, all in one compiled program.

        state[h, s], metrics[h, s] = fit(make(hypers[h]), sample, start, run key)

    with `start, run = split(keys[s])`: a member is its own single run, `fit_member`, and
    seed s meets the same data and the same first parameters in every setting that does
    not change them. Small networks gain most: a program's fixed costs are paid once, and
    a seed's data are drawn once for all settings. Devices of a mesh train a part of the
    members each and do not talk to one another: seeds apart if their number allows it,
    else settings. A CPU is one device until it is told otherwise, before anything runs:
    `jax.config.update("jax_num_cpu_devices", 2)` makes two cores two devices.

    Args:
      make: `hyper -> Trainer`, where `hyper` has the structure of `hypers` and scalar
        tracers for leaves: learning rates, weight decay, lambda; nothing that decides a
        shape or a number of steps.
      hypers: leaves `[H, ...]`.
      sample: as in `fit`.
      keys: `[S]`, the root keys.
      steps: outer steps of each.
      batch: draws an outer step.
      states: to go on from, as they were returned, with the same keys.
      mesh: from `member_mesh`.

    Returns:
      `(states, metrics)`: leaves `[H, S, ...]`, metrics `[H, S, steps]`. Wrap it in
      `jax.jit`.

    Raises:
      ValueError: if there are no hyper-parameters, their leaves differ in length, `keys`
        has no axis; if the devices of the mesh divide neither H nor S; and as `fit`.

    >>> import optax, jaxmeta as jm
    >>> learner = jm.protonet(jm.models.mlp(None, hidden=(4,)))
    >>> make = lambda rate: jm.make_trainer(jm.episodic(learner), optax.sgd(rate))
    >>> rates, keys = jnp.array([0.1, 0.01]), jax.random.split(jax.random.key(0), 3)
    >>> states, metrics = fit_population(
    ...     make, rates, jm.testing.probe(), keys, steps=2, batch=2
    ... )
    >>> metrics["loss"].shape
    (2, 3, 2)
    """
    settings = length(hypers)
    if jnp.ndim(keys) != 1:
        raise ValueError(f"keys: got shape {jnp.shape(keys)}, wants [seeds]")

    def member(hyper, key, state):
        return fit_member(
            make, hyper, sample, key, steps=steps, batch=batch, state=state
        )

    axis = None if states is None else 0
    over_seeds = jax.vmap(member, (None, 0, axis))
    everybody = jax.vmap(over_seeds, (0, None, axis))
    if mesh is None:
        return everybody(hypers, keys, states)
    of_hypers, of_keys, of_both = _specs(settings, len(keys), mesh)
    return jax.shard_map(
        everybody,
        mesh=mesh,
        in_specs=(of_hypers, of_keys, of_both),
        out_specs=of_both,
        check_vma=False,
    )(hypers, keys, states)


def member_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:  # type: ignore[valid-type]
    """A mesh with one axis, "members".

    Args:
      devices: all devices by default.

    Returns:
      A `Mesh` for `fit_population(..., mesh=...)`.

    >>> member_mesh().axis_names
    ('members',)
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )


def fit_member(
    make: Make,
    hyper: PyTree,
    sample: Callable[[Key], PyTree],
    key: Key,
    *,
    steps: int,
    batch: int,
    state: TrainState | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """One member of a population, alone.

    Args:
      make: as in `fit_population`.
      hyper: its setting.
      sample: as in `fit`.
      key: its root key.
      steps: outer steps.
      batch: draws an outer step.
      state: to go on from.

    Returns:
      `(state, metrics)`, as `fit`.

    Raises:
      ValueError: as `fit`.

    >>> import optax, jaxmeta as jm
    >>> learner = jm.protonet(jm.models.mlp(None, hidden=(4,)))
    >>> make = lambda rate: jm.make_trainer(jm.episodic(learner), optax.sgd(rate))
    >>> task, key = jm.testing.probe(), jax.random.key(0)
    >>> fit_member(make, 0.1, task, key, steps=2, batch=2)[1]["loss"].shape
    (2,)
    """
    start, run = jax.random.split(key)
    trainer = make(hyper)
    if state is None:
        state = trainer.init(start, sample_batch(sample, start, batch))
    return fit(trainer, sample, state, run, steps=steps, batch=batch)


def _specs(settings: int, seeds: int, mesh: Mesh) -> tuple[PartitionSpec, ...]:
    """Which axis of hypers, of keys, and of what has both, is spread over the mesh."""
    devices, whole, part = mesh.shape[AXIS], PartitionSpec(), PartitionSpec(AXIS)
    if seeds % devices == 0:  # a seed's data are then drawn on one device alone
        return whole, part, PartitionSpec(None, AXIS)
    if settings % devices == 0:
        return part, whole, part
    raise ValueError(
        f"mesh: got {devices} devices for {settings} settings and {seeds} seeds, "
        "wants a divisor of either"
    )


def length(hypers: PyTree) -> int:
    """How many settings there are."""
    lengths = {jnp.shape(x)[:1] for x in jax.tree.leaves(hypers)}
    if len(lengths) != 1 or not all(n and n[0] for n in lengths):
        raise ValueError(
            f"hypers: got leading axes {sorted(lengths)}, wants one, of length >= 1"
        )
    return lengths.pop()[0]
