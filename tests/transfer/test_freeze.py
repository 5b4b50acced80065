"""What is frozen does not move by one bit: parameters, statistics, or their gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import transfer
from jaxmeta.tree import leaves, paths

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (6, 8, 8, 1))
BATCH = jm.Batch(X, jnp.eye(3)[jnp.arange(6) % 3])
NET = jm.models.conv4(3, filters=2, blocks=2, norm="batch_running")


def equal(a, b):
    return all(leaves(jax.tree.map(np.array_equal, a, b)))


def trained(model, tx, steps=3, objective=None):
    trainer = jm.make_trainer(objective or transfer.supervised(model), tx)
    state = trainer.init(KEY, BATCH)
    step = jax.jit(trainer.step)
    first = state
    for _ in range(steps):
        state, metrics = step(state, BATCH, KEY)
    return first.meta, state.meta, metrics


def test_frozen_leaves_do_not_move_under_weight_decay():
    select = transfer.within("block1")
    tx = transfer.freeze(optax.adamw(0.1, weight_decay=0.5), select)
    # the gradient is there; only the optimiser holds them
    before, after, _ = trained(NET, tx)
    for path, a, b in zip(
        leaves(paths(before.params)), leaves(before.params), leaves(after.params),
        strict=True,
    ):  # fmt: skip
        assert np.array_equal(a, b) == select(path), path
    # nor do its running averages; those of the others do
    assert equal(before.buffers["block1"], after.buffers["block1"])
    assert not equal(before.buffers["block2"], after.buffers["block2"])


def test_unfreeze_is_the_complement():
    tx = transfer.unfreeze(optax.adamw(0.1, weight_decay=0.5), transfer.within("head"))
    before, after, _ = trained(NET, tx)
    for part in ("block1", "block2"):
        assert equal(before.params[part], after.params[part])
    assert not equal(before.params["head"], after.params["head"])


def test_frozen_norms_stand_still_and_the_others_do_not():
    model = jm.models.frozen(NET, transfer.within("block1"))
    before, after, _ = trained(model, optax.adamw(0.1, weight_decay=0.5))
    held = before.buffers["frozen"]
    assert equal(held, after.buffers["frozen"]) and set(paths_of(held)) == {
        "block1/conv/kernel", "block1/norm/bias", "block1/norm/scale"
    }  # fmt: skip
    assert not any(p.startswith("block1") for p in paths_of(after.params))
    assert equal(before.buffers["block1"], after.buffers["block1"])
    assert not equal(before.buffers["block2"], after.buffers["block2"])
    # and block1 uses its running averages: set them so that it matters
    part = jm.models.conv4(None, filters=2, blocks=1, norm="batch_running",
                           flatten=False)  # fmt: skip
    meta = model.init(KEY, X)
    moved = jax.tree.map(lambda x: x + 0.5, meta.buffers["block1"])
    meta = meta._replace(buffers={**meta.buffers, "block1": moved})
    top = jm.models.conv4(3, filters=2, blocks=1, norm="batch_running")
    maps, _ = part.apply(
        jm.Meta({"block1": meta.buffers["frozen"]["block1"]}, {"block1": moved}), X
    )
    expected, _ = top.apply(
        jm.Meta(
            {"block1": meta.params["block2"], "head": meta.params["head"]},
            {"block1": meta.buffers["block2"]},
        ),
        maps,
        train=True,
    )
    got, _ = model.apply(meta, X, train=True)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def paths_of(params):
    return leaves(paths(params))


def test_the_free_part_has_the_gradient_that_it_had():
    model = jm.models.frozen(NET, transfer.within("block1"))
    whole, meta = NET.init(KEY, X), model.init(KEY, X)

    def grads(model, meta):
        def loss(params):
            outputs, _ = model.apply(meta._replace(params=params), X)
            return jm.losses.cross_entropy(outputs, BATCH.targets)

        return jax.grad(loss)(meta.params)

    got, plain = grads(model, meta), grads(NET, whole)
    assert equal(got["block2"], plain["block2"]) and equal(got["head"], plain["head"])
    assert not leaves(got["block1"])
    net, found = jm.models.merged(model, meta)
    assert net is NET and equal(found, whole)


def test_all_frozen_and_inference_mode_keep_every_statistic():
    for model in (jm.models.frozen(NET), transfer.inference_mode(NET)):
        meta = model.init(KEY, X)
        outputs, buffers = model.apply(meta, X, train=True)
        np.testing.assert_array_equal(outputs, NET.apply(NET.init(KEY, X), X)[0])
        assert equal(buffers, meta.buffers)


def test_a_selection_of_nothing_is_an_error():
    tx = transfer.freeze(optax.sgd(0.1), transfer.within("blok1"))
    with pytest.raises(ValueError, match="select: got none of"):
        tx.init(NET.init(KEY, X).params)


def test_a_linen_network_has_one_mode():
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train)(x)
            return nn.Dense(2)(x)

    model = jm.models.from_linen(Net())
    part = jm.models.frozen(model, transfer.within("Dense_0"))
    meta = part.init(KEY, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="where: got none of"):
        jm.models.frozen(model, transfer.within("dense")).init(KEY, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="without 'frozen'"):
        jm.models.frozen(part).init(KEY, jnp.ones((2, 3)))
    with pytest.raises(TypeError, match="train: got a function"):
        part.apply(meta, jnp.ones((2, 3)), train=True)
