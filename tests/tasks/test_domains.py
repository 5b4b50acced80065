"""Pairs keep labels with their examples and give the target none; episodes cross domains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.core import Batch
from jaxmeta.data import from_counts
from jaxmeta.tasks.domains import Unlabelled, domain_pair, domains, labelled, unlabelled

NAMES = ("bad", "good")


def domain(number, counts=(5, 4)):
    """Inputs `(domain, class, row)`, so that an example says where it is from."""
    rows = [(number, c, i) for c, n in enumerate(counts) for i in range(n)]
    return from_counts(np.array(rows, "float32"), counts, NAMES)


DATA = {name: domain(i) for i, name in enumerate(("books", "dvd", "kitchen"))}


def draws(task, n=200):
    return jax.jit(jax.vmap(task))(jax.random.split(jax.random.key(0), n))


def test_pair_draws_evenly_and_keeps_labels():
    source, target = labelled(DATA["books"]), unlabelled(DATA["dvd"])
    pairs = draws(domain_pair(source, target), 2000)
    x, y = pairs.source.inputs, pairs.source.targets
    assert jnp.all(x[:, 0] == 0) and jnp.all(pairs.target.inputs[:, 0] == 1)
    assert jnp.all(y.argmax(-1) == x[:, 1])
    for part in (x, pairs.target.inputs):
        _, counts = np.unique(np.asarray(part), axis=0, return_counts=True)
        assert len(counts) == 9 and counts.min() > 150  # 222 each, 14 of spread
    assert Unlabelled._fields == ("inputs",)


def test_pair_is_checked():
    with pytest.raises(ValueError, match="target: got examples"):
        domain_pair(Batch(jnp.ones((2, 3)), jnp.eye(2)), Unlabelled(jnp.ones((2, 4))))
    with pytest.raises(ValueError, match="a row for each"):
        domain_pair(Batch(jnp.ones((2, 3)), jnp.eye(3)), Unlabelled(jnp.ones((2, 3))))


def test_domains_as_tasks():
    support, query = draws(domains(DATA, 2, 2, 2))
    which = support.inputs[:, :, 0]
    assert jnp.all(which == which[:, :1]) and jnp.all(
        query.inputs[:, :, 0] == which[:, :1]
    )
    assert set(np.asarray(which[:, 0])) == {0, 1, 2}
    for s, q in zip(np.asarray(support.inputs), np.asarray(query.inputs), strict=True):
        assert len(np.unique(np.concatenate([s, q]), axis=0)) == 8  # nothing twice


def test_query_from_another_domain():
    support, query = draws(domains(DATA, 2, 2, 2, pairs=[("books", "kitchen")]))
    assert jnp.all(support.inputs[:, :, 0] == 0) and jnp.all(query.inputs[:, :, 0] == 2)
    # a label means the same class on both sides, whatever its number
    for batch in (support, query):
        label = batch.targets.argmax(-1)
        first = batch.inputs[:, :, 1]
        swapped = first[:, 0]
        assert jnp.all(jnp.where(label == 0, first, 1 - first) == swapped[:, None])
    assert 0 < support.inputs[:, 0, 1].mean() < 1  # the label of a class is random


def test_unshuffled_labels_are_the_classes():
    _, query = draws(domains(DATA, 2, 1, 2, shuffle=False))
    assert jnp.all(query.targets.argmax(-1) == query.inputs[:, :, 1])
    with pytest.raises(ValueError, match="ways: got 1, wants all 2"):
        domains(DATA, 1, 1, 2, shuffle=False)


def test_domains_are_checked():
    with pytest.raises(ValueError, match="pairs: got 'cd'"):
        domains(DATA, 2, 1, 1, pairs=[("books", "cd")])
    with pytest.raises(ValueError, match="pairs: got none"):
        domains(DATA, 2, 1, 1, pairs=[])
    with pytest.raises(ValueError, match="ways: got 3, wants at most 2"):
        domains(DATA, 3, 1, 1)
    with pytest.raises(
        ValueError, match="4 examples in a class of 'books', wants at least 5"
    ):
        domains(DATA, 2, 2, 3)
    other = DATA["dvd"]._replace(names=("no", "yes"))
    with pytest.raises(ValueError, match="got classes"):
        domains({"books": DATA["books"], "dvd": other}, 2, 1, 1)


def test_meta_learns_across_domains():
    learner = jm.protonet(jm.models.mlp(None, hidden=(4,)))
    task = domains(DATA, 2, 1, 1)
    meta = learner.init(jax.random.key(0), task(jax.random.key(0)))
    loss, _ = learner.loss(meta, task(jax.random.key(1)), jax.random.key(2))
    assert jnp.isfinite(loss)
