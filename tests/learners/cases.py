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
    "reptile": Case(
        lambda: jm.reptile(head(), optax.sgd(0.3), steps=4),
        checks=dict(tx=optax.sgd(0.5)),
    ),
    "protonet": Case(lambda: jm.protonet(body()), checks=dict(metric_learner=True)),
}
