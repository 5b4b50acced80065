"""XLA's compilation cache: the second run of a recipe starts at once."""

import os
from pathlib import Path
from typing import Any

VARIABLE = "JAXMETA_COMPILE_CACHE"


def enable_cache() -> None:
    """Keeps compiled programs in the user's cache folder.

    For the command line only: a library does not set its user's global flags. The
    environment variable JAXMETA_COMPILE_CACHE names another folder, or is "off". A
    folder that JAX itself has been given stays.
    """
    import jax

    config: Any = jax.config  # it makes its attributes as JAX is imported
    wanted = os.environ.get(VARIABLE, "")
    if wanted.lower() in ("off", "0", "false") or config.jax_compilation_cache_dir:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(wanted) if wanted else base / "jaxmeta" / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # no cache is slower, not wrong
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
