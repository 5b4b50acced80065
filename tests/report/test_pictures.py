"""Pictures show the episodes of the test, row by row, whatever their form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta import report
from jaxmeta.core import Batch, Episode
from jaxmeta.report.adapted import Adapted, write_adapted
from jaxmeta.report.classes import confusion
from jaxmeta.report.confidence import counted
from jaxmeta.report.pictures import as_pictures
from jaxmeta.report.rejected import Rejected
from jaxmeta.report.seen import classified, see

from .conftest import EPISODES, untrained

NAMES = ("<cat>", "a_dog", "$owl$", "ant")


@pytest.fixture(scope="module")
def named():
    """Four classes with names, three in an episode of six columns, padded."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 6, 6, 3))
    data = jm.data.from_counts(pixels.astype(np.uint8), [4] * 4, NAMES)
    task = jm.tasks.few_shot(data, ways=3, shots=1, queries=2)
    task = jm.tasks.padded(task, support=5, query=9, ways=6)
    learner = jm.protonet(jm.models.mlp(None, hidden=(4,)))
    return untrained(learner, task)


def test_see_gives_the_episodes_of_the_test(glyphs):
    right = []
    for t in range(EPISODES):
        task = classified(glyphs, t)
        right.append(np.mean(task.said == task.true))
    np.testing.assert_allclose(right, glyphs.found.scores, atol=1e-6)


def test_classes_have_names_and_padding_is_not_drawn(named):
    html = report.images(named)
    task = classified(named)
    assert html.count("<figure") == 3 + 6 and list(task.present) == [0, 1, 2]
    asked = [task.names[c] for c in task.present]
    assert set(asked) <= set(NAMES) and task.names[3:] == [""] * 3
    shown = {"<cat>": "&lt;cat&gt;", "a_dog": "a_<wbr>dog"}
    assert all(f"<th>{shown.get(name, name)}</th>" in html for name in asked)
    assert "<cat>" not in html and "class 1" not in html


def test_rows_are_sorted_by_what_the_task_says(glyphs):
    def shuffled(key):
        support, query = jm.tasks.glyphs(3, 1, 2, size=8)(key)
        order = jnp.array([5, 0, 3, 1, 4, 2])
        return Episode(support, Batch(query.inputs[order], query.targets[order]))

    plain, mixed = (
        classified(glyphs._replace(test=t)) for t in (glyphs.test, shuffled)
    )
    order = [5, 0, 3, 1, 4, 2]
    assert mixed.true.tolist() == plain.true[order].tolist()
    assert mixed.said.tolist() == plain.said[order].tolist()
    rows = report.images(glyphs._replace(test=shuffled)).split("<tr>")[2:5]
    assert [row.count("<figure") for row in rows] == [3, 3, 3]


def test_episodes_from_a_list(glyphs):
    episodes = [glyphs.test(jax.random.key(i)) for i in range(2)]
    run = glyphs._replace(test=episodes)
    assert np.array_equal(see(run, 3).episode.query.inputs, episodes[1].query.inputs)
    table, done = counted(run)
    assert done == EPISODES and table[:, 0].sum() == EPISODES * 6


def test_what_has_no_episode_has_no_picture(glyphs):
    for run in (glyphs._replace(tester=None), glyphs._replace(test=iter(()))):
        pictures = (report.images, report.mistakes, report.calibration, report.curves)
        assert [picture(run) for picture in pictures] == [None] * 4
    assert report.inner_steps(glyphs) is None and report.per_class(glyphs) is None


def test_scores_of_pairs_are_no_confidence(glyphs):
    criterion = jm.criteria.Criterion(jm.losses.mse, jm.criteria.classification.metrics)
    run = glyphs._replace(tester=glyphs.tester._replace(criterion=criterion))
    html = report.images(run)
    assert "Confidence" not in html and "how sure" not in html and "Mistakes" in html


def test_images_wants_images(waves):
    with pytest.raises(ValueError, match="targets"):
        report.images(waves)


@pytest.mark.parametrize(
    ("array", "ink", "first"),
    [
        (np.full((1, 2, 2), 1.0), False, 255),
        (np.full((1, 2, 2, 1), 1.0, np.float32), True, 0),
        (np.full((1, 2, 2, 3), 7, np.uint8), True, [7, 7, 7]),  # ink is grey
        (np.full((1, 2, 2, 2), [10, 20]), False, 15),
        (np.full((1, 2, 2, 1), True), False, 255),
        (np.full((1, 2, 2, 1), np.nan), False, 0),
    ],
)
def test_any_kind_of_image(array, ink, first):
    pixels = as_pictures(array, ink)
    assert pixels.dtype == np.uint8 and pixels[0, 0, 0].tolist() == first


def test_curves_of_given_points(waves):
    html = report.curves(waves)
    support = waves.test(jax.random.split(jax.random.fold_in(waves.drawing, 0))[0])[0]
    assert f"The {int(support.weights.sum())} triangles" in html
    assert "The dashed curve is where every task starts" in html
    assert html.count("<svg") == 1 and "var(--accent)" in html


def test_curves_of_many_numbers(waves):
    def task(key):
        x = jax.random.normal(key, (8, 2))
        return Episode(Batch(x[:4], x[:4, :1]), Batch(x[4:], x[4:, :1]))

    run = untrained(waves.tester, task, at_steps=waves.at_steps, inner_steps=(1, 1))
    assert "against what is true" in report.curves(run)


def test_inner_steps_that_are_refused_are_left_out(waves, monkeypatch):
    asked = []

    def at_steps(steps):
        asked.append(steps)
        return waves.at_steps(steps)

    drawn = {}
    monkeypatch.setattr(
        "jaxmeta.report.lines.line",
        lambda title, text, xs, ys, ci, **more: drawn.update(zip(xs, ys, strict=True)),
    )
    report.inner_steps(waves._replace(at_steps=at_steps))
    assert sorted(asked) == [0, 2, 5]  # 1 is what was tested: it is known
    assert sorted(drawn) == [0, 1, 2] and drawn[1] == waves.found.mean


def test_class_by_class(named):
    confusion = np.array([[8, 2, 0, 0], [0, 1, 3, 0], [0, 0, 0, 0], [0, 0, 0, 5.0]])
    scores = {"<cat>": 0.8, "a_dog": 0.25, "ant": 1.0}
    found = named.found._replace(per_class=scores, confusion=confusion)
    html = report.per_class(named._replace(found=found))
    assert (
        html.index("a_dog</td>") < html.index("&lt;cat&gt;</td>") < html.index("ant<")
    )
    assert "<td>25.0&nbsp;%</td><td>$owl$, 75 %</td>" in html
    assert "<td>100.0&nbsp;%</td><td></td>" in html


def test_confusion_counts_what_is_a_number():
    table = confusion(np.array([0, 1, 1]), np.array([1, 1, -1]), 2)
    assert table.tolist() == [[0, 1], [0, 1]]


def test_line_of_anything():
    html = report.line("A $title$", "<b>", [0, 100], [1.0, 2.0], [0.1, 0.2], ylabel="$")
    assert "A $title$" in html and "&lt;b&gt;" in html and html.count("<svg") == 1
    with pytest.raises(ValueError, match="ys: got 1 values, wants 2"):
        report.line("t", "", [0, 1], [1.0])


def test_what_is_no_picture_is_named(tmp_path):
    """Rows of a table, adapted to: no pictures, but their names, said, true, turned away."""
    asked = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    sure = np.exp(asked) / np.exp(asked).sum(1, keepdims=True)
    away = np.array([False, False, True])
    rejected = Rejected(
        "energy", 0.5, away, asked.max(1), asked[:2, 0], asked[1:, 0], [None],
        np.array([0.7]), sure[:1], ["a line"],
    )  # fmt: skip
    found = Adapted(
        "examples", "By hand.", ["cat", "dog"], [None] * 2, np.arange(2), [None] * 3,
        ["q.npz[0]", "q.npz[1]", "q.npz[2]"], np.array([0, 0, 0]), sure, "Outputs",
        np.eye(2), asked, {"run": "r"}, rejected=rejected,
    )  # fmt: skip
    write_adapted(tmp_path / "report.html", found)
    page = (tmp_path / "report.html").read_text()
    assert "3 examples, told apart by 2 examples of 2 classes" in page
    assert "By hand." in page and "<h2>Support" not in page and "<h2>Heads" not in page
    assert page.count("<figure") == 4  # two kept, one turned away, one stranger
    assert "q.npz[1]<br>✗ dog 88&nbsp;%, is cat" in page and "q.npz[2]" not in page
