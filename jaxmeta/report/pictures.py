"""The parts of a page that look at a trained run: episodes, curves, mistakes."""

import jax
import numpy as np

from jaxmeta import train
from jaxmeta.report import calibration, charts, figures, page
from jaxmeta.report.figures import DARK, LIGHT, Draw
from jaxmeta.report.finished import Finished
from jaxmeta.tasks.names import as_partial

PROBE_EPISODES = 200
"""Test episodes that a picture looks at, at most."""
_COUNTS = (0, 1, 2, 3, 5, 10, 20, 50)


def drawn(draw: Draw, size: tuple[float, float], alt: str) -> str:
    """A picture for a page, light and dark."""
    light, dark = (figures.png(draw, theme, size) for theme in (LIGHT, DARK))
    return page.picture(light, dark, alt)


def images(run: Finished) -> str:
    """A test episode of images with predictions, and how sure they are over many."""
    task = _episode(run)
    size = figures.episode_size(task)
    right = (task.said == np.arange(len(task.said))[:, None]).mean()
    text = (
        "One test episode: on the left what the learner is given, on the right what it "
        f"says of new images, and how sure it is. {100 * right:.0f} % of this episode's "
        "queries are right."
    )
    body = drawn(figures.episode(task), size, "a test episode with predictions")
    return page.section("An episode", text, body) + _judged(run, task)


def _judged(run: Finished, task: figures.Drawn) -> str:
    """What was taken for what in the episode; how sure, and how right, over many."""
    episodes = min(PROBE_EPISODES, run.episodes)
    found = calibration.calibration(calibration.judge(run, episodes))
    counts = calibration.confusion(task.said, len(task.said))
    text = (
        "On the left the queries of the episode above: a row is a class, a column what "
        f"was said. On the right {episodes} test episodes: predictions grouped by how "
        "sure they are, a dot's area their share; below the line is too sure."
    )
    body = drawn(
        charts.judgement(counts, found),
        (9, 3.9),
        "confusion of an episode, and calibration",
    )
    return page.section("Mistakes and confidence", text, body)


def _episode(run: Finished) -> figures.Drawn:
    """One test episode, class by class, and the predictions for it."""

    @jax.jit
    def predict(meta, task, key):
        episode = task(key)
        outputs = train.predictions(run.tester, meta, episode, key)
        return episode, jax.nn.softmax(outputs)

    episode, outputs = predict(run.meta, as_partial(run.test), run.drawing)
    ways = episode.support.targets.shape[-1]
    shots, queries = (
        np.asarray(batch.inputs).reshape(ways, -1, *batch.inputs.shape[1:])
        for batch in episode
    )
    outputs = np.asarray(outputs).reshape(ways, -1, ways)
    return figures.Drawn(shots, queries, outputs.argmax(-1), outputs.max(-1))


def inner_steps(run: Finished) -> str:
    """Score over the number of inner steps: new learners, the same parameters."""
    assert run.at_steps is not None and run.inner_steps is not None
    used, metric = run.inner_steps[1], run.found.metric
    counts = sorted({k for k in _COUNTS if k <= max(used, 5)} | {used})
    episodes = min(PROBE_EPISODES, run.episodes)
    points = []
    for k in counts:
        learner = run.at_steps(k)
        found = train.evaluate(learner, run.meta, run.test, run.key, episodes=episodes)
        points.append((k, found.mean, found.ci95))
    text = (
        f"The same parameters with other numbers of inner steps, on {episodes} test "
        "episodes, with the 95 % band; it chooses nothing."
    )
    draw = figures.inner_steps(points, metric, used)
    body = drawn(draw, (9, 3.1), f"test {metric} by inner step")
    return page.section(f"{metric.capitalize()} by inner step", text, body)
