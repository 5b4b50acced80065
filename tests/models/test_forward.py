"""Every network against a forward pass in NumPy, written from its paper's description.

And the published defaults, with their sources.
"""

import importlib
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def convolve(x, layer, stride=1, valid=False):
    """Cross-correlation, zeros outside; the output of size ceil(size / stride)."""
    w = layer["kernel"]
    k, (n, height, width, _) = w.shape[0], x.shape
    out = [-(-size // stride) for size in (height, width)]
    total = [
        max((o - 1) * stride + k - s, 0)
        for o, s in zip(out, (height, width), strict=True)
    ]
    x = np.pad(x, [(0, 0), *[(t // 2, t - t // 2) for t in total], (0, 0)])
    y = np.zeros((n, *out, w.shape[3]))
    for i in range(out[0]):
        for j in range(out[1]):
            patch = x[:, i * stride : i * stride + k, j * stride : j * stride + k]
            y[:, i, j] = np.einsum("nabc,abcd->nd", patch, w)
    y = y + layer.get("bias", 0)
    return y[:, 1:-1, 1:-1] if valid else y


def pool(x):
    n, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    return x.max((2, 4))


def standard(x, axes, eps):
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(x.var(axes, keepdims=True) + eps)


def norm(x, layer, stats, kind, train):
    if kind is None:
        return x
    if kind == "group":
        groups = np.gcd(8, x.shape[-1])
        split = x.reshape(*x.shape[:-1], groups, -1)
        x = standard(split, (1, 2, 4), 1e-5).reshape(x.shape)
    elif kind == "layer":
        x = standard(x, (1, 2, 3), 1e-5)
    elif kind == "batch_running" and not train:
        x = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    else:
        x = standard(x, (0, 1, 2), 1e-5)
    return x * layer["scale"] + layer["bias"]


def relu(x):
    return np.maximum(x, 0)


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def conv4(p, s, x, train, *, kind="batch", stride=1, pools=4, valid=0, blocks=2):
    for i in range(1, blocks + 1):
        block, stats = p[f"block{i}"], s.get(f"block{i}", {}).get("norm")
        x = convolve(x, block["conv"], stride, i <= valid)
        x = relu(norm(x, block.get("norm"), stats, kind, train))
        x = pool(x) if stride == 1 and i <= pools else x
    if "head" not in p:
        return x
    x = x.mean((1, 2)) if stride == 2 else x.reshape(len(x), -1)
    return dense(x, p["head"])


def convnet(p, s, x, train, *, kind, strides):
    for i, stride in enumerate(strides, 1):
        block, stats = p[f"block{i}"], s.get(f"block{i}", {}).get("norm")
        x = convolve(x, block["conv"], stride)
        x = relu(norm(x, block.get("norm"), stats, kind, train))
    return dense(x.reshape(len(x), -1), p["head"])


def resnet12(p, s, x, train, *, flatten):
    for i in (1, 2):
        block, stats = p[f"block{i}"], s[f"block{i}"]

        def normed(x, name, block=block, stats=stats):
            return norm(x, block[name], stats[name], "batch_running", train)

        y = leaky(normed(convolve(x, block["conv1"]), "norm1"))
        y = leaky(normed(convolve(y, block["conv2"]), "norm2"))
        y = normed(convolve(y, block["conv3"]), "norm3")
        x = pool(leaky(y + normed(convolve(x, block["shortcut"]), "shortcut_norm")))
    return dense(x.reshape(len(x), -1) if flatten else x.mean((1, 2)), p["head"])


def efficientnet_lite0(p, s, x, train):
    def normed(x, at, name, stats):
        eps = 1e-3
        mean, var = stats[name]["mean"], stats[name]["var"]
        if train:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) / np.sqrt(var + eps) * at[name]["scale"] + at[name]["bias"]

    def relu6(x):
        return np.clip(x, 0, 6)

    def depthwise(x, layer, stride):  # each channel an image of its own
        one = [
            convolve(
                x[..., c : c + 1], {"kernel": layer["kernel"][..., c : c + 1]}, stride
            )
            for c in range(x.shape[-1])
        ]
        return np.concatenate(one, -1)

    x = relu6(normed(convolve(x, p["stem"], 2), p, "stem_norm", s))
    for i, (stride, residual) in enumerate([(2, False), (1, True)], 1):
        block, stats = p[f"block{i}"], s[f"block{i}"]
        y = relu6(normed(convolve(x, block["expand"]), block, "expand_norm", stats))
        y = depthwise(y, block["depthwise"], stride)
        y = relu6(normed(y, block, "depthwise_norm", stats))
        y = normed(convolve(y, block["project"]), block, "project_norm", stats)
        x = x + y if residual else y
    x = relu6(normed(convolve(x, p["top"]), p, "top_norm", s)).mean((1, 2))
    return dense(x, p["head"])


def resnet(p, s, x, train, *, small):
    def conv(x, layer, stride=1):  # as many zeros before as after
        w = layer["kernel"]
        k, edge = w.shape[0], w.shape[0] // 2
        x = np.pad(x, [(0, 0), (edge, edge), (edge, edge), (0, 0)])
        starts = [range(0, side - k + 1, stride) for side in x.shape[1:3]]
        rows = [
            [
                np.einsum("nabc,abcd->nd", x[:, i : i + k, j : j + k], w)
                for j in starts[1]
            ]
            for i in starts[0]
        ]
        return np.stack([np.stack(row, 1) for row in rows], 1)

    def normed(x, at, name, stats):
        return norm(x, at[name], stats[name], "batch_running", train)

    x = relu(normed(conv(x, p["stem"], 1 if small else 2), p, "stem_norm", s))
    if not small:
        x = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])  # after a ReLU, 0 is the least
        places = [range(0, side - 2, 2) for side in x.shape[1:3]]
        rows = [
            [x[:, i : i + 3, j : j + 3].max((1, 2)) for j in places[1]]
            for i in places[0]
        ]
        x = np.stack([np.stack(row, 1) for row in rows], 1)
    for i, stride in ((1, 1), (2, 2)):
        block, stats = p[f"stage{i}"]["block1"], s[f"stage{i}"]["block1"]
        convs = 3 if "conv3" in block else 2
        y = x
        for k in range(1, convs + 1):
            y = conv(y, block[f"conv{k}"], stride if k == convs - 1 else 1)
            y = normed(y, block, f"norm{k}", stats)
            y = y if k == convs else relu(y)
        if "shortcut" in block:
            x = normed(
                conv(x, block["shortcut"], stride), block, "shortcut_norm", stats
            )
        x = relu(x + y)
    return dense(x.mean((1, 2)), p["head"])


def vit(p, s, x, train, *, eps, quick):
    patches = [
        x[:, i : i + 2, j : j + 2].reshape(len(x), -1)
        for i in range(0, x.shape[1] - 1, 2)
        for j in range(0, x.shape[2] - 1, 2)
    ]

    def normed(x, layer):
        return standard(x, (2,), eps) * layer["scale"] + layer["bias"]

    def gelu(x):
        if quick:
            return x * sigmoid(1.702 * x)
        return x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))) / 2

    x = np.stack(patches, 1) @ p["embed"]["kernel"] + p["embed"].get("bias", 0)
    own = 2 if "distilled" in p else 1
    x = x + p["position"][own:]
    first = [p["cls"] + p["position"][:1]]
    first += [p["distilled"] + p["position"][1:2]] if own == 2 else []
    first += [p["registers"]] if "registers" in p else []
    first = np.concatenate(first)
    x = np.concatenate([np.broadcast_to(first, (len(x), *first.shape)), x], 1)
    x = normed(x, p["pre_norm"]) if "pre_norm" in p else x
    block = p["block1"]
    y, a, heads = normed(x, block["norm1"]), block["attention"], []
    q, k, v = (dense(y, a[name]) for name in ("query", "key", "value"))
    for h in (slice(0, 2), slice(2, 4)):
        z = np.exp(q[..., h] @ k[..., h].swapaxes(1, 2) / np.sqrt(2))
        heads.append(z / z.sum(-1, keepdims=True) @ v[..., h])
    x = x + dense(np.concatenate(heads, -1), a["out"]) * block.get("gamma1", 1)
    y = dense(gelu(dense(normed(x, block["norm2"]), block["up"])), block["down"])
    x = normed(x + y * block.get("gamma2", 1), p["norm"])
    if own == 2:
        return (dense(x[:, 0], p["head"]) + dense(x[:, 1], p["head_distilled"])) / 2
    x = x[:, 0]
    return x @ p["projection"]["kernel"] if "projection" in p else dense(x, p["head"])


def mlp(p, s, x, train):
    x = x.reshape(len(x), -1)
    x = relu(dense(relu(dense(x, p["layer1"])), p["layer2"]))
    return dense(x, p["head"])


def transformer(p, s, x, train, *, cls):
    if x.ndim == 4:  # 2x2 patches, row by row, each its pixels row by row
        x = np.stack(
            [
                x[:, i : i + 2, j : j + 2].reshape(len(x), -1)
                for i in range(0, x.shape[1], 2)
                for j in range(0, x.shape[2], 2)
            ],
            1,
        )

    def normed(x, layer):
        return standard(x, (2,), 1e-6) * layer["scale"] + layer["bias"]

    def gelu(x):  # by the hyperbolic tangent, as in the papers' code
        return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    x = dense(x, p["embed"])
    if cls:
        x = np.concatenate([np.broadcast_to(p["cls"], (len(x), 1, 4)), x], 1)
    x = x + p["position"]
    block = p["block1"]
    y, a = normed(x, block["norm1"]), block["attention"]
    heads = []
    q, k, v = (y @ a[name]["kernel"] for name in ("query", "key", "value"))
    for h in (slice(0, 2), slice(2, 4)):
        z = np.exp(q[..., h] @ k[..., h].swapaxes(1, 2) / np.sqrt(2))
        heads.append(z / z.sum(-1, keepdims=True) @ v[..., h])
    x = x + dense(np.concatenate(heads, -1), a["out"])
    x = x + dense(gelu(dense(normed(x, block["norm2"]), block["up"])), block["down"])
    x = normed(x, p["norm"])
    return dense(x[:, 0] if cls else x.mean(1), p["head"])


def lstm(p, s, x, train):
    def last(cell, x):
        h = c = np.zeros((len(x), 2))
        for t in range(x.shape[1]):
            z = np.concatenate([x[:, t], h], 1) @ cell["kernel"] + cell["bias"]
            i, f, g, o = np.split(z, 4, 1)
            c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        return h

    both = [last(p["forward"], x), last(p["backward"], x[:, ::-1])]
    return dense(np.concatenate(both, 1), p["head"])


def relation(p, s, x, train):
    if x.ndim == 4:
        for i in (1, 2):
            x = convolve(x, p[f"conv{i}"])
            x = pool(relu(norm(x, p[f"norm{i}"], None, "batch", train)))
    x = relu(dense(x.reshape(len(x), -1), p["hidden"]))
    return dense(x, p["head"])[:, 0]


def generator(p, s, x, train):
    def double(x):
        return np.kron(x, np.ones((1, 2, 2, 1)))

    x = dense(x, p["dense"]).reshape(len(x), 1, 1, 3)
    x = double(relu(norm(x, p["norm1"], None, "batch", train)))
    x = convolve(x, p["conv2"])
    x = double(relu(norm(x, p["norm2"], None, "batch", train)))
    return sigmoid(convolve(x, p["head"]))


M = jm.models
SMALL = dict(filters=2, blocks=2)
TOKENS = dict(patch=2, width=4, depth=1, heads=2, expansion=2)
VIT = dict(patch=2, width=4, depth=1, heads=2, hidden=5)
IMAGES = (3, 8, 6, 1)
# the network, its NumPy function, that one's options, the inputs
NETWORKS = {
    "conv4": (M.conv4(2, **SMALL), conv4, {}, IMAGES),
    **{
        f"conv4-{kind}": (M.conv4(2, norm=kind, **SMALL), conv4, dict(kind=kind), IMAGES)
        for kind in ("batch_running", "group", "layer", None)
    },
    "conv4-stride": (
        M.conv4(2, downsample="stride", **SMALL), conv4, dict(stride=2), IMAGES,
    ),
    "conv4-maps": (
        M.conv4(None, flatten=False, pools=1, valid=1, **SMALL),
        conv4, dict(pools=1, valid=1), (3, 10, 8, 2),
    ),
    **{
        f"convnet-{kind}": (
            M.convnet(2, widths=(2, 3), sizes=(5, 3), strides=(3, 1), norm=kind),
            convnet, dict(kind=kind, strides=(3, 1)), (3, 8, 7, 2),
        )
        for kind in ("batch_running", None)
    },
    "resnet12": (
        M.resnet12(2, widths=(2, 3), drop_rate=0.0), resnet12, dict(flatten=False), IMAGES,
    ),
    "resnet12-flatten": (
        M.resnet12(2, widths=(2, 3), drop_rate=0.0, pool="flatten"),
        resnet12, dict(flatten=True), IMAGES,
    ),
    "efficientnet_lite0": (
        M.efficientnet_lite0(
            2, stages=(M.Stage(2, 5, 2, 2, 3),), stem=2, top=3, dropout=0.0,
            drop_path=0.0,
        ),
        efficientnet_lite0, {}, (3, 9, 6, 2),
    ),
    "resnet": (
        M.resnet(18, 2, width=2, blocks=(1, 1)), resnet, dict(small=False), (3, 15, 12, 2),
    ),
    "resnet-bottleneck-small": (
        M.resnet(50, 2, width=1, blocks=(1, 1), stem="small"),
        resnet, dict(small=True), (3, 5, 4, 2),
    ),
    "vit-dinov2": (
        M.vit(2, size=4, registers=2, layer_scale=0.5, **VIT),
        vit, dict(eps=1e-6, quick=False), (3, 5, 4, 1),
    ),
    "vit-distilled": (
        M.vit(2, size=4, distilled=True, **VIT),
        vit, dict(eps=1e-6, quick=False), (3, 4, 4, 1),
    ),
    "vit-clip": (
        M.vit(
            None, size=4, pre_norm=True, activation="quick_gelu", patch_bias=False,
            projection=3, epsilon=1e-5, **VIT,
        ),
        vit, dict(eps=1e-5, quick=True), (3, 4, 4, 1),
    ),
    "mlp": (M.mlp(2, hidden=(4, 3)), mlp, {}, (3, 2, 2)),
    "transformer": (M.transformer(2, **TOKENS), transformer, dict(cls=False), IMAGES),
    "transformer-cls": (
        M.transformer(2, pool="cls", **TOKENS), transformer, dict(cls=True), (3, 5, 2),
    ),
    "lstm": (M.lstm(2, hidden=2, bidirectional=True), lstm, {}, (3, 4, 2)),
    "relation": (M.relation(filters=2, hidden=3), relation, {}, (3, 5, 5, 4)),
    "relation-vectors": (M.relation(hidden=3), relation, {}, (3, 4)),
    "generator": (M.generator(4, filters=(3, 2)), generator, {}, (3, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_the_forward_pass(name):
    model, forward, options, shape = NETWORKS[name]
    draw = np.random.default_rng(0)
    x = draw.normal(size=shape)
    meta = jax.eval_shape(model.init, KEY, jnp.asarray(x))
    # above 0, as a variance is, and not so large that a sigmoid ends
    meta = jax.tree.map(lambda p: draw.uniform(-0.5, 0.7, p.shape), meta)
    meta = meta._replace(buffers=jax.tree.map(np.abs, meta.buffers))
    run = jax.jit(model.apply, static_argnames="train")
    for train in (False, True):
        wanted = forward(meta.params, meta.buffers, x, train, **options)
        got, _ = run(meta, jnp.asarray(x), train=train)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-11)


VINYALS = (
    "Vinyals et al. 2016, section 4.1: 4 x (3x3 convolution of 64, norm, ReLU, 2x2)"
)
LEE = "Lee et al. 2019, section 4.1; DropBlock of 5 in the last two blocks, keep 0.9"
SUNG = "Sung et al. 2018, figure 2: 64 filters, hidden layer of 8"
DEFAULTS = [
    (M.conv4, dict(filters=64, blocks=4, downsample="pool", norm="batch"), VINYALS),
    (M.resnet12, dict(widths=(64, 160, 320, 640), drop_rate=0.1, drop_block=5), LEE),
    (M.resnet12, dict(slope=0.1, norm="batch_running"), LEE),
    (
        M.mlp,
        dict(hidden=(40, 40)),
        "Finn et al. 2017, section 5.1: 2 layers of 40, ReLU",
    ),
    (M.relation, dict(filters=64, hidden=8, norm="batch"), SUNG),
    (M.cosine_head, dict(scale=10.0), "Gidaris and Komodakis 2018: scale starts at 10"),
]


@pytest.mark.parametrize(("build", "wanted", "source"), DEFAULTS)
def test_defaults_are_the_published_ones(build, wanted, source):
    options = inspect.signature(build).parameters
    assert {name: options[name].default for name in wanted} == wanted, source


def test_squares_are_dropped_in_the_last_two_blocks(monkeypatch):
    seen = []

    def spy(x, key, *, rate, size):
        seen.append((size, rate, x.shape[1:]))
        return x

    file = importlib.import_module("jaxmeta.models.resnet12")
    monkeypatch.setattr(file, "drop_block", spy)
    model, x = (
        M.resnet12(None, widths=(1, 2, 3, 4), norm=None),
        jnp.zeros((1, 32, 32, 1)),
    )
    meta = jax.eval_shape(model.init, KEY, x)
    jax.eval_shape(lambda m: model.apply(m, x, train=False)[0], meta)
    assert seen == []
    jax.eval_shape(lambda m: model.apply(m, x, train=True)[0], meta)
    maps = [(16, 16, 1), (8, 8, 2), (4, 4, 3), (2, 2, 4)]
    sizes = [1, 1, 5, 5]
    assert seen == [(b, 0.1, m) for b, m in zip(sizes, maps, strict=True)]


def test_metaoptnet_features():
    for side, features in ((84, 16000), (32, 2560)):
        model = M.resnet12(None, pool="flatten")
        x = jax.ShapeDtypeStruct((1, side, side, 3), float)
        meta = jax.eval_shape(model.init, KEY, x)
        assert jax.eval_shape(model.apply, meta, x)[0].shape == (1, features)
