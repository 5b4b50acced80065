"""Inner minibatches: K steps see several of them, or they were one long step."""

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxmeta as jm
from jaxmeta.testing import probe

KEY = jax.random.key(0)
SGD = optax.sgd(0.1)
NET = jm.models.mlp(3, hidden=())
FAKES = dict(
    generator=jm.models.mlp(8, hidden=()), encoder=jm.models.mlp(None), latent=2
)

DRAWING = {  # every builder that takes `inner_batch` and draws anew
    "maml": lambda **how: jm.maml(NET, SGD, **how),
    "reptile": lambda **how: jm.reptile(NET, SGD, **how),
    "platipus": lambda **how: jm.platipus(NET, SGD, samples=1, **how),
    "bmaml": lambda **how: jm.bmaml(NET, SGD, particles=2, **how),
    "meta_gan": lambda **how: jm.meta_gan(NET, SGD, **FAKES, **how),
    "baseline_plus_plus": lambda **how: jm.baseline_plus_plus(
        jm.models.flat(), inner=SGD, **how
    ),
}


@pytest.mark.parametrize("name", DRAWING)
def test_every_step_draws_anew(name):
    """No two rows have the same targets: the loss sees which they are."""
    seen = []

    def recording(outputs, targets, weights=None):
        jax.debug.callback(
            lambda t: seen.append(tuple(sorted(t[:, 0].tolist()))), targets
        )
        return jm.losses.cross_entropy(outputs, targets, weights)

    learner = DRAWING[name](steps=4, inner_batch=2, inner_criterion=recording)
    support, query = probe(3, 2)(KEY)
    share = jnp.linspace(0.1, 0.9, 6)
    targets = jnp.stack([share, 1 - share, jnp.zeros(6)], 1)
    episode = jm.Episode(support._replace(targets=targets), query)
    meta = learner.init(KEY, episode)
    seen.clear()
    jax.block_until_ready(jax.jit(learner.adapt)(meta, episode.support, KEY))
    jax.effects_barrier()
    drawn = [rows for rows in seen if len(rows) == 2]
    assert len(drawn) >= 4 and all(len(set(rows)) == 2 for rows in drawn)
    # of 15 pairs drawn four times all are equal once in 15^3
    assert len(set(drawn)) > 1
