"""Training or inference, by whatever name a module is told of it."""

import inspect
from typing import Any

from flax import nnx

from jaxmeta.models.layers import BatchNorm

TRAINING = ("train", "training", "is_training")
INFERENCE = ("deterministic", "use_running_average")
ALIKE = ("train", "eval", "infer", "test", "mode", "determin")


def flags(call: Any) -> tuple[str, ...]:
    """The names by which a function takes whether it is in training.

    >>> flags(lambda x, deterministic=True: x)
    ('deterministic',)
    """
    names = inspect.signature(call).parameters
    return tuple(name for name in (*TRAINING, *INFERENCE) if name in names)


def as_flags(names: tuple[str, ...], train: bool) -> dict[str, bool]:
    """The arguments that say it.

    >>> as_flags(("train", "deterministic"), True)
    {'train': True, 'deterministic': False}
    """
    return {name: train == (name in TRAINING) for name in names}


def nnx_flags(module: nnx.Module) -> tuple[str, ...]:
    """The flags of a module's `__call__` that `train()` and `eval()` do not set."""
    if not any("__call__" in vars(kind) for kind in type(module).__mro__):
        return ()  # a list of modules, say
    names = flags(type(module).__call__)
    # every module has a method `train`
    return tuple(n for n in names if n in TRAINING or not hasattr(module, n))


def check_told(module: nnx.Module) -> None:
    """Refuses a part with dropout or batch statistics that would never hear of the mode.

    A part that takes a flag hears it from the module around it, if that takes one, too,
    or is itself switched by `train()` and `eval()`.

    Raises:
      ValueError: if it does neither, or takes what looks like a flag of another name.
    """
    parts = dict(nnx.iter_modules(module))
    for path, part in parts.items():
        if strange := _strange(part):
            raise ValueError(
                f"{'/'.join(map(str, path)) or type(part).__name__}: takes {strange}= and "
                "has dropout or batch statistics, and nobody sets it: name it one of "
                f"{', '.join((*TRAINING, *INFERENCE))}"
            )
        names = nnx_flags(part)
        if not path or not names or not _differs(part):
            continue
        around = [parts[path[:i]] for i in range(len(path)) if path[:i] in parts]
        if not any(nnx_flags(m) or _switched(m) for m in around):
            raise ValueError(
                f"{'/'.join(map(str, path))}: takes {names[0]}= and has dropout or batch "
                f"statistics, but {type(module).__name__} around it takes no such flag: "
                f"let its __call__ take {names[0]}= and hand it down"
            )


def _strange(part: nnx.Module) -> str | None:
    """An argument that reads like a flag for the mode, of a name that is none."""
    known = {*TRAINING, *INFERENCE}
    if type(part).__module__.startswith(("flax.", "jaxmeta.")) or not _differs(part):
        return None
    for name in inspect.signature(type(part).__call__).parameters:
        if name not in known and any(word in name.lower() for word in ALIKE):
            return name
    return None


def _switched(module: nnx.Module) -> bool:
    return any(hasattr(module, name) for name in INFERENCE)


def _differs(module: nnx.Module) -> bool:
    """Whether something inside is another thing in training than at inference."""
    kinds = (nnx.Dropout, nnx.BatchNorm, BatchNorm)
    return any(isinstance(part, kinds) for _, part in nnx.iter_modules(module))
