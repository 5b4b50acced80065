"""Photographs of any kind for a trained network; features of them, once."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxmeta.core import Meta, Model, Pictures
from jaxmeta.data import DataError, embed, from_counts, load_photographs, photographs
from jaxmeta.data.photographs import bar
from jaxmeta.functional import augment

from .files import bomb, encoded

WANTS = Pictures(8, crop=0.5, resample="bilinear")


def picture(width=64, height=32, seed=0):
    """Left half red, right half blue, with some noise."""
    x = np.zeros((height, width, 3), np.uint8)
    x[:, : width // 2, 0] = 200
    x[:, width // 2 :, 2] = 200
    return x + np.random.default_rng(seed).integers(0, 9, x.shape, dtype=np.uint8)


def read(*contents, **options):
    files = [(f"{i}.png", c) for i, c in enumerate(contents)]
    return load_photographs(files, WANTS, **options)


def test_the_square_about_the_centre():
    """Pillow's own steps, one by one, on a picture too small to be halved."""
    x = picture(24, 12)
    expected = Image.fromarray(x[3:9, 9:15]).resize((8, 8), Image.Resampling.BILINEAR)
    # a cut before the resize repeats its edge, where the box looks beyond it
    found = read(encoded(x))[0][0].astype(int)
    assert np.abs(found - np.asarray(expected, int))[1:-1, 1:-1].max() <= 1


def test_turned_as_its_tag_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: what is left comes to the top
    tagged = encoded(picture(), "JPEG", exif=exif, quality=95)
    found = read(tagged)[0][0].astype(int)
    assert (found[:3, :, 0] > 150).all() and (found[-3:, :, 2] > 150).all()


def test_every_kind_becomes_colour():
    image = Image.fromarray(picture())
    kinds = {
        "cmyk": encoded(image.convert("CMYK"), "JPEG", quality=95),
        "palette": encoded(image.convert("P", palette=Image.Palette.ADAPTIVE)),
        "clear": encoded(image.convert("RGBA")),
        "large": encoded(image.resize((1024, 512)), "JPEG", quality=95),
    }
    for kind, content in kinds.items():
        found = read(content)[0][0].astype(int)
        assert found.shape == (8, 8, 3), kind
        assert found[:, :3, 0].min() > 150 and found[:, :3, 2].max() < 60, kind
        assert found[:, -3:, 2].min() > 150 and found[:, -3:, 0].max() < 60, kind
    grey = read(encoded(image.convert("L")), encoded(image.convert("1")))[0]
    assert (grey[..., :1] == grey).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture at all", "is no such image"),
        (encoded(picture(), "JPEG")[:-400], "is broken"),
        (bomb(30_000), "has too many pixels"),
    ],
)
def test_damage_is_an_error_or_left_out_by_name(content, reason):
    good = encoded(picture())
    with pytest.raises(DataError, match=f"image 1.png: {reason}"):
        read(good, content, good)
    said = []
    images, kept = read(good, content, good, damaged=said.append, threads=2)
    assert len(images) == 2 and kept.tolist() == [0, 2]
    assert len(said) == 1 and said[0].startswith(f"image 1.png: {reason}")
    assert "\n" not in said[0]


def test_order_does_not_depend_on_threads():
    contents = [encoded(picture(seed=i)) for i in range(7)]
    np.testing.assert_array_equal(
        read(*contents, threads=1)[0], read(*contents, threads=4)[0]
    )


def folder(root, **classes):
    for name, contents in classes.items():
        (root / name).mkdir(parents=True)
        for i, content in enumerate(contents):
            (root / name / f"{i}.png").write_bytes(content)
    return root


def test_a_folder_a_class(tmp_path):
    good = encoded(picture())
    root = folder(tmp_path / "x", a=[good, b"bad", good], b=[good])
    seen, said = [], []
    data = photographs(
        root, WANTS, damaged=said.append, progress=lambda *x: seen.append(x)
    )
    assert data.counts.tolist() == [2, 1] and data.names == ("a", "b")
    assert seen[-1] == (4, 4) and len(said) == 1
    with pytest.raises(DataError, match=r"1.png: is no such image"):
        photographs(root, WANTS)
    with pytest.raises(DataError, match="class 'a': all its pictures are damaged"):
        photographs(folder(tmp_path / "y", a=[b"bad"]), WANTS, damaged=said.append)
    with pytest.raises(DataError, match="class 'a': no images"):
        photographs(folder(tmp_path / "z", a=[]), WANTS)


def means(scale=1.0):
    """Features: each channel's mean, times a parameter."""

    def apply(meta, inputs, *, train=False, key=None):
        assert not train
        return meta.params["scale"] * inputs.mean((1, 2)), meta.buffers

    meta = Meta({"scale": jnp.asarray(scale)})
    return Model(lambda key, inputs: meta, apply), meta


@pytest.fixture
def some():
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    return from_counts(images, [2, 3], ("a", "b"))


def test_features_in_the_order_of_the_pictures(some):
    seen = []
    found = embed(
        *means(), some, batch=2, cache=False, progress=lambda *x: seen.append(x)
    )
    expected = some.inputs.astype(float).mean((1, 2)) / 255
    np.testing.assert_allclose(found.inputs, expected, rtol=1e-5)
    assert found.names == some.names and found.counts.tolist() == [2, 3]
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_resized_as_pillow_does(some):
    def apply(meta, inputs, **_):
        return inputs, ()

    model = Model(lambda key, inputs: Meta({}), apply)
    # of few contrasts: Pillow cuts what overshoots after each axis, we after both
    large = np.kron(some.inputs // 3 + 80, np.ones((1, 4, 4, 1), np.uint8))
    data = some._replace(inputs=large)
    found = embed(model, Meta({}), data, size=12, cache=False).inputs
    how = Image.Resampling.BICUBIC
    expected = [np.asarray(Image.fromarray(x).resize((12, 12), how)) for x in large]
    assert np.abs(255 * found - np.stack(expected)).max() < 2
    found = embed(model, Meta({}), some, size=12, cache=False).inputs
    assert found.min() == 0 and found.max() == 1


def test_views_are_other_pictures_of_the_same(some):
    def brighter(key, image):
        return image + jax.random.uniform(key)

    options = dict(views=3, augment=brighter, batch=2, cache=False)
    found = embed(*means(), some, **options).inputs
    assert found.shape == (5, 3, 3)
    plain = embed(*means(), some, cache=False).inputs
    np.testing.assert_allclose(found[:, 0], plain, rtol=1e-5)
    added = (found - found[:, :1])[:, 1:]
    np.testing.assert_allclose(added, added[..., :1] + 0 * added, atol=1e-5)
    assert len(np.unique(added[..., 0].round(5))) == 10  # each its own
    # and the same whatever the batches are
    again = embed(*means(), some, **{**options, "batch": 5}).inputs
    np.testing.assert_allclose(again, found, rtol=1e-5)
    other = embed(*means(), some, **options, key=jax.random.key(1)).inputs
    assert np.abs(other - found)[:, 1:].min() > 0
    with pytest.raises(ValueError, match="augment: got None"):
        embed(*means(), some, views=2)
    flipped = embed(*means(), some, views=2, augment=augment.flip, cache=False)
    np.testing.assert_allclose(flipped.inputs[:, 1], plain, rtol=1e-5)


def test_cached_by_weights_and_pictures_and_program(some, tmp_path):
    def files():
        return set(os.listdir(tmp_path))

    first = embed(*means(), some, cache=tmp_path)
    assert len(files()) == 1
    runs = []
    again = embed(*means(), some, cache=tmp_path, progress=lambda *x: runs.append(x))
    np.testing.assert_array_equal(again.inputs, first.inputs)
    assert runs == [] and len(files()) == 1
    one = some._replace(inputs=some.inputs.copy())
    one.inputs[4, 7, 7, 2] ^= 1
    model, meta = means()
    squared = model._replace(apply=lambda *a, **k: (model.apply(*a, **k)[0] ** 2, ()))
    others = [((model, meta), one), (means(2.0), some), ((squared, meta), some)]
    for i, (network, data) in enumerate(others):
        found = embed(*network, data, cache=tmp_path)
        assert len(files()) == i + 2
        assert not np.array_equal(found.inputs, first.inputs)


def test_a_damaged_cache_is_made_anew(some, tmp_path):
    first = embed(*means(), some, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 255
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged"):
        again = embed(*means(), some, cache=tmp_path)
    np.testing.assert_array_equal(again.inputs, first.inputs)
    embed(*means(), some, cache=tmp_path)  # and is whole now


def test_features_that_are_no_numbers_are_refused(some, tmp_path):
    with pytest.raises(DataError, match="features: got NaN or infinity of 5 of 5"):
        embed(*means(np.nan), some, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_bar_says_each_quarter(capsys):
    progress = bar("reading")
    for i in range(1, 9):
        progress(i, 8)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading: 1 of 8" and lines[-1] == "reading: 8 of 8"
    assert len(lines) == 5
