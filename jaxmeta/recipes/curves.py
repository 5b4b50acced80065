"""Curves of the command line: `--task NAME`, each with options of its own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta import tasks
from jaxmeta.functional import gaussian_process as gp
from jaxmeta.losses import weighted_mean
from jaxmeta.report.finished import Finished
from jaxmeta.train import interval

NODES = 256  # of the hyper-parameters: 1024 change the mean by less than 0.001 nats


def gaussian_process(
    shots: int,
    queries: int,
    *,
    fewest: int = 3,
    kernel: str = "rbf",
    length: tuple[float, float] = (0.1, 0.6),
    scale: tuple[float, float] = (0.1, 1.0),
    period: tuple[float, float] = (0.1, 0.5),
    noise: float = 0.02,
) -> Partial:
    """Functions of a Gaussian process, whose best prediction is known.

    Args:
      shots: support points, at most.
      queries: query points.
      fewest: support points, at least; as many as shots: always so many.
      kernel: rbf, matern12, matern32, matern52, periodic, or a sum: rbf+periodic.
      length: length scales are uniform between the two.
      scale: output scales are uniform between the two.
      period: periods of the periodic kernel are uniform between the two.
      noise: standard deviation of the targets.
    """
    return tasks.gaussian_process(
        (min(fewest, shots), shots),
        queries,
        kernel=kernel,
        length=length,
        scale=scale,
        period=period,
        noise=noise,
    )


def exact(run: Finished) -> dict[str, Any]:
    """What exact inference says of the test tasks of a Gaussian process.

    Args:
      run: a trained run.

    Returns:
      "exact_log_likelihood", nats a query, on the episodes of the test, averaged over
      the hyper-parameters as a learner has to; "behind_exact", how much more that is
      than the learner's, and its interval. Nothing where the task is another.
    """
    prior = tasks.prior_of(run.test)
    if prior is None:
        return {}

    @jax.jit
    def likelihoods(keys):
        def one(key):
            support, query = run.test(jax.random.split(key)[0])
            belief = gp.averaged(prior, support, query.inputs, number=NODES)
            found = gp.log_prob(belief, query.targets).mean(-1)
            return weighted_mean(found, query.weights)

        return jax.lax.map(one, keys)

    numbers = jnp.arange(run.episodes)
    found = np.asarray(
        likelihoods(jax.vmap(lambda t: jax.random.fold_in(run.key, t))(numbers))
    )
    said = {"exact_log_likelihood": float(found.mean(dtype=np.float64))}
    if run.found.nlls is not None:
        behind, ci95 = interval(found + run.found.nlls)
        said |= {"behind_exact": behind, "behind_exact_ci95": ci95}
    return said
