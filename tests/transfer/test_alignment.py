"""The closed forms do what their equations say; the deep ones teach the encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.test_util import check_grads
from sklearn.linear_model import RidgeClassifier

from jaxmeta.core import Batch
from jaxmeta.functional.kernels import mmd, rbf
from jaxmeta.functional.spectral import coral_distance
from jaxmeta.tasks.domains import DomainPair, Unlabelled
from jaxmeta.transfer.alignment import coral, dan, deep_coral, subspace_alignment
from jaxmeta.transfer.importance import kmm

from .test_adversarial import nets
from .toys import toy

pytestmark = pytest.mark.usefixtures("x64")
RANDOM = np.random.default_rng(0)
MIX = RANDOM.normal(size=(2, 4, 4))
X_S = RANDOM.normal(size=(30, 4)) @ MIX[0] + 3
X_T = RANDOM.normal(size=(25, 4)) @ MIX[1] - 1


@pytest.mark.parametrize("lam", [0.0, 1e-3])
def test_coral_gives_the_source_the_targets_covariance(lam):
    z = coral(X_S, X_T, lam=lam).source(X_S)
    exact = np.cov(X_T, rowvar=False)
    if lam == 0:
        np.testing.assert_allclose(
            np.cov(z, rowvar=False), exact, rtol=1e-10, atol=1e-10
        )
        moved = coral(X_S, X_T, lam=lam, match_means=True).source(X_S)
        np.testing.assert_allclose(moved.mean(0), X_T.mean(0), rtol=1e-10, atol=1e-10)
    c_s, c_t = (np.cov(x, rowvar=False) + lam * np.eye(4) for x in (X_S, X_T))
    power = scipy.linalg.fractional_matrix_power
    np.testing.assert_allclose(z, X_S @ power(c_s, -0.5) @ power(c_t, 0.5), rtol=1e-9)


def test_coral_in_single_precision():
    with jax.enable_x64(False):
        z = np.asarray(coral(X_S.astype("f4"), X_T.astype("f4"), lam=0.0).source(X_S))
    assert z.dtype == np.float32
    exact = np.cov(X_T, rowvar=False)
    error = np.abs(np.cov(z.astype("f8"), rowvar=False) - exact).max()
    assert error < 1e-5 * np.abs(exact).max()


def test_coral_with_more_features_than_examples():
    x_s, x_t = RANDOM.normal(size=(5, 9)), RANDOM.normal(size=(6, 9)) * 3
    z = coral(x_s, x_t, lam=0.5).source(x_s)
    c_s, c_t = (np.cov(x, rowvar=False) + 0.5 * np.eye(9) for x in (x_s, x_t))
    power = scipy.linalg.fractional_matrix_power
    expected = x_s @ power(c_s, -0.5) @ power(c_t, 0.5)
    np.testing.assert_allclose(z, expected, rtol=1e-9, atol=1e-11)


def test_coral_leaves_the_target_alone():
    maps = coral(X_S, X_T)
    assert maps.target(X_T) is X_T


def test_subspace_alignment_is_its_equation_whatever_the_signs(monkeypatch):
    maps = subspace_alignment(X_S, X_T, dim=2)

    def basis(x):
        return np.linalg.eigh(np.cov(x, rowvar=False))[1][:, ::-1][:, :2]

    p_s, p_t = basis(X_S), basis(X_T)
    expected = (X_S - X_S.mean(0)) @ p_s @ p_s.T @ p_t
    got = maps.source(X_S)
    # each column is known up to the sign of P_t's, which the target's map shares
    sign = np.sign(np.sum(expected * np.asarray(got), 0))
    np.testing.assert_allclose(got, expected * sign, rtol=1e-9, atol=1e-9)
    target = (X_T - X_T.mean(0)) @ p_t * sign
    np.testing.assert_allclose(maps.target(X_T), target, rtol=1e-9, atol=1e-9)

    from jaxmeta.transfer import alignment

    real = alignment.principal

    def flipped(x):
        mean, var, p = real(x)
        return mean, var, p * jnp.where(x is X_S, -1.0, 1.0)

    monkeypatch.setattr(alignment, "principal", flipped)
    turned = alignment.subspace_alignment(X_S, X_T, dim=2)
    np.testing.assert_allclose(turned.source(X_S), got, rtol=1e-12)


def test_subspace_alignment_of_a_domain_with_itself_changes_nothing():
    maps = subspace_alignment(X_S, X_S, dim=3)
    np.testing.assert_allclose(maps.source(X_S), maps.target(X_S), atol=1e-10)


@pytest.mark.parametrize("dim", [0, 5])
def test_dimensions_are_checked(dim):
    with pytest.raises(
        ValueError, match=f"dim: got {dim}, wants an integer from 1 to 4"
    ):
        subspace_alignment(X_S, X_T, dim=dim)


def test_the_toy_of_adapt():
    """The figures that adapt gives for CORAL, subspace alignment and KMM."""
    x_s, y_s, x_t, y_t = toy()

    def score(maps):
        model = RidgeClassifier().fit(maps.source(x_s), y_s)
        return model.score(maps.target(x_t), y_t)

    assert RidgeClassifier().fit(x_s, y_s).score(x_t, y_t) == 0.88
    assert score(coral(x_s, x_t, lam=1e-5)) == 0.86
    assert score(coral(x_s, x_t, lam=1e-5, match_means=True)) == 0.90
    assert score(subspace_alignment(x_s, x_t, dim=2)) == 0.91

    w = np.asarray(kmm(x_s, x_t, bandwidth=0.5))  # gamma = 1
    assert RidgeClassifier().fit(x_s, y_s, w).score(x_t, y_t) == 0.76

    def discrepancy(w):
        within = w @ rbf(x_s, x_s, 0.5) @ w - 2 * w @ rbf(x_s, x_t, 0.5).sum(1)
        return within / 100**2 + rbf(x_t, x_t, 0.5).mean()

    np.testing.assert_allclose(discrepancy(np.ones(100)), 0.101, atol=5e-4)
    np.testing.assert_allclose(discrepancy(w), 0.0003, atol=5e-5)


PAIR = DomainPair(
    Batch(X_S[:, :3], np.eye(2)[RANDOM.integers(0, 2, 30)]), Unlabelled(X_T[:, :3])
)
KEY = jax.random.key(0)


@pytest.mark.parametrize("build", [deep_coral, dan])
def test_encoder_gets_the_gradient_of_both_terms(build):
    """In a library that computes the encoder's from the alignment alone, this fails."""

    def grad(weight):
        method = build(*nets()[:2], weight=weight)
        meta = method.init(KEY, PAIR)

        def loss(params):
            return method.loss(meta._replace(params=params), PAIR, KEY)[0]

        return jax.grad(loss)(meta.params)["features"]["w"], loss, meta.params

    alone, loss, params = grad(0.0)
    assert jnp.linalg.norm(alone) > 1e-3
    if build is deep_coral:  # DAN holds its bandwidth: no finite difference agrees
        check_grads(loss, (params,), order=1, modes=["rev"])
    both, _, _ = grad(1.0)
    twice, _, _ = grad(2.0)
    np.testing.assert_allclose(twice - alone, 2 * (both - alone), rtol=1e-6, atol=1e-12)
    assert jnp.linalg.norm(both - alone) > 1e-6


def test_value_is_the_task_plus_the_distance():
    for build, distance in (
        (deep_coral, lambda h, y: coral_distance(*y)),
        (dan, lambda h, y: mmd(*h) + mmd(*y)),
    ):
        method = build(*nets()[:2], weight=0.3)
        meta = jax.jit(method.init)(KEY, PAIR)
        value, aux = jax.jit(method.loss)(meta, PAIR, KEY)
        h = [
            jnp.tanh(x @ meta.params["features"]["w"])
            for x in (PAIR.source.inputs, PAIR.target.inputs)
        ]
        y = [z @ meta.params["classifier"]["w"] for z in h]
        task = -jnp.mean(jnp.sum(PAIR.source.targets * jax.nn.log_softmax(y[0]), -1))
        np.testing.assert_allclose(value, task + 0.3 * distance(h, y), rtol=1e-12)
        np.testing.assert_allclose(aux.metrics["alignment"], distance(h, y), rtol=1e-12)
