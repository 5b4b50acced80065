"""The page says what was done, with what, and survives a picture that fails."""

import jax
import pytest

from jaxmeta import report
from jaxmeta.report.learning import different_ways, learning
from jaxmeta.report.page import shown, table

from .conftest import ROWS, result_of

OPTIONS = {"ways": 3, "rate": 1e-3, "steps": 300, "clip": None}
SETTINGS = {"seed": 0, "steps": 20, "fork": None, "track": "none"}


def written(folder, run, pictures, result=None, rows=ROWS) -> str:
    file = folder / "report.html"
    result = result or result_of()
    report.write_report(file, run, pictures, result, rows, OPTIONS, SETTINGS)
    assert [path.name for path in folder.iterdir()] == ["report.html"]  # no part of it
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory, glyphs) -> str:
    return written(tmp_path_factory.mktemp("page"), glyphs, [report.images])


def test_title_says_what_was_done(page):
    title = "ProtoNet, 3-way 1-shot on &lt;glyphs&gt; &amp; $more$"
    assert f"<h1>{title}</h1>" in page and f"<title>{title} - jaxmeta</title>" in page
    assert "recipe few-shot" in page
    assert "50.00 %" in page and "± 12.50" in page
    assert "step 20, best by validation" in page


def test_one_static_page(page):
    for word in ("<script", "http:", "https:", "<glyphs>", "onload"):
        assert word not in page
    # confidence and learning, in the page's colours; an image a support or query row
    assert page.count('<svg class="plot"') == 2
    assert page.count("prefers-color-scheme: dark)") == 1
    assert page.count("<figure") == 3 * (1 + 2)


def test_settings_are_those_of_the_recipe(page):
    assert "<td>rate</td><td>0.001</td>" in page
    assert "Not set: clip." in page and "Not set: fork." in page and "None" not in page
    # a setting of every run wins over the option of the same name, and is said once
    assert page.count("<td>steps</td>") == 1 and "<td>steps</td><td>20</td>" in page
    assert "<td>device</td><td>abacus</td>" in page and "xla_flags" not in page


def test_numbers_that_are_not(tmp_path, glyphs):
    broken = glyphs._replace(meta=jax.tree.map(lambda x: x * float("nan"), glyphs.meta))
    result = result_of(accuracy=None, ci95=None, transductive=None, validation=None)
    html = written(tmp_path, broken, [report.images], result)
    assert "outputs are not finite" in html and "Outputs are not finite" in html
    assert "transductive is unknown" in html
    assert html.count("✗ nan") == 6 and "best by validation" not in html


def test_transductive_is_said(tmp_path, glyphs):
    html = written(tmp_path, glyphs, [], result_of(transductive=True), rows=[])
    assert "queries are predicted together" in html and "<h2>Learning" not in html


def test_broken_picture_is_a_line(tmp_path, glyphs):
    def mine(run):
        raise KeyError("<b>")

    def nothing(run):
        return None

    with pytest.warns(UserWarning, match="a picture is left out .mine: KeyError"):
        html = written(tmp_path, glyphs, [mine, nothing, report.mistakes])
    assert "mine: KeyError: &#x27;&lt;b&gt;&#x27;" in html
    assert "<h2>Mistakes" in html and "50.00 %" in html


def test_more_of_the_result_is_shown(tmp_path, glyphs):
    html = written(tmp_path, glyphs, [], result_of(regret=[1.0, 2.5]), rows=[])
    assert "<td>regret</td><td>1, 2.5</td>" in html


def test_a_page_that_cannot_be_written_is_an_error(tmp_path, glyphs):
    (tmp_path / "report.html").mkdir()  # what stands in the way is no file
    with pytest.raises(OSError):
        report.write_report(
            tmp_path / "report.html", glyphs, [], result_of(), [], {}, SETTINGS
        )
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_training_that_is_harder_is_said():
    assert different_ways(result_of(train_ways=10)) == (10, 3)
    assert different_ways(result_of(train_ways=3)) is None
    assert different_ways(result_of(ways="5 to 20", train_ways=20)) is None
    html = learning(ROWS, result_of(train_ways=10))
    assert html is not None and "Training tasks have 10 classes" in html


def test_plain_values():
    reference = {"file": "a.py", "function": "net", "sha256": "00"}
    assert shown(reference) == "a.py:net" and shown((1, 0.5)) == "1, 0.5"
    assert "&lt;i&gt;" in table({"<i>": "<i>"}) and "<i>" not in table({"<i>": "<i>"})
