"""One row a learner: how the contract test builds it, and which laws it claims."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

import jaxmeta as jm
from jaxmeta.testing import probe


class Case(NamedTuple):
    """A learner on a one-layer net and its tiny task.

    `checks` go to `jaxmeta.testing.check_learner`.
    """

    build: Callable[[], jm.MetaLearner]
    task: jm.Task = probe()
    checks: dict[str, Any] = {}  # noqa: RUF012 (a NamedTuple, never written to)


def head(ways=3):
    return jm.models.mlp(ways, hidden=(16,), activation=jax.numpy.tanh)


def body():
    return jm.models.mlp(None, hidden=(16,), activation=jax.numpy.tanh)


CASES: dict[str, Case] = {
    "maml": Case(lambda: jm.maml(head(), optax.sgd(0.3), steps=2)),
    "anil": Case(lambda: jm.anil(head(), optax.sgd(0.3), steps=2)),
    "boil": Case(lambda: jm.boil(head(), optax.sgd(0.3), steps=2)),
    "meta_sgd": Case(lambda: jm.meta_sgd(head(), init_rate=0.3, steps=2)),
    "meta_curvature": Case(lambda: jm.meta_curvature(head(), optax.sgd(0.3), steps=2)),
    "maml_plus_plus": Case(
        lambda: jm.maml_plus_plus(
            head(), steps=2, init_rate=0.3, epoch=4, first_order_epochs=2
        )
    ),
    "cavia": Case(
        lambda: jm.cavia(head(), optax.sgd(1.0), context=32, film="layer1", steps=3),
        # the classes must be told apart through the context alone
        checks=dict(train_steps=150),
    ),
    "imaml": Case(lambda: jm.imaml(head(), optax.sgd(0.2), steps=8, lam=1.0)),
    "proto_maml": Case(lambda: jm.proto_maml(body(), optax.sgd(0.05), steps=2)),
    "meta_transfer": Case(lambda: jm.meta_transfer(body(), optax.sgd(0.3), steps=2)),
    "reptile": Case(
        lambda: jm.reptile(head(), optax.sgd(0.3), steps=4),
        checks=dict(tx=optax.sgd(0.5)),
    ),
    "protonet": Case(lambda: jm.protonet(body()), checks=dict(metric_learner=True)),
    "matching_network": Case(
        lambda: jm.matching_network(body()), checks=dict(metric_learner=True)
    ),
    "relation_network": Case(
        lambda: jm.relation_network(body()), checks=dict(metric_learner=True)
    ),
    "r2d2": Case(lambda: jm.r2d2(body()), checks=dict(metric_learner=True)),
    "metaoptnet": Case(lambda: jm.metaoptnet(body()), checks=dict(metric_learner=True)),
    "baseline_plus_plus": Case(
        lambda: jm.baseline_plus_plus(body(), steps=10),
        checks=dict(metric_learner=True),
    ),
    "simple_shot": Case(
        lambda: jm.simple_shot(body()), checks=dict(metric_learner=True)
    ),
    "cnp": Case(
        lambda: jm.cnp(body(), head(2), min_std=0.01),
        task=jm.tasks.sinusoid(5, 5),
        checks=dict(classification=False),
    ),
    "mann": Case(
        lambda: jm.mann(jm.models.flat(), hidden=16, slots=12, width=8, heads=1),
        # learning to bind labels takes longer than learning to compare
        task=probe(2, 3, 3, noise=1, loudness=1.0),
        checks=dict(set_learner=False, train_steps=300),
    ),
    "snail": Case(
        lambda: jm.snail(body(), filters=8, attention=((8, 8),)),
        # one block of attention compiles in half the time of two, and learns later
        checks=dict(set_learner=False, train_steps=200),
    ),
    "lstm_meta_learner": Case(
        lambda: jm.lstm_meta_learner(head(), steps=2, hidden=4, input_bias=(-1.0, 0.0))
    ),
    "platipus": Case(
        lambda: jm.platipus(head(), optax.sgd(0.3), steps=1, kl_weight=1e-4, samples=3)
    ),
    "bmaml": Case(
        lambda: jm.bmaml(head(), optax.sgd(1.0), particles=3, steps=1),
        # the chaser's distance is small where the inner steps are
        checks=dict(train_steps=150),
    ),
    "meta_gan": Case(
        lambda: jm.meta_gan(
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
}
