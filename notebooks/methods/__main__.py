"""Makes the picture of each method's page, or of those named.

    pip install . && python -m notebooks.methods [NAME ...]

Each picture is what the method itself computes: trained in seconds, from fixed keys. They
are kept in notebooks/pictures/methods; the site and the tests look at those files alone.
"""

import sys
import time

from notebooks.methods import FOLDER
from notebooks.methods.beliefs import PICTURES as BELIEFS
from notebooks.methods.gradient import PICTURES as GRADIENT
from notebooks.methods.regions import PICTURES as REGIONS
from notebooks.methods.streams import PICTURES as STREAMS

PICTURES = {**GRADIENT, **REGIONS, **BELIEFS, **STREAMS}


def main(names: list[str]) -> None:
    """The command."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        start = time.process_time()
        made = PICTURES[name]()
        (FOLDER / f"{name}.png").write_bytes(made)
        took = time.process_time() - start
        print(f"{name:22s} {len(made):6d} bytes, {took:5.1f} s of a core", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
