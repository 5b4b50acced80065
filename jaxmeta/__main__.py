"""`python -m jaxmeta` is `jaxmeta`."""

import sys

from jaxmeta.cli import run

sys.exit(run())
