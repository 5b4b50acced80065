"""Convolution: `lax` is the definition, and every derivative must be its derivative."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmeta.convolution import (
    algorithms,
    avg_pool,
    batch_norm,
    choice,
    conv,
    conv_general_dilated,
    max_pool,
)

NHWC = ("NHWC", "HWIO", "NHWC")


def reference(x, w, *, stride=1, padding="SAME"):
    return lax.conv_general_dilated(
        x, w, (stride, stride), padding, dimension_numbers=NHWC
    )


def draw(*shape, seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape))


def close(got, wanted, tol=1e-12):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * (1 + np.abs(b).max()))


def derivatives(f, x, w):
    """Value, gradient, gradient of a gradient, and forward over reverse."""

    def loss(x, w):
        return jnp.sum(jnp.sin(f(x, w)))

    def again(x, w):
        return sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1))(x, w))

    @jax.jit
    def all_of_them(x, w):
        forward = jax.jvp(jax.grad(loss, (0, 1)), (x, w), (w.sum() + x, w[::-1] - 1))
        return f(x, w), forward, jax.grad(again, (0, 1))(x, w)

    return all_of_them(x, w)


@pytest.mark.parametrize(
    ("impl", "window", "stride", "padding", "size", "channels"),
    [
        ("auto", (3, 3), 1, "SAME", (5, 6), 1),
        ("dot", (3, 3), 1, "SAME", (5, 6), 2),
        ("dot", (3, 3), 2, "SAME", (7, 6), 2),
        ("dot", (5, 5), 2, "VALID", (8, 7), 2),
        ("dot", (1, 1), 2, "SAME", (5, 4), 2),
        ("dot", (3, 2), 3, ((0, 2), (1, 0)), (10, 7), 2),
        ("dot", (7, 7), 4, "SAME", (9, 6), 1),
        ("dot", (2, 3), 1, "VALID", (4, 5), 2),
        ("dense", (3, 3), 1, "SAME", (2, 1), 2),
        ("dense", (3, 3), 2, "SAME", (4, 3), 2),
        ("dense", (2, 3), 1, "VALID", (3, 4), 2),
        ("winograd", (3, 3), 1, "SAME", (5, 6), 2),
        ("winograd", (3, 3), 1, "VALID", (6, 5), 2),
        ("xla", (3, 3), 2, "SAME", (6, 5), 2),
    ],
)
def test_every_derivative_is_that_of_lax(
    x64, impl, window, stride, padding, size, channels
):
    x, w = draw(2, *size, channels), draw(*window, channels, 3, seed=1)
    ours = functools.partial(conv, stride=stride, padding=padding, impl=impl)
    lax_s = functools.partial(reference, stride=stride, padding=padding)
    close(derivatives(ours, x, w), derivatives(lax_s, x, w))


@pytest.mark.parametrize(
    ("images", "side", "kernels"),
    [(5, 5, "dot"), (5, 7, "winograd"), (32, 3, "winograd")],
)
def test_small_layers_choose_by_their_size(images, side, kernels):
    shape = (images, side, side)
    options = (
        "auto",
        "cpu",
        1,
        jnp.dtype("float32"),
        (3, 3),
        1,
        side**2,
        shape,
        16,
        16,
    )
    assert choice._choose(*options) == "xla"
    geometry = dict(stride=1, pads=((1, 1), (1, 1)), size=(side, side), window=(3, 3))
    program = functools.partial(
        choice.kernel_gradient, tasks=1, platform="cpu", impl="auto", **geometry
    )
    image = jax.ShapeDtypeStruct((*shape, 16), jnp.float32)
    text = jax.jit(program).lower(image, image).as_text()
    assert (text.count("dot_general") >= 16) == (kernels == "winograd")
    x, w = draw(*shape, 16), draw(3, 3, 16, 16, seed=1) / 12
    x, w = x.astype(jnp.float32), w.astype(jnp.float32)
    got, wanted = (derivatives(f, x, w) for f in (conv, reference))
    close(got, wanted, 1e-4)


def test_maps_of_a_few_pixels_are_one_product():
    """By "auto" on a CPU: no convolution and no patches, and float32's accuracy."""
    x, w = draw(7, 2, 2, 16), draw(3, 3, 16, 16, seed=1) / 8
    x, w = x.astype(jnp.float32), w.astype(jnp.float32)
    geometry = dict(stride=1, pads=((1, 1), (1, 1)), size=(2, 2), window=(3, 3))
    options = dict(tasks=1, platform="cpu", impl="auto", **geometry)
    for program, operands in (
        (choice.forward, (x, w)),
        (choice.input_gradient, (x, w)),
        (choice.kernel_gradient, (x, x)),
    ):
        text = str(jax.make_jaxpr(functools.partial(program, **options))(*operands))
        assert "conv" not in text and "7,2,2,3,3" not in text
        assert text.count("dot_general") == 2  # the matrix and the product by it
    got, wanted = (derivatives(f, x, w) for f in (conv, reference))
    close(got, wanted, 1e-4)


@pytest.mark.parametrize("impl", ["auto", "dot", "dense", "winograd", "xla"])
@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_shapes_of_lax(impl, window, stride, padding):
    for size in ((5, 6), (8, 7)):
        x, w = jnp.zeros((2, *size, 1)), jnp.zeros((window, window, 1, 3))
        ours = functools.partial(conv, stride=stride, padding=padding, impl=impl)
        lax_s = functools.partial(reference, stride=stride, padding=padding)
        assert jax.eval_shape(ours, x, w) == jax.eval_shape(lax_s, x, w)


@pytest.mark.parametrize("impl", ["dot", "dense", "winograd", "xla"])
@pytest.mark.parametrize("axes", [(0, None), (None, 1), (1, 0)])
def test_vmap_of_value_and_gradients(x64, impl, axes):
    x, w = draw(2, 3, 4, 5, 2), draw(2, 3, 3, 2, 4, seed=1)
    x = x[0] if axes[0] is None else jnp.moveaxis(x, 0, axes[0])
    w = w[0] if axes[1] is None else jnp.moveaxis(w, 0, axes[1])

    def both(f):
        def one(x, w):
            return f(x, w), jax.grad(lambda *a: jnp.sum(f(*a) ** 3), (0, 1))(x, w)

        return jax.jit(jax.vmap(one, axes))(x, w)

    close(both(functools.partial(conv, impl=impl)), both(reference))


def test_gradient_of_vmap_of_second_order_adaptation(x64):
    """The order of a newcomer: the gradient outside, tasks and their weights inside."""
    x, w = draw(3, 2, 4, 4, 2), draw(3, 3, 2, 2, seed=1)

    def meta(f, w, x=x):
        def task(x):
            def loss(w):
                return jnp.sum(jnp.tanh(f(x, w)) ** 2)

            return loss(w - 0.1 * jax.grad(loss)(w))

        return jnp.sum(jax.vmap(task)(x))

    got = jax.jit(jax.grad(functools.partial(meta, conv)))(w)
    # on the CPU: a GPU's own grouped convolution is 5e-7 off here, even in float64
    cpu = jax.device_put((x, w), jax.devices("cpu")[0])
    wanted = jax.jit(jax.grad(functools.partial(meta, reference)))(cpu[1], cpu[0])
    close(got, wanted)
    remat = jax.checkpoint(functools.partial(meta, conv))
    close(jax.jit(jax.grad(remat))(w), wanted)


def test_nested_vmap(x64):
    x, w = draw(2, 3, 1, 4, 4, 2), draw(2, 3, 3, 3, 2, 2, seed=1)
    twice = lambda f: jax.vmap(jax.vmap(f))(x, w)  # noqa: E731
    close(twice(conv), twice(reference))
    outer = lambda f: jax.vmap(jax.vmap(f, (0, None)), (None, 0))(x[0], w[:, 0])  # noqa: E731
    close(outer(conv), outer(reference))


def test_winograd_is_as_exact_as_float32_allows():
    x, w = draw(4, 14, 14, 64), draw(3, 3, 64, 64, seed=1) / 24
    x, w = x.astype(jnp.float32), w.astype(jnp.float32)
    with jax.enable_x64(True):
        wanted = reference(x.astype(jnp.float64), w.astype(jnp.float64))
    error = jnp.abs(conv(x, w, impl="winograd") - wanted.astype(jnp.float32)).max()
    assert error < 2e-5  # outputs are of order 1; "dot" gives about 5e-6


def test_inside_shard_map():
    mesh = jax.make_mesh((1,), ("tasks",), axis_types=(jax.sharding.AxisType.Auto,))
    x, w = draw(2, 4, 4, 2).astype("float32"), draw(3, 3, 2, 3).astype("float32")
    spec = jax.P("tasks")

    def loss(f, x, w):
        return jnp.sum(f(x, w) ** 2)[None]

    def total(f):
        local = functools.partial(loss, f)
        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=(spec, jax.P()), out_specs=spec
        )
        return jax.grad(lambda w: mapped(x, w).sum())(w)

    close(total(conv), total(reference), 1e-4)


def test_general_dilated_covers_and_falls_back():
    x, w = draw(2, 7, 6, 2).astype("float32"), draw(3, 3, 2, 4).astype("float32")
    for case in (
        {"padding": "SAME"},
        {"padding": ((1, 0), (2, 1))},
        {"padding": "SAME", "window_strides": (2, 2)},
        {"padding": "SAME", "window_strides": (1, 2)},
        {"padding": "VALID", "rhs_dilation": (2, 2)},
        {"padding": ((3, 3), (0, 0))},
        {"padding": "VALID", "precision": "highest"},
    ):
        case = {"window_strides": (1, 1), "dimension_numbers": NHWC, **case}
        got = conv_general_dilated(x, w, **case)
        close(got, lax.conv_general_dilated(x, w, **case), 1e-5)
    grouped = draw(3, 3, 1, 4).astype("float32")
    case = {"dimension_numbers": NHWC, "feature_group_count": 2}
    got = conv_general_dilated(x, grouped, (1, 1), "SAME", **case)
    close(got, lax.conv_general_dilated(x, grouped, (1, 1), "SAME", **case), 1e-5)


def test_pooling_by_hand():
    x = jnp.arange(35.0).reshape(1, 5, 7, 1)
    window = ((1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    assert (max_pool(x) == lax.reduce_window(x, -jnp.inf, lax.max, *window)).all()
    assert (avg_pool(x) == lax.reduce_window(x, 0.0, lax.add, *window) / 4).all()
    ties = jax.grad(lambda x: max_pool(x).sum())(jnp.zeros((1, 4, 4, 1)))
    assert ties.sum() == 4  # one entry of every window, not a share of four


def sliced_pool(x):
    """Pooling without a rule of its own: what its selects transpose to."""
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    (a, b), (c, d) = [[x[:, i:h:2, j:w:2] for j in (0, 1)] for i in (0, 1)]
    upper, lower = jnp.where(a > b, a, b), jnp.where(c > d, c, d)
    return jnp.where(upper > lower, upper, lower)


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (2, 7, 5, 3)])
def test_pooling_by_a_mask_has_the_same_derivatives(shape):
    """Every order, ties and odd edges included."""
    x = jnp.round(2 * draw(*shape).astype(jnp.float32)) / 2  # with ties

    def derivatives(pool):
        loss = lambda x: jnp.sum(jnp.sin(pool(x)) ** 2)  # noqa: E731
        again = lambda x: jnp.sum(jax.grad(loss)(x) ** 2)  # noqa: E731
        slope = jax.jvp(jax.grad(loss), (x,), (x * x + 1,))
        return pool(x), slope, jax.grad(again)(x)

    found = jax.jit(lambda: derivatives(max_pool))()
    close(found, jax.jit(lambda: derivatives(sliced_pool))(), 1e-6)


def reshape_pool(x):
    n, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    return x.max((2, 4))


def pooled_gradients(pool, dtype, vmap):
    """First-layer gradients of conv, norm with scale and offset, ReLU and pool, twice."""
    r = np.random.RandomState(0)
    x = jnp.asarray(r.rand(4, 5, 16, 16, 1), dtype)
    p = {
        "w1": jnp.asarray(r.randn(3, 3, 1, 8) / 3, dtype),
        "w2": jnp.asarray(r.randn(3, 3, 8, 8) / 8, dtype),
        "scale": jnp.asarray(1 + 0.1 * r.randn(8), dtype),
        "offset": jnp.asarray(0.1 * r.randn(8), dtype),
    }

    def loss(p, x):
        for name in ("w1", "w2"):
            x = batch_norm(conv(x, p[name], impl="dot"), p["scale"], p["offset"])[0]
            x = pool(jax.nn.relu(x))
        return jnp.mean(jnp.square(x.mean((1, 2)) - 1))

    mapped = jax.vmap(jax.grad(loss), (None, 0))
    return jax.jit(mapped if vmap else jax.grad(lambda p, x: loss(p, x[0])))(p, x)["w1"]


def test_pooling_survives_jit_of_vmap_of_grad():
    with jax.enable_x64(True):  # without `vmap` every pooling is right
        wanted = np.asarray(pooled_gradients(max_pool, jnp.float64, vmap=False))
    got = pooled_gradients(max_pool, jnp.float32, vmap=True)[0]
    assert np.abs(got - wanted).max() < 1e-4 * np.abs(wanted).max()
    # For the record and not asserted: seen wrong by a third of the largest entry on
    # jaxlib 0.10.2, CPU, in other networks of this form.
    other = pooled_gradients(reshape_pool, jnp.float32, vmap=True)[0]
    print(np.abs(other - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": jnp.zeros((4, 4, 1))}, "x, w: got"),
        ({"w": jnp.zeros((3, 3, 2, 1))}, "x, w: got"),
        ({"w": jnp.zeros((3, 3, 1, 1), jnp.bfloat16)}, "one floating dtype"),
        ({"stride": 0}, "stride: got 0"),
        ({"padding": "FULL"}, "padding: got 'FULL'"),
        ({"impl": "fft"}, "impl: got 'fft'"),
    ],
)
def test_errors(change, message):
    case = {"x": jnp.zeros((1, 4, 4, 1)), "w": jnp.zeros((3, 3, 1, 1)), **change}
    with pytest.raises(ValueError, match=message):
        conv(case.pop("x"), case.pop("w"), **case)


@pytest.mark.parametrize("cpu", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_blocks_of_images_change_nothing(x64, size, cpu):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (6, 5, 5, 2))
    w = jax.random.normal(keys[1], (3, 3, 2, 3))
    g = jax.random.normal(keys[2], (6, 5, 5, 3))
    pads = ((1, 1), (1, 1))
    whole = algorithms.winograd(x, w, pads)
    blocks = algorithms.winograd_in_blocks(x, w, pads, size)
    np.testing.assert_allclose(blocks, whole, atol=1e-13)
    kernel = functools.partial(algorithms.winograd_kernel, pads=pads, cpu=cpu)
    parts = algorithms.in_blocks(kernel, size, x, g)
    assert parts.shape[0] == 6 // size
    np.testing.assert_allclose(parts.sum(0), kernel(x, g), atol=1e-13)
    wanted = algorithms.dot_kernel(x, g, (3, 3), 1, pads)
    np.testing.assert_allclose(kernel(x, g), wanted, atol=1e-13)


def test_blocks_are_divisors():
    assert algorithms.block_size(75) == 75
    assert algorithms.block_size(600) == 120
    assert algorithms.block_size(131) == 131  # a prime
    assert algorithms.block_size(75, 20) == 15
    assert algorithms.block_size(75, 1) == 1


def test_a_block_fits_into_the_cache_of_a_core():
    f32, f64 = np.dtype("float32"), np.dtype("float64")
    assert algorithms.cached((14, 14), 64, f32) == 2**22 // (16 * 49 * 64 * 4)
    assert algorithms.cached((7, 7), 64, f64) == 2**22 // (16 * 16 * 64 * 8)
    assert algorithms.cached((500, 500), 640, f32) == 1


@pytest.mark.parametrize(("threads", "blocks"), [(1, True), (9, False)])
def test_a_device_of_one_core_works_in_blocks(monkeypatch, threads, blocks):
    monkeypatch.setattr(choice, "cpu_threads", lambda: threads)
    x, w = jnp.zeros((75, 14, 14, 64)), jnp.zeros((3, 3, 64, 64))
    text = jax.jit(lambda x: conv(x, w)).lower(x).as_text()
    assert ("stablehlo.while" in text) == blocks
    gradient = jax.jit(jax.grad(lambda w: jnp.sum(jnp.sin(conv(x, w)))))
    text = gradient.lower(w).as_text()
    assert text.count("stablehlo.while") == blocks  # of the forward pass alone


@pytest.mark.parametrize(("platform", "natural"), [("tpu", True), ("cuda", False)])
def test_a_tpu_keeps_its_compilers_convolution(platform, natural):
    """Grouped for weights of every task's own, in the value and in both gradients."""
    x, w = jnp.zeros((4, 3, 8, 8, 2)), jnp.zeros((4, 3, 3, 2, 16))
    gradients = jax.grad(lambda x, w: jnp.sum(jnp.sin(conv(x, w))), (0, 1))
    traced = jax.jit(jax.vmap(gradients)).trace(x, w)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert (text.count("stablehlo.convolution") == 3) == natural
    assert ("stablehlo.dot_general" in text) != natural


@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((1, 1, 1, 2), (5, 5, 2, 2)),  # a kernel longer than the image
        ((0, 8, 8, 1), (3, 3, 1, 2)),
        ((2, 8, 8, 1), (3, 3, 1, 0)),
    ],
)
def test_where_nothing_is_convolved_it_is_laxs(x, w):
    x, w = jnp.ones(x), jnp.ones(w)
    ours = functools.partial(conv, stride=2, padding="VALID")
    wanted = reference(x, w, stride=2, padding="VALID")
    for got in (
        ours(x, w),
        conv_general_dilated(x, w, (2, 2), "VALID", dimension_numbers=NHWC),
    ):
        assert got.shape == wanted.shape and got.size == 0
    for got, like in zip(
        jax.grad(lambda *a: ours(*a).sum(), (0, 1))(x, w), (x, w), strict=True
    ):
        assert got.shape == like.shape and not got.any()
