"""Every kind of file a person has becomes the same picture; a bad one is named."""

import numpy as np
import pytest
from PIL import Image

from jaxmeta.data import DataError, load_images

from .files import bomb, encoded

GREY = np.zeros((16, 16), np.uint8)
GREY[:, 8:] = 200  # black left, light right
GREY[:8, :8] = 100  # and a corner, so that no turn leaves it as it is


def read(tmp_path, content, name="a.png", **options):
    (tmp_path / name).write_bytes(content)
    return load_images([tmp_path / name], **{"size": 16, **options})[0]


def on_paper():
    alpha = np.where(GREY == 200, 0, 255).astype(np.uint8)  # the light part: no paint
    return np.stack([GREY, GREY, GREY, alpha], axis=-1)


KINDS = {
    "grey": (lambda: encoded(GREY), GREY),
    "colour": (lambda: encoded(np.stack([GREY] * 3, -1)), GREY),
    "palette": (lambda: encoded(Image.fromarray(GREY).convert("P")), GREY),
    "16 bit": (lambda: encoded(GREY.astype(np.uint16) * 256 + 255), GREY),
    "1 bit": (
        lambda: encoded(Image.fromarray(GREY > 150)),
        np.where(GREY > 150, 255, 0),
    ),
    "alpha": (lambda: encoded(on_paper()), np.where(GREY == 200, 255, GREY)),
    "grey alpha": (
        lambda: encoded(Image.fromarray(on_paper()).convert("LA")),
        np.where(GREY == 200, 255, GREY),
    ),
    "transparent grey": (
        lambda: encoded(GREY, transparency=200),
        np.where(GREY == 200, 255, GREY),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_png(tmp_path, kind):
    make, want = KINDS[kind]
    got = read(tmp_path, make())
    assert got.shape == (16, 16, 1) and got.dtype == np.uint8
    np.testing.assert_array_equal(got[..., 0], want)
    colour = read(tmp_path, make(), mode="RGB")
    np.testing.assert_array_equal(colour, np.stack([want] * 3, -1))
    np.testing.assert_array_equal(read(tmp_path, make(), invert=True), 255 - got)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(tmp_path, mode):
    content = encoded(Image.fromarray(GREY).convert(mode), "JPEG", quality=95)
    got = read(tmp_path, content, "a.JPG")
    np.testing.assert_allclose(got[..., 0].astype(int), GREY, atol=16)


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    content = encoded(GREY, "JPEG", quality=95, exif=exif)
    got = read(tmp_path, content, "a.jpeg")[..., 0].astype(int)
    np.testing.assert_allclose(got, np.rot90(GREY, -1), atol=16)


def test_a_photograph_of_48_million_pixels_is_read(tmp_path):
    large = Image.fromarray(GREY).resize((8064, 6048), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(large, "JPEG", quality=30, exif=exif)
    got = read(tmp_path, content, "a.jpg")[..., 0].astype(int)
    np.testing.assert_allclose(got, np.rot90(GREY, -1), atol=24)


def test_sizes(tmp_path):
    assert read(tmp_path, encoded(GREY), size=(8, 4)).shape == (8, 4, 1)
    flat = np.full((30, 50), 77, np.uint8)
    assert (read(tmp_path, encoded(flat), size=9) == 77).all()
    assert load_images([], size=5).shape == (0, 5, 5, 1)


WHOLE = encoded(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8))
PHOTO = encoded(Image.fromarray(GREY).resize((64, 64)), "JPEG")
BROKEN = {
    "empty": (b"", "is no such image"),
    "text": (b"<html>404</html>", "is no such image"),
    "truncated": (WHOLE[: len(WHOLE) // 2], "is broken"),
    "truncated jpeg": (PHOTO[: len(PHOTO) * 2 // 3], "is broken"),
    "flipped": (WHOLE[:200] + bytes([WHOLE[200] ^ 64]) + WHOLE[201:], "is broken"),
    "gif in disguise": (encoded(GREY, "GIF"), "is no such image"),
    "bomb": (bomb(9_500), "has too many pixels"),
    "larger bomb": (bomb(14_000), "has too many pixels"),
    "smaller bomb": (bomb(6_000), "has 6000 x 6000 pixels"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_bad_file_is_named_in_one_line(tmp_path, kind):
    content, reason = BROKEN[kind]
    (tmp_path / "good.png").write_bytes(WHOLE)
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"bad\.png: {reason}") as error:
        load_images([tmp_path / "good.png", tmp_path / "bad.png"])
    assert "\n" not in str(error.value)


def test_bad_arguments(tmp_path):
    with pytest.raises(DataError, match=r"none\.png: is missing"):
        load_images([tmp_path / "none.png"])
    with pytest.raises(DataError, match="size: got 0, wants 1 to 4096"):
        load_images([], size=0)
    with pytest.raises(DataError, match="mode: got 'HSV', wants 'L' or 'RGB'"):
        load_images([], mode="HSV")
