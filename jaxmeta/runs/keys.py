"""Where every random number of a run comes from.

Outer step t draws its episodes from `fold_in(root, t)`, the root being the seed's key.
Everything else is folded in from the far end of the numbers, where no step gets to.
Validation and test do not depend on the seed: all runs see the same episodes, so that
two of them can be compared in pairs.
"""

import jax

from jaxmeta.core import Key

_INIT, _VALIDATION, _TEST, _DRAWING, _STRANGERS = (2**32 - 1 - i for i in range(5))


def root(seed: int) -> Key:
    return jax.random.key(seed)


def init(root: Key) -> Key:
    """For the first parameters."""
    return jax.random.fold_in(root, _INIT)


def validation() -> Key:
    """For the episodes that choose the parameters."""
    return jax.random.fold_in(jax.random.key(0), _VALIDATION)


def test() -> Key:
    """For the episodes that are reported."""
    return jax.random.fold_in(jax.random.key(0), _TEST)


def drawing() -> Key:
    """For the episodes in the pictures of the report."""
    return jax.random.fold_in(jax.random.key(0), _DRAWING)


def strangers() -> Key:
    """For the episodes that say when to turn a query away."""
    return jax.random.fold_in(jax.random.key(0), _STRANGERS)
