"""report.html: a run, to be looked at."""

import dataclasses

import jax
import numpy as np

from jaxmeta import train
from jaxmeta.core import Meta, MetaLearner
from jaxmeta.runs import charts, figures, judged, keys, loop, page
from jaxmeta.runs.build import METHODS, Job, make_tester
from jaxmeta.runs.figures import DARK, LIGHT, Draw
from jaxmeta.runs.files import write_atomic
from jaxmeta.runs.folder import Metrics, RunFolder
from jaxmeta.runs.sources import SOURCES

PROBE_EPISODES = 200  # for the curve over inner steps
_COUNTS = (0, 1, 2, 3, 5, 10, 20, 50)


def write_report(where: RunFolder, job: Job, meta: Meta, result: dict) -> None:
    """Draws the pictures of a finished run and writes report.html.

    Args:
      where: the run folder; its metrics are read.
      job: the recipe, built.
      meta: the parameters that were tested.
      result: what result.json holds.
    """
    metric = "accuracy" if "accuracy" in result else "mse"
    rows = Metrics(where.metrics).read()
    kept = result["kept_step"] if result["kept"] == "best" else None
    parts = [_hero(job, result, metric), _task(job, meta)]
    curve = figures.learning_curve(rows, metric, kept)
    about = (
        "Means over the training tasks of each chunk of outer steps; validation on "
        "other tasks, with 95 % intervals. No test task is in it."
    )
    recipe = job.recipe
    if recipe.train_ways not in (None, recipe.ways) and metric == "accuracy":
        about += f" Training tasks have {recipe.train_ways} classes, not {recipe.ways}."
    parts.append(
        page.section(
            "Learning curve",
            about,
            _picture(curve, (9, 3.1), "loss and score over outer steps"),
        )
    )
    if METHODS[job.recipe.learner].steps:
        parts.append(_inner(job, meta, metric))
    settings = dataclasses.asdict(job.recipe)
    about = "Everything that decides the run: config.json holds the same."
    parts.append(page.section("Settings", about, page.table(settings)))
    print_ = {**result["fingerprint"], "started": result["started"]}
    about = "What the bits depend on beside the settings."
    parts.append(page.section("Where it ran", about, page.table(print_)))
    write_atomic(where.report, page.page(f"{result['recipe']} - jaxmeta", parts))


def _hero(job: Job, result: dict, metric: str) -> str:
    if result[metric] is None:
        value, half, task = "nan", "", f"{metric}: outputs are not finite"
    elif metric == "accuracy":
        value, half = f"{100 * result[metric]:.2f} %", f"± {100 * result['ci95']:.2f}"
        task = f"{result['ways']}-way {result['shots']}-shot accuracy"
        task = f"accuracy, {result['domains']}" if "domains" in result else task
    else:
        value, half = f"{result[metric]:.4f}", f"± {result['ci95']:.4f}"
        task = f"{result['shots']}-shot mean squared error"
    episodes = f"{task}, {result['episodes']} test episodes, 95 % t-interval over them"
    warn = (
        "transductive: queries share batch statistics, so predictions depend on the "
        "other queries; compare with transductive results only"
        if result["transductive"]
        else ""
    )
    facts = {
        "learner": result["learner"],
        "data": result["dataset"],
        "outer steps": f"{result['steps']:,} x {result['tasks']} tasks",
        "speed": f"{result['tasks_per_second']:,.0f} tasks/s",
        "wall time": _duration(result["wall_seconds"]),
        "of it compiling": _duration(result["compile_seconds"]),
        "seed": result["seed"],
        **({"chosen by": result["chosen_by"]} if "chosen_by" in result else {}),
    }
    recipe = job.recipe
    return page.hero(recipe.name, recipe.summary, value, half, episodes, facts, warn)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _picture(draw: Draw, size: tuple[float, float], alt: str) -> str:
    light, dark = (figures.png(draw, theme, size) for theme in (LIGHT, DARK))
    return page.picture(light, dark, alt)


def _inner(job: Job, meta: Meta, metric: str) -> str:
    """Score over the number of inner steps: new learners, the same parameters."""
    recipe = job.recipe
    used = _used_steps(job)
    counts = sorted({k for k in _COUNTS if k <= max(used, 5)} | {used})
    episodes = min(PROBE_EPISODES, recipe.episodes)
    points = []
    for k in counts:
        probe = job._replace(tester=make_tester(recipe, k))
        found = loop.score(probe, meta, job.tasks.test, keys.test(), episodes)
        points.append((k, found.mean, found.ci95))
    text = (
        f"The same parameters with other numbers of inner steps, on {episodes} test "
        "episodes, with the 95 % band; it chooses nothing."
    )
    draw = figures.inner_steps(points, metric, used)
    body = _picture(draw, (9, 3.1), f"test {metric} by inner step")
    name = {"accuracy": "Accuracy", "mse": "Squared error"}[metric]
    return page.section(f"{name} by inner step", text, body)


def _used_steps(job: Job) -> int:
    steps = job.recipe.eval_inner_steps
    return job.recipe.inner_steps if steps is None else steps


def _task(job: Job, meta: Meta) -> str:
    if SOURCES[job.recipe.dataset].regression:
        return _curves(job, meta)
    if not SOURCES[job.recipe.dataset].images:
        return ""  # words are not drawn
    task = _drawn(job, meta)
    size = figures.episode_size(task)
    right = (task.said == np.arange(len(task.said))[:, None]).mean()
    text = (
        "One test episode: on the left what the learner is given, on the right what it "
        f"says of new images, and how sure it is. {100 * right:.0f} % of this episode's "
        "queries are right."
    )
    body = _picture(figures.episode(task), size, "a test episode with predictions")
    return page.section("An episode", text, body) + _judged(job, meta, task)


def _judged(job: Job, meta: Meta, task: figures.Drawn) -> str:
    """What was taken for what in the episode; how sure, and how right, over many."""
    episodes = min(PROBE_EPISODES, job.recipe.episodes)
    found = judged.calibration(judged.judge(job, meta, episodes))
    counts = judged.confusion(task.said, job.recipe.ways)
    draw = charts.judgement(counts, found)
    text = (
        "On the left the queries of the episode above: a row is a class, a column what "
        f"was said. On the right {episodes} test episodes: predictions grouped by how "
        "sure they are, a dot's area their share; below the line is too sure."
    )
    body = _picture(draw, (9, 3.9), "confusion of an episode, and calibration")
    return page.section("Mistakes and confidence", text, body)


def _drawn(job: Job, meta: Meta) -> figures.Drawn:
    """One test episode and the predictions for it."""
    recipe = job.recipe

    @jax.jit
    def run(meta, task, key):
        episode = task(key)
        outputs = train.predictions(job.tester, meta, episode, key)
        return episode, jax.nn.softmax(outputs)

    episode, outputs = run(meta, job.tasks.test, keys.drawing())
    shots, queries = (
        np.asarray(batch.inputs).reshape(recipe.ways, -1, *batch.inputs.shape[1:])
        for batch in episode
    )
    outputs = np.asarray(outputs).reshape(recipe.ways, -1, recipe.ways)
    return figures.Drawn(shots, queries, outputs.argmax(-1), outputs.max(-1))


def _curves(job: Job, meta: Meta) -> str:
    """Three test tasks with many queries: curves before and after adapting."""
    recipe = job.recipe
    draw = SOURCES[recipe.dataset].draw
    task = draw(recipe, None, recipe.ways, recipe.shots, 200)
    before, after = make_tester(recipe, 0), job.tester
    drawn = [
        _curve(before, after, meta, task, jax.random.fold_in(keys.drawing(), i))
        for i in range(3)
    ]
    steps = _used_steps(job)
    body = _picture(figures.regressions(drawn, steps), (9, 3.2), "three test tasks")
    text = (
        f"The {recipe.shots} points are all that the learner is given. The dashed curve "
        "is where every task starts."
    )
    return page.section("Three tasks", text, body)


def _curve(before: MetaLearner, after: MetaLearner, meta, task, key) -> figures.Curves:
    @jax.jit
    def run(meta, key):
        episode = task(key)
        return episode, *(
            train.predictions(learner, meta, episode, key)
            for learner in (before, after)
        )

    episode, *outputs = run(meta, key)
    x, truth = (np.asarray(a)[:, 0] for a in episode.query[:2])
    order = np.argsort(x)
    said = (np.asarray(out)[order, 0] for out in outputs)
    given = tuple(np.asarray(a)[:, 0] for a in episode.support[:2])
    return figures.Curves(given, x[order], truth[order], *said)
