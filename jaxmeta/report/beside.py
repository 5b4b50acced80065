"""What a learner believes of functions, beside what exact inference does."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import tasks
from jaxmeta.functional import gaussian_process as gp
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.gaussian import Gaussian
from jaxmeta.learners.probabilistic import Believe
from jaxmeta.report import page
from jaxmeta.report.figures import Draw, drawn
from jaxmeta.report.finished import Finished
from jaxmeta.report.seen import rows

DENSE = 120
NODES = 256
CONTEXTS = (3, 8, 20)
"""Support points of the three pictures, at most as many as the task has."""


def beside_exact(run: Finished, *, predictive: Believe) -> str | None:
    """Three functions of a Gaussian process: the learner's band, and the exact one.

    Args:
      run: the trained run.
      predictive: what its tester believes, see `jaxmeta.evaluate`.

    Returns:
      HTML, or `None` where the tasks are no Gaussian process of one input.
    """
    prior = tasks.prior_of(run.test)
    learner = run.tester
    if prior is None or learner is None:
        return None

    @jax.jit
    def see(key, count):
        sampling, adapting = jax.random.split(key)
        support, query = run.test(sampling)
        counted = jnp.arange(len(support.targets)) < count
        support = support._replace(weights=counted * 1.0)
        both = jnp.concatenate([support.inputs, query.inputs])
        grid = jnp.linspace(both.min(), both.max(), DENSE)[:, None]
        fast = learner.adapt(run.meta, support, adapting)
        said = spread(predictive(run.meta, fast, grid))
        exact = gp.moments(gp.averaged(prior, support, grid, number=NODES))
        return support, grid, said, exact

    shape = jax.eval_shape(run.test, run.drawing).support
    if shape.inputs.shape[-1] != 1:
        return None
    counts = sorted({min(n, len(shape.targets)) for n in CONTEXTS})
    found = [see(jax.random.fold_in(run.drawing, i), n) for i, n in enumerate(counts)]
    text = (
        "The band is what the learner believes, mean and two standard deviations; the "
        "lines are those of exact inference, which knows the kernel and averages over "
        "its hyper-parameters."
    )
    alt = "three functions with the bands of the learner and of exact inference"
    return page.section(
        "Beside exact inference", text, drawn(_draw(found), (9, 3), alt)
    )


def spread(belief: pr.Predictive) -> Gaussian:
    """Mean and standard deviation of a mixture."""
    mean, std = pr.mean(belief), jnp.asarray(belief.std)
    apart = jnp.square(std) + jnp.square(belief.members - mean)
    return Gaussian(mean, jnp.sqrt(apart.mean(0)))


def _draw(found) -> Draw:
    def draw(figure, theme):
        axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for axis, (support, grid, said, exact) in zip(axes, found, strict=True):
            x = np.ravel(grid)
            mean, std = map(np.ravel, said)
            band = {"color": theme.blue, "alpha": 0.25, "lw": 0, "label": "learner"}
            axis.fill_between(x, mean - 2 * std, mean + 2 * std, **band)
            axis.plot(x, mean, color=theme.blue, lw=1.6)
            mean, std = map(np.ravel, exact)
            axis.plot(x, mean, color=theme.orange, lw=1.2, label="exact")
            for side in (-2, 2):
                axis.plot(x, mean + side * std, "--", color=theme.orange, lw=0.9)
            given = rows(support)
            points = given.inputs.ravel(), given.targets.ravel()
            axis.plot(*points, "o", color=theme.ink, ms=3.5, label="given")
            axis.set(xlabel="x", title=f"{len(given.targets)} points")
            axis.grid()
        axes[0].set_ylabel("y")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=9)

    return draw
