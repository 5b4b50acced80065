"""Holds what goes into a function, and what comes out, against the shapes it is written with.

jaxtyping is laid in the place of `jaxmeta.shapes`, and each function with a shape in its
signature is wrapped when its module is imported. It is checked after it has returned: what
the library itself refuses, in its own words, stays its own error.
"""

import functools
import importlib.machinery
import inspect
import sys
import types
import typing
from pathlib import Path

import jaxtyping
import numpy as np
from jax import Array

Shape = type(jaxtyping.Float[Array, ""])


class _Dtype:
    """`Float[Array, "n d"]`, which tests may give a NumPy array as well."""

    def __init__(self, name: str):
        self.name = name

    def __getitem__(self, item):
        array, shape = item
        return getattr(jaxtyping, self.name)[array | np.ndarray, shape]


def install() -> None:
    """From here on, for modules of the package that are imported later."""
    names = {name: _Dtype(name) for name in ("Bool", "Float", "Int", "Num", "Shaped")}
    shapes = types.ModuleType("jaxmeta.shapes")
    vars(shapes).update(names, Array=Array, Key=jaxtyping.Key)
    shapes.__file__ = str(Path(__file__).parents[1] / "jaxmeta" / "shapes.py")
    sys.modules["jaxmeta.shapes"] = shapes
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if not fullname.startswith("jaxmeta."):
            return None
        spec = super().find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader.__class__ = _Loader
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        for name, value in list(vars(module).items()):
            own = inspect.isfunction(value) and value.__module__ == module.__name__
            if own and any(map(shaped, value.__annotations__.values())):
                setattr(module, name, checked(value))


def shaped(hint) -> bool:
    """Whether a shape is in an annotation."""
    return isinstance(hint, Shape) or any(map(shaped, typing.get_args(hint)))


def said(hint) -> str:
    """The shapes of an annotation, in its own words."""
    if isinstance(hint, Shape):
        return f'{hint.dtype.__name__}[Array, "{hint.dim_str}"]'
    return " or ".join(
        {said(part): 0 for part in typing.get_args(hint) if shaped(part)}
    )


def checked(function):
    """The function, which says so where a call does not fit its signature."""
    signature = inspect.signature(function)
    hints = {k: v for k, v in function.__annotations__.items() if shaped(v)}
    more = [p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]

    @jaxtyping.jaxtyped(typechecker=None)  # one length for one name, in one call
    def hold(values):
        for name, hint in hints.items():
            if name not in values:
                continue
            for value in values[name].values() if name in more else [values[name]]:
                if not fits(value, hint, given=name != "return"):
                    raise TypeError(
                        f"{function.__qualname__}: {name}: got "
                        f"{getattr(value, 'shape', value)}, wants {said(hint)}"
                    )

    def call(*args, **kwargs):
        result = function(*args, **kwargs)
        bound = signature.bind(*args, **kwargs).arguments
        hold({**bound, "return": result})
        return result

    # in the globals of its module, where doctest looks for what is the module's own
    call = types.FunctionType(
        call.__code__, function.__globals__, function.__name__, None, call.__closure__
    )
    return functools.wraps(function)(call)


def fits(value, hint, *, given: bool) -> bool:
    """Whether a value is of a type; parts of a type without a shape are not looked at.

    What is given where real numbers are wanted may be integers or a mask: JAX promotes
    them. What comes back is of the kind that the signature says.
    """
    if isinstance(hint, Shape):
        if given and hint.dtype is jaxtyping.Float:
            hint = jaxtyping.Shaped[hint.array_type, hint.dim_str]
        return isinstance(np.asarray(value) if np.isscalar(value) else value, hint)
    if hint is type(None):
        return value is None
    if hint is float:
        return np.ndim(value) == 0
    if not shaped(hint):
        return True
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return all(fits(x, part, given=given) for x, part in zip(value, parts))  # noqa: B905
    # of a union, the parts with a shape come first: they know more
    parts = sorted(parts, key=shaped, reverse=True)
    return any(fits(value, part, given=given) for part in parts)
