"""Members of a population are their own single runs; rates and lambda by gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.core import Aux, Meta
from jaxmeta.train import fit_member, fit_population, successive_halving

KEYS = jax.random.split(jax.random.key(0), 4)
RATES = np.array([0.3, 0.1, 0.03, 0.01])
MODEL = jm.models.mlp(1, hidden=(5,), activation=jnp.tanh)


def sample(key):
    """One point of a noisy curve."""
    key, noise = jax.random.split(key)
    x = jax.random.normal(key, (2,), float)
    return jm.Batch(x, jnp.sin(x[:1]) + 0.1 * jax.random.normal(noise, (1,), float))


def make(hyper):
    objective = jm.transfer.supervised(MODEL, criterion=jm.criteria.regression)
    objective = objective._replace(
        init=lambda *args: jax.tree.map(
            lambda x: x.astype(float), MODEL.init(args[0], args[1].inputs)
        )
    )
    tx = optax.chain(
        optax.add_decayed_weights(hyper["decay"]), optax.adam(hyper["rate"])
    )
    return jm.make_trainer(objective, tx)


def settings():
    return {"rate": jnp.asarray(RATES), "decay": jnp.asarray(RATES[::-1] / 10)}


@pytest.mark.optimised  # or two programs round the same float32 start differently
def test_a_member_is_its_own_single_run(x64):
    @jax.jit
    def everybody(hypers, keys):
        return fit_population(make, hypers, sample, keys, steps=12, batch=3)

    @jax.jit
    def alone(hyper, key):
        return fit_member(make, hyper, sample, key, steps=12, batch=3)

    states, metrics = everybody(settings(), KEYS)
    assert metrics["loss"].shape == (4, 4, 12)
    for h in range(4):
        for s in range(4):
            hyper = jax.tree.map(lambda x, h=h: x[h], settings())
            want = alone(hyper, KEYS[s])
            got = jax.tree.map(lambda x, h=h, s=s: x[h, s], (states, metrics))
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-12), got, want
            )
    # a seed is the same data and the same start whatever the rate; seeds differ
    first = np.asarray(metrics["loss"][:, :, 0])
    assert np.ptp(first, 0).max() < 1e-12 < 1e-3 < np.ptp(first, 1).min()


def quadratic(rate):
    """Gradient descent on |w|^2 / 2: the best rate is the largest below 1."""

    def value_and_grad(meta, batch, key):
        loss = jnp.sum(meta.params**2) / 2
        return (loss, Aux({})), meta.params

    def init(key, batch):
        return Meta(1.0 + jax.random.uniform(key, (3,)))

    return jm.make_trainer(jm.Objective(init, value_and_grad), optax.sgd(rate))


def test_halving_keeps_the_better_half_and_goes_on_with_it(x64):
    rates = jnp.asarray([0.01, 0.5, 3.0, 0.1, 0.2, 1e3, 0.02, 0.3])

    @jax.jit
    def run(rates, keys):
        return successive_halving(
            quadratic,
            rates,
            lambda key: jnp.zeros(()),
            keys,
            rungs=(3, 4, 5, 6),
            batch=1,
        )

    found = run(rates, KEYS)
    assert [len(rung) for rung in found.survivors] == [8, 4, 2, 1]
    assert found.survivors[1].tolist() == [1, 7, 4, 3]  # 1000 diverges, 3 does not help
    assert found.survivors[2].tolist() == [1, 7] and int(found.best) == 1
    # the winner is a run of 18 steps, as if nobody else had been there
    want, _ = fit_population(
        quadratic, rates[1:2], lambda key: jnp.zeros(()), KEYS, steps=18, batch=1
    )
    np.testing.assert_allclose(found.state.meta.params, want.meta.params[0], 1e-12)
    assert found.state.step.tolist() == [18] * 4
    # half of them is rounded down, and what is not finite ranks last
    spoiled = successive_halving(
        quadratic, rates[:3], lambda key: jnp.zeros(()), KEYS, rungs=(1, 1), batch=1,
        score=lambda state, metrics: jnp.where(state.meta.params[0] < 1.5, jnp.nan, 0.0),
    )  # fmt: skip
    assert len(spoiled.survivors[1]) == 1


def test_lambda_by_hypergradient_is_the_closed_form_of_ridge(x64):
    # validation loss after training under lambda |w|^2 / 2, differentiated in log lambda
    draw = np.random.default_rng(0)
    x, y, x_val, y_val = (
        jnp.asarray(draw.normal(size=s)) for s in [(20, 3), 20, (9, 3), 9]
    )

    def trained(log_lam):
        def loss(w, log_lam):
            return jnp.mean((x @ w - y) ** 2) / 2 + jnp.exp(log_lam) * w @ w / 2

        way = jm.gradients.unrolled(memory="sqrt")
        start, tx = jnp.zeros(3), optax.sgd(0.5)
        return jm.argmin(loss, start, log_lam, tx, steps=200, gradient=way).params

    def ridge(log_lam):
        system = x.T @ x / 20 + jnp.exp(log_lam) * jnp.eye(3)
        return jnp.linalg.solve(system, x.T @ y / 20)

    def validation(weights):
        return lambda log_lam: jnp.mean((x_val @ weights(log_lam) - y_val) ** 2)

    got = jax.jit(jax.value_and_grad(validation(trained)))(-1.0)
    want = jax.value_and_grad(validation(ridge))(-1.0)
    np.testing.assert_allclose(got, want, 1e-9)
    # and descent in it finds a better lambda
    descend = jax.jit(lambda v: v - 2.0 * jax.grad(validation(trained))(v))
    lam = jnp.asarray(-1.0)
    for _ in range(5):
        lam = descend(lam)
    assert validation(ridge)(lam) < want[0]


def test_inner_rates_by_hypergradient_beat_where_they_started():
    # Meta-SGD: each leaf's inner rate is a parameter of the outer loop
    task = jm.tasks.sinusoid(shots=5)
    model = jm.models.mlp(1, hidden=(8,))
    learner = jm.meta_sgd(model, criterion=jm.criteria.regression)
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(1e-2))
    episodes = jm.train.sample_batch(task, KEYS[0], 4)
    start = trainer.init(KEYS[0], episodes)
    state, metrics = jax.jit(
        lambda start: jax.lax.scan(
            lambda s, _: trainer.step(s, episodes, KEYS[1]), start, None, length=60
        )
    )(start)
    moved = jax.tree.map(
        lambda a, b: float(jnp.abs(a - b).max()), start.meta.params, state.meta.params
    )
    assert min(jax.tree.leaves(moved)) > 1e-3
    assert metrics["loss"][-1] < 0.8 * metrics["loss"][0]


def test_messages():
    with pytest.raises(ValueError, match="hypers: got leading axes"):
        hypers = {"a": np.ones(2), "b": np.ones(3)}
        fit_population(make, hypers, sample, KEYS, steps=1, batch=1)
    with pytest.raises(ValueError, match=r"keys: got shape \(\)"):
        fit_population(make, RATES, sample, KEYS[0], steps=1, batch=1)
    with pytest.raises(ValueError, match="rungs: got none"):
        successive_halving(make, RATES, sample, KEYS, rungs=(), batch=1)
    with pytest.raises(ValueError, match="keep: got 1"):
        successive_halving(make, RATES, sample, KEYS, rungs=(1,), batch=1, keep=1)
