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


def drawing(left, top, *, grow=1, side=100):
    """A hook of dark ink on white paper."""
    page = np.full((side, side), 255, np.uint8)
    bars = ((0, 0, 4, 24), (0, 0, 16, 4), (0, 20, 10, 24))
    for x0, y0, x1, y1 in bars:
        y0, y1 = top + grow * y0, top + grow * y1
        page[y0:y1, left + grow * x0 : left + grow * x1] = 0
    return page


def test_a_trimmed_drawing_is_the_same_wherever_and_however_large_it_stands(tmp_path):
    options = dict(trim=True, invert=True, size=24)
    first = read(tmp_path, encoded(drawing(10, 20, grow=2)), **options).astype(int)
    wide = np.pad(drawing(10, 20, grow=2), ((0, 0), (0, 10)), constant_values=255)
    kinds = {
        "in the other corner": encoded(drawing(68, 52, grow=2)),
        "larger": encoded(drawing(8, 4, grow=3)),
        "at the edge": encoded(drawing(0, 0, grow=2)),
        "in colour": encoded(np.stack([drawing(10, 20, grow=2)] * 3, -1)),
        "on a wide page": encoded(wide),
    }  # fmt: skip
    for kind, content in kinds.items():
        got = read(tmp_path, content, **options).astype(int)
        assert abs(got - first).mean() < 12, kind
    there = first[..., 0] > 127
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    tall = rows[-1] - rows[0] + 1
    assert 20 <= tall <= 23, "nine tenths of 24"
    assert abs(rows[0] + rows[-1] - 23) <= 1 and abs(columns[0] + columns[-1] - 23) <= 1
    whole = read(tmp_path, encoded(drawing(10, 20, grow=2)), invert=True, size=24)
    assert abs(whole.astype(int) - first).mean() > 30, "the whole page is another"


def test_light_ink_is_trimmed_as_dark_ink_is(tmp_path):
    dark = read(tmp_path, encoded(drawing(10, 20)), trim=True, invert=True)
    light = read(tmp_path, encoded(255 - drawing(10, 20)), trim=True)
    np.testing.assert_array_equal(dark, light)


def test_a_dot_stays_small_and_an_empty_page_is_itself(tmp_path):
    page = np.full((100, 100), 255, np.uint8)
    empty = read(tmp_path, encoded(page), trim=True, invert=True, size=20)
    assert (empty == 0).all()
    page[60:64, 20:24] = 0
    dot = read(tmp_path, encoded(page), trim=True, invert=True, size=20)
    assert 1 <= (dot > 127).sum() <= 9, "4 of 40 pixels a side"


def test_clear_paper_has_no_ink(tmp_path):
    page = drawing(10, 20)
    clear = np.stack(
        [np.zeros_like(page)] * 3 + [255 - page], -1
    )  # black, shown or not
    got = read(tmp_path, encoded(clear), trim=True, invert=True)
    want = read(tmp_path, encoded(page), trim=True, invert=True)
    np.testing.assert_array_equal(got, want)


def test_one_speck_does_not_decide_what_a_stroke_is(tmp_path):
    grey = np.full((200, 200), 255, np.uint8)
    grey[20:180, 95:105] = grey[20:30, 20:180] = 140  # a T in pencil
    plain = read(tmp_path, encoded(grey), trim=True, invert=True)
    grey[100, 100] = 0
    np.testing.assert_allclose(
        read(tmp_path, encoded(grey), trim=True, invert=True).astype(int),
        plain,
        atol=12,
    )


def test_a_drawing_that_has_moved_by_a_pixel_is_cut_alike(tmp_path):
    found = []
    for d in range(3):  # a bar whose middle lies between two pixels
        page = np.full((60, 60), 255, np.uint8)
        page[10 + d : 30 + d, 12 + d : 17 + d] = 0
        found.append(read(tmp_path, encoded(page), trim=True, invert=True, size=28))
    assert (found[0] == found[1]).all() and (found[1] == found[2]).all()


def test_thin_strokes_of_a_large_photograph_are_seen(tmp_path):
    page = np.full((1600, 1200), 255, np.uint8)
    page[300:600, 300:330] = page[600:1400, 314:316] = 0
    png = read(tmp_path, encoded(page), trim=True, invert=True, size=28)
    jpeg = encoded(page, "JPEG", quality=95)
    jpeg = read(tmp_path, jpeg, trim=True, invert=True, size=28)
    np.testing.assert_allclose(jpeg.astype(int), png, atol=30)


def test_a_strip_does_not_fill_the_memory(tmp_path):
    for shape in ((1, 200_000), (200_000, 1)):
        strip = np.full(shape, 255, np.uint8)
        got = read(tmp_path, encoded(strip), trim=True, invert=True)
        assert (got == 0).all()  # the square around it has 40 billion pixels


@pytest.mark.parametrize("size", [1.5, None, "28", (28,), (28, 28, 1), True, 5000])
def test_a_size_that_is_none_is_named(size):
    with pytest.raises(
        DataError, match=r"^size: got .*, wants 1 to 4096 pixels a side"
    ):
        load_images([], size=size)
    assert load_images([], size=np.int64(1)).shape == (0, 1, 1, 1)
