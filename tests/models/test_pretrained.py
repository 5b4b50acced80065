"""Trained weights from files: what is recognised, what is refused, what comes out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import jaxmeta as jm
from jaxmeta.models import formats_convolution, positions

KEY = jax.random.key(0)
LITE = {
    "_conv_stem.weight": np.zeros((32, 3, 3, 3), "float32"),
    "_blocks.0._depthwise_conv.weight": np.zeros((32, 1, 3, 3), "float32"),
}


def test_efficientnet_lite0_is_what_pytorch_makes_of_the_pictures(real_data):
    known = np.load(real_data / "pretrained" / "efficientnet_lite0_reference.npz")
    file = real_data / "pretrained" / "efficientnet_lite0.safetensors"
    model, meta = jm.models.load(file, head=True)
    assert model.pictures.size == 224
    x = jnp.asarray(known["pictures"][:2], "float32") / 255
    kernel, bias = meta.params["head"]["kernel"], meta.params["head"]["bias"]
    logits, buffers = jax.jit(model.apply)(meta, x)
    jax.tree.map(np.testing.assert_array_equal, buffers, meta.buffers)
    wanted = known["logits"][:2]
    np.testing.assert_allclose(logits, wanted, atol=1e-4 * np.abs(wanted).max())
    # of features alone the head is left out: what it makes of theirs are the logits
    _, body = jm.models.load(file)
    assert "head" not in body.params
    jax.tree.map(
        np.testing.assert_array_equal,
        body.params,
        jm.models.heads.split_head(meta)[0].params,
    )
    np.testing.assert_allclose(known["features"][:2] @ kernel + bias, wanted, atol=1e-4)


def test_what_is_no_safetensors_is_told_how_to_become_one(tmp_path):
    for name in ("net.pth", "pytorch_model.bin", "net.pt"):
        with pytest.raises(ValueError, match=r"weights_only=True.*\.safetensors'"):
            jm.models.load(tmp_path / name)
    with pytest.raises(ValueError, match=r"net\.h5, wants a \.safetensors file$"):
        jm.models.load(tmp_path / "net.h5")
    with pytest.raises(ValueError, match=r"wants a \.safetensors file"):
        jm.models.load(tmp_path / "nowhere.safetensors")


def test_a_strange_file_is_refused_by_its_names(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file({"features.0.weight": np.zeros((1, 2), "float32")}, path)
    with pytest.raises(
        ValueError, match=r"with 'features\.0\.weight', wants EfficientNet"
    ):
        jm.models.load(path)
    save_file(LITE | {"_se.weight": np.zeros(2, "float32")}, path)
    with pytest.raises(
        ValueError, match=r"without '_blocks\.0\._bn1\.bias'.* and 23"
    ) as error:
        jm.models.load(path)
    assert "with '_se.weight', of which it knows nothing" in str(error.value)
    with pytest.raises(ValueError, match="head: got True"):
        jm.models.load(path, head=True)


def test_pretrained_starts_from_what_is_known_by_path():
    x = jnp.ones((2, 4, 4, 1))
    body = jm.models.conv4(None, filters=2, blocks=1, norm="batch_running")
    old = body.init(KEY, x)
    old = old._replace(buffers=jax.tree.map(lambda b: b + 1, old.buffers))
    pictures = jm.Pictures(4)
    seen = body._replace(pictures=pictures)
    whole = jm.models.with_head(seen, jm.models.linear_head(3))
    started = jm.models.pretrained(whole, old)
    new = started.init(jax.random.key(1), x)
    assert started.pictures is pictures
    jax.tree.map(
        np.testing.assert_array_equal, new.params["block1"], old.params["block1"]
    )
    jax.tree.map(np.testing.assert_array_equal, new.buffers, old.buffers)
    assert new.params["head"]["kernel"].shape == (8, 3)
    wide = jm.models.conv4(None, filters=3, blocks=1, norm="batch_running")
    with pytest.raises(ValueError, match="block1/conv/kernel: got shape"):
        jm.models.pretrained(wide, old).init(KEY, x)
    with pytest.raises(ValueError, match="wants leaves of this network"):
        jm.models.pretrained(jm.models.mlp(2), old).init(KEY, x)


def test_a_network_subtracts_the_mean_of_its_pictures_itself():
    seen = jm.Pictures(8, (0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    options = dict(stages=(jm.models.Stage(1, 3, 2, 1, 2),), stem=2, top=2)
    plain = jm.models.efficientnet_lite0(None, **options)
    told = jm.models.efficientnet_lite0(None, pictures=seen, **options)
    assert told.pictures is seen and plain.pictures is None
    x = jax.random.uniform(KEY, (2, 8, 8, 3))
    meta = plain.init(KEY, x)
    wanted = (x - np.array(seen.mean)) / np.array(seen.std)
    np.testing.assert_allclose(
        told.apply(meta, x)[0], plain.apply(meta, wanted)[0], rtol=1e-5
    )
    with pytest.raises(ValueError, match="pictures of 1 channels, wants 3"):
        told.apply(meta, x[..., :1])


def drawn(shapes):
    draw = np.random.default_rng(0)
    return {
        name: draw.uniform(0.2, 1.0, shape).astype("float32")
        for name, shape in shapes.items()
    }


def layer(name, out, *rest):
    return {f"{name}.weight": (out, *rest), f"{name}.bias": (out,)}


def normed(name, width):
    averages = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
    return layer(name, width) | averages | {f"{name}.num_batches_tracked": ()}


def torchvision_resnet():
    found = {"conv1.weight": (4, 3, 7, 7)} | normed("bn1", 4) | layer("fc", 5, 32)
    for i in range(4):
        width, before = 4 * 2**i, 4 * 2 ** max(i - 1, 0)
        block = f"layer{i + 1}.0."
        found |= {f"{block}conv1.weight": (width, before, 3, 3)}
        found |= {f"{block}conv2.weight": (width, width, 3, 3)}
        found |= normed(f"{block}bn1", width) | normed(f"{block}bn2", width)
        if i:
            found |= {f"{block}downsample.0.weight": (width, before, 1, 1)}
            found |= normed(f"{block}downsample.1", width)
    return found


def timm_dinov2():
    found = {"cls_token": (1, 1, 64), "reg_token": (1, 2, 64), "pos_embed": (1, 4, 64)}
    found |= layer("patch_embed.proj", 64, 3, 14, 14) | layer("norm", 64)
    block = "blocks.0."
    found |= layer(f"{block}norm1", 64) | layer(f"{block}norm2", 64)
    found |= layer(f"{block}attn.qkv", 192, 64) | layer(f"{block}attn.proj", 64, 64)
    found |= layer(f"{block}mlp.fc1", 8, 64) | layer(f"{block}mlp.fc2", 64, 8)
    return found | {f"{block}ls1.gamma": (64,), f"{block}ls2.gamma": (64,)}


def timm_deit(distilled=True):
    """Of one layer; plain, its names are those of ViT."""
    scales = ("reg_token", "blocks.0.ls1.gamma", "blocks.0.ls2.gamma")
    found = {k: v for k, v in timm_dinov2().items() if k not in scales}
    found |= {"pos_embed": (1, 5 + distilled, 64)} | layer("head", 3, 64)
    found["patch_embed.proj.weight"] = (64, 3, 16, 16)
    if distilled:
        found |= {"dist_token": (1, 1, 64)} | layer("head_dist", 3, 64)
    return found


def test_a_deit_has_its_own_pictures_or_is_asked_for_them(tmp_path):
    tensors, path = drawn(timm_deit()), tmp_path / "net.safetensors"
    save_file(tensors, path)
    model, meta = jm.models.load(path)
    imagenet = jm.models.IMAGENET
    assert model.pictures == imagenet._replace(size=32, crop=0.9, resample="bicubic")
    assert meta.params["position"].shape == (6, 64)
    np.testing.assert_array_equal(
        meta.params["distilled"][0], tensors["dist_token"][0, 0]
    )
    x = jax.ShapeDtypeStruct((2, 40, 32, 3), "float32")
    assert jax.eval_shape(model.apply, meta, x)[0].shape == (2, 64)
    whole, meta = jm.models.load(path, head=True)
    assert jax.eval_shape(whole.apply, meta, x)[0].shape == (2, 3)
    assert meta.params["head_distilled"]["kernel"].shape == (64, 3)
    # without that token, of twelve layers, it might as well be a ViT, and is one unless said
    one = drawn(timm_deit(distilled=False))
    twelve = {
        name.replace("blocks.0.", f"blocks.{i}."): array
        for i in range(12)
        for name, array in one.items()
    }
    save_file(twelve, path)
    means = [
        jm.models.load(path, pictures=said)[0].pictures.mean
        for said in (None, "vit", "deit", jm.Pictures(32))
    ]
    assert means == [(0.5,) * 3, (0.5,) * 3, imagenet.mean, (0.0,) * 3]
    with pytest.raises(ValueError, match=r"pictures: got 'vit' for Eff.* a Pictures"):
        save_file(LITE, path)
        jm.models.load(path, pictures="vit")
    # the third DeiT has scales, and no place for its class token
    third = drawn(timm_dinov2())
    del third["reg_token"]
    save_file(third, path)
    assert jm.models.load(path)[0].pictures.crop == 0.9


def openai_clip():
    tower = "vision_model."
    found = {f"{tower}embeddings.class_embedding": (64,)}
    found |= {f"{tower}embeddings.patch_embedding.weight": (64, 3, 4, 4)}
    found |= {f"{tower}embeddings.position_embedding.weight": (5, 64)}
    found |= layer(f"{tower}pre_layrnorm", 64) | layer(f"{tower}post_layernorm", 64)
    block = f"{tower}encoder.layers.0."
    for name in "qkv":
        found |= layer(f"{block}self_attn.{name}_proj", 64, 64)
    found |= layer(f"{block}self_attn.out_proj", 64, 64)
    found |= layer(f"{block}layer_norm1", 64) | layer(f"{block}layer_norm2", 64)
    found |= layer(f"{block}mlp.fc1", 8, 64) | layer(f"{block}mlp.fc2", 64, 8)
    found |= {"visual_projection.weight": (6, 64), "logit_scale": ()}
    return found | {"text_model.final_layer_norm.weight": (3,)}


@pytest.mark.parametrize(
    ("shapes", "features", "size"),
    [(torchvision_resnet, 32, 224), (timm_dinov2, 64, 224), (openai_clip, 6, 8)],
)
def test_names_of_others(tmp_path, shapes, features, size):
    tensors, path = drawn(shapes()), tmp_path / "net.safetensors"
    save_file(tensors, path)
    model, meta = jm.models.load(path)
    assert model.pictures.size == size
    x = jax.ShapeDtypeStruct((2, 30, 28, 3), "float32")
    outputs, _ = jax.eval_shape(model.apply, meta, x)
    assert outputs.shape == (2, features)
    # every number of the file is somewhere, but for the head and what nobody needs
    spare = ("fc.", "text_", "logit")
    kept = [
        v for k, v in tensors.items() if not k.startswith(spare) and "batches" not in k
    ]
    got = np.concatenate([np.ravel(a) for a in jax.tree.leaves(meta)])
    wanted = np.concatenate([np.ravel(a) for a in kept])
    np.testing.assert_array_equal(np.sort(got[got > 0]), np.sort(wanted))
    save_file(tensors | {"extra.weight": np.ones(1, "float32")}, path)
    with pytest.raises(ValueError, match=r"with 'extra\.weight', of which"):
        jm.models.load(path)
    lost = next(name for name in reversed(tensors) if name.endswith("1.bias"))
    save_file({k: v for k, v in tensors.items() if k != lost}, path)
    with pytest.raises(ValueError, match=f"without '{lost}'".replace(".", r"\.")):
        jm.models.load(path)


def test_queries_keys_and_values_lie_in_one_matrix(tmp_path):
    tensors, path = drawn(timm_dinov2()), tmp_path / "net.safetensors"
    save_file(tensors, path)
    _, meta = jm.models.load(path)
    attention = meta.params["block1"]["attention"]
    whole = tensors["blocks.0.attn.qkv.weight"]
    for i, name in enumerate(("query", "key", "value")):
        part = whole[64 * i : 64 * (i + 1)]
        np.testing.assert_array_equal(attention[name]["kernel"], part.T)
    patch = tensors["patch_embed.proj.weight"]
    embed = meta.params["embed"]["kernel"].reshape(14, 14, 3, 64)
    np.testing.assert_array_equal(embed[2, 5, 1], patch[:, 1, 2, 5])


# of 0, 1, 4, 9, by torch.nn.functional.interpolate(mode="bicubic", antialias=smooth)
BICUBIC = {
    (7, False): [-0.099216, 0.15625, 0.804209, 2.125, 4.424654, 7.480776, 9.496082],
    (3, False): [0.091435, 2.125, 8.334491],
    (7, True): [-0.079327, 0.187511, 0.86257, 2.25, 4.318488, 7.604276, 9.396635],
    (3, True): [0.075515, 2.359195, 7.935927],
}


@pytest.mark.parametrize(("size", "smooth"), BICUBIC)
def test_positions_of_another_grid(size, smooth):
    wanted = np.array(BICUBIC[size, smooth])
    line = np.arange(4.0) ** 2
    got = positions.weights(4, size, smooth=smooth) @ line
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    # rows and columns each by their own
    grid = np.stack([line[:, None] * np.ones(4), np.ones((4, 1)) * line], -1)
    new = positions.resized(jnp.asarray(grid.reshape(16, 2)), (size, 2), smooth=smooth)
    two = positions.weights(4, 2, smooth=smooth) @ line
    sides = np.meshgrid(wanted, two, indexing="ij")
    np.testing.assert_allclose(new, np.stack(sides, -1).reshape(-1, 2), rtol=1e-4)


def test_blocks_of_timms_efficientnet():
    known = formats_convolution.timm_efficientnet(
        {"conv_stem.weight": (), "blocks.0.0.conv_dw.weight": ()}
    )
    names = {
        "block1/project/kernel": "blocks.0.0.conv_pw.weight",
        "block2/project/kernel": "blocks.1.0.conv_pwl.weight",
        "block5/expand_norm/scale": "blocks.2.1.bn1.weight",
        "block16/depthwise_norm/bias": "blocks.6.0.bn2.bias",
    }
    assert {k: known.rename(f"params/{k}") for k in names} == names
