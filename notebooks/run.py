"""Runs notebooks from top to bottom and writes them back with their outputs.

    pip install ".[notebooks]"
    python notebooks/run.py                # all of them
    python notebooks/run.py 01 04          # those whose names start so

`JAXMETA_SMOKE=1` makes every number small (for trying; do not commit that), and
`JAXMETA_OMNIGLOT` is the folder that notebook 02 reads Omniglot from.
"""

import os
import sys
import time
from pathlib import Path

import nbclient
import nbformat

FOLDER = Path(__file__).parent


def run(path: Path) -> None:
    """Executes one notebook; what differs between two runs for no reason is left out."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": FOLDER}}
    nbclient.NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources=resources
    ).execute()
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    for i, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{i}", {}
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data.pop("text/plain", None)  # the size of a figure
                if "metadata" in output:
                    output.metadata = {}
    nbformat.write(notebook, path)


def main() -> None:
    root = str(FOLDER.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    wanted = tuple(sys.argv[1:]) or ("",)
    for path in sorted(FOLDER.glob("*.ipynb")):
        if path.name.startswith(wanted):
            start = time.perf_counter()
            run(path)
            print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
