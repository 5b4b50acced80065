"""Augmentations: values by hand, distributions, shapes; and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from scipy.stats import chisquare

from jaxmeta.functional import augment
from jaxmeta.tasks import augmented, glyphs

FALSE_ALARM = 1e-3  # of each chi-squared test, over seeds; the seed is fixed
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(size=(6, 6, 3)), jnp.float32)
KEYS = jax.random.split(jax.random.key(0), 800)


def many(function):
    return np.asarray(jax.jit(jax.vmap(function, (0, None)))(KEYS, IMAGE))


def which(results, candidates):
    """The number of the candidate that each result is, exactly."""
    same = (results[:, None] == np.stack(candidates)[None]).all((2, 3, 4))
    assert (same.sum(1) == 1).all()
    return np.bincount(same.argmax(1), minlength=len(candidates))


def test_flips_turns_and_crops_are_uniform_over_what_they_can_give():
    image = np.asarray(IMAGE)
    flips = which(many(augment.flip), [image, image[:, ::-1]])
    assert chisquare(flips).pvalue > FALSE_ALARM
    turns = which(many(augment.quarter_turn), [np.rot90(image, k) for k in range(4)])
    assert chisquare(turns).pvalue > FALSE_ALARM
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    crops = [padded[i : i + 6, j : j + 6] for i in range(5) for j in range(5)]
    found = which(many(lambda k, x: augment.crop(k, x, padding=2)), crops)
    assert chisquare(found).pvalue > FALSE_ALARM


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2, np.pi / 2])
def test_a_turn_is_scipys(angle):
    want = scipy.ndimage.rotate(
        np.asarray(IMAGE, np.float64), np.rad2deg(angle), reshape=False, order=1,
        mode="nearest",
    )  # fmt: skip
    np.testing.assert_allclose(augment.turn(IMAGE, angle), want, atol=1e-5)


def test_rotations_stay_within_their_angle():
    # a mark at the middle of the right edge rises by radius * sin(angle)
    image = jnp.zeros((21, 21, 1)).at[10, 20].set(1.0)
    turned = jax.vmap(lambda k: augment.rotate(k, image, degrees=30.0))(KEYS[:200])
    rows = np.asarray(turned[..., 0]).sum(2)
    rise = 10 - (rows * np.arange(21)).sum(1) / rows.sum(1)
    assert np.abs(rise).max() <= 10 * np.sin(np.pi / 6) + 0.5
    assert (rise > 1).any() and (rise < -1).any()


def test_colour_jitter_is_its_equations():
    key = KEYS[3]
    got = augment.colour_jitter(
        key, IMAGE, brightness=0.2, contrast=0.5, saturation=2.0
    )
    b, k, s = np.asarray(
        jax.random.uniform(
            key,
            (3,),
            minval=jnp.array([0.8, 0.5, 0.0]),
            maxval=jnp.array([1.2, 1.5, 3.0]),
        )
    )
    luma = np.array([0.299, 0.587, 0.114])
    x = np.clip(b * np.asarray(IMAGE), 0, 1)
    mean = (x @ luma).mean()
    x = np.clip(mean + k * (x - mean), 0, 1)
    grey = (x @ luma)[..., None]
    np.testing.assert_allclose(got, np.clip(grey + s * (x - grey), 0, 1), atol=1e-6)
    still = augment.colour_jitter(key, IMAGE, brightness=0, contrast=0, saturation=0)
    np.testing.assert_allclose(still, IMAGE, atol=1e-6)
    one = augment.colour_jitter(key, IMAGE[..., :1], saturation=0.9)
    assert one.shape == (6, 6, 1)


def test_a_task_of_augmented_images():
    plain = glyphs(2, 1, 2, size=12)
    task = augmented(
        plain, augment.chain(augment.flip, augment.quarter_turn), query=False
    )
    sample = jax.jit(lambda task, key: task(key))
    episode, before = (sample(t, jax.random.key(1)) for t in (task, plain))
    np.testing.assert_array_equal(episode.query.inputs, before.query.inputs)
    for new, old in zip(episode.support.inputs, before.support.inputs, strict=True):
        np.testing.assert_array_equal(np.sort(np.ravel(new)), np.sort(np.ravel(old)))
    seen = {sample(task, k).support.inputs.tobytes() for k in KEYS[:5]}
    assert len(seen) == 5


def test_what_cannot_be_is_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="padding: got 6, wants 0 to 5"):
        augment.crop(key, IMAGE, padding=6)
    with pytest.raises(ValueError, match=r"image: got .*, wants a square"):
        augment.quarter_turn(key, IMAGE[:4])
    with pytest.raises(ValueError, match="wants 1 or 3 channels"):
        augment.colour_jitter(key, IMAGE[..., :2])


def test_an_affine_map_is_scipys_and_stays_within_its_bounds():
    """Drawn numbers of the largest size; scipy has the same matrix in float64."""
    key = jax.random.key(3)
    a, s, u, v, down, right = np.asarray(jax.random.uniform(key, (6,), minval=-1.0))
    angle = np.deg2rad(10.0) * a
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = turned @ [[1, 0.15 * s], [0, 1]] @ np.diag(np.exp([0.1 * u, 0.1 * v]))
    centre = np.array([2.5, 2.5])
    offset = centre - matrix @ centre + 6 * 0.05 * np.array([down, right])
    image = np.asarray(IMAGE, np.float64)
    want = [
        scipy.ndimage.affine_transform(
            image[..., c], matrix, offset, order=1, mode="nearest"
        )
        for c in range(3)
    ]
    got = augment.affine(key, IMAGE)
    np.testing.assert_allclose(got, np.stack(want, -1), atol=1e-5)
    still = augment.affine(key, IMAGE, degrees=0, shear=0, scale=0, shift=0)
    np.testing.assert_allclose(still, IMAGE, atol=1e-6)


def test_an_elastic_map_is_still_at_strength_zero_and_smooth():
    np.testing.assert_allclose(
        augment.elastic(KEYS[0], IMAGE, strength=0.0), IMAGE, atol=1e-6
    )
    ramp = jnp.broadcast_to(jnp.arange(32.0)[:, None, None], (32, 32, 1))
    moved = augment.elastic(KEYS[0], ramp, strength=0.03, cells=3) - ramp
    inner = np.asarray(moved[4:-4, 4:-4, 0])
    assert 0.3 < inner.std() < 3.0  # 3 % of 32 pixels, at the knots
    assert np.abs(np.diff(inner, axis=1)).max() < 0.6  # no jump between neighbours


def test_a_warp_is_an_elastic_change_of_an_affine_one():
    # a plane: bilinear reading of it is exact, once or twice, but for the edges
    y, x = jnp.meshgrid(jnp.arange(40.0), jnp.arange(30.0), indexing="ij")
    plane = (0.02 * y - 0.03 * x)[..., None]
    sizes = dict(degrees=9.0, shear=0.2, scale=0.1, shift=0.04)
    for key in KEYS[:5]:
        whole, local = jax.random.split(key)
        moved = augment.affine(whole, plane, **sizes)
        twice = augment.elastic(local, moved, strength=0.03)
        once = augment.warp(key, plane, **sizes, strength=0.03)
        inside = (slice(12, 28), slice(9, 21))
        np.testing.assert_allclose(once[inside], twice[inside], atol=1e-4)
        assert abs(once - plane).max() > 0.05
    still = dict.fromkeys((*sizes, "strength"), 0.0)
    np.testing.assert_allclose(augment.warp(KEYS[0], plane, **still), plane, atol=1e-5)
