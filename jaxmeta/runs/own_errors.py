"""Errors of the user's own file, shown as Python shows them."""

import sys
import traceback

from jaxmeta.runs.registry import Files


def in_their_words(error: BaseException, files: Files) -> bool:
    """Shows an error of the user's own file as Python does, without our frames."""
    kept = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in files.paths
    ]
    own = isinstance(error, SyntaxError) and error.filename in files.paths
    if not kept and not own:
        return False
    if kept:
        print("Traceback (most recent call last):", file=sys.stderr)
        print("".join(traceback.format_list(kept)), end="", file=sys.stderr)
    notes = getattr(error, "__notes__", [])
    if notes:  # JAX's, of the frames of its own that it has left out
        error.__notes__ = [n for n in notes if "JAX_TRACEBACK_FILTERING" not in n]
    said = traceback.format_exception_only(type(error), error)
    print("".join(said), end="", file=sys.stderr)
    return True
