"""Someone's own images: read like the training images, classified, counted."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmeta import tasks
from jaxmeta.runs import ConfigError, load, reader
from jaxmeta.runs.adapt import adapt

from .conftest import tiny


@pytest.fixture(scope="module")
def run(finished):
    """The shared run, opened without its data."""
    return load(finished[0], data=False)


def test_a_line_an_image_and_the_accuracy(run, drawings, tmp_path):
    lines, notes = [], []
    found = adapt(
        run,
        drawings / "support",
        drawings / "query",
        out=tmp_path,
        say=lines.append,
        note=notes.append,
    )
    assert len(lines) == len(found) == 12
    path, label, probability = lines[0].split("\t")
    assert path.endswith("query/a/00.png") and label in "abc"
    assert 1 / 3 <= float(probability) <= 1
    assert notes[0] == "3 classes, 6 support and 12 query files"
    assert notes[1] == "12x12 grey, turned to light on dark (judged by the support)"
    assert notes[2] == "support images: 40x40 pixels"
    right = sum(p.label == p.path.parent.name for p in found)
    assert notes[4] == f"accuracy {100 * right / 12:.2f} % of 12 files"
    assert right > 6  # chance is 4
    assert notes[5] == f"{tmp_path / 'report.html'}: written"
    page = (tmp_path / "report.html").read_text()
    for title in ("Support", "Hardest queries", "Confusion", "Map", "How"):
        assert f"<h2>{title}</h2>" in page
    assert "12 images, told apart by 6 examples of 3 classes" in page
    assert "Outputs of support (rings)" in page and "<h2>Heads" not in page
    assert page.count("<figure") == page.count("<img") == 18
    assert page.count('<svg class="plot"') == 1  # the map
    value = json.loads((tmp_path / "result.json").read_text())
    assert value["accuracy"] == right / 12 and value["run"] == str(run.path)
    with pytest.raises(ConfigError, match=r"out: got .* wants a folder that can be"):
        adapt(
            run, drawings / "support", drawings / "query", say=str,
            out=tmp_path / "result.json",
        )  # fmt: skip


def test_dark_or_light_paper_is_all_the_same(run, drawings):
    light = adapt(run, drawings / "support", drawings / "query", say=str)
    dark = adapt(run, drawings / "dark/support", drawings / "dark/query", say=str)
    assert [p.label for p in light] == [p.label for p in dark]


def test_pixels_have_the_scale_of_the_training_images(run, drawings):
    """Batch statistics do not tell one scale from another, so nor do the labels."""
    support, query = (
        sorted((drawings / part / "a").iterdir()) for part in ("support", "query")
    )
    for invert in (None, True, False):
        read = run.experiment.reader.read(support, query, invert)
        for x in (read.support, read.query):
            assert x.dtype == np.float32
            assert 0 <= x.min() < 0.5 < x.max() <= 1


def test_a_reader_that_trims_cuts_dark_and_light_ink_alike(drawings, tmp_path):
    plain, trimming = (reader.images(12, ink=True, trim=t) for t in (False, True))
    light, dark = (
        sorted((drawings / part / "a").iterdir())
        for part in ("support", "dark/support")
    )
    of_light, of_dark = (trimming.read(paths, paths[:1]) for paths in (light, dark))
    np.testing.assert_allclose(of_light.support, of_dark.support, atol=2 / 255)
    assert of_light.query.shape == (1, 12, 12, 1)
    assert "cut to the square around its ink" in of_light.notes[0]
    wide = tmp_path / "wide.png"
    Image.new("L", (40, 20), "white").save(wide)
    assert "stretched" in plain.read([wide], light[:1]).notes[1]
    assert "stretched" not in trimming.read([wide], light[:1]).notes[1]
    ink = of_light.support > 0.5
    sides = [ink.any(axis).sum(-2).max() for axis in (2, 1)]
    assert max(sides) >= 10, "nine tenths of 12"
    whole = plain.read(light, light[:1])
    assert abs(whole.support - of_light.support).mean() > 0.02


def test_arrays_are_taken_as_they_are(run, tmp_path):
    """Two .npz: the same as in Python; labels are names where the file has names."""
    episode = jax.jit(tasks.glyphs(3, 2, 4, size=12))(jax.random.key(5))
    support, query = (jax.tree.map(np.asarray, batch) for batch in episode)
    labels = support.targets.argmax(-1) + 1  # from any number on
    files = tmp_path / "support.npz", tmp_path / "query.npz"
    names = ["-", "a", "b", "c"]
    np.savez(files[0], inputs=support.inputs, labels=labels, names=names)
    np.savez(files[1], inputs=query.inputs, labels=query.targets.argmax(-1) + 1)
    lines, notes = [], []
    found = adapt(run, *files, say=lines.append, note=notes.append)
    assert notes[0] == "3 classes, 6 support and 12 query rows"
    assert "accuracy" in notes[-1] and lines[3].startswith(f"{files[1]}[3]\t")
    fast = run.learner.adapt(run.meta, episode.support, jax.random.key(0))
    outputs = run.learner.predict(run.meta, fast, episode.query.inputs)
    assert [p.label for p in found] == [names[i + 1] for i in outputs.argmax(-1)]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": np.zeros((2, 12, 12, 1))}, "support: got .* without labels, wants"),
        (
            {"inputs": np.zeros((2, 9, 9, 1)), "labels": [0, 1]},
            r"support: got .*9, 9, 1",
        ),
        (
            {"inputs": np.zeros((2, 12, 12, 1)), "labels": [0.5, 1]},
            "support: got .*labels",
        ),
        (
            {"inputs": np.full((2, 12, 12, 1), np.nan), "labels": [0, 1]},
            "support: .*NaN",
        ),
        (
            {"inputs": np.zeros((2, 12, 12, 1)), "labels": [0, 0]},
            "support: got 1 class",
        ),
        (
            {"inputs": np.zeros((2, 12, 12, 1)), "labels": [0, 2]},
            "query: got class '1'",
        ),
    ],
)
def test_bad_arrays_are_named(run, tmp_path, arrays, message):
    np.savez(tmp_path / "support.npz", **arrays)
    query = {"inputs": np.zeros((1, 12, 12, 1)), "labels": [1]}
    if "1 class" in message:
        query = {"inputs": query["inputs"]}
    np.savez(tmp_path / "query.npz", **query)
    with pytest.raises(ConfigError, match=message):
        adapt(run, tmp_path / "support.npz", tmp_path / "query.npz")


def test_flat_query_has_no_accuracy(run, drawings):
    notes = []
    flat = drawings / "query/a"
    found = adapt(run, drawings / "support", flat, say=str, note=notes.append)
    assert len(found) == 4 and len(notes) == 4


def test_any_picture_of_a_person_will_do(run, drawings, tmp_path):
    """Large, turned, wide, transparent, 16-bit, palette: the same labels, and it says so."""
    sixteen = False
    for path in sorted((drawings / "support").glob("*/*.png")):
        folder = tmp_path / "support" / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        grey = Image.open(path)
        big = grey.resize((160, 160))
        if path.parent.name == "a":  # as a phone does: lying on its side, with a tag
            exif = Image.Exif()
            exif[0x0112] = 6
            big.rotate(90).convert("RGB").save(
                folder / f"{path.stem}.jpg", exif=exif, quality=95
            )
        elif path.parent.name == "b":  # black ink, and nothing else
            ink = Image.new("RGBA", big.size, "black")
            ink.putalpha(big.point(lambda v: 255 - v))
            ink.save(folder / path.name)
        elif not sixteen:
            wide = np.asarray(big).astype(np.uint16) * 257
            Image.fromarray(wide).save(folder / path.name)
            sixteen = True
        else:  # wide, and of few colours
            big.resize((300, 160)).convert("P").save(folder / path.name)
    lines = []
    adapt(
        run, tmp_path / "support", drawings / "query",
        as_json=True, say=lines.append,
    )  # fmt: skip
    told = json.loads(lines[0])
    plain = adapt(run, drawings / "support", drawings / "query", say=str)
    agree = [
        p["class"] == q.label for p, q in zip(told["predictions"], plain, strict=True)
    ]
    assert np.mean(agree) > 0.9
    assert told["classes"] == ["a", "b", "c"] and 1 / 3 < told["accuracy"] <= 1
    for one in told["predictions"]:
        assert one["probability"] == max(one["probabilities"].values())
        assert abs(sum(one["probabilities"].values()) - 1) < 1e-4
    assert told["notes"][2] == (
        "support images: 160x160 to 300x160 pixels, 2 turned upright (EXIF), "
        "2 with transparency put on white, 1 from 16-bit grey, "
        "1 stretched to a square, 1 from palette"
    )


def test_bad_folders_are_named(run, drawings, tmp_path):
    support, query = drawings / "support", drawings / "query"
    (tmp_path / "empty").mkdir()
    (tmp_path / "one/a").mkdir(parents=True)
    Image.new("L", (9, 9)).save(tmp_path / "one/a/x.png")
    (tmp_path / "broken/a").mkdir(parents=True)
    (tmp_path / "broken/b").mkdir(parents=True)
    for name in "ab":
        (tmp_path / "broken" / name / "x.png").write_bytes(b"no image")
    (tmp_path / "other/z").mkdir(parents=True)
    Image.new("L", (9, 9)).save(tmp_path / "other/z/x.png")
    cases = [
        (tmp_path / "nowhere", query, "support: got"),
        (tmp_path / "empty", query, "support: got"),
        (tmp_path / "one", query, "support: got 1 class, wants 2 or more"),
        (tmp_path / "broken", query / "a", "got an unusable file"),
        (support, tmp_path / "nowhere", "query: got"),
        (support, tmp_path / "empty", "query: got .* without a file"),
        (support, tmp_path / "other", "query: got class 'z', wants .* a, b, c"),
    ]
    for given, asked, message in cases:
        with pytest.raises(ConfigError, match=message) as caught:
            adapt(run, given, asked)
        assert "\n" not in str(caught.value)


def test_a_fixed_head_wants_its_number_of_classes(drawings, tmp_path):
    out = tiny(
        tmp_path / "run", learner="maml", inner_steps=1, ways=4, train_ways=4, steps=1,
        settings={"validate_every": 0, "episodes": 2},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="support: got 3 classes, wants 4"):
        adapt(load(out, data=False), drawings / "support", drawings / "query")


def test_an_experiment_without_a_reader_is_refused(run, drawings):
    blind = load(run.path, run.experiment._replace(reader=None))
    with pytest.raises(ConfigError, match="wants a run whose experiment has a reader"):
        adapt(blind, drawings / "support", drawings / "query")
