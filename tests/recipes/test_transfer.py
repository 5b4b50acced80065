"""Adaptation, pretraining, fine-tuning, many tasks: tiny nets, few and tiny images."""

import gzip
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxmeta as jm
from jaxmeta.recipes import adaptation, fine_tuning, labelled, pretraining
from jaxmeta.recipes.multitask import WEIGHTINGS
from jaxmeta.recipes.parts import Source
from jaxmeta.runs import ConfigError, Settings
from jaxmeta.runs.job import build
from jaxmeta.runs.making import make, without_data
from jaxmeta.runs.registry import known

NET = {"network": "mlp", "hidden": (6,)}
REVIEWS = {"hidden": (6,), "words": 22, "queries": 2, "batch": 16, "rate": 0.01}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two kinds of images of four classes: a bright row, or a dark one."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for kind, paper, ink in (("photos", 200, 20), ("sketches", 20, 200)):
        for c in range(4):
            folder = root / kind / f"class{c}"
            folder.mkdir(parents=True)
            for i in range(12):
                x = np.full((8, 8), paper) + random.integers(0, 20, (8, 8))
                x[2 * c] = ink
                Image.fromarray(x.astype("uint8")).save(folder / f"{i:02}.png")
    return root


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """Two domains of 80 reviews in 5,000 words, of which a few are used."""
    folder = tmp_path_factory.mktemp("reviews")
    random = np.random.default_rng(0)
    for name in ("books", "dvd"):
        for part in ("train", "test"):
            lines = []
            for i in range(80):
                words = {*random.choice(20, 6, replace=False).tolist(), 20 + i % 2}
                words = sorted(words)  # one word gives the class away
                lines.append(f"{i % 2} " + " ".join(f"{w}:1" for w in words))
            text = "\n".join(lines).encode()
            (folder / f"{name}_{part}.svmlight.gz").write_bytes(gzip.compress(text))
    return str(folder)


def run(name, out, options, **settings):
    """Trains a few steps; the run, opened again."""
    small = {"chunk": 2, "episodes": 4, "validate_episodes": 4, "validate_every": 2}
    out = jm.runs.train(
        known()[name], out=out, options=options, say=lambda _: None, **small | settings
    )
    return jm.runs.load(out)


def built(name, options):
    return build(make(known()[name], options), Settings())


def same(a, b):
    return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


# Domain adaptation


def test_adaptation_says_what_chose(reviews, tmp_path):
    options = REVIEWS | {"data": reviews, "steps": 40}
    found = run("amazon-dann-books-dvd", tmp_path / "run", options, chunk=20)
    result = found.result
    assert result["domains"] == "books to dvd" and result["learner"] == "dann"
    assert "no target label" in result["chosen_by"]
    assert result["accuracy"] > 0.9 and not result["transductive"]
    page = (tmp_path / "run/report.html").read_text()
    assert "books to dvd" in page and result["chosen_by"] in page


def test_no_target_label_before_the_test(reviews):
    tasks = known()["amazon-dann-books-dvd"](data=reviews, **REVIEWS).tasks
    source, target = tasks.train.args
    assert target._fields == ("inputs",)
    assert len(source.inputs) == 72 and len(target.inputs) == 80  # a tenth is held out
    held = {row.tobytes() for row in np.asarray(tasks.val.args[0])}
    learned = {row.tobytes() for row in np.asarray(source.inputs)}
    assert len(tasks.val.args[0]) == 8 and not held & learned
    assert len(tasks.test.args[0]) == 80


@pytest.mark.parametrize("method", adaptation.METHODS)
def test_every_method_builds_without_data(method):
    with without_data():
        job = built("amazon-dann-books-dvd", REVIEWS | {"method": method})
    assert job.experiment.facts["learner"] == method


def test_published_pairs_and_methods_have_names():
    names = [n for n in known() if n.startswith("amazon-")]
    assert len([n for n in names if n.startswith("amazon-dann-")]) == 12
    assert len(names) == 12 + len(adaptation.METHODS) - 1


def test_importance_is_a_weight(reviews):
    recipe = known()["amazon-importance_weighting-books-dvd"]
    weights = np.asarray(recipe(data=reviews, **REVIEWS).tasks.train.args[0].weights)
    assert weights.std() > 0
    np.testing.assert_allclose(weights.mean(), 1.0, rtol=1e-5)


def test_folders_of_images_are_domains(images, tmp_path):
    options = NET | {"size": 8, "steps": 2, "method": "importance_weighting"}
    options |= {"source": str(images / "photos"), "target": str(images / "sketches")}
    result = run("domains", tmp_path / "run", options, keep="last").result
    assert result["domains"] == "photos to sketches" and result["ways"] == 4
    assert result["chosen_by"] == "nothing: the last step is kept"


# Pretraining


@pytest.fixture(scope="module")
def pretrained(images, tmp_path_factory):
    """A run of two steps on half of the classes, and its parameters in a file."""
    out = tmp_path_factory.mktemp("pretrained")
    options = NET | {"dataset": "folder", "data": str(images / "photos"), "size": 8}
    options |= {"ways": 2, "queries": 3, "steps": 2, "batch": 8}
    found = run("pretrain", out / "run", options)
    jm.models.save_safetensors(out / "it.safetensors", found.meta)
    return found, str(out / "it.safetensors")


def test_pretraining_is_judged_by_new_classes(pretrained):
    found, _ = pretrained
    assert found.meta.params["head"]["kernel"].shape == (6, 2)
    assert found.result["tester"] == "simple_shot" and found.result["ways"] == 2
    *_, test = found.experiment.tasks
    assert jm.tasks.class_names(test) == ("class1", "class3")
    # its head has as many outputs as the data have classes: they are read again
    assert same(jm.runs.load(found.path, data=False).meta, found.meta)


def test_testers_drop_the_head_and_know_the_mean(pretrained):
    found, _ = pretrained
    episode = found.experiment.tasks.test(jax.random.key(0))
    key, net = jax.random.key(1), jm.models.mlp(None, hidden=(6,))
    body, _ = jm.models.heads.split_head(found.meta)
    mean = found.meta.buffers[pretraining.MEAN]
    np.testing.assert_allclose(mean["weight"], 1 - 0.99**2, rtol=1e-5)
    own = {
        "simple_shot": jm.Meta(body.params, {"model": {}, **mean}),
        "protonet": jm.Meta(body.params, {}),
    }
    for name, meta in own.items():
        tester = pretraining.TESTERS[name](net)
        got = jm.train.predictions(tester, found.meta, episode, key)
        learner = getattr(jm, name)(net)
        wants = jm.train.predictions(learner, meta, episode, key)
        np.testing.assert_array_equal(got, wants)


def test_remembering_changes_no_output():
    net = jm.models.conv4(None, filters=2, norm="batch_running")
    x = jax.random.normal(jax.random.key(0), (3, 16, 16, 1))
    meta = pretraining.remember(net).init(jax.random.key(1), x)
    plain = net.init(jax.random.key(1), x)
    here = pretraining.remember(net).apply(meta, x, train=True)
    there = net.apply(plain, x, train=True)
    np.testing.assert_array_equal(here[0], there[0])
    mean = here[1].pop(pretraining.MEAN)
    assert same(here[1], there[1])
    np.testing.assert_allclose(mean["sum"] / mean["weight"], here[0].mean(0), rtol=1e-4)


def test_quarter_turns_are_classes_of_their_own():
    part = jm.data.from_counts(np.arange(8.0).reshape(2, 2, 2, 1), [1, 1], ("a", "b"))
    source = Source("x", jm.data.Splits(part, part, part), rotations=True)
    whole = labelled.classes_of(source, 0, 0)
    assert len(whole.names) == 8 and whole.names[2] == "a turned 90"
    np.testing.assert_array_equal(whole.inputs[2, ..., 0], [[1, 3], [0, 2]])


# Fine-tuning


def mine(images, **more):
    options = NET | {"dataset": "folder", "data": str(images / "sketches"), "size": 8}
    return options | {"queries": 1, "steps": 2, "batch": 8} | more


def test_a_frozen_network_learns_a_head(images, pretrained, tmp_path):
    found, file = pretrained
    options = mine(images, pretrained=file, strategy="head_only")
    tuned = run("fine-tune", tmp_path / "run", options)
    before, after = (dict(m.params) for m in (found.meta, tuned.meta))
    assert before.pop("head")["kernel"].shape == (6, 2)
    assert np.any(np.asarray(after.pop("head")["kernel"]) != 0)
    assert same(before, after)
    assert tuned.result["ways"] == 4 and tuned.result["pretrained"] == "it.safetensors"


@pytest.mark.parametrize("strategy", fine_tuning.STRATEGIES)
def test_every_strategy_builds(strategy, images, pretrained):
    options = mine(images, pretrained=pretrained[1], strategy=strategy)
    more = {"layers": ("layer1",)} if strategy == "layerwise" else {}
    job = built("fine-tune", options | more)
    assert job.experiment.facts["strategy"] == strategy


def test_layers_wake_from_the_last_on(images, tmp_path):
    options = mine(images, strategy="layerwise", layers=("layer1",), every=2)
    experiment = known()["fine-tune"](**options)
    trainer = jm.make_trainer(experiment.objective, experiment.outer)
    draw = experiment.tasks.train
    state = trainer.init(
        jax.random.key(0), jm.train.sample_batch(draw, jax.random.key(1), 1)
    )
    body = state.meta.params["layer1"]
    moved = []
    step = jax.jit(lambda s, k: jm.fit(trainer, draw, s, k, steps=1, batch=4)[0])
    for _ in range(4):
        state = step(state, jax.random.key(2))
        moved.append(not same(body, state.meta.params["layer1"]))
    assert moved == [False, False, True, True]


@pytest.mark.parametrize(
    "growth",
    [
        {"growth": "widen", "part": "layer1", "reader": "layer2", "width": 9},
        {"growth": "deepen", "after": "layer2", "deeper": (6, 5, 5)},
    ],
)
def test_a_network_that_grows_computes_the_same(growth, images, tmp_path):
    net, x = jm.models.mlp(None, hidden=(6, 5)), jnp.ones((2, 8, 8, 1))
    old = net.init(jax.random.key(3), x)
    jm.models.save_safetensors(tmp_path / "net.safetensors", old)
    options = mine(images, pretrained=str(tmp_path / "net.safetensors"))
    start = known()["fine-tune"](**options | {"hidden": (6, 5)} | growth).start
    body, _ = jm.models.heads.split_head(start)
    larger = jm.models.mlp(None, hidden=growth.get("deeper", (9, 5)))
    assert jax.tree.map(jnp.shape, body.params) != jax.tree.map(jnp.shape, old.params)
    np.testing.assert_allclose(
        larger.apply(body, x)[0], net.apply(old, x)[0], rtol=1e-5, atol=1e-6
    )


# Many tasks


def several(images, **more):
    data = (str(images / "photos"), str(images / "sketches"))
    options = NET | {"dataset": "folders", "data": data, "size": 8, "steps": 2}
    return options | {"queries": 1, "batch": 8} | more


def test_many_tasks_are_judged_each(images, tmp_path):
    result = run("multitask", tmp_path / "run", several(images)).result
    assert set(result["by_task"]) == {"photos", "sketches"}
    mean = np.mean(list(result["by_task"].values()))
    np.testing.assert_allclose(mean, result["accuracy"], rtol=1e-6)
    rows = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert "loss/photos" in json.loads(rows[-1])


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_weighting_builds(weighting, images):
    job = built("multitask", several(images, weighting=weighting))
    assert job.experiment.judge is not None


# Drawn, without a download


@pytest.mark.parametrize("name", ["pretrain", "fine-tune", "multitask"])
def test_recipes_build_on_drawn_glyphs(name):
    small = {"classes": 3, "examples": 20, "size": 6}
    assert "glyphs" in built(name, NET | small).experiment.facts["dataset"]


def test_drawn_sets_are_the_same_each_time():
    first, again = (labelled.drawn(jm.tasks.glyphs(2, 3, 1, size=6)) for _ in range(2))
    assert first.counts.tolist() == [3, 3] and same(first, again)
    other = labelled.drawn(jm.tasks.glyphs(2, 3, 1, size=6), seed=1)
    assert not np.array_equal(first.inputs, other.inputs)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("amazon-dann-books-dvd", {}, "data: got nothing"),
        ("amazon-dann-books-dvd", {"target": "books"}, "target: got books"),
        ("amazon-dann-books-dvd", {"target": "cds"}, "target: got 'cds'"),
        ("amazon-dann-books-dvd", {"strength": -1.0}, "strength: got -1.0"),
        ("amazon-dann-books-dvd", {"queries": 50}, "queries: got 50"),
        ("amazon-dann-books-dvd", {"words": 0}, "words: got 0"),
        ("amazon-dann-books-dvd", {"method": "protonet"}, "method: got 'protonet'"),
        ("domains", {}, "source: got nothing"),
        ("domains", {"source": "IMAGES/photos", "target": "."}, "target: got"),
        ("pretrain", {"smoothing": 1.0}, "smoothing: got 1.0"),
        ("pretrain", {"classes": 1}, "classes: got 1"),
        ("fine-tune", {"dataset": "folder"}, "data: got nothing"),
        ("fine-tune", {"examples": 9}, "data: got 9 examples in class '0'"),
        ("fine-tune", {"strategy": "l2_sp"}, "pretrained: got nothing"),
        ("fine-tune", {"strategy": "layerwise"}, "layers: got block1, .* layer1"),
        ("fine-tune", {"pretrained": "no.safetensors"}, "pretrained: got no.safe"),
        ("fine-tune", {"queries": 99}, "queries: got 99"),
        ("multitask", {"dataset": "folders"}, "data: got nothing, wants two folders"),
        ("multitask", {"weight_rate": 0.0}, "weight_rate: got 0.0"),
    ],
)
def test_bad_options_are_one_line(name, options, message, images, reviews):
    small = {"hidden": (6,)}
    if name.startswith("amazon"):
        small |= {"data": reviews} if options else {}
    else:
        small |= {"network": "mlp"}
    if not {"dataset", "source"} & set(options) and "amazon" not in name:
        small |= {} if name == "domains" else {"size": 4}
    options = {
        k: v.replace("IMAGES", str(images)) if isinstance(v, str) else v
        for k, v in options.items()
    }
    with pytest.raises(ConfigError, match=message) as error:
        built(name, small | options)
    assert "\n" not in str(error.value)
