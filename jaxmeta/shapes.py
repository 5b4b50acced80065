"""Arrays with their shape, for signatures: `Float[Array, "n d"]`.

    def distances(a: Float[Array, "n d"], b: Float[Array, "c d"]) -> Float[Array, "n c"]: ...

The names and the words are those of jaxtyping: an axis of one name has one length in a
call, `...` is any number of axes, and an axis alone is written with a space before it,
`Float[Array, " n"]`. To a type checker and to a program that runs, each is the array
and the rest a note, which nothing reads: so the package does not need jaxtyping, and a call
costs what it costs without. The tests lay jaxtyping itself in the place of this module, and
hold what goes into each function, and what comes out of it, against its signature.
"""

from typing import Annotated as Bool
from typing import Annotated as Float
from typing import Annotated as Int
from typing import Annotated as Key
from typing import Annotated as Num
from typing import Annotated as Shaped

from jax import Array

__all__ = ["Array", "Bool", "Float", "Int", "Key", "Num", "Shaped"]
