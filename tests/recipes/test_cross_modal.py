"""Descriptions and photographs, by the command line's recipe; a stand-in for the set."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.core import Meta, Model
from jaxmeta.data import Grocery, from_counts
from jaxmeta.data.grocery_catalogue import Catalogue
from jaxmeta.recipes import cross_modal
from jaxmeta.runs import ConfigError
from jaxmeta.runs.backbone import Backbone
from jaxmeta.runs.registry import known

NAMES = [f"p{i:02d}" for i in range(81)]
COLOURS = ("red", "green", "blue")


@pytest.fixture
def shop(monkeypatch, tmp_path):
    """Products are three amounts of colour; descriptions say each of them in a word."""
    random = np.random.default_rng(0)
    amounts = random.integers(0, 4, (81, 3))

    def part(each):
        pictures = np.repeat(60 * amounts, each, 0) + random.integers(
            0, 20, (81 * each, 3)
        )
        return from_counts(pictures.astype("uint8")[:, None, None], [each] * 81, NAMES)

    texts = tuple(
        " ".join(f"{c}{'abcd'[n]}" for c, n in zip(COLOURS, a, strict=True))
        for a in amounts
    )
    parts = Grocery(part(12), part(2), part(10))
    catalogue = Catalogue(part(1), texts, tuple(NAMES))
    readers = cross_modal.readers
    monkeypatch.setattr(readers, "grocery", lambda root: parts)
    monkeypatch.setattr(readers, "grocery_catalogue", lambda root: catalogue)
    flat = Model(lambda key, x: Meta({}), lambda meta, x, **_: (x.mean((1, 2)), ()))
    net = Backbone("mean colour", flat, Meta({}))
    monkeypatch.setattr(cross_modal, "load_backbone", lambda file: net)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return {"data": str(tmp_path), "backbone": "x.safetensors", "size": 1, "queries": 2}


@pytest.mark.parametrize("learned", ["ridge", "contrastive"])
def test_a_run_knows_products_by_their_descriptions(shop, learned, tmp_path):
    options = shop | {"learned": learned, "shots": 0, "steps": 3, "batch": 8}
    small = {"chunk": 3, "episodes": 40, "validate_episodes": 4}
    out = jm.runs.train(
        known()["grocery-cross_modal"], out=tmp_path / "run", options=options,
        say=lambda _: None, **small,
    )  # fmt: skip
    run = jm.runs.load(out)
    assert run.result["accuracy"] > 0.5  # chance is 0.2
    assert run.result["shots"] == 0 and run.result["learner"].endswith(learned)
    if learned == "ridge":
        start = known()["grocery-cross_modal"](**options).start
        np.testing.assert_array_equal(
            run.meta.params["text"]["kernel"], start.params["text"]["kernel"]
        )


def test_worth_is_counted_or_said(shop):
    make = known()["grocery-cross_modal"]
    said = make(**shop, worth=2.5).start.params["head"]["log_worth"]
    np.testing.assert_allclose(jnp.exp(said), 2.5, rtol=1e-6)
    # a map that is not let learn says the mean, which tells nothing
    assert make(**shop, penalty=1e6).facts["worth"] < 0.01
    assert make(**shop).facts["worth"] > 0.1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backbone": None}, "backbone: got nothing"),
        ({"data": None}, "data: got nothing"),
        ({"penalty": 0.0}, "penalty: got 0.0"),
        ({"worth": -1.0}, "worth: got -1.0"),
        ({"split": -1}, "split: got -1"),
        ({"queries": 11}, "queries|asked: class"),
    ],
)
def test_bad_options_are_one_line(shop, options, message):
    with pytest.raises(ConfigError, match=message) as error:
        known()["grocery-cross_modal"](**shop | options)
    assert "\n" not in str(error.value)
