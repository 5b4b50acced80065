"""An episode of images, as HTML: names are text, and small pictures stay sharp."""

import io
from collections.abc import Sequence

import numpy as np

from jaxmeta.report import page
from jaxmeta.report.classes import confused
from jaxmeta.report.confidence import calibration
from jaxmeta.report.finished import Finished
from jaxmeta.report.seen import Classified, classified

MOST_WAYS, MOST_SHOTS, MOST_QUERIES = 10, 5, 6
_LARGEST = 96  # pixels of a side, as embedded


def images(run: Finished, *, ink: bool = False, upwards: bool = False) -> str | None:
    """A test episode of images with predictions; its mistakes; calibration over many.

    Args:
      run: the trained run.
      ink: whether a grey image says how much ink is on white paper; as it is, 0 is
        black and 1 is white.
      upwards: whether the first row is the lowest, as that of a spectrogram.

    Returns:
      HTML, or `None` where no episode can be drawn.

    Raises:
      ValueError: inputs that are no images `[n, h, w]` or `[n, h, w, channels]`.
    """
    task = classified(run)
    if task is None:
        return None
    right = 100 * np.mean(task.said == task.true)
    text = (
        "One test episode. On the left what the learner is given, on the right what it "
        f"says of new images{', and how sure it is' * (task.sure is not None)}. "
        f"{right:.0f} % of this episode's queries are right."
    )
    shown = _turned(task) if upwards else task
    body = page.section("An episode", text, _grid(shown, ink))
    return body + confused(task) + (calibration(run) or "")


def _turned(task: Classified) -> Classified:
    """The same episode, its images upside down."""
    support, query = (
        rows._replace(inputs=rows.inputs[:, ::-1])
        for rows in (task.support, task.query)
    )
    return task._replace(support=support, query=query)


def _grid(task: Classified, ink: bool) -> str:
    """A row a class: its support on the left; its queries, framed right or wrong."""
    support, query = (
        as_pictures(x.inputs, ink) for x in _alike(task.support, task.query)
    )
    given = task.support.targets.argmax(-1)
    shown = task.present[:MOST_WAYS]
    body, cut = [], len(shown) < len(task.present)
    for c in shown:
        mine, asked = np.flatnonzero(given == c), np.flatnonzero(task.true == c)
        cut |= len(mine) > MOST_SHOTS or len(asked) > MOST_QUERIES
        left = "".join(figure_of(support[i], "") for i in mine[:MOST_SHOTS])
        right = "".join(_asked(task, i, query[i]) for i in asked[:MOST_QUERIES])
        name = page.name(task.names[c])
        body.append(
            f"<tr><th>{name}</th><td><div>{left}</div></td>"
            f"<td><div>{right}</div></td></tr>"
        )
    head = "<tr><th></th><th>support</th><th>queries</th></tr>"
    note = (
        f"Not all of it is shown: {len(task.present)} classes, {len(given)} support "
        f"images, {len(task.true)} queries."
    )
    table = f'<table class="episode">{head}{"".join(body)}</table>'
    return table + (page.note(note) if cut else "")


def _asked(task: Classified, i: int, pixels: np.ndarray) -> str:
    said, true = task.said[i], task.true[i]
    sure = "" if task.sure is None else f" {100 * task.sure[i]:.0f}&nbsp;%"
    if said < 0:
        return figure_of(pixels, "wrong", "✗ nan")
    if said == true:
        return figure_of(pixels, "right", f"✓{sure}")
    return figure_of(pixels, "wrong", f"✗ {page.name(task.names[said])}{sure}")


def figure_of(pixels: np.ndarray | None, kind: str, caption: str = "") -> str:
    """A small picture with a frame, "right", "wrong" or none, and words below it.

    Of what is no picture, the words alone.
    """
    image = ""
    if pixels is not None:
        sharp = ' class="sharp"' if max(pixels.shape[:2]) < 64 else ""
        image = f'<img{sharp} alt="" src="{page.inline(encoded(pixels))}">'
    caption = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="{kind}">{image}{caption}</figure>'


def _alike(support, query):
    """Both batches, scaled by one range: what is brighter stays brighter."""
    arrays = [np.asarray(x.inputs) for x in (support, query)]
    for x in arrays:
        if x.ndim not in (3, 4):
            raise ValueError(f"inputs: got {list(x.shape)}, wants images [n, h, w, c]")
    return (
        x._replace(inputs=array)
        for x, array in zip((support, query), one_range(arrays), strict=True)
    )


def one_range(arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Real numbers, all scaled by one range into [0, 1] unless they are there.

    >>> [x.tolist() for x in one_range([np.array([-1.0]), np.array([0.0, 1.0])])]
    [[0.0], [0.5, 1.0]]
    """
    if all(x.dtype.kind == "f" for x in arrays):
        real = np.concatenate([x.ravel() for x in arrays])
        real = real[np.isfinite(real)]
        low, high = (real.min(), real.max()) if len(real) else (0, 1)
        if low < 0 or high > 1:  # standardised, or some other scale
            return [(x - low) / max(high - low, 1e-12) for x in arrays]
    return arrays


def as_pictures(x: np.ndarray, ink: bool = False) -> np.ndarray:
    """Arrays of any usual kind as uint8 `[n, h, w]` or `[n, h, w, 3]`.

    >>> as_pictures(np.ones((1, 2, 2, 1), np.float32), ink=True).tolist()
    [[[0, 0], [0, 0]]]
    """
    if x.dtype.kind == "f":
        x = np.clip(np.nan_to_num(x), 0, 1) * 255 + 0.5
    elif x.dtype.kind == "b":
        x = x * 255
    x = np.clip(x, 0, 255).astype(np.uint8)
    if x.ndim == 4 and x.shape[-1] != 3:  # channels without a colour: their mean
        x = x[..., 0] if x.shape[-1] == 1 else x.mean(-1).astype(np.uint8)
    return 255 - x if ink and x.ndim == 3 else x


def encoded(pixels: np.ndarray) -> bytes:
    """A PNG, no larger than it is looked at."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((_LARGEST, _LARGEST))
    out = io.BytesIO()
    image.save(out, format="png")
    return out.getvalue()
