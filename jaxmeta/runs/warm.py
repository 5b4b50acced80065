"""`--warm-start RUN`: a network that starts with what another run has learned."""

from collections import Counter
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Meta, PyTree
from jaxmeta.runs import checkpoints
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.folder import RunFolder
from jaxmeta.runs.fork import source
from jaxmeta.runs.job import Job, abstract_state
from jaxmeta.train.trainer import TrainState

# Learners that hold more than a network keep it under this name: beside a rule of
# adaptation, a head, a step count.
_NETWORK = "model/"


class Warm(NamedTuple):
    """What a run starts with instead of fresh values.

    Attributes:
      arrays: name in the network -> value, those that fit.
      info: of `result.json`: the run, the step that its values are of, how many arrays
        are taken, and the names of those that stay fresh.
    """

    arrays: dict[str, Array]
    info: dict


def warm_start(job: Job) -> Warm:
    """The network of the run at `settings.warm_start`, as far as it fits this one.

    An array is taken where this run has one of the same name and shape: from 5 ways to
    20, all but the head. Where a run chooses parameters by validation, they are those
    that it has chosen. The optimiser, the step count and the keys are this run's own.

    Raises:
      ConfigError: no run, no checkpoint, none of whose arrays fits; or a fork besides.
    """
    run, settings = job.settings.warm_start, job.settings
    if settings.fork is not None:
        wants = "no --fork beside it, which goes on with everything"
        raise ConfigError("warm_start", run, wants)
    path, _ = source("warm_start", run)
    try:
        found = RunFolder(path).checkpoints
        snapshot = checkpoints.restore(found, None, own=False)
    except RunError as error:
        raise ConfigError(
            "warm_start", run, f"a run that can be read: {error}"
        ) from error
    if snapshot is None:
        raise ConfigError("warm_start", run, "a run that has saved a checkpoint")
    best = snapshot.info["best"]
    there = _named(snapshot.best if best else snapshot.state["meta"])
    here = _named(abstract_state(job).meta)
    fits = {
        name: there[name]
        for name, like in here.items()
        if name in there and there[name].shape == like.shape
    }
    if not any(name.startswith("params/") for name in fits):
        wants = f"a run with arrays such as {_said(here)}; it has {_said(there)}"
        raise ConfigError("warm_start", run, wants)
    fresh = sorted(
        name.removeprefix("params/")
        for name in {*here} - {*fits}
        if name.startswith("params/")
    )
    step = best["step"] if best else int(snapshot.state["step"])
    taken = sum(name.startswith("params/") for name in fits)
    info = {"run": str(run), "step": step, "taken": taken, "fresh": fresh}
    return Warm(fits, info)


def warmed(job: Job, fresh: TrainState, warm: Warm) -> TrainState:
    """A state before the first step with what was learned in it."""
    names = _names(fresh.meta)
    leaves, structure = jax.tree.flatten(fresh.meta)
    found = [
        jnp.asarray(warm.arrays[name], leaf.dtype) if name in warm.arrays else leaf
        for name, leaf in zip(names, leaves, strict=True)
    ]
    meta: Meta = jax.tree.unflatten(structure, found)
    opt_state = job.experiment.outer.init(meta.params)
    return fresh._replace(meta=meta, opt_state=opt_state)


def line(warm: Warm) -> str:
    """What a user reads of it."""
    info = warm.info
    count = f"{info['taken']} of {info['taken'] + len(info['fresh'])} parameter arrays"
    rest = f"; fresh: {', '.join(info['fresh'])}" if info["fresh"] else ""
    return f"starts with {count} of {info['run']}, step {info['step']}{rest}"


def _named(meta: PyTree) -> dict[str, Array]:
    """Name in the network -> leaf."""
    return dict(zip(_names(meta), jax.tree.leaves(meta), strict=True))


def _names(meta: PyTree) -> list[str]:
    """One name a leaf, such as `params/block1/conv/kernel`; a name is there once."""
    full = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree.leaves_with_path(meta)
    ]
    short = [
        f"{kind}/{rest.removeprefix(_NETWORK)}"
        for kind, _, rest in (name.partition("/") for name in full)
    ]
    times = Counter(short)
    return [s if times[s] == 1 else f for s, f in zip(short, full, strict=True)]


def _said(named: dict[str, Array]) -> str:
    """A few parameters and their shapes."""
    own = {n.removeprefix("params/"): a for n, a in named.items() if n[:7] == "params/"}
    few = [f"{name} {list(own[name].shape)}" for name in sorted(own)[:3]]
    return ", ".join(few) + (" ..." if len(own) > 3 else "")
