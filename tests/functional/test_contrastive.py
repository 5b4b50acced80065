"""InfoNCE and fused prototypes against NumPy, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmeta.functional import contrastive, fused, worth_of

pytestmark = pytest.mark.usefixtures("x64")
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, 6, 4))


def by_hand(a, b, scale, weights, same):
    """One example at a time, with the candidates written out."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    total = 0.0
    for i in range(len(a)):
        if weights[i] == 0:
            continue
        js = [j for j in range(len(a)) if weights[j] > 0 and (j == i or not same[i, j])]
        for x, y in ((a, b), (b, a)):
            scores = np.array([scale * x[i] @ y[j] for j in js])
            log_z = scores.max() + np.log(np.exp(scores - scores.max()).sum())
            total -= weights[i] * (scores[js.index(i)] - log_z) / 2
    return total / weights.sum()


NONE = np.zeros((6, 6), bool)
LABELS = np.array([0, 1, 0, 2, 1, 3])


@pytest.mark.parametrize("scale", [1.0, 14.3])
@pytest.mark.parametrize("weights", [None, np.array([1.0, 2, 0, 1, 0.5, 0])])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_contrastive_is_its_sum(scale, weights, labels):
    same = None if labels is None else labels[:, None] == labels
    got = contrastive(A, B, scale, weights, same=same)
    w = np.ones(6) if weights is None else weights
    want = by_hand(A, B, scale, w, NONE if same is None else same)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_contrastive_knows_its_limits():
    np.testing.assert_allclose(contrastive(A, 0 * A, 5.0), np.log(6), rtol=1e-12)
    assert contrastive(np.eye(6), np.eye(6), 100.0) < 1e-40
    np.testing.assert_allclose(  # the two views are equals
        contrastive(A, B, 3.0), contrastive(B, A, 3.0), rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"b: got shape \[5, 4\], wants \[6, 4\]"):
        contrastive(A, B[:5], 1.0)


def test_what_does_not_count_has_no_slope():
    weights = jnp.array([1.0, 1, 0, 1, 1, 0])
    filled = A.copy()
    filled[[2, 5]] = np.nan
    slope = jax.grad(contrastive)(jnp.asarray(filled), B, 3.0, weights)
    assert np.isfinite(slope).all() and (slope[np.array([2, 5])] == 0).all()


def test_fused_prototypes_are_the_posterior_mean():
    """Against Gaussian conditioning written out, of one feature and three examples."""
    sigma, tau, x, known = 0.7, 0.4, np.array([1.0, 2.0, 4.0]), 0.5
    precision = len(x) / sigma**2 + 1 / tau**2
    want = (x.sum() / sigma**2 + known / tau**2) / precision
    got = fused(
        jnp.array([[x.mean()], [9.0], [0.0]]),
        jnp.array([3.0, 0.0, 0.0]),
        jnp.array([[known], [known], [known]]),
        sigma**2 / tau**2,
        jnp.array([1.0, 1.0, 0.0]),
    )
    np.testing.assert_allclose(got[:, 0], [want, known, 0.0], rtol=1e-12)


def test_worth_is_found_in_data_that_were_made_so():
    """sigma^2 / tau^2 = 6.25 of drawn classes; the text is twice as long, then a half."""
    c, n, d, sigma, tau = 300, 5, 8, 1.0, 0.4
    s = RANDOM.normal(size=(c, d))
    centres = s + tau * RANDOM.normal(size=s.shape)
    x = np.repeat(centres, n, 0) + sigma * RANDOM.normal(size=(c * n, d))
    y = np.repeat(np.eye(c), n, 0)
    want = sigma**2 / tau**2
    for length in (1.0, 2.0, 0.5):
        got = worth_of(x, y, length * s)
        np.testing.assert_allclose(got, want / length, rtol=0.1)
    assert worth_of(x, y, -s) == 0.0  # it says the contrary
    assert worth_of(x, y, 0 * s) == 0.0


def test_worth_is_the_formula():
    x, s = RANDOM.normal(size=(9, 3)), RANDOM.normal(size=(2, 3))
    labels = np.array([0] * 4 + [1] * 5)
    m = np.stack([x[labels == k].mean(0) for k in (0, 1)])
    v = np.array([x[labels == k].var(0, ddof=1).sum() for k in (0, 1)])
    s = s + m  # so that it says something
    rho = (m * s).sum() / (s * s).sum()
    tau = ((m - rho * s) ** 2).sum(1) - v / [4, 5]
    want = np.clip(rho * v.mean() / max(tau.mean(), v.mean() / 1000), 0, 1000)
    np.testing.assert_allclose(worth_of(x, np.eye(2)[labels], s), want, rtol=1e-12)
