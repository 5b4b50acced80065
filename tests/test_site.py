"""Every public name has a page, without building the site; what the README promises is there."""

import ast
import re
from pathlib import Path

import pytest

from notebooks import methods as captions
from notebooks import pictures
from notebooks.site import pages
from notebooks.site.names import rooms
from notebooks.site.nav import nav
from notebooks.site.nav import pages as named

ROOT = Path(__file__).parent.parent
RESULTS = pages.text_of("benchmarks/README.md")
MADE = {
    *(f"methods/{name.path.rsplit('.', 1)[1]}.md" for name in pages.methods()),
    *(f"api/{room}.md" for room in rooms()),
    *(f"notebook_{path.stem}.md" for path in ROOT.glob("notebooks/*.ipynb")),
    *("index.md", "results.md", "speed.md", "scorecard.md", "changelog.md"),
    *("contributing.md", "notebooks.md"),
}


def test_the_navigation_has_every_page_and_no_other():
    written = {path.name for path in (ROOT / "notebooks" / "site").glob("*.md")}
    found = named()
    assert len(found) == len(set(found)) and set(found) == MADE | written
    assert len(nav()) == 7


def test_every_public_name_has_a_page():
    everything = rooms()
    methods = {method.path for method in pages.methods()}
    for room, names in everything.items():
        page = pages.room_page(room, names)
        for name in names:
            there = f"::: {name.path}\n" in page + "\n" or f"[`{name.name}`]" in page
            assert there, f"{room}.{name.name}"
            if name.path in methods:
                assert pages.target(name).startswith("../methods/")


def test_names_are_those_that_python_finds():
    import jaxmeta as jm

    names = {name.name for name in rooms()["jaxmeta"]}
    assert {"maml", "Batch", "fit", "tasks"} <= names <= set(dir(jm))
    assert all(hasattr(jm.tasks, name.name) for name in rooms()["tasks"])


def test_every_public_function_and_class_is_explained():
    missing = {
        name.path
        for names in rooms().values()
        for name in names
        if isinstance(name.node, ast.FunctionDef | ast.ClassDef)
        and not ast.get_docstring(name.node)
    }
    assert not missing


@pytest.mark.parametrize("name", pages.methods(), ids=lambda name: name.name)
def test_a_method_has_its_paper_and_its_row(name):
    page = pages.method_page(name, RESULTS, ["sinusoid-maml"])
    assert f"::: {name.path}" in page and "## What it reached" in page
    assert ("jaxmeta train sinusoid-maml" in page) == (name.name == "maml")
    assert f"](../pictures/methods/{name.name}.png)" in page


def test_every_method_has_a_small_picture_and_a_caption():
    names = {name.name for name in pages.methods()}
    kept = {path.stem: path.stat().st_size for path in captions.FOLDER.glob("*.png")}
    assert set(kept) == names == set(captions.CAPTIONS)
    assert all(1_000 < size < 15 * 1024 for size in kept.values()), kept


def test_the_pictures_are_those_of_the_notebooks():
    """`python -m notebooks.pictures` after a notebook was run anew."""
    kept = {p.stem: p.read_bytes() for p in pictures.PICTURES.glob("*.png")}
    assert kept == pictures.chosen()
    index = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert all(f"({p.name})" in index for p in ROOT.glob("notebooks/*.ipynb"))
    assert all(f"pictures/{name}.png" in index for name in kept)


FILES = ["README.md", "CONTRIBUTING.md", "notebooks/README.md", "benchmarks/README.md"]


@pytest.mark.parametrize("file", FILES)
def test_links_lead_somewhere(file):
    path = ROOT / file
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        where, _, anchor = link.partition("#")
        if link.startswith("http") or not where:
            continue
        target = path.parent / where
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-")
                              for h in heads}, link  # fmt: skip


def test_pages_are_short():
    def lines(name):
        return len((ROOT / name).read_text(encoding="utf-8").splitlines())

    assert lines("README.md") <= 110 and lines("CONTRIBUTING.md") <= 60


def test_mathematics_is_made_here():
    made = pages.with_mathml("a $x_1$ and\n$$y$$", lambda tex, display: f"<{tex}>")
    assert made == "a <x_1> and\n\n\n<div><y></div>\n\n"
    assert pages.with_mathml("no $ here", None) == "no $ here"


def test_doctests_become_code():
    made = pages.fenced("Adds.\n\n  >>> 1 + 1\n  2\n\nMore.")
    assert made == "Adds.\n\n  ```pycon\n  >>> 1 + 1\n  2\n  ```\n\nMore."


def test_nothing_is_fetched_but_by_the_theme():
    """What the build replaces in pages; the shim itself is a file of ours."""
    folder = ROOT / "notebooks" / "site"
    assert (folder / "worker.js").is_file()
    assert not any("<script" in p.read_text() for p in folder.glob("*.md"))
