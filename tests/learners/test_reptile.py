"""Reptile: its minibatches differ, and Adam's moments outlive a task where asked to."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.testing import probe
from tests.learners.quadratic import episode, half_square, model

KEY = jax.random.key(0)


def test_every_step_draws_another_minibatch(x64):
    """Example j moves weight j: the weights count how often each was used."""
    net = jm.Model(
        init=lambda key, inputs: jm.Meta(jnp.zeros(6)),
        apply=lambda meta, inputs, train=False, key=None: (inputs @ meta.params, ()),
    )
    support = jm.Batch(jnp.eye(6), jnp.zeros((6, 1)))

    def total(outputs, targets, weights=None):
        return outputs.sum()

    @jax.jit
    def used(keys):
        learner = jm.reptile(
            net, optax.sgd(1.0), steps=4, inner_batch=2, criterion=total
        )
        return jax.vmap(
            lambda key: -learner.adapt(jm.Meta(jnp.zeros(6)), support, key)
        )(keys)

    counts = np.asarray(used(jax.random.split(KEY, 300)))
    assert (counts.sum(1) == 8).all()
    # one minibatch at every step would be two 4s and four 0s; of 15 pairs drawn four
    # times all are equal in one run of 15^3
    same = (np.sort(counts, 1) == [0, 0, 0, 0, 4, 4]).all(1)
    assert same.mean() < 0.02
    # each example is as likely as another at every step: 2/6 of 1200 draws
    deviations = (counts.sum(0) - 400) / np.sqrt(1200 * 2 / 6 * 4 / 6)
    assert np.abs(deviations).max() < 4


def carried(tx, **options):
    return jm.reptile(
        model(), tx, steps=3, criterion=half_square, reset_inner_opt=False, **options
    )


TASKS = [
    episode([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]),
    episode([0.5, -1.0, 1.0], [1.0, 0, 0]),
]


def by_hand(tx, theta, state, task):
    """K steps of ordinary training from theta; the moments are whoever's came before."""
    phi = theta
    for _ in range(3):
        grads = jax.grad(lambda w: half_square(task.support.inputs @ w, 0.0))(phi)
        updates, state = tx.update(grads, state, phi)
        phi = optax.apply_updates(phi, updates)
    return phi, state


def test_moments_that_are_not_reset_are_the_published_program(x64):
    """Two outer steps of one task each, against its loop; then a test task."""
    tx, theta = optax.adam(0.1, b1=0.0), jnp.array([2.0, 3.0, 5.0])
    learner = carried(tx)
    meta, state = learner.init(KEY, TASKS[0]), tx.init(theta)
    meta = jax.tree.map(lambda x: x.astype("float64"), meta)
    loss = jax.jit(jax.value_and_grad(learner.loss, has_aux=True))
    for task in TASKS:
        (_, aux), grads = loss(meta, task, KEY)
        phi, state = by_hand(tx, theta, state, task)
        theta = theta + 0.5 * (phi - theta)
        # the surrogate's gradient is theta - phi_K
        meta = jm.Meta(meta.params - 0.5 * grads.params, aux.buffers)
        np.testing.assert_allclose(meta.params, theta, rtol=1e-12)
    kept = meta.buffers["inner"]
    np.testing.assert_allclose(kept[0].nu, state[0].nu, rtol=1e-12)
    assert kept[0].count == 6 and kept[0].count.dtype == jnp.float64
    fast = learner.adapt(meta, TASKS[0].support, KEY)
    want, _ = by_hand(tx, theta, state, TASKS[0])
    np.testing.assert_allclose(fast, want, rtol=1e-12)
    fresh = jm.reptile(model(), tx, steps=3, criterion=half_square)
    other = fresh.adapt(jm.Meta(theta, ()), TASKS[0].support, KEY)
    assert np.abs(other - want).max() > 1e-3


def test_tasks_of_a_batch_start_alike_and_leave_their_mean(x64):
    tx = optax.adam(0.1, b1=0.0)
    learner = carried(tx)
    meta = jax.tree.map(lambda x: x.astype("float64"), learner.init(KEY, TASKS[0]))
    both = jax.tree.map(lambda *x: jnp.stack(x), *TASKS)
    trainer = jm.make_trainer(jm.episodic(learner), optax.sgd(0.5))
    state = trainer.init(KEY, both)._replace(meta=meta)
    after, _ = jax.jit(trainer.step)(state, both, KEY)
    theta = jnp.array([2.0, 3.0, 5.0])
    ends = [by_hand(tx, theta, tx.init(theta), task) for task in TASKS]
    want = sum(end[0].nu for _, end in ends) / 2
    kept = after.meta.buffers["inner"][0]
    np.testing.assert_allclose(kept.nu, want, rtol=1e-12)
    assert kept.count == 3


def test_what_cannot_be_kept_is_named():
    noisy = optax.chain(optax.add_noise(0.1, 0.5, 0), optax.sgd(0.1))
    with pytest.raises(TypeError, match="reset_inner_opt: got False"):
        carried(noisy).init(KEY, TASKS[0])


@pytest.mark.parametrize(
    ("options", "text"),
    [(dict(steps=0), "steps: got 0"), (dict(inner_batch=0), "inner_batch: got 0")],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        jm.reptile(model(), optax.sgd(0.1), **{"steps": 1, **options})


def test_minibatch_larger_than_the_support_set():
    learner = jm.reptile(jm.models.mlp(3), optax.sgd(0.1), steps=1, inner_batch=99)
    task = probe()(KEY)
    with pytest.raises(ValueError, match="inner_batch: got 99, wants at most the 6"):
        learner.adapt(learner.init(KEY, task), task.support, KEY)
