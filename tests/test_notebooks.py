"""Every notebook runs top to bottom with small sizes, and is committed with its outputs."""

import ast
import json
import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 1_000_000


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_small_and_has_its_outputs(path):
    assert path.stat().st_size < MOST_BYTES
    code = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    counts = [cell["execution_count"] for cell in code]
    assert counts == list(range(1, len(code) + 1)), "not run from top to bottom"
    assert any("image/png" in str(cell["outputs"]) for cell in code)
    assert not any(o["output_type"] == "error" for c in code for o in c["outputs"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_sizes_are_one_cell_and_readers_see_no_switch(path):
    """The small cell sets what the cell in its place sets, no more and no less."""
    cells = cells_of(path)
    assert not any("SMOKE" in "".join(cell["source"]) for cell in cells)
    (sizes,) = [cell for cell in cells if "small" in cell["metadata"]]
    assert names_in(sizes["source"]) == names_in(sizes["metadata"]["small"])
    last = max(i for i, cell in enumerate(cells) if "small" in cell["metadata"])
    assert last <= 4, "sizes come first"


def names_in(source):
    """Names that lines of assignments set."""
    tree = ast.parse("".join(source))
    targets = [t for line in tree.body for t in line.targets]  # type: ignore[attr-defined]
    return {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_says_what_one_will_have(path):
    opening = "".join(cells_of(path)[0]["source"])
    assert opening.startswith("# ") and "**You will have" in opening


@pytest.fixture(scope="module")
def surroundings():
    """What a kernel of the tests inherits."""
    with pytest.MonkeyPatch.context() as patch:
        for data in ("JAXMETA_OMNIGLOT", "JAXMETA_MOVIELENS", "JAXMETA_GROCERY"):
            patch.delenv(data, raising=False)
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        paths = [str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        yield


@pytest.fixture(scope="module")
def kernel(surroundings):
    """One for all that leave JAX as it is: it has imported and compiled what they share."""
    made = pytest.importorskip("jupyter_client").KernelManager(kernel_name="python3")
    made.start_kernel()
    yield made
    made.shutdown_kernel(now=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path, surroundings, request, tmp_path):
    pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    from notebooks import run

    before = path.read_bytes()
    alone = any(word in before for word in (b"XLA_FLAGS", b"jax.config.update"))
    shared = None if alone else request.getfixturevalue("kernel")
    notebook = run.small(nbformat.read(path, as_version=4))
    run.execute(notebook, tmp_path, timeout=600, kernel=shared)
    assert path.read_bytes() == before
