"""Photographs without training: heads, damage, the page, the command line."""

import json
import shutil
import typing
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxmeta import models
from jaxmeta.cli import main
from jaxmeta.core import Meta, Model, Pictures
from jaxmeta.functional.familiarity import SCORES
from jaxmeta.runs import ConfigError, heads, left_out
from jaxmeta.runs.backbone import Backbone, load_backbone
from jaxmeta.runs.embedding import embed_photographs
from jaxmeta.runs.photographs import adapt_photographs
from jaxmeta.runs.reject import NONE
from jaxmeta.runs.usage import Head, Score

COLOURS = {"blue": (30, 30, 200), "green": (30, 180, 30), "red": (200, 30, 30)}


def colours():
    """A network that knows the mean colour of the four quarters of a picture."""

    def apply(meta, inputs, *, train=False, key=None):
        n, h, w, c = inputs.shape
        parts = inputs.reshape(n, 2, h // 2, 2, w // 2, c).mean((2, 4))
        return parts.reshape(n, -1) * meta.params["scale"], meta.buffers

    meta = Meta({"scale": jnp.asarray(2.0)})
    return Model(lambda key, inputs: meta, apply, Pictures(8, crop=1.0)), meta


BACKBONE = Backbone("colours", *colours())


def write(root, each, seed):
    """Photographs of the three colours, of several sizes and kinds."""
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for i in range(each):
            size = (20 + 4 * i, 30, 3)
            x = np.clip(np.array(colour) + rng.normal(0, 30, size), 0, 255)
            image = Image.fromarray(x.astype(np.uint8))
            if i % 2:
                image.convert("CMYK").save(root / name / f"{i}.jpg", quality=95)
            else:
                image.save(root / name / f"{i}.png")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    root = tmp_path_factory.mktemp("shop")
    write(root / "support", 3, 0)
    write(root / "query", 2, 1)
    return root


def adapt(root, **options):
    lines, notes = [], []
    options = {"cache": False, "head": "protonet", **options}
    found = adapt_photographs(
        BACKBONE, root / "support", root / "query", say=lines.append,
        note=notes.append, **options,
    )  # fmt: skip
    return SimpleNamespace(found=found, lines=lines, notes=notes)


def test_auto_leaves_one_out_and_every_picture_is_right(shop, tmp_path):
    ran = adapt(shop, head="auto", out=tmp_path, as_text=False)
    value = json.loads(ran.lines[0])
    assert ran.notes == [] and len(ran.lines) == 1
    assert value["accuracy"] == 1.0 and value["left_out"] == 9
    assert list(value["leave_one_out"]) == list(heads.heads())
    best = max(value["leave_one_out"].values())
    assert value["leave_one_out"][value["head"]] == best == 1.0
    assert [p["class"] for p in value["predictions"]] == [p.label for p in ran.found]
    assert json.loads((tmp_path / "result.json").read_text()) == value
    page = (tmp_path / "report.html").read_text()
    for title in ("Support", "Hardest queries", "Confusion", "Map", "Heads"):
        assert f"<h2>{title}</h2>" in page
    assert "<script" not in page and "://" not in page


def test_a_line_a_picture_and_the_accuracy(shop):
    ran = adapt(shop)
    path, label, probability = ran.lines[0].split("\t")
    assert path.endswith("query/blue/0.png") and label == "blue"
    assert 1 / 3 < float(probability) <= 1
    assert ran.notes[0] == "3 classes, 9 support and 6 query pictures, 8x8"
    assert ran.notes[1].startswith("head protonet: leaving out one of 9 ")
    assert ran.notes[-1] == "accuracy 100.00 % of 6 pictures"


def test_flat_queries_have_no_accuracy_and_no_confusion(shop, tmp_path):
    flat = SimpleNamespace(root=tmp_path / "flat")
    flat.root.mkdir()
    (flat.root / "support").symlink_to(shop / "support")
    (flat.root / "query").symlink_to(shop / "query" / "red")
    ran = adapt(flat.root, out=tmp_path)
    assert [p.label for p in ran.found] == ["red", "red"]
    assert not any("accuracy" in note for note in ran.notes)
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Confusion" not in page and "<h2>Map" in page


def test_one_picture_a_class_leaves_none_out(tmp_path):
    write(tmp_path / "support", 1, 0)
    write(tmp_path / "query", 1, 1)
    ran = adapt(tmp_path, head="auto")
    assert "head protonet: with one picture a class" in ran.notes[1]
    assert [p.label for p in ran.found] == list(COLOURS)


def test_views_are_more_support(shop):
    ran = adapt(shop, views=3, head="ridge")
    assert [p.label for p in ran.found] == [p.path.parent.name for p in ran.found]


def test_damage_is_named_and_left_out_when_asked(tmp_path):
    write(tmp_path / "support", 2, 0)
    write(tmp_path / "query", 1, 1)
    bad = tmp_path / "query" / "red" / "bad.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"query: got image .*bad.jpg: is no such"):
        adapt(tmp_path)
    ran = adapt(tmp_path, skip_damaged=True)
    assert len(ran.found) == 3
    assert sum("bad.jpg: is no such image" in note for note in ran.notes) == 1
    for path in (tmp_path / "support" / "red").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="no picture of class 'red'"):
        adapt(tmp_path, skip_damaged=True)


def test_what_cannot_be_used_is_said(tmp_path):
    def refuses(text, **options):
        with pytest.raises(ConfigError, match=text):
            adapt(tmp_path, **options)

    refuses("support: got .* is missing")
    write(tmp_path / "support", 1, 0)
    refuses("query: got .*which is no folder")
    (tmp_path / "query").mkdir()
    refuses("query: got .*without a file")
    write(tmp_path / "query", 1, 1)
    refuses("head: got 'x', wants auto or one of protonet", head="x")
    refuses("views: got 0", views=0)
    (tmp_path / "query" / "brown").mkdir()
    refuses("query: got .*class 'brown': no images")
    (tmp_path / "support" / "empty").mkdir()
    refuses("support: got .*class 'empty': no images")


def test_a_backbone_that_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"backbone: got .*which is no file"):
        load_backbone(tmp_path / "none.safetensors")
    for name in ("text.safetensors", "weights.pth"):
        (tmp_path / name).write_bytes(b"what is this")
        with pytest.raises(ConfigError, match=r"backbone: got .*wants a network"):
            load_backbone(tmp_path / name)


def test_heads_are_those_of_the_command_line():
    assert typing.get_args(Head) == ("auto", *heads.heads())
    assert set(typing.get_args(Score)) == {"auto", *SCORES}


def test_left_out_by_hand():
    """The nearest centred mean of the others, one by one."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(8, 1, 3)), np.repeat([0, 1], 4)
    x[4:, 0, 0] += 1.0
    u, _ = heads.footing(x, x[:, 0])
    right = []
    for i in range(8):
        means = [u[(labels == c) & (np.arange(8) != i), 0].mean(0) for c in (0, 1)]
        gaps = [((u[i, 0] - m) ** 2).sum() for m in means]
        right.append(np.argmin(gaps) == labels[i])
    found = heads.tried(heads.heads()["protonet"], u.astype("float32"), labels, 2)
    assert found.accuracy == np.mean(right) and found.rows == 8


@pytest.fixture
def known(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "load", lambda path, pictures: colours())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "net.safetensors"
    file.write_bytes(b"")
    return file


def test_command_line(shop, known, tmp_path, capsys):
    words = ["--backbone", str(known), "--support", str(shop / "support")]
    query = ["--query", str(shop / "query"), "--out", str(tmp_path / "page")]
    assert main(["adapt", *words, *query, "--head", "protonet", "--json"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["accuracy"] == 1.0
    assert (tmp_path / "page" / "report.html").is_file()
    assert main(["adapt", *words]) == 2
    assert capsys.readouterr().err.startswith("jaxmeta: query: got nothing, wants fold")
    assert main(["adapt", *words, *query, "--head", "best"]) == 2
    assert capsys.readouterr().err.startswith("jaxmeta: head: got 'best', wants one of")
    assert main(["adapt", "run-1", *words, *query]) == 2
    assert "options alone" in capsys.readouterr().err
    data = ["--data", str(shop / "query"), "--out", str(tmp_path / "f.npz")]
    assert main(["embed", "--backbone", str(known), *data]) == 0
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        assert file["inputs"].shape == (6, 12)
        assert file["labels"].tolist() == [0, 0, 1, 1, 2, 2]
        assert file["names"].tolist() == list(COLOURS)
    assert "6 pictures of 3 classes, 12 features each" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"out: got .*wants a file that ends in .npz"):
        embed_photographs(BACKBONE, shop / "query", tmp_path / "f.csv")


def test_strangers_are_turned_away_by_what_is_left_out(shop, tmp_path):
    """Three colours and white: each class left out is told from the rest, and so is white."""
    strange = tmp_path / "strangers"
    strange.mkdir()
    for i, shade in enumerate((225, 240, 255)):
        Image.new("RGB", (30, 30), (shade,) * 3).save(strange / f"{i}.png")
    ran = adapt(shop, reject=True, strangers=strange, out=tmp_path / "page")
    assert [p.label for p in ran.found[:6]] == [n for n in COLOURS for _ in "12"]
    assert [p.label for p in ran.found[6:]] == [NONE] * 3
    assert ran.lines[6].split("\t")[1] == NONE
    assert ran.notes[0] == "3 classes, 9 support and 6 query pictures, 3 strangers, 8x8"
    assert (
        "by leaving out each of 3 classes of the support in turn: AUROC" in ran.notes[2]
    )
    assert "turned away: 0 of 6 queries" in ran.notes
    assert any(
        n.startswith("strangers turned away: 3 of 3, 100.0 %") for n in ran.notes
    )
    assert ran.notes[-2] == "accuracy 100.00 % of 6 pictures"
    facts = json.loads((tmp_path / "page" / "result.json").read_text())["strangers"]
    assert facts["by"].startswith("leaving out one class") and facts["classes"] == 3
    assert facts["auroc"] > 0.9 and facts["auroc_given"]["auroc"] == 1.0
    assert facts["rejected"] == 0 and facts["right_rejections_given"]["low"] > 0.4
    page = (tmp_path / "page" / "report.html").read_text()
    assert "<h2>None of these</h2>" in page and "turned away</span>0" in page
    assert "Strangers that were taken for a class: none." in page
    plain = adapt(shop)
    assert [p.familiarity for p in plain.found] == [None] * 6


def test_the_threshold_is_of_every_picture_once():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [8, 20, 13])
    x = (rng.normal(size=(41, 1, 4)) + 2 * np.eye(3, 4)[labels][:, None]).astype(
        "float32"
    )
    head = heads.heads()["protonet"]
    u, _ = heads.footing(x, x[:, 0])
    tried = heads.tried(head, u, labels, 3)
    found = left_out.by_left_out(head, x, labels, 3, tried, "energy")
    assert len(found.known) == len(found.strangers) == 41
    assert found.found.threshold == np.sort(found.known)[2]  # 2 of 41 are 5 % at most
    assert found.facts["wrong_rejections"] == pytest.approx(2 / 41, abs=0.02)


def test_a_threshold_wants_something_to_leave_out(shop, tmp_path):
    with pytest.raises(ConfigError, match=r"strangers: got .*wants --reject"):
        adapt(shop, strangers=shop / "query")
    with pytest.raises(ConfigError, match="strangers: got class 'blue', wants other"):
        adapt(shop, reject=True, strangers=shop / "query")
    write(tmp_path / "support", 1, 0)
    write(tmp_path / "query", 1, 1)
    with pytest.raises(ConfigError, match="support: got a class of one picture, wants"):
        adapt(tmp_path, reject=True)
    for folder in ("support", "query"):
        shutil.rmtree(tmp_path / folder / "blue")
    with pytest.raises(
        ConfigError, match="support: got 2 classes, wants 3 or more for"
    ):
        adapt(tmp_path, reject=True)


def test_a_class_left_out_by_hand():
    """The nearest centred mean of the others, from their own centre."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [3, 4, 2])
    x = (rng.normal(size=(9, 1, 5)) + 3 * np.eye(3, 5)[labels][:, None]).astype(
        "float32"
    )
    head = heads.heads()["protonet"]
    found = left_out.left_out(head, x, labels, 3, temperature=0.5)
    for c in range(3):
        stay = labels != c
        u = x[:, 0] - x[stay, 0].mean(0)
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        means = np.stack([u[labels == k].mean(0) for k in range(3) if k != c])
        z = -((u[:, None] - means) ** 2).sum(-1) / 0.1 / 0.5
        energy = np.log(np.exp(z).sum(1))
        np.testing.assert_allclose(found["energy"][c], energy, rtol=2e-3, atol=2e-3)
        gap = np.abs(z[:, 0] - z[:, 1])
        np.testing.assert_allclose(
            found["max_probability"][c], gap, rtol=2e-3, atol=2e-3
        )
