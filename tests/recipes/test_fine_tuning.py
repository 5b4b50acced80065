"""A backbone from a file meets a folder of photographs, by every method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxmeta as jm
from jaxmeta.recipes.tuning import METHODS
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.registry import known
from jaxmeta.tree import leaves

SIZE = 6


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two classes in folders train, val and test: red and blue."""
    root, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 3), ("test", 3)):
        for c, name in ((0, "red"), (2, "blue")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                x = random.integers(0, 80, (9, 7, 3))
                x[..., c] += 150
                Image.fromarray(x.astype("uint8")).save(folder / f"{i}.png")
    return root


@pytest.fixture
def backbone(monkeypatch, tmp_path):
    """A network of one layer in place of what a file would give."""
    net = jm.models.conv4(None, filters=3, blocks=1, norm="batch_running")
    meta = net.init(jax.random.key(3), jnp.ones((1, SIZE, SIZE, 3)))
    model = net._replace(init=lambda key, x: meta, pictures=jm.Pictures(SIZE))
    monkeypatch.setattr(jm.models, "load", lambda path, pictures: (model, meta))
    file = tmp_path / "net.safetensors"
    file.touch()
    return str(file), model, meta


def experiment(photographs, file, **options):
    options = {"data": str(photographs), "backbone": file, "batch": 4} | options
    return known()["folder-fine_tune"](queries=1, steps=2, **options)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(method, photographs, backbone):
    file, model, meta = backbone
    made = experiment(photographs, file, method=method)
    x = jax.random.uniform(jax.random.key(1), (2, SIZE, SIZE, 3))
    predict = jax.jit(lambda m: made.tester.predict(m, m, x))
    old = model.apply(meta, x)[0]
    start, body = made.start, dict(made.start.params)
    head = body.pop("head")
    assert head["kernel"].shape == (old.shape[1], 2)
    outer = jm.make_trainer(made.objective, made.outer)
    batch = batch_of(made)
    state = outer.init(jax.random.key(0), batch)
    state = state._replace(meta=start, opt_state=made.outer.init(start.params))
    step = jax.jit(outer.step)
    for _ in range(2):
        state = step(state, batch, jax.random.key(2))[0]
    after = state.meta
    assert not np.array_equal(after.params["head"]["kernel"], head["kernel"])
    assert np.isfinite(predict(after)).all()
    kept = method in ("frozen", "lora", "adapter", "scale_shift", "bias_only")
    same = [
        np.array_equal(a, b)
        for a, b in zip(leaves(start.buffers), leaves(after.buffers), strict=True)
    ]
    assert all(same) or not kept
    count = sum(x.size for x in leaves(body))
    assert (count < sum(x.size for x in leaves(meta.params))) == (
        kept and method != "lora"
    )
    if not kept:
        assert made.merge is None
    elif method == "adapter":
        with pytest.raises(TypeError, match="wants activation=None"):
            made.merge(after)
    else:  # the network alone, without anything beside it, does the same
        learner, whole = made.merge(after)
        assert sorted(whole.params) == ["block1", "head"]
        assert jax.tree.map(np.shape, whole.buffers) == jax.tree.map(
            np.shape, meta.buffers
        )
        found = learner.predict(whole, whole, x)
        np.testing.assert_allclose(found, predict(after), rtol=1e-5, atol=1e-6)


def batch_of(made):
    return jm.train.sample_batch(made.tasks.train, jax.random.key(1), 4)


def test_pictures_have_the_size_that_the_backbone_wants(photographs, backbone):
    file, *_ = backbone
    made = experiment(photographs, file, method="frozen")
    assert batch_of(made).inputs.shape == (4, SIZE, SIZE, 3)
    assert made.facts["pretrained"] == "net.safetensors" and made.facts["ways"] == 2
    assert made.facts["examples"] == 12  # those of train, and no others
    larger = experiment(photographs, file, method="frozen", size=8)
    assert batch_of(larger).inputs.shape == (4, 8, 8, 3)
    # one class of its own in val is no split of the same classes
    (photographs / "val" / "green").mkdir()
    Image.new("RGB", (3, 3)).save(photographs / "val" / "green" / "0.png")
    with pytest.raises(ConfigError, match=r"data: got .* in val: not so green"):
        experiment(photographs, file)


@pytest.mark.parametrize(
    "learner", ["protonet", "maml", "anil", "r2d2", "meta_transfer"]
)
def test_a_backbone_meets_every_method_and_is_tuned_at_the_test(
    learner, photographs, backbone, tmp_path
):
    file, _, meta = backbone
    options = {"file": file, "data": str(classes(tmp_path)), "size": SIZE}
    inner = {} if learner in ("protonet", "r2d2") else {"inner_steps": 1}
    made = known()["folder-pmf-5w1s"](
        learner=learner,
        ways=2,
        shots=2,
        queries=1,
        test_time_steps=1,
        **inner,
        **options,
    )
    assert made.facts["test_time"] == "tune" and made.facts["learner"] == learner
    episode = made.tasks.test(jax.random.key(0))
    start = made.learner.init(jax.random.key(1), episode)
    trained = leaves((start.params, start.buffers))
    for x in leaves(meta.params):  # it starts from the backbone, wherever that is kept
        assert any(np.array_equal(x, y) for y in trained)


@pytest.mark.parametrize("learner", ["protonet", "r2d2", "simple_shot"])
def test_adapters_of_what_compares_features_are_merged(learner, backbone, tmp_path):
    file, _, meta = backbone
    options = {"file": file, "data": str(classes(tmp_path)), "size": SIZE, "ways": 2}
    options |= {"queries": 1, "tune": "lora", "learner": learner}
    made = known()["folder-pmf-5w1s"](**options, test_time="nothing")
    episode, key = made.tasks.test(jax.random.key(0)), jax.random.key(1)
    moved = made.learner.init(key, episode)
    moved = moved._replace(params=jax.tree.map(lambda p: p + 0.1, moved.params))
    plain, whole = made.merge(moved)
    count = sum(x.size for x in leaves(meta.params))
    extra = sum(x.size for x in leaves(whole.params)) - count
    assert extra == {"protonet": 0, "r2d2": 3, "simple_shot": 0}[learner]
    fast = plain.adapt(whole, episode.support, key)
    found = plain.predict(whole, fast, episode.query.inputs)
    fast = made.tester.adapt(moved, episode.support, key)
    wanted = made.tester.predict(moved, fast, episode.query.inputs)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    # tuned in each task, or moved by the learner: what is beside the weights stays
    assert known()["folder-pmf-5w1s"](**options).merge is None


def test_tuning_at_the_test_moves_a_prediction(backbone, tmp_path):
    file, *_ = backbone
    options = {"file": file, "data": str(classes(tmp_path)), "size": SIZE, "ways": 2}
    options |= {
        "queries": 1,
        "test_time_steps": 2,
        "test_time_rate": 0.1,
        "tune": "lora",
    }
    made = known()["folder-pmf-5w1s"](**options)
    episode = made.tasks.test(jax.random.key(0))
    meta = made.learner.init(jax.random.key(1), episode)
    tuned, plain = (
        jm.train.predictions(one, meta, episode, jax.random.key(2))
        for one in (made.tester, made.learner)
    )
    assert np.isfinite(tuned).all() and not np.allclose(tuned, plain)
    for name, value in (("test_time_rate", -1.0), ("test_time_steps", -1)):
        with pytest.raises(ConfigError, match=f"{name}: got -1"):
            known()["folder-pmf-5w1s"](**options | {name: value})


def classes(root):
    """Six classes of four pictures, of which two are trained on, two chosen by."""
    random = np.random.default_rng(0)
    for i, part in enumerate(("train", "val", "test") * 2):
        folder = root / "classes" / part / f"class{i}"
        folder.mkdir(parents=True)
        for k in range(4):
            x = random.integers(0, 255, (SIZE, SIZE, 3)).astype("uint8")
            Image.fromarray(x).save(folder / f"{k}.png")
    return root / "classes"
