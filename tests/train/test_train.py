"""The outer loop: where gradients are taken, chunks, resumption, intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import jaxmeta as jm
from jaxmeta.testing import probe
from jaxmeta.train import interval, sample_batch

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def learner():
    return jm.maml(jm.models.mlp(3, hidden=(8,)), optax.sgd(0.1), steps=1)


# made at import, in float32, whichever test comes first
EPISODES = sample_batch(probe(), KEY, 6)


@pytest.fixture
def episodes():
    return EPISODES


@pytest.fixture(scope="module")
def meta(learner):
    with jax.enable_x64(False):
        return learner.init(KEY, jax.tree.map(lambda x: x[0], EPISODES))


def test_meta_gradient_is_the_gradient_of_the_mean(x64, learner, episodes, meta):
    meta, episodes = jax.tree.map(lambda x: x.astype(float), (meta, episodes))
    keys = jax.random.split(KEY, 6)

    def mean_loss(params):
        losses, _ = jax.vmap(learner.loss, (None, 0, 0))(
            jm.Meta(params), episodes, keys
        )
        return losses.mean()

    value, want = jax.value_and_grad(mean_loss)(meta.params)
    got, metrics = jm.meta_gradient(learner, meta, episodes, KEY)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-14), got, want)
    np.testing.assert_allclose(metrics["loss"], value, 1e-12)


@pytest.mark.parametrize("chunk", [1, 2, 3, 6])
def test_chunks_change_nothing(x64, learner, episodes, meta, chunk):
    meta, episodes = jax.tree.map(lambda x: x.astype(float), (meta, episodes))
    want, _ = jm.meta_gradient(learner, meta, episodes, KEY, chunk=6)
    got, _ = jm.meta_gradient(learner, meta, episodes, KEY, chunk=chunk)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-14), got, want)


@pytest.mark.parametrize("chunk", [None, 1, 2, 6])
def test_together_is_the_same_gradient(x64, learner, episodes, meta, chunk):
    meta, episodes = jax.tree.map(lambda x: x.astype(float), (meta, episodes))
    want, loss = jm.meta_gradient(learner, meta, episodes, KEY)
    objective = jm.episodic(learner, chunk=chunk, together=True)
    (value, _), got = objective.value_and_grad(meta, episodes, KEY)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-14), got, want)
    np.testing.assert_allclose(value, loss["loss"], 1e-12)


def test_together_and_exact_are_refused(learner):
    with pytest.raises(ValueError, match="together: got True, wants False"):
        jm.episodic(learner, together=True, exact=True)


@pytest.mark.parametrize("chunk", [4, 7])
def test_a_chunk_that_does_not_divide_is_refused(learner, episodes, meta, chunk):
    with pytest.raises(ValueError, match=f"chunk: got {chunk}.*6"):
        jm.meta_gradient(learner, meta, episodes, KEY, chunk=chunk)


def test_two_fits_are_one(learner):
    """The step number is the whole data state: a run resumes from its state alone."""
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(1e-2))
    task = probe()
    state = trainer.init(KEY, sample_batch(task, KEY, 4))

    def fit(state, steps):
        return jax.jit(lambda s: jm.fit(trainer, task, s, KEY, steps=steps, batch=4))(
            state
        )

    whole, metrics = fit(state, 6)
    half, first = fit(state, 3)
    resumed, second = fit(half, 3)
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    both = np.concatenate([first["loss"], second["loss"]])
    np.testing.assert_array_equal(both, metrics["loss"])
    assert int(whole.step) == 6 and metrics["loss"].shape == (6,)


def test_fit_trains_many_seeds_at_once(learner):
    trainer = jm.make_trainer(jm.episodic(learner, chunk=4), optax.adam(1e-2))
    task = probe()

    def run(key):
        state = trainer.init(key, sample_batch(task, key, 4))
        return jm.fit(trainer, task, state, key, steps=2, batch=4)[1]["loss"]

    keys = jax.random.split(KEY, 3)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(run))(keys), [jax.jit(run)(k) for k in keys], rtol=1e-5
    )


def test_sgd_on_a_plain_loss():
    def loss(meta, batch, key):
        return jnp.mean((batch - meta.params) ** 2), jm.Aux({"m": batch.mean()}, 7.0)

    objective = jm.from_loss(lambda key, batch: jm.Meta(jnp.zeros(()), 0.0), loss)
    trainer = jm.make_trainer(objective, optax.sgd(0.5))
    state = trainer.init(KEY, jnp.ones(3))
    state, metrics = trainer.step(state, jnp.array([1.0, 2.0, 3.0]), KEY)
    assert float(state.meta.params) == 2.0  # one Newton step onto the mean
    assert state.meta.buffers == 7.0 and float(metrics["m"]) == 2.0


def _quadratic(metrics=lambda batch: {}):
    def loss(meta, batch, key):
        return jnp.mean((batch - meta.params) ** 2), jm.Aux(metrics(batch))

    return jm.from_loss(lambda key, batch: jm.Meta(jnp.zeros(())), loss)


def test_transforms_that_look_at_the_loss_are_given_it():
    seen = {}

    def update(updates, state, params=None, *, value, grad, **extra):
        seen.update(value=value, grad=grad)
        return updates, state

    spy = optax.GradientTransformationExtraArgs(lambda p: optax.EmptyState(), update)
    trainer = jm.make_trainer(_quadratic(), optax.chain(spy, optax.sgd(0.1)))
    trainer.step(trainer.init(KEY, jnp.ones(2)), 3 * jnp.ones(2), KEY)
    assert float(seen["value"]) == 9.0 and float(seen["grad"]) == -6.0

    plateau = optax.contrib.reduce_on_plateau(
        factor=0.5, patience=2, accumulation_size=1
    )
    trainer = jm.make_trainer(_quadratic(), optax.chain(optax.sgd(0.0), plateau))
    state = trainer.init(KEY, jnp.ones(2))
    for _ in range(4):  # nothing gets better at a rate of 0
        state, _ = trainer.step(state, jnp.ones(2), KEY)
    assert float(state.opt_state[1].scale) == 0.5

    search = jm.make_trainer(
        _quadratic(), optax.scale_by_backtracking_linesearch(max_backtracking_steps=3)
    )
    with pytest.raises(ValueError, match="tx: got a line search, wants a transform"):
        search.step(search.init(KEY, jnp.ones(2)), jnp.ones(2), KEY)


def test_the_loss_that_is_reported_is_the_trainers():
    objective = _quadratic(lambda b: {"m": b[0], "loss": -b[0], "grad_norm": -b[0]})
    trainer = jm.make_trainer(objective, optax.sgd(0.1))
    state = trainer.init(KEY, jnp.ones(2))
    _, metrics = trainer.step(state, 3 * jnp.ones(2), KEY)
    assert list(metrics) == ["loss", "grad_norm", "m"]
    assert [float(x) for x in metrics.values()] == [9.0, 6.0, 3.0]


@pytest.mark.parametrize("field", ["steps", "batch"])
def test_fit_refuses_nothing_to_do(learner, field):
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(1e-2))
    with pytest.raises(ValueError, match=f"{field}: got 0"):
        jm.fit(trainer, probe(), None, KEY, **{"steps": 1, "batch": 1, field: 0})


def test_interval_is_the_t_interval():
    scores = np.random.default_rng(0).normal(size=37)
    mean, half = interval(scores)
    low, high = scipy.stats.t.interval(0.95, 36, scores.mean(), scipy.stats.sem(scores))
    np.testing.assert_allclose([mean - half, mean + half], [low, high], rtol=1e-12)


def test_interval_covers():
    """Nominal 95 %: 2,000 simulated studies of 5 scores cover between 94 and 96 %."""
    draws = np.random.default_rng(1).normal(size=(2000, 5))
    hits = [abs(m) <= h for m, h in map(interval, draws)]
    assert 0.94 <= np.mean(hits) <= 0.96


def test_evaluate(learner, meta):
    task = probe()
    result = jm.evaluate(learner, meta, task, KEY, episodes=50)
    assert result.metric == "accuracy" and result.episodes == 50
    assert result.scores.shape == (50,) and not result.transductive
    np.testing.assert_allclose((result.mean, result.ci95), interval(result.scores))
    again = jm.evaluate(learner, meta, task, KEY, episodes=50, chunk=10)
    np.testing.assert_allclose(again.scores, result.scores, atol=1e-6)
    # episode t is a function of the key and t alone: fewer episodes are the same ones
    fewer = jm.evaluate(learner, meta, task, KEY, episodes=20)
    np.testing.assert_array_equal(fewer.scores, result.scores[:20])


def test_evaluate_measures_regression_by_mse():
    learner = jm.maml(
        jm.models.mlp(1, hidden=(8,)),
        optax.sgd(0.01),
        steps=1,
        criterion=jm.criteria.regression,
    )
    task = jm.tasks.sinusoid()
    result = jm.evaluate(learner, learner.init(KEY, task(KEY)), task, KEY, episodes=4)
    assert result.metric == "mse" and result.mean > 0


def test_evaluate_finds_batch_statistics_transductive():
    task = jm.tasks.glyphs(2, 1, 2)
    for norm, transductive in [("batch", True), ("layer", False)]:
        learner = jm.protonet(jm.models.conv4(None, filters=2, blocks=2, norm=norm))
        found = jm.evaluate(
            learner, learner.init(KEY, task(KEY)), task, KEY, episodes=2
        )
        assert found.transductive is transductive


@pytest.mark.parametrize(("field", "value"), [("episodes", 1), ("chunk", 0)])
def test_evaluate_refuses(learner, meta, field, value):
    with pytest.raises(ValueError, match=f"{field}: got {value}"):
        jm.evaluate(learner, meta, probe(), KEY, **{field: value})
