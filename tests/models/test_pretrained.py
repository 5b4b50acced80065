"""Trained weights from files: what is recognised, what is refused, what comes out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import jaxmeta as jm

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
    whole = jm.models.with_head(body, jm.models.linear_head(3))
    pictures = jm.Pictures(4)
    started = jm.models.pretrained(whole._replace(pictures=pictures), old)
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
