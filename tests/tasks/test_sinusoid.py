"""Sine waves as in Finn et al. 2017."""

import jax
import numpy as np
from scipy.stats import kstest

from jaxmeta.tasks import sinusoid

FALSE_ALARM = 1e-3  # of each Kolmogorov-Smirnov test, over seeds; the seed is fixed


def test_waves_and_points_have_the_published_distributions():
    keys = jax.random.split(jax.random.key(0), 2000)
    episodes = jax.jit(jax.vmap(sinusoid(shots=4, queries=2)))(keys)
    x = np.concatenate([b.inputs for b in episodes], axis=1)[..., 0].astype(float)
    y = np.concatenate([b.targets for b in episodes], axis=1)[..., 0].astype(float)
    # y = A cos(p) sin(x) - A sin(p) cos(x): support and query lie on one wave.
    basis = np.stack([np.sin(x), np.cos(x)], axis=-1)
    fit = np.stack([np.linalg.lstsq(b, v)[0] for b, v in zip(basis, y, strict=True)])
    np.testing.assert_allclose(np.einsum("nkd,nd->nk", basis, fit), y, atol=1e-4)
    amplitude = np.hypot(*fit.T)
    phase = np.arctan2(-fit[:, 1], fit[:, 0])
    assert kstest(amplitude, "uniform", (0.1, 4.9)).pvalue > FALSE_ALARM
    assert kstest(phase, "uniform", (0, np.pi)).pvalue > FALSE_ALARM
    assert kstest(x.ravel(), "uniform", (-5, 10)).pvalue > FALSE_ALARM
    assert abs(np.corrcoef(amplitude, phase)[0, 1]) < 0.08
