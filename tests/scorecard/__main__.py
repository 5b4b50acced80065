"""`python -m tests.scorecard [CHECK ...] [--fast] [--out FILE]`."""

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scorecard")
    parser.add_argument("checks", nargs="*", help="some checks; all by default")
    parser.add_argument("--fast", action="store_true", help="the small tier, as in CI")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    args = parser.parse_args()
    from tests.scorecard.scorecard import run

    try:
        found = run(args.checks or None, fast=args.fast, out=args.out)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return int(any(x["passed"] < x["tried"] for x in found.values()))


if __name__ == "__main__":
    sys.exit(main())
