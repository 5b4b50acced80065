"""Handwritten characters of alphabets that do not exist: Omniglot without a download.

In the spirit of the generative model of Lake, Salakhutdinov, Tenenbaum 2015,
https://doi.org/10.1126/science.aab3050: a character is a few strokes, in relation to
each other; a drawing of it is a noisy copy.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Batch, Episode, Key
from jaxmeta.shapes import Float
from jaxmeta.tasks.inputs import class_labels, traced_once

STROKES = 4  # at most, in a character
KNOTS = 5  # in a stroke
POINTS = 33  # at which a stroke is inked: every knot, and seven between two of them
TRAITS = 15  # random numbers that make a stroke
JITTERS = STROKES * (KNOTS + 1) * 2 + 7  # and that make a drawing

# Standard deviations of a hand, where the half width of the paper is 1.
KNOT = 0.17  # of a knot, in steps of its stroke
STROKE = 0.05  # of a stroke as a whole
HAND = (0.12, 0.15, 0.12, 0.12, 0.1)  # turn, shear, log width, log height, log pen
PLACE = 0.12
PEN = 0.042  # sigma of the pen itself


class Character(NamedTuple):
    """What all drawings of a character share.

    Attributes:
      knots: `[strokes, knots, 2]`, x to the right and y down, within about [-1, 1].
      smooth: `[strokes]`, 1 for a curve through the knots, 0 for a broken line.
      present: `[strokes]`, 1 or 0.
    """

    knots: Array
    smooth: Array
    present: Array


def glyphs(ways: int, shots: int, queries: int, *, size: int = 28) -> Partial:
    """Builds the task of telling invented characters apart.

    Each episode invents `ways` new characters: there is no training set to run out of,
    and no class is ever met twice. Every drawing is a new one.

    Args:
      ways: characters in an episode.
      shots: support drawings of each.
      queries: query drawings of each.
      size: height and width of a drawing.

    Returns:
      A task, `key -> Episode`: inputs float32 `[ways * m, size, size, 1]`, ink 1 on
      paper 0, class by class as in `few_shot`; one-hot targets `[ways * m, ways]`.

    Raises:
      ValueError: a number below 1.

    References:
      Lake, Salakhutdinov, Tenenbaum 2015, https://doi.org/10.1126/science.aab3050.

    Example:
      >>> task = glyphs(ways=5, shots=1, queries=2)
      >>> episode = jax.jit(task)(jax.random.key(0))
      >>> episode.query.inputs.shape, episode.query.targets.shape
      ((10, 28, 28, 1), (10, 5))
    """
    at_least(1, ways=ways, shots=shots, queries=queries, size=size)
    return Partial(_Glyphs(ways, shots, queries, size))


@dataclass(frozen=True)
class _Glyphs:
    """The static half of a task, compared by value: an equal task is compiled once."""

    ways: int
    shots: int
    queries: int
    size: int

    @traced_once
    def __call__(self, key: Key) -> Episode:
        # All random numbers in two calls, each for one row of them: a call that asks for
        # several axes takes XLA two seconds to compile on a CPU, a row takes 0.3.
        shape_key, hand_key = jax.random.split(key)
        each = self.shots + self.queries
        shapes = jax.random.uniform(shape_key, (self.ways * STROKES * TRAITS,))
        shapes = shapes.reshape(self.ways, STROKES, TRAITS)
        hands = jax.random.normal(hand_key, (self.ways * each * JITTERS,))
        hands = hands.reshape(self.ways, each, JITTERS)
        characters = jax.vmap(invent)(shapes)
        redraw = jax.vmap(draw, (0, None, None))
        x = jax.vmap(redraw, (0, 0, None))(hands, characters, self.size)

        def batch(x: Array) -> Batch:
            labels = class_labels(self.ways, x.shape[1])
            return Batch.of_labels(x.reshape(-1, *x.shape[2:]), labels, self.ways)

        return Episode(batch(x[:, : self.shots]), batch(x[:, self.shots :]))

    def class_count(self) -> None:
        return None

    def resized(self, ways: int, shots: int, queries: int) -> Partial:
        return Partial(replace(self, ways=ways, shots=shots, queries=queries))


def invent(u: Float[Array, "strokes traits"]) -> Character:
    """Invents a character of one to four strokes; most touch the one before.

    Args:
      u: uniform numbers `[strokes, traits]`.

    Returns:
      The character.
    """
    strokes, smooth = _strokes(u[:, :10])
    meets, middle, there, count, extent = u[:, 10:].T
    # One stroke, when it is alone, tells little: 10 %. Two to four: 30 % each.
    present = jnp.arange(STROKES) <= jnp.sum(count[0] > jnp.array([0.1, 0.4, 0.7]))

    # Two of three strokes meet the one before, at any knot of that, with their own
    # first knot or (one of three) their middle one.
    joint = jnp.where(middle < 1 / 3, KNOTS // 2, 0)
    placed = [strokes[0]]
    for i in range(1, STROKES):
        before = placed[-1][(KNOTS * there[i]).astype(int)]
        shift = jnp.where(meets[i] < 2 / 3, before - strokes[i, joint[i]], 0.0)
        placed.append(strokes[i] + shift)
    knots = jnp.stack(placed)

    # Into the middle, and to the size of a character.
    shown = present[:, None, None]
    low = jnp.min(jnp.where(shown, knots, jnp.inf), axis=(0, 1))
    high = jnp.max(jnp.where(shown, knots, -jnp.inf), axis=(0, 1))
    scale = (0.95 + 0.6 * extent[0]) / jnp.max(high - low)
    knots = (knots - (low + high) / 2) * scale
    return Character(knots, smooth, present.astype(knots.dtype))


def _strokes(u: Array) -> tuple[Array, Array]:
    """Walks the pen: straight on, bending evenly, or with corners.

    Args:
      u: uniform numbers `[strokes, 10]`.

    Returns:
      Knots `[strokes, knots, 2]`, and which strokes are smooth, `[strokes]`.
    """
    kind, bend, heading, tilt, length = u[:, :5].T
    corners, start = u[:, 5:8], u[:, 8:10]
    # The first stroke is never straight: alone it would be a dash, as others are.
    kind = jnp.maximum(kind, jnp.array([0.25, 0.0, 0.0, 0.0]))
    smooth = (kind < 0.7).astype(u.dtype)

    both_ways = 2 * bend - 1  # its sign is the side, its size how much
    even = jnp.where(kind < 0.25, 0.0, jnp.sign(both_ways) * (0.3 + jnp.abs(both_ways)))
    # Half of the corners are none; the others turn by 1 to 2.5 radians, left or right.
    corner = 4 * corners - 2
    corner = jnp.sign(corner) * jnp.where(
        jnp.abs(corner) < 1, 0.0, 1.5 * jnp.abs(corner) - 0.5
    )
    turns = jnp.where(smooth[:, None] > 0, even[:, None], corner)

    # Scripts like level, upright and diagonal lines.
    first = jnp.floor(8 * heading) * (jnp.pi / 4) + 0.6 * (tilt - 0.5)
    angles = first[:, None] + jnp.pad(jnp.cumsum(turns, axis=1), ((0, 0), (1, 0)))
    steps = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    steps *= 0.2 + 0.3 * length[:, None, None]
    walk = jnp.pad(jnp.cumsum(steps, axis=1), ((0, 0), (1, 0), (0, 0)))
    return 1.6 * start[:, None] - 0.8 + walk, smooth


def draw(
    z: Float[Array, " jitters"], character: Character, size: int
) -> Float[Array, "size size 1"]:
    """Draws a character once, with the jitter of a hand.

    Args:
      z: normal numbers `[jitters]`.
      character: what to draw.
      size: height and width of the image.

    Returns:
      The image `[size, size, 1]`.
    """
    each, whole, rest = jnp.split(z, [STROKES * KNOTS * 2, STROKES * (KNOTS + 1) * 2])
    knots = character.knots
    # Knots stray by a share of the stroke's step: small strokes keep their shape.
    step = jnp.linalg.norm(knots[:, 1] - knots[:, 0], axis=-1)
    knots += KNOT * step[:, None, None] * each.reshape(knots.shape)
    knots += STROKE * whole.reshape(STROKES, 1, 2)

    turn, shear, wide, tall, pen = rest[:5] * jnp.array(HAND)
    rotation = jnp.array(
        [[jnp.cos(turn), jnp.sin(turn)], [-jnp.sin(turn), jnp.cos(turn)]]
    )
    slant = jnp.array([[jnp.exp(wide), 0.0], [shear, jnp.exp(tall)]])
    knots = knots @ slant @ rotation + PLACE * rest[5:]

    smooth = character.smooth[:, None, None]
    points = smooth * (CURVE @ knots) + (1 - smooth) * (LINE @ knots)
    return _ink(points, character.present, PEN * jnp.exp(pen), size)


def _ink(points: Array, present: Array, width: Array, size: int) -> Array:
    """Inks points `[strokes, points, 2]` with a round pen of sigma `width`.

    The pen is close to a Gaussian, which is a product of one in x and one in y, so the
    sum over all points is one product of matrices, `[size, n] @ [n, size]`. A point
    weighs as much as the length it stands for: slow and fast parts are equally dark.
    """
    gaps = jnp.linalg.norm(jnp.diff(points, axis=1), axis=-1)
    gaps = jnp.pad(gaps, ((0, 0), (1, 1)), mode="edge")
    weight = present[:, None] * (gaps[:, 1:] + gaps[:, :-1]) / (2 * 2.5 * width)
    centres = (2 * jnp.arange(size) + 1) / size - 1
    far = ((centres - points.reshape(-1, 2, 1)) / width) ** 2
    near = jnp.maximum(1 - far / 8, 0) ** 4  # exp(-far / 2) at a quarter of its time
    ink = jnp.einsum("p,py,px->yx", weight.reshape(-1), near[:, 1], near[:, 0])
    return jnp.minimum(1.6 * ink, 1)[..., None].astype(jnp.float32)


def _bases() -> tuple[np.ndarray, np.ndarray]:
    """Matrices `[points, knots]`: a Catmull-Rom curve, and a broken line."""
    t = np.linspace(0, KNOTS - 1, POINTS)
    piece = np.minimum(t.astype(int), KNOTS - 2)
    u = (t - piece)[:, None]
    eye = np.eye(KNOTS)
    # A knot beyond either end goes on straight ahead.
    far = np.concatenate([2 * eye[:1] - eye[1:2], eye, 2 * eye[-1:] - eye[-2:-1]])
    a, b, c, d = (far[piece + i] for i in range(4))
    curve = b + u / 2 * (
        (c - a) + u * ((2 * a - 5 * b + 4 * c - d) + u * (3 * (b - c) + d - a))
    )
    return curve.astype(np.float32), ((1 - u) * b + u * c).astype(np.float32)


CURVE, LINE = _bases()
