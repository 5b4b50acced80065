"""How a stream of classes is judged: a table of accuracies, its measures, its picture."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import models, train, transfer
from jaxmeta.core import Batch, Episode, Features, Key, Meta
from jaxmeta.functional import backward_transfer, forgetting, seen_accuracy
from jaxmeta.learners.redrawn import drawn_head
from jaxmeta.models.call import call
from jaxmeta.models.heads import split_head
from jaxmeta.report import page
from jaxmeta.report.figures import Draw, drawn
from jaxmeta.report.finished import Finished
from jaxmeta.runs.results import number
from jaxmeta.tasks.names import as_partial
from jaxmeta.train import Evaluation

AT_ONCE = 500
"""Examples that pass the network together."""


class Streams:
    """Streams of new classes on trained features.

    Args:
      body: the features; `meta.params` are theirs, and a "head" that is not asked.
      method: how a stream of features is learned.
      stages: of a stream.
    """

    def __init__(self, body: Features, method: transfer.Continual, stages: int):
        self.body, self.method, self.stages = body, method, stages
        self._seen: tuple[Evaluation, np.ndarray] | None = None
        # of this object, so that its programs go when it goes
        self._tables = jax.jit(self._learned, static_argnames="count")

    def _learned(self, meta: Meta, tasks: Any, key: Key, count: int):
        """`[count, t, t]`, and whether an example has other features beside others."""
        body = split_head(meta)[0]

        def features(x):
            found, _ = call(self.body, body, x)
            return found.reshape(len(found), -1)

        def one(i):
            drawing, heading, learning = jax.random.split(jax.random.fold_in(key, i), 3)
            episode = tasks(drawing)
            episode = Episode(*(self._embedded(features, part) for part in episode))
            ways = episode.support.targets.shape[-1]
            top = models.linear_head(ways).init(key, episode.support.inputs)
            top = top._replace(params=drawn_head(heading, top.params))
            parts = transfer.in_stages(episode, self.stages)
            table, _ = transfer.accuracies(self.method, top, parts, learning)
            real = jnp.all(jnp.isfinite(episode.query.inputs))
            return jnp.where(real, table, jnp.nan)

        x = tasks(key).query.inputs
        alone, beside = features(x[:1]), features(x[: min(len(x), AT_ONCE)])[:1]
        mixed = ~jnp.allclose(alone, beside, rtol=1e-3, atol=1e-4)
        return jax.lax.map(one, jnp.arange(count)), mixed

    @staticmethod
    def _embedded(features, batch: Batch) -> Batch:
        """In pieces, so that maps of thousands of pictures are never held."""
        found = jax.lax.map(
            lambda x: features(x[None])[0], batch.inputs, batch_size=AT_ONCE
        )
        return batch._replace(inputs=found)

    def judge(self, meta: Meta, tasks: Any, key: Key, episodes: int) -> Evaluation:
        """The accuracy among all classes after the last stage, stream by stream."""
        tables, mixed = self._tables(meta, as_partial(tasks), key, episodes)
        tables = np.asarray(tables, np.float64)
        last = tables[:, -1].mean(-1)
        known = bool(np.isfinite(last).all())
        found = Evaluation(
            *train.interval(last), last, "accuracy", episodes,
            bool(mixed) if known else None,
        )  # fmt: skip
        self._seen = (found, tables)
        return found

    def tables(self, run: Finished) -> np.ndarray:
        """Of the test of a run, `[streams, t, t]`; learned again if another was since."""
        if self._seen is None or self._seen[0] is not run.found:
            self.judge(run.meta, run.test, run.key, run.episodes)
        assert self._seen is not None
        return self._seen[1]

    def measures(self, run: Finished) -> dict[str, Any]:
        """Accuracy after each stage, forgetting and backward transfer, for result.json."""
        tables = self.tables(run)
        seen = np.stack([seen_accuracy(t) for t in tables])
        ways = jax.eval_shape(run.test, run.key).query.targets.shape[-1]
        means, halves = zip(*(train.interval(column) for column in seen.T), strict=True)
        values: dict[str, Any] = {
            "classes_seen": [ways * (t + 1) // self.stages for t in range(self.stages)],
            "accuracy_seen": [number(x) for x in means],
            "accuracy_seen_ci95": [number(x) for x in halves],
        }
        for measure in (forgetting, backward_transfer):
            mean, half = train.interval(np.array([float(measure(t)) for t in tables]))
            name = measure.__name__
            values |= {name: number(mean), f"{name}_ci95": number(half)}
        return values

    def picture(self, run: Finished) -> str:
        """Accuracy on all classes so far, and what is left of each stage."""
        tables, said = self.tables(run), self.measures(run)
        text = (
            f"Mean of {len(tables)} test streams. Left: accuracy on all classes so far, "
            "with a 95 % band over streams, and on those of the newest stage alone. Right: "
            "a row is a moment, a column a stage; downwards is what becomes of it."
        )
        draw = _drawing(tables.mean(0), said)
        alt = "accuracy on classes seen so far, and on each stage over time"
        return page.section(
            "What is left of the first classes", text, drawn(draw, (9, 3.6), alt)
        )


def _drawing(table: np.ndarray, said: dict[str, Any]) -> Draw:
    def draw(figure, theme):
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        x = said["classes_seen"]
        y = np.array(said["accuracy_seen"], float)
        half = np.array(said["accuracy_seen_ci95"], float)
        left.fill_between(x, y - half, y + half, color=theme.blue, alpha=0.2, lw=0)
        left.plot(x, y, "o-", color=theme.blue, ms=4, label="all classes so far")
        left.plot(
            x, np.diagonal(table), "s--", color=theme.orange, ms=4, lw=1.2,
            label="the newest stage",
        )  # fmt: skip
        left.plot(x, 1 / np.array(x), ":", color=theme.ink, lw=1, label="chance")
        left.set(xlabel="classes seen", ylabel="accuracy", ylim=(0, 1.02))
        left.grid(axis="y")
        left.legend(fontsize=9)
        shown = np.where(np.tril(np.ones(table.shape)) > 0, table, np.nan)
        image = right.imshow(shown, vmin=0, vmax=1, cmap="viridis")
        right.set(xlabel="asked for stage", ylabel="after stage")
        ticks = range(0, len(table), max(1, len(table) // 5))
        right.set_xticks(ticks, [str(t + 1) for t in ticks])
        right.set_yticks(ticks, [str(t + 1) for t in ticks])
        figure.colorbar(image, ax=right, label="accuracy")

    return draw
