"""Priors over tables: shapes, what varies, and that there is something to learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta import tasks
from jaxmeta.recipes.tabular import within_reach

SIZES = dict(support=(8, 40), queries=24, columns=(2, 6))
PRIORS = (
    tasks.structural_causal,
    tasks.bayesian_network,
    tasks.tree_ensemble,
    tasks.additive_model,
)
DRAWS = 48


@pytest.fixture(scope="module")
def drawn():
    """All four in one mixture, many at a time: one program."""
    task = tasks.mixture([prior(**SIZES, classes=5) for prior in PRIORS])
    keys = jax.random.split(jax.random.key(0), DRAWS)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(task))(keys))


def test_sizes_vary_within_one_shape(drawn):
    support, query = drawn
    assert support.inputs.values.shape == (DRAWS, 40, 6)
    assert query.targets.shape == (DRAWS, 24, 5)
    rows = support.weights.sum(1)
    assert set(np.unique(support.weights)) == {0, 1}
    assert rows.min() >= 8 and rows.max() <= 40 and len(np.unique(rows)) > 10
    there = (~np.isnan(support.inputs.values)).any(1).sum(-1)
    assert there.min() >= 1 and there.max() == 6 and len(np.unique(there)) > 3
    classes = support.targets.any(1).sum(-1)
    assert classes.max() == 5 and (classes == 2).mean() > 0.2
    np.testing.assert_array_equal(support.targets.sum(-1), 1)


def test_tables_are_worn(drawn):
    """Some have missing cells, some categories, and no value is infinite."""
    values, kinds = drawn.support.inputs
    there = (~np.isnan(values)).any(1)
    missing = np.isnan(values).mean(1)[there]
    assert 0.02 < (missing > 0).mean() < 0.6
    assert not np.isinf(values).any()
    assert (kinds == kinds[:, :1]).all()
    named = kinds[:, 0] > 0
    assert 0.01 < named[there].mean() < 0.5 and not named[~there].any()
    codes = np.moveaxis(values, 1, 2)[named]
    codes = codes[~np.isnan(codes)]
    assert (codes == codes.round()).all() and codes.min() >= 0 and codes.max() <= 12


def test_classes_are_unequal_and_their_numbers_mean_nothing(drawn):
    share = drawn.support.targets.mean(1)
    first = share[:, 0]
    assert (share.max(1) > 0.7).any() and (share.max(1) < 0.6).any()
    # the first class is neither always the largest nor always the smallest
    assert 0.1 < (first == share.max(1)).mean() < 0.9


def test_columns_say_something_of_the_class(drawn):
    """Nearest class means of the support do better than the largest class, on average."""
    gain = []
    for i in range(DRAWS):
        x, q = drawn.support.inputs.values[i], drawn.query.inputs.values[i]
        t, w = drawn.support.targets[i], drawn.support.weights[i]
        real = ~np.isnan(x) & (w[:, None] > 0)
        centre = np.where(real, x, 0).sum(0) / np.maximum(real.sum(0), 1)
        x, q = np.nan_to_num(x - centre), np.nan_to_num(q - centre)
        scale = x.std(0) + 1e-6
        x, q, t = x / scale, q / scale, t * w[:, None]
        means = (t.T @ x) / np.maximum(t.sum(0), 1)[:, None]
        far = ((q[:, None] - means) ** 2).sum(-1) + 1e9 * (t.sum(0) == 0)
        answers = drawn.query.targets[i].argmax(-1)
        usual = (answers == t.sum(0).argmax()).mean()
        gain.append((far.argmin(-1) == answers).mean() - usual)
    assert np.mean(gain) > 0.02


def test_the_same_key_is_the_same_table_and_real_targets_are_standardised():
    task = tasks.tree_ensemble(64, 64, columns=3, classes=None)
    one, two = (jax.jit(task)(jax.random.key(5)) for _ in range(2))
    assert jax.tree.all(
        jax.tree.map(lambda a, b: jnp.array_equal(a, b, equal_nan=True), one, two)
    )
    targets = np.concatenate([one.support.targets, one.query.targets])
    assert abs(targets.mean()) < 1e-4 and abs(targets.std() - 1) < 1e-3


def test_sums_go_from_lines_without_noise_to_hardly_a_signal():
    """How much a straight line in all columns explains, table by table."""
    task = tasks.additive_model(200, 200, columns=4, classes=None)
    keys = jax.random.split(jax.random.key(0), DRAWS)
    support, query = jax.tree.map(np.asarray, jax.jit(jax.vmap(task))(keys))
    found = []
    for i in range(DRAWS):
        x, z = (np.nan_to_num(b.inputs.values[i]) for b in (support, query))
        line = np.linalg.lstsq(np.c_[x, np.ones(200)], support.targets[i, :, 0])[0]
        rest = query.targets[i, :, 0] - np.c_[z, np.ones(200)] @ line
        found.append(1 - rest.var() / query.targets[i].var())
    assert max(found) > 0.98 and min(found) < 0.3 and 0.3 < np.median(found) < 0.9


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="classes: got 1"):
        tasks.structural_causal(classes=1)
    with pytest.raises(ValueError, match=r"support: got \(9, 3\)"):
        tasks.bayesian_network((9, 3))
    with pytest.raises(ValueError, match="columns: got 0"):
        tasks.tree_ensemble(columns=0)


def test_no_real_target_is_so_far_that_its_likelihood_drowns_the_others():
    def batch(*targets):
        return jm.Batch(jnp.zeros((3, 1)), jnp.array(targets)[:, None])

    rare = jm.Episode(batch(1.0, 2.0, 3.0), batch(2.0, 500.0, -9.0))
    found = within_reach(lambda key: rare)(jax.random.key(0))
    far = 10 * np.sqrt(2 / 3)
    np.testing.assert_allclose(found.query.targets[:, 0], [2, 2 + far, 2 - far], 1e-6)
    assert found.support is rare.support
