"""Learners that classify all queries at once: what stays, what moves, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta import functional, transfer
from jaxmeta.learners.embedding import encoder
from tests.learners.embedded import linear, predict, ready

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
OPTIONS = {
    "tim": {"steps": 3, "rate": 0.05},
    "alpha_tim": {"steps": 3, "rate": 0.05},
    "laplacian_shot": {"steps": 3},
    "bd_cspn": {},
    "pt_map": {"steps": 3, "rounds": 9, "power": 1.0},
}
NET = linear()


def made(name, learner=None, **more):
    learner = learner or jm.protonet(NET)
    return getattr(transfer, name)(learner, NET, **OPTIONS[name], **more)


@pytest.mark.parametrize("name", OPTIONS)
def test_only_what_is_said_of_queries_changes(name):
    learner = jm.protonet(NET)
    meta, task = ready(learner)
    tester = made(name, learner)
    assert tester.init is learner.init and tester.loss is learner.loss
    dependence = [
        float(jm.train.query_dependence(one, meta, task, KEY))
        for one in (learner, tester)
    ]
    assert dependence[0] < 1e-12 and dependence[1] > 1e-3

    w = np.asarray(meta.params["w"])
    s, q = (np.asarray(batch.inputs) @ w for batch in task)
    which = "tim" if name == "alpha_tim" else name
    more = {"alpha": 2.0, "ce": 1.0, "conditional": 1.0} if name == "alpha_tim" else {}
    expected = getattr(functional, which)(
        s, task.support.targets, q, **OPTIONS[name], **more
    )
    np.testing.assert_allclose(predict(tester, meta, task), expected, rtol=1e-9)

    # padding that is NaN, of the queries and of the support
    def padded(batch):
        fill = lambda x, a: jnp.concatenate([x, jnp.full_like(x[:2], a)])  # noqa: E731
        weights = jnp.repeat(jnp.array([1.0, 0.0]), jnp.array([6, 2]))
        return jm.Batch(fill(batch.inputs, jnp.nan), fill(batch.targets, 0), weights)

    got = predict(tester, meta, jm.Episode(*map(padded, task)))
    np.testing.assert_allclose(got[:6], expected, rtol=1e-8)


def test_alpha_one_is_tim():
    meta, task = ready(jm.protonet(NET))
    weights = {"ce": 0.1, "marginal": 1.0, "conditional": 0.1}
    np.testing.assert_array_equal(
        predict(made("alpha_tim", alpha=1.0, **weights), meta, task),
        predict(made("tim"), meta, task),
    )


def test_the_network_lies_where_the_learner_has_it():
    learner = jm.tip_adapter(NET)
    meta, task = ready(learner)
    got = predict(made("bd_cspn", learner, where=encoder), meta, task)
    plain = predict(made("bd_cspn"), encoder(meta), task)
    np.testing.assert_array_equal(got, plain)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tim", {"temperature": 0.0}, "temperature: got 0"),
        ("tim", {"ce": -1.0}, "ce: got -1"),
        ("alpha_tim", {"alpha": 0.0}, "alpha: got 0"),
        ("laplacian_shot", {"neighbours": 0}, "neighbours: got 0"),
        ("bd_cspn", {"scale": 0.0}, "scale: got 0"),
        ("pt_map", {"inertia": 1.5}, "inertia: got 1.5"),
    ],
)
def test_out_of_range(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(transfer, name)(jm.protonet(NET), NET, **options)
