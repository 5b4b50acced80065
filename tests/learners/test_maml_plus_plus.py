"""MAML++ part by part: each works alone, and all of them together."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.gradients import annealed, first_order, unrolled
from tests.learners.family import KEY, begin, net, same, task, value_and_grad
from tests.learners.quadratic import W, episode, half_square, model

pytestmark = pytest.mark.usefixtures("x64")

QUADRATIC = episode([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])


@pytest.mark.parametrize(
    ("epoch", "early", "last"),
    [
        (0, 0.2, 0.2),
        (1, 0.18667, 0.25333),
        (7, 0.10667, 0.57333),
        (14, 0.01333, 0.94667),
        (15, 0.006, 0.976),
        (99, 0.006, 0.976),
    ],
)
def test_published_weights(epoch, early, last):
    weights = jm.multi_step_weights(5, epochs=15, epoch=500)
    for step in (500 * epoch, 500 * epoch + 499):  # constant within an epoch
        got = weights(jnp.array(float(step)))
        np.testing.assert_allclose(got, [early] * 4 + [last], atol=5e-6)
        np.testing.assert_allclose(got.sum(), 1.0, rtol=1e-14)


def test_weights_after_the_annealing_may_be_zero():
    weights = jm.multi_step_weights(3, epochs=2, epoch=1, afterwards="last")
    np.testing.assert_allclose(weights(jnp.array(1.0)), [1 / 6, 1 / 6, 2 / 3])
    np.testing.assert_array_equal(weights(jnp.array(2.0)), [0, 0, 1])


@pytest.mark.parametrize("memory", ["store", "remat", "sqrt", "mixed"])
def test_multi_step_loss_to_the_last_digit(memory):
    learner = jm.maml(
        model(), optax.sgd(0.01), steps=3, query_weights=jnp.ones(3) / 3,
        gradient=unrolled(memory=memory), criterion=half_square,
    )  # fmt: skip
    value, grads = value_and_grad(
        learner, jm.Meta(jnp.array(W, jnp.float64)), QUADRATIC
    )
    # the table gives eight decimals; phi_k = w - (1 - 0.86^k) 23/14 x_s, in full:
    phi = [
        np.array(W) - (1 - 0.86**k) * 23 / 14 * np.array([1, 2, 3]) for k in (1, 2, 3)
    ]
    exact = np.mean([0.5 * (p @ [4, 5, 6]) ** 2 for p in phi])
    np.testing.assert_allclose(value, exact, rtol=1e-12)
    np.testing.assert_allclose(value, 795.88117401, atol=5e-9, rtol=0)
    expected = [136.36468783, 153.91203165, 171.45937548]
    np.testing.assert_allclose(grads, expected, atol=5e-9, rtol=0)


def test_a_weight_of_one_on_the_last_step_is_maml():
    options = dict(steps=3)
    plain = jm.maml(net(), optax.sgd(0.3), **options)
    last = jm.maml(net(), optax.sgd(0.3), query_weights=[0.0, 0.0, 1.0], **options)
    meta = begin(plain)
    same(value_and_grad(last, meta), value_and_grad(plain, meta))


def test_the_order_and_the_weights_follow_the_outer_step():
    """One compiled program: first order, then second; uniform weights, then the last."""
    rate = optax.sgd(0.3)
    learner = jm.maml(
        net(), rate, steps=2, gradient=annealed(first_order, unrolled(), at=3),
        query_weights=jm.multi_step_weights(2, epochs=2, epoch=1, afterwards="last"),
    )  # fmt: skip
    meta = begin(learner)
    assert meta.buffers == {"model": {}, "step": 0.0}
    plain = jm.Meta(meta.params)

    @jax.jit
    def run(meta):
        def loss(params):
            return learner.loss(meta._replace(params=params), task(), KEY)

        (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(meta.params)
        return value, grads, aux.buffers

    weights = [[0.5, 0.5], [0.25, 0.75], [0.0, 1.0], [0.0, 1.0]]
    for t, w in enumerate(weights):
        assert meta.buffers["step"] == t
        value, grads, buffers = run(meta)
        expected = jm.maml(
            net(),
            rate,
            steps=2,
            query_weights=w,
            gradient=unrolled() if t >= 3 else first_order,
        )
        same((value, grads), value_and_grad(expected, plain))
        meta = meta._replace(buffers=buffers)


def test_the_outer_step_counts_in_fit():
    learner = jm.maml(
        net(),
        optax.sgd(0.3),
        steps=1,
        gradient=annealed(first_order, unrolled(), at=2),
        criterion=jm.criteria.regression,
    )
    trainer = jm.make_trainer(jm.episodic(learner), optax.sgd(0.1))
    episodes = jax.tree.map(lambda x: jnp.stack([x] * 3), task())
    state = trainer.init(KEY, episodes)
    state, _ = jm.fit(trainer, lambda key: task(), state, KEY, steps=5, batch=3)
    assert state.meta.buffers["step"] == 5.0


def test_anil_with_rates_per_step_and_multi_step_loss_is_one_expression():
    learner = jm.anil(
        net(), jm.rules.lslr(0.3, steps=2), steps=2,
        query_weights=jm.multi_step_weights(2, epochs=3),
    )  # fmt: skip
    meta = begin(learner)
    assert meta.params["rule"]["head"]["kernel"].shape == (2,)
    value, grads = value_and_grad(learner, meta)
    assert jnp.isfinite(value)
    assert all(g.all() for g in jax.tree.leaves(grads["rule"]))
    fast = learner.adapt(meta, task().support, KEY)
    assert not jax.tree.leaves(fast["layer1"])


def test_all_parts_off_is_maml():
    learner = jm.maml_plus_plus(
        net(), steps=2, init_rate=0.3, multi_step_epochs=0, first_order_epochs=0
    )
    plain = jm.maml(net(), optax.sgd(0.3), steps=2)
    inner = begin(plain)
    rule = jm.rules.lslr(0.3, steps=2).init(inner.params)
    meta = jm.Meta({"model": inner.params, "rule": rule})
    value, grads = value_and_grad(learner, meta)
    same((value, grads["model"]), value_and_grad(plain, inner))


def test_more_steps_at_test_time_use_the_same_parameters():
    options = dict(init_rate=0.3, sets=2)
    learner = jm.maml_plus_plus(net(), steps=2, **options)
    longer = jm.maml_plus_plus(net(), steps=5, **options)
    meta = begin(learner)
    fast = longer.adapt(meta, task().support, KEY)
    assert longer.predict(meta, fast, task().query.inputs).shape == (2, 2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: jm.multi_step_weights(0), "steps: got 0"),
        (lambda: jm.multi_step_weights(2, afterwards="end"), "afterwards: got 'end'"),
        (lambda: jm.maml_plus_plus(net(), first_order_epochs=-1), "first_order_epochs"),
        (
            lambda: jm.maml(net(), optax.sgd(0.1), steps=2, query_weights=[1.0]),
            r"query_weights: got shape \(1,\), wants \(2,\)",
        ),
        (
            lambda: jm.maml(net(), optax.sgd(0.1), gradient="third"),
            "gradient: got 'third'",
        ),
    ],
)
def test_bad_options_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_meta_does_not_depend_on_the_steps():
    """A run's parameters serve at any number of test steps, none included."""
    task = jm.testing.probe()
    episode = task(jax.random.key(0))
    model = jm.models.mlp(3, hidden=(4,))
    trained, untouched = (
        jm.maml_plus_plus(model, steps=k, sets=2, first_order_epochs=0) for k in (2, 0)
    )
    meta = trained.init(jax.random.key(1), episode)
    outputs = jm.train.predictions(untouched, meta, episode, jax.random.key(2))
    assert outputs.shape == episode.query.targets.shape
