"""One row a learner: how the contract test builds it, and which laws it claims."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx

import jaxmeta as jm
from jaxmeta.learners import LEARNERS
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.recipes.methods import takes_features
from jaxmeta.testing import probe


class Case(NamedTuple):
    """A learner on one-layer nets and its tiny task.

    `build` takes `head(ways)` and `body()`; `checks` go to `testing.check_learner`.
    """

    build: Callable[..., jm.MetaLearner]
    task: jm.Task = probe()
    checks: dict[str, Any] = {}  # noqa: RUF012 (a NamedTuple, never written to)


def head(ways=3):
    return jm.models.mlp(ways, hidden=(16,), activation=jax.numpy.tanh)


def body():
    return jm.models.mlp(None, hidden=(16,), activation=jax.numpy.tanh)


def gated(body, ways=3):
    # a head that is drawn: behind one at zero, dropping out a feature changes nothing
    top = jm.models.mlp(ways, hidden=())
    return jm.models.with_head(jm.models.gated(body(), body()), top)


class Noisy(nnx.Module):
    """A layer with all that can go wrong: running averages, and units that drop out."""

    def __init__(self, inputs, outputs, drop, *, rngs):
        self.layer1 = nnx.Linear(inputs, 16, rngs=rngs)
        self.norm1 = nnx.BatchNorm(16, momentum=0.9, rngs=rngs)
        self.drop = nnx.Dropout(drop, rngs=rngs)
        self.head = None if outputs is None else nnx.Linear(16, outputs, rngs=rngs)

    def __call__(self, x):
        x = self.layer1(x.reshape(x.shape[0], -1))
        x = self.drop(jax.numpy.tanh(self.norm1(x)))
        return x if self.head is None else self.head(x)


def nets(drop):
    """`(head, body)` with running averages, and dropout of that rate."""

    def head(ways=3):
        return from_nnx_for(
            lambda rngs, x: Noisy(math.prod(x.shape[1:]), ways, drop, rngs=rngs)
        )

    return head, lambda: head(None)


def usual(builder: Callable[..., jm.MetaLearner]) -> Case:
    """The row of a learner that has none of its own, by its signature: two inner steps.

    What it claims is what every learner must: no set, no metric is assumed beyond that.
    """
    parameters = inspect.signature(builder, eval_str=True).parameters
    first = next(iter(parameters.values()))
    inner = parameters.get("inner")
    takes_inner = inner is not None and inner.default is inspect.Parameter.empty
    tx = (optax.sgd(0.3),) if takes_inner else ()
    more = {"steps": 2} if "steps" in parameters else {}
    whole = not takes_features(first.annotation)
    return Case(lambda head, body: builder(head() if whole else body(), *tx, **more))


OWN: dict[str, Case] = {
    "meta_sgd": Case(lambda head, body: jm.meta_sgd(head(), init_rate=0.3, steps=2)),
    "maml_plus_plus": Case(
        lambda head, body: jm.maml_plus_plus(
            head(), steps=2, init_rate=0.3, epoch=4, first_order_epochs=2
        )
    ),
    "cavia": Case(
        lambda head, body: jm.cavia(
            head(), optax.sgd(1.0), context=32, film="layer1", steps=3
        ),
        # the classes must be told apart through the context alone
        checks=dict(train_steps=150),
    ),
    "imaml": Case(
        lambda head, body: jm.imaml(head(), optax.sgd(0.2), steps=8, lam=1.0)
    ),
    "proto_maml": Case(
        lambda head, body: jm.proto_maml(body(), optax.sgd(0.05), steps=2)
    ),
    "reptile": Case(
        lambda head, body: jm.reptile(head(), optax.sgd(0.3), steps=4),
        checks=dict(tx=optax.sgd(0.5)),
    ),
    "protonet": Case(
        lambda head, body: jm.protonet(body()), checks=dict(metric_learner=True)
    ),
    "matching_network": Case(
        lambda head, body: jm.matching_network(body()), checks=dict(metric_learner=True)
    ),
    "relation_network": Case(
        lambda head, body: jm.relation_network(body()), checks=dict(metric_learner=True)
    ),
    "r2d2": Case(lambda head, body: jm.r2d2(body()), checks=dict(metric_learner=True)),
    "metaoptnet": Case(
        lambda head, body: jm.metaoptnet(body()), checks=dict(metric_learner=True)
    ),
    "baseline_plus_plus": Case(
        lambda head, body: jm.baseline_plus_plus(body(), steps=10),
        checks=dict(metric_learner=True),
    ),
    "simple_shot": Case(
        lambda head, body: jm.simple_shot(body()), checks=dict(metric_learner=True)
    ),
    "logistic_regression": Case(
        # a minimum is as exact as where the search stops, and the solve behind it
        lambda head, body: jm.logistic_regression(
            body(), l2=0.1, tolerance=1e-12, solve=40
        ),
        checks=dict(metric_learner=True),
    ),
    "tip_adapter": Case(
        lambda head, body: jm.tip_adapter(body()), checks=dict(metric_learner=True)
    ),
    "cnp": Case(
        lambda head, body: jm.cnp(body(), head(2), min_std=0.01),
        task=jm.tasks.sinusoid(5, 5),
        checks=dict(classification=False),
    ),
    "np": Case(
        lambda head, body: jm.np(body(), head(2), latent=4, samples=4),
        task=jm.tasks.sinusoid(5, 5),
        checks=dict(classification=False),
    ),
    "conv_cnp": Case(
        lambda head, body: jm.conv_cnp(
            body(), head(2), reach=10.0, density=2, filters=8, depth=2, taps=3
        ),
        task=jm.tasks.sinusoid(5, 5),
        checks=dict(classification=False),
    ),
    "tnp": Case(
        lambda head, body: jm.tnp(body(), head(2), depth=1, heads=2),
        task=jm.tasks.sinusoid(5, 5),
        checks=dict(classification=False),
    ),
    "prior_fitted_network": Case(
        lambda head, body: jm.prior_fitted_network(
            classes=4, width=16, depth=1, heads=2, expansion=1
        ),
        # columns are told apart by signatures, which one block has to learn to use
        checks=dict(train_steps=150),
    ),
    "mann": Case(
        lambda head, body: jm.mann(
            jm.models.flat(), hidden=16, slots=12, width=8, heads=1
        ),
        # learning to bind labels takes longer than learning to compare
        task=probe(2, 3, 3, noise=1, loudness=1.0),
        checks=dict(set_learner=False, weighs_rows=False, train_steps=300),
    ),
    "snail": Case(
        lambda head, body: jm.snail(body(), filters=8, attention=((8, 8),)),
        # one block of attention compiles in half the time of two, and learns later
        checks=dict(set_learner=False, weighs_rows=False, train_steps=200),
    ),
    "lstm_meta_learner": Case(
        lambda head, body: jm.lstm_meta_learner(
            head(), steps=2, hidden=4, input_bias=(-1.0, 0.0)
        )
    ),
    "platipus": Case(
        lambda head, body: jm.platipus(
            head(), optax.sgd(0.3), steps=1, kl_weight=1e-4, samples=3
        )
    ),
    "bmaml": Case(
        lambda head, body: jm.bmaml(head(), optax.sgd(1.0), particles=3, steps=1),
        # the chaser's distance is small where the inner steps are
        checks=dict(train_steps=150),
    ),
    "meta_gan": Case(
        lambda head, body: jm.meta_gan(
            head(),
            optax.sgd(0.3),
            steps=1,
            lam_gan=0.3,
            generator=jm.models.mlp(8, hidden=(8,)),
            encoder=body(),
            latent=3,
            fakes=4,
        )
    ),
    "oml": Case(
        lambda head, body: jm.oml(head(), optax.sgd(0.1)),
        checks=dict(set_learner=False, weighs_rows=False),
    ),
    "online_maml": Case(
        lambda head, body: jm.online_maml(head(), optax.sgd(0.1)),
        checks=dict(set_learner=False, weighs_rows=False),
    ),
    "anml": Case(
        lambda head, body: jm.anml(gated(body), optax.sgd(0.1)),
        checks=dict(set_learner=False, weighs_rows=False),
    ),
}


CASES = {name: OWN.get(name) or usual(builder) for name, builder in LEARNERS.items()}
"""The row of every learner: a new one needs none of its own."""

NOISY: dict[str, Case] = {
    **CASES,
    "mann": CASES["mann"]._replace(
        build=lambda head, body: jm.mann(body(), hidden=16, slots=12, width=8, heads=1)
    ),
}
"""The same learners, to be built with `nets(drop)`."""

del NOISY["prior_fitted_network"]  # its network is its own, and has neither

CANNOT_FAIL = {
    "no_second_compilation": "metric learners without a head of their own: no state of "
    "theirs could change its type",
    "padding_is_invisible": "reptile's loss as to the query, which it never sees: its "
    "metrics alone can break the law there",
    "weights_are_copies": "reptile, likewise; mann and snail do not claim it",
    "same_key_same_value": "learners that draw nothing, on nets without dropout; and "
    "meta_transfer, whose extractor is frozen and never drops out",
    "nan_is_no_score": "mann on raw pixels as to the embedding, which has no parameters",
}
"""Laws that no mistake could break, and on which learners: there they show nothing."""
