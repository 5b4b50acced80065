"""Runs notebooks from top to bottom; writes them back only where that is asked for.

    pip install ".[notebooks]"
    python -m notebooks.run                # tries all of them, changes no file
    python -m notebooks.run 01 04          # those whose names start so
    python -m notebooks.run --small        # in seconds: every number is small
    python -m notebooks.run --write 01     # keeps the outputs

A notebook has one cell of sizes. What a reader sees are the true ones; the small ones are
that cell's metadata "small", which takes its place here and in the tests.
`JAXMETA_OMNIGLOT` is the folder that notebook 02 reads Omniglot from.
"""

import argparse
import copy
import os
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat

FOLDER = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def small(notebook: Any) -> Any:
    """The same notebook with small sizes."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if "small" in cell.metadata:
            cell.source = "".join(cell.metadata["small"])
    return made


def execute(
    notebook: Any, where: Path, timeout: int = 1800, kernel: Any = None
) -> None:
    """Runs it in the folder `where`; its outputs are in it afterwards.

    A `kernel` that runs already is emptied first; without one, a new one is made and ended.
    """
    client = nbclient.NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        coalesce_streams=True,  # else lines fall into pieces as the clock has it
        resources={"metadata": {"path": where}},
        **({} if kernel is None else {"km": kernel}),
    )
    if kernel is not None:
        first = f"%reset -f\nimport os; os.chdir({str(where)!r}); del os"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    try:
        client.execute()
    finally:
        if kernel is not None and client.kc is not None:
            client.kc.stop_channels()  # else the kernel's manager leaves them open


def tidy(notebook: Any) -> None:
    """Leaves out what differs between two runs for no reason."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for i, cell in enumerate(notebook.cells):
        kept = {k: v for k, v in cell.metadata.items() if k == "small"}
        cell.id, cell.metadata = f"cell-{i}", kept
        if cell.cell_type != "code":
            continue
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data.pop("text/plain", None)  # the size of a figure
            if "metadata" in output:
                output.metadata = {}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=[""], help="how names start")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--small", action="store_true", help="with small sizes")
    which.add_argument("--write", action="store_true", help="keep the outputs")
    asked = parser.parse_args()
    root = str(FOLDER.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if asked.small:
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiles in half the time
    for path in sorted(FOLDER.glob("*.ipynb")):
        if path.name.startswith(tuple(asked.names)):
            start = time.perf_counter()
            notebook: Any = nbformat.read(path, as_version=4)
            notebook = small(notebook) if asked.small else notebook
            execute(notebook, FOLDER)
            if asked.write:
                tidy(notebook)
                nbformat.write(notebook, path)
            print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
