"""What an optimiser holds still holds its running averages, too, whoever steps."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from jaxmeta import transfer

KEY = jax.random.key(0)
STILL = transfer.within("block1")
BATCH = {"x": jnp.linspace(-1.0, 2.0, 12).reshape(6, 2)}


def objective(key=KEY):
    """Two blocks, each a weight and a running average; and a counter that is nobody's."""

    def init(key, batch):
        block = {"norm": {"scale": jnp.ones(2)}, "w": jnp.ones(2)}
        kept = {"norm": {"mean": jnp.zeros(2)}}
        params = {"block1": block, "block2": block, "head": jnp.ones(2)}
        return jm.Meta(params, {"block1": kept, "block2": kept, "step": jnp.zeros(())})

    def loss(meta, batch, key):
        z, buffers = batch["x"], dict(meta.buffers)
        for name in ("block1", "block2"):
            p, old = meta.params[name], buffers[name]["norm"]["mean"]
            z = z * p["w"] * p["norm"]["scale"]
            buffers[name] = {"norm": {"mean": 0.9 * old + 0.1 * z.mean(0)}}
        buffers["step"] = buffers["step"] + 1
        return jnp.mean((z * meta.params["head"]) ** 2), jm.Aux({}, buffers)

    return jm.from_loss(init, loss)


def steps(tx, count=3):
    trainer = jm.make_trainer(objective(), tx)
    state = trainer.init(KEY, BATCH)
    seen, step = [state], jax.jit(trainer.step)
    for _ in range(count):
        seen.append(step(seen[-1], BATCH, KEY)[0])
    return seen


def moved(seen):
    """Which of the blocks' averages moved, in each step."""
    means = [
        [s.meta.buffers[b]["norm"]["mean"] for b in ("block1", "block2")] for s in seen
    ]
    return [
        [bool((a != b).any()) for a, b in zip(*pair, strict=True)]
        for pair in itertools.pairwise(means)
    ]


def test_averages_of_frozen_blocks_hold_inside_any_wrapper():
    frozen = transfer.freeze(optax.adamw(0.1, weight_decay=0.5), STILL)
    for tx in (
        frozen,
        optax.chain(optax.clip(1.0), frozen),
        optax.apply_if_finite(frozen, 3),
        transfer.unfreeze(frozen, transfer.within("block1", "block2")),  # twice
    ):
        seen = steps(tx)
        assert moved(seen) == [[False, True]] * 3
        assert seen[-1].meta.buffers["step"] == 3
        first, last = seen[0].meta.params, seen[-1].meta.params
        np.testing.assert_array_equal(first["block1"]["w"], last["block1"]["w"])
    # and none without
    assert moved(steps(optax.sgd(0.1), 1)) == [[True, True]]


def test_a_part_that_is_frozen_by_halves_goes_on_watching():
    half = transfer.freeze(optax.sgd(0.1), transfer.within("block1/norm", "block2/w"))
    # a norm belongs to the innermost part around it that has parameters
    assert moved(steps(half, 1)) == [[False, True]]


def test_averages_wake_with_their_layer():
    tx = transfer.gradual_unfreezing(
        optax.sgd(0.1), ("block1", "block2", "head"), every=1
    )
    assert moved(steps(tx)) == [[False, False], [False, True], [True, True]]


def test_fine_tuning_as_a_learner_holds_them_too():
    tx = transfer.freeze(optax.sgd(0.1), STILL)
    some = objective()
    model = jm.Model(None, lambda meta, x, **_: (x, meta.buffers))
    learner = transfer.as_learner(
        some._replace(
            value_and_grad=lambda meta, batch, key: some.value_and_grad(
                meta, {"x": batch.inputs}, key
            )
        ),
        model, tx, steps=2,
    )  # fmt: skip
    meta = some.init(KEY, BATCH)
    fast = learner.adapt(meta, jm.Batch(BATCH["x"], BATCH["x"]), KEY)
    old, new = (m.buffers["block1"]["norm"]["mean"] for m in (meta, fast))
    np.testing.assert_array_equal(old, new)
    assert fast.buffers["block2"]["norm"]["mean"].any()
