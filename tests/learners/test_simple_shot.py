"""SimpleShot: prototypical without its transformations; centring by what it has seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from tests.learners.embedded import episode, linear, predict, ready

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def test_without_normalisation_it_is_protonet():
    simple, proto = jm.simple_shot(linear(), normalise="un"), jm.protonet(linear())
    meta, task = ready(simple)
    other = jm.Meta(meta.params)
    np.testing.assert_array_equal(
        predict(simple, meta, task), predict(proto, other, task)
    )
    got, expected = (
        jax.value_and_grad(
            lambda p, run=run, m=m: run(m._replace(params=p), task, KEY)[0]
        )(m.params)
        for run, m in ((simple.loss, meta), (proto.loss, other))
    )
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(got[1]["w"], expected[1]["w"], rtol=1e-12)


def test_centred_and_normalised_by_hand():
    learner = jm.simple_shot(linear(), temperature=0.5)
    meta, task = ready(learner)
    mean = np.arange(5.0)
    buffers = {"model": (), "sum": 0.25 * mean, "weight": jnp.asarray(0.25)}
    meta = meta._replace(buffers=buffers)
    z = []
    for batch in task:
        f = np.asarray(batch.inputs @ meta.params["w"]) - mean
        z.append(f / np.linalg.norm(f, axis=1, keepdims=True))
    means = (z[0][0::2] + z[0][1::2]) / 2
    expected = -((z[1][:, None] - means) ** 2).sum(-1) / 0.5
    np.testing.assert_allclose(predict(learner, meta, task), expected, rtol=1e-10)


def test_running_mean_is_that_of_the_features_seen():
    learner = jm.simple_shot(linear(), momentum=0.5)
    meta, _ = ready(learner)
    run = jax.jit(learner.loss)
    seen = []
    for seed in (1, 2, 3):
        task = episode(seed)
        x, t, _ = task.query
        padded = jm.Batch(
            jnp.concatenate([x, x + 7]),
            jnp.concatenate([t, t]),
            jnp.zeros(2 * len(x)).at[: len(x)].set(1.0).at[0].set(2.0),
        )
        aux = run(meta, task._replace(query=padded), KEY)[1]
        meta = meta._replace(buffers=aux.buffers)
        both = np.concatenate([task.support.inputs, x[:1], x])  # one counts twice
        seen.append((both @ meta.params["w"]).mean(0))
        if seed == 1:  # a start at zero leaves no trace
            first = meta.buffers["sum"] / meta.buffers["weight"]
            np.testing.assert_allclose(first, seen[0], rtol=1e-12)
    weights = np.array([0.125, 0.25, 0.5])
    expected = weights @ np.array(seen) / weights.sum()
    mean = meta.buffers["sum"] / meta.buffers["weight"]
    np.testing.assert_allclose(mean, expected, rtol=1e-12)


def test_protonet_shares_normalisation_and_temperature():
    proto = jm.protonet(linear(), normalise="l2", temperature=0.2)
    simple = jm.simple_shot(linear(), normalise="l2", temperature=0.2)
    meta, task = ready(simple)
    np.testing.assert_allclose(
        predict(proto, jm.Meta(meta.params), task), predict(simple, meta, task)
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(normalise="no"), "normalise"),
        (dict(temperature=0.0), "temperature"),
        (dict(momentum=1.0), "momentum"),
    ],
)
def test_errors_name_the_field(options, match):
    with pytest.raises(ValueError, match=f"{match}: got"):
        jm.simple_shot(linear(), **options)
    if match != "momentum":
        with pytest.raises(ValueError, match=f"{match}: got"):
            jm.protonet(linear(), **options)
