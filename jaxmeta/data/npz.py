"""Arrays of someone's own, from a file of `numpy.savez`. Nothing in it is run."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxmeta.data.errors import DataError


class MissingArray(DataError):
    """The file has others than were wanted.

    Args:
      name: of the array that is missing.
      message: what the file has.
    """

    def __init__(self, name: str, message: str):
        super().__init__(message)
        self.name = name


def npz_arrays(
    file: Path, wanted: Sequence[str], also: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; of a broken one NumPy says it might be a pickle.

    Args:
      file: the file.
      wanted: arrays that must be in it.
      also: those that may be.

    Returns:
      Name -> array.

    Raises:
      DataError: a file that is no .npz or damaged, one without a wanted array
        (`MissingArray`), or arrays of Python objects.
    """
    if not zipfile.is_zipfile(file):
        raise DataError(f"{file.name}: is cut, or no file of numpy.savez")
    name, found = file.name, {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for name in wanted:
                if name not in arrays:
                    has = ", ".join(arrays) or "none"
                    wants = f"arrays {' and '.join(wanted)}; it has {has}"
                    raise MissingArray(name, wants)
            for name in {*wanted, *also} & set(arrays):
                found[name] = arrays[name]
    except DataError:
        raise
    except ValueError as error:  # an array of Python objects
        wants = "numbers, or names as text; objects are not read from files"
        raise DataError(f"{name}: got {error}, wants {wants}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{file.name}: is damaged ({error})") from error
    return found


def check_finite(inputs: np.ndarray) -> None:
    """Refuses rows that are not finite: a loss of NaN would say nothing of why.

    Raises:
      DataError: NaN or infinity in some rows.
    """
    if inputs.dtype.kind != "f" or inputs.ndim == 0:
        return
    bad = np.flatnonzero([not np.isfinite(row).all() for row in inputs])
    if len(bad):
        raise DataError(
            f"inputs: got NaN or infinity in {len(bad)} of {len(inputs)} examples "
            f"(the first: row {bad[0]}), wants finite numbers"
        )
