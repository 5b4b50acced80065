"""ResNet-12: its size, its DropBlock, its shapes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmeta.models.resnet12 import drop_block, resnet12


def count(model, images):
    meta = jax.eval_shape(model.init, jax.random.key(0), images)
    return sum(x.size for x in jax.tree.leaves(meta.params))


def test_number_of_parameters():
    images = jax.ShapeDtypeStruct((1, 84, 84, 3), jnp.float32)
    assert count(resnet12(None), images) == 12_424_320
    assert count(resnet12(5), images) == 12_424_320 + 5 * 641
    sizes, total = (3, 8, 16, 24, 32), 0
    for a, b in itertools.pairwise(sizes):
        total += 9 * a * b + 2 * 9 * b * b + a * b + 4 * 2 * b
    assert count(resnet12(None, widths=sizes[1:]), images) == total


@pytest.fixture(scope="module")
def small():
    model = resnet12(None, widths=(4, 4), norm="layer", drop_rate=0.3, drop_block=2)
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    return model, jax.jit(model.init)(jax.random.key(1), images), images


def test_drops_in_training_only_and_by_its_key(small):
    model, meta, images = small
    run = jax.jit(model.apply, static_argnames="train")
    one, two = jax.random.split(jax.random.key(2))
    plain = run(meta, images, train=False, key=one)[0]
    assert plain.shape == (2, 4)
    np.testing.assert_array_equal(plain, run(meta, images, train=False, key=two)[0])
    first = run(meta, images, train=True, key=one)[0]
    np.testing.assert_array_equal(first, run(meta, images, train=True, key=one)[0])
    assert np.abs(first - run(meta, images, train=True, key=two)[0]).max() > 1e-3
    assert np.abs(first - plain).max() > 1e-3


def test_drop_block_drops_squares():
    x = jnp.ones((200, 10, 10, 3))
    rate, b = 0.1, 3
    y = np.asarray(drop_block(x, jax.random.key(0), rate=rate, size=b))
    np.testing.assert_allclose(y.mean((1, 2, 3)), 1.0, rtol=1e-5)
    gone = y == 0
    # a pixel in the middle survives if none of the b^2 squares over it was started
    gamma = rate * 100 / (b**2 * 8**2)
    expected = 1 - (1 - gamma) ** (b * b)
    middle = gone[:, 2:8, 2:8].mean()
    assert abs(middle - expected) < 0.01
    # every dropped pixel lies in a dropped square
    whole = np.lib.stride_tricks.sliding_window_view(gone, (b, b), (1, 2)).all((-1, -2))
    covered = np.zeros_like(gone)
    for i in range(b):
        for j in range(b):
            covered[:, i : i + 8, j : j + 8] |= whole
    np.testing.assert_array_equal(covered, gone)


def test_single_pixels_are_dropout():
    y = drop_block(jnp.ones((500, 4, 4, 2)), jax.random.key(0), rate=0.25, size=1)
    assert abs(float((y == 0).mean()) - 0.25) < 0.01


def test_square_is_cut_to_the_map():
    y = drop_block(jnp.ones((4, 1, 1, 3)), jax.random.key(0), rate=0.5, size=5)
    assert np.all(np.isfinite(y))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(widths=()), "widths"),
        (dict(drop_rate=1.0), "drop_rate"),
        (dict(drop_block=0), "drop_block"),
        (dict(norm="nope"), "norm"),
        (dict(pool="max"), "pool: got 'max'"),
    ],
)
def test_errors_name_the_field(options, match):
    with pytest.raises(ValueError, match=match):
        resnet12(5, **options)
