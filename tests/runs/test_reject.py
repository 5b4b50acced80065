""" "None of these": the threshold is that of validation, what it does is counted."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxmeta import data, tasks, train
from jaxmeta.cli import main
from jaxmeta.runs import ConfigError, load
from jaxmeta.runs.adapt import adapt
from jaxmeta.runs.reject import NONE, by_validation, nearest


def patterns(root, classes, each, seed):
    """A folder of classes: each a pattern of its own, with noise."""
    rng = np.random.default_rng(seed)
    for c in range(classes):
        (root / f"class{c:02d}").mkdir(parents=True)
        mine = rng.uniform(0, 1, (12, 12)) < 0.3
        for i in range(each):
            x = np.clip(200 * mine + rng.normal(0, 30, mine.shape), 0, 255)
            Image.fromarray(x.astype(np.uint8)).save(
                root / f"class{c:02d}" / f"{i}.png"
            )
    return root


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    """A copy of the shared run, of a folder of twelve classes: its result is written into."""
    root = tmp_path_factory.mktemp("reject")
    shutil.copytree(finished[0], root / "run")
    config = json.loads((root / "run" / "config.json").read_text())
    config["options"] |= {
        "dataset": "folder", "data": str(patterns(root / "data", 12, 6, 0)),
    }  # fmt: skip
    (root / "run" / "config.json").write_text(json.dumps(config))
    return load(root / "run")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Four pictures of two classes that are in no support."""
    return patterns(tmp_path_factory.mktemp("strangers"), 2, 2, 1)


@pytest.fixture(scope="module")
def told(run, drawings, strangers):
    """What was said, as JSON, and the predictions."""
    lines = []
    found = adapt(
        run, drawings / "support", drawings / "query", reject=True, episodes=20,
        strangers=strangers, as_json=True, say=lines.append,
    )  # fmt: skip
    return json.loads(lines[0]), found


def test_who_is_below_the_threshold_is_told_so(told, run):
    value, found = told
    facts = value["strangers"]
    assert len(found) == len(value["predictions"]) == 12 + 4
    for one, said in zip(found, value["predictions"], strict=True):
        away = one.familiarity < facts["threshold"]
        likeliest = max(one.probabilities, key=one.probabilities.get)
        assert one.label == said["class"] == (NONE if away else likeliest)
        assert said["likeliest"] == likeliest
        assert one.probability == one.probabilities[likeliest]
    away = np.array([one.label == NONE for one in found])
    assert facts["rejected"] == away[:12].sum() and facts["queries_given"] == 12
    assert facts["wrong_rejections_given"]["share"] == away[:12].mean()
    assert facts["right_rejections_given"]["share"] == away[12:].mean()
    right = [one.label == one.path.parent.name for one in found[:12]]
    assert value["accuracy"] == np.mean(right)
    near = [one.familiarity for one in found]
    area = train.auroc(near[:12], near[12:])
    assert facts["auroc_given"]["auroc"] == pytest.approx(area, abs=1e-5)
    assert run.result["strangers"] == facts
    assert run.result["accuracy"] is not None  # what was there stays


def test_the_threshold_is_that_of_validation_classes(told, run):
    facts = told[0]["strangers"]
    assert facts["by"] == "validation classes" and facts["episodes"] == 20
    sizes = {"ways": 3, "shots": 2, "queries": 4, "stranger_ways": 3, "seed": 0}
    assert {name: facts[name] for name in sizes} == sizes
    again = by_validation(run, 3, 2, score=facts["score"], episodes=20)
    assert again.found.threshold == facts["threshold"]
    assert len(again.known) == len(again.strangers) == 20 * 3 * 4
    below = np.mean(again.known < facts["threshold"])
    assert below <= 0.05 < np.mean(again.known <= facts["threshold"])
    assert facts["wrong_rejections"] == pytest.approx(below)
    other = by_validation(run, 3, 2, score="energy", episodes=20)
    best = by_validation(run, 3, 2, episodes=20)
    assert best.found.auroc >= max(again.found.auroc, other.found.auroc)
    # classes of the test are never drawn
    mine = run.experiment.tasks
    blind = load(run.path, run.experiment._replace(tasks=mine._replace(test=None)))
    assert by_validation(blind, 3, 2, episodes=20).found == best.found


def test_validation_of_few_classes_gives_what_it_has(run):
    pixels = np.random.default_rng(0).uniform(0, 1, (24, 12, 12, 1)).astype("float32")

    def of(classes, each, **more):
        part = data.from_counts(
            pixels[: classes * each], [each] * classes, "abcdefgh"[:classes]
        )
        found = tasks.few_shot(part, 2, 1, 1)
        return load(run.path, run.experiment._replace(
            tasks=run.experiment.tasks._replace(val=found, **more)))  # fmt: skip

    assert nearest(of(6, 4), 5, 5)[0] == (5, 3, 1, 1)
    assert nearest(of(8, 3), 2, 1)[0] == (2, 1, 2, 5)
    notes, few = [], of(6, 4)
    few = load(run.path, few.experiment._replace(
        tasks=few.experiment.tasks._replace(train=few.experiment.tasks.val)))  # fmt: skip
    by_validation(few, 7, 3, episodes=2, note=notes.append)
    assert notes[0].startswith(
        "validation classes give 5 classes of 3 examples at a time"
    )
    assert notes[1].startswith("6 of 6 validation classes were trained on, too")
    with pytest.raises(ConfigError, match="reject: got 2 validation classes, wants 3"):
        nearest(of(2, 4), 2, 1)
    fixed = of(6, 4)
    fixed = load(run.path, fixed.experiment._replace(head=True))
    with pytest.raises(
        ConfigError, match="support: got 6 classes, wants at most 5 for"
    ):
        nearest(fixed, 6, 1)
    for val, what in ((None, "no validation"), ([], "from the host"), (print, "other")):
        odd = load(run.path, run.experiment._replace(
            tasks=run.experiment.tasks._replace(val=val)))  # fmt: skip
        with pytest.raises(ConfigError, match=f"reject: got a run .*{what}"):
            nearest(odd, 2, 1)


def test_what_cannot_be_used_is_said(run, drawings, strangers, tmp_path):
    support, query = drawings / "support", drawings / "query"
    shutil.copytree(support, tmp_path / "odd")
    (tmp_path / "odd" / "a").rename(tmp_path / "odd" / NONE)
    cases = [
        ((support, query), {"strangers": strangers, "reject": False}, "strangers: got"),
        (
            (support, query),
            {"strangers": query},
            "strangers: got class 'a', wants other",
        ),
        (
            (support, query),
            {"strangers": tmp_path / "no"},
            "strangers: got .*no folder",
        ),
        ((tmp_path / "odd", query / "b"), {}, "support: got a class 'none of these'"),
        ((support, query), {"episodes": 1}, "episodes: got 1, wants an integer >= 2"),
    ]
    for folders, options, message in cases:
        with pytest.raises(ConfigError, match=message) as caught:
            adapt(run, *folders, **{"reject": True, **options})
        assert "\n" not in str(caught.value)


def test_arrays_and_a_line_for_people(run, tmp_path):
    x = np.random.default_rng(0).uniform(0, 1, (22, 12, 12, 1)).astype("float32")
    files = [tmp_path / f"{name}.npz" for name in ("support", "query", "strangers")]
    np.savez(files[0], inputs=x[:6], labels=np.repeat([0, 1, 2], 2))
    np.savez(files[1], inputs=x[6:18])
    np.savez(files[2], inputs=x[18:])
    notes, lines = [], []
    found = adapt(
        run, files[0], files[1], reject=True, strangers=files[2], episodes=20,
        score="energy", say=lines.append, note=notes.append,
    )  # fmt: skip
    assert len(found) == len(lines) == 16 and found[12].path.name == "strangers.npz[0]"
    assert notes[0] == "3 classes, 6 support and 12 query rows, 4 strangers"
    assert notes[2].startswith("6 of 6 validation classes were trained on, too")
    assert notes[3].startswith('"none of these": threshold ')
    assert "of energy, by 20 episodes of 3 validation classes, 2 examples" in notes[3]
    away = sum(one.label == NONE for one in found[:12])
    assert notes[4] == f"turned away: {away} of 12 queries"
    assert notes[5].startswith("strangers turned away: ") and len(notes) == 6


def test_command_line(run, drawings, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    words = ["adapt", str(copy), "--support", str(drawings / "support")]
    words += ["--query", str(drawings / "query"), "--out", str(tmp_path / "page")]
    assert main([*words, "--reject", "--episodes", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["strangers"]["episodes"] == 5
    page = (tmp_path / "page" / "report.html").read_text()
    assert "<h2>None of these</h2>" in page and "<h2>Support</h2>" in page
    for more, says in (
        (["--score", "energy"], "score: got energy, wants --reject beside it"),
        (["--reject", "--score", "best"], "score: got 'best', wants one of auto"),
        (["--reject", "--data", "/nowhere"], "data: got /nowhere, wants --data DIR"),
    ):
        assert main([*words, *more]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"jaxmeta: {says}") and err.count("\n") == 1
    # data that are gone, and where they are now
    config = json.loads((copy / "config.json").read_text())
    there = config["options"]["data"]
    config["options"]["data"] = str(tmp_path / "gone")
    (copy / "config.json").write_text(json.dumps(config))
    assert main(words) == 0  # without --reject nobody wants them
    capsys.readouterr()
    assert main([*words, "--reject"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(
        "jaxmeta: data: got what the run was trained on, wants --data"
    )
    assert err.count("\n") == 1
    assert main([*words, "--reject", "--episodes", "5", "--data", there]) == 0
