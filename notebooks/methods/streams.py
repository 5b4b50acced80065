"""Methods that read one example after another, and one that makes examples up."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from jaxmeta.learners.mann import instance_accuracy, memory_network
from jaxmeta.learners.meta_gan import meta_gan_process, players
from notebooks.methods.curves import GRID, NET, REGRESSION, SHOWN
from notebooks.methods.drawing import THEME, picture, trained
from notebooks.methods.regions import COLOURS, LINE, REACH, SIDE, rings
from notebooks.methods.regions import GRID as PLANE
from notebooks.methods.regions import SHOWN as TASK_SHOWN

TESTS = 200
CLASSES = 5
STREAM = jm.testing.probe(ways=CLASSES, shots=3, queries=5)  # class after class
LISTS = jm.testing.probe(ways=3, shots=2, queries=4, signal=8, noise=1, loudness=0.3)
SINES = jm.tasks.sinusoid(shots=20, queries=20)


def remembered(learner: jm.MetaLearner, **options: Any) -> bytes:
    """What is left of each class once the whole stream has passed."""
    metas = trained(learner, STREAM, **options)

    @jax.jit
    def run(meta, keys):
        def right(key):
            episode = STREAM(key)
            fast = learner.adapt(meta, episode.support, key)
            outputs = learner.predict(meta, fast, episode.query.inputs)
            hits = outputs.argmax(-1) == episode.query.targets.argmax(-1)
            return jnp.mean(hits.reshape(CLASSES, -1), 1)

        return jnp.mean(jax.vmap(right)(keys), 0)

    keys = jax.random.split(jax.random.key(5), TESTS)
    before, after = (100 * np.asarray(run(meta, keys)) for meta in metas)
    place = np.arange(1, CLASSES + 1)

    def draw(figure):
        axis = figure.subplots()
        axis.bar(place - 0.2, before, 0.38, color=THEME.faint, label="untrained")
        axis.bar(place + 0.2, after, 0.38, color=THEME.blue, label="trained")
        axis.axhline(100 / CLASSES, color=THEME.ink, lw=0.8, ls=":")
        names = ["first class", *place[1:-1], "last class"]
        axis.set(title="accuracy after the whole stream, by a class's place in it, %",
                 xticks=place, xticklabels=names, ylim=(0, 100))  # fmt: skip
        axis.legend(fontsize=8, loc="upper left", ncols=2)

    return picture(draw)


def oml() -> bytes:
    """The head alone learns from the stream."""
    net = jm.models.mlp(CLASSES, hidden=(32, 32))
    return remembered(jm.oml(net, optax.sgd(0.1)), steps=1500)


def anml() -> bytes:
    """All but the gates."""
    features = jm.models.gated(
        jm.models.mlp(None, hidden=(32, 32)), jm.models.mlp(None, hidden=(16,))
    )
    net = jm.models.with_head(features, jm.models.linear_head(CLASSES))
    return remembered(jm.anml(net, optax.sgd(0.1)), steps=1500)


def online_maml() -> bytes:
    """The error falls with every point of a stream."""
    learner = jm.online_maml(NET, optax.sgd(0.02), **REGRESSION)
    _, meta = trained(learner, SINES, steps=1500, rate=5e-3)

    def first(support, k):
        return support._replace(weights=(jnp.arange(20) < k) * 1.0)

    @jax.jit
    def run(meta, keys):
        def one(key, k):
            episode = SINES(key)
            fast = learner.adapt(meta, first(episode.support, k), key)
            said = learner.predict(meta, fast, episode.query.inputs)
            return jnp.mean((said - episode.query.targets) ** 2)

        each = jax.vmap(jax.vmap(one, (None, 0)), (0, None))(keys, jnp.arange(21))
        return jnp.mean(each, 0)

    @jax.jit
    def say(meta, k):
        fast = learner.adapt(meta, first(SINES(SHOWN).support, k), SHOWN)
        return learner.predict(meta, fast, GRID)

    errors = np.asarray(run(meta, jax.random.split(jax.random.key(5), TESTS)))

    def draw(figure):
        left, right = figure.subplots(1, 2)
        styles = [("--", THEME.ink), ("-", THEME.orange), ("-", THEME.blue)]
        for k, (line, colour) in zip((0, 5, 20), styles, strict=True):
            label = f"{k} points" if k else "before"
            left.plot(GRID[:, 0], say(meta, k)[:, 0], line, color=colour, label=label)
        left.plot(*SINES(SHOWN).support[:2], "o", color=THEME.bad, ms=3, zorder=3)
        left.set(title="points of a new sine, one by one", xticks=(-5, 0, 5))
        left.legend(fontsize=7, loc="lower left", handlelength=1.4)
        right.plot(errors, "o-", color=THEME.blue, ms=3)
        right.set(title=f"mean squared error, {TESTS} new tasks", xlabel="points seen",
                  xticks=(0, 5, 10, 15, 20))  # fmt: skip
        right.set_ylim(bottom=0)

    return picture(draw)


def mann() -> bytes:
    """The accuracy at the first, the second, ... example of a class."""
    it = memory_network(
        jm.models.flat(), hidden=48, slots=16, width=16, heads=2, sharpness=10.0
    )
    metas = trained(it.learner, LISTS, steps=2000)

    @jax.jit
    def run(meta, keys):
        one = lambda key: instance_accuracy(it, meta, LISTS(key), key)  # noqa: E731
        return jnp.mean(jax.vmap(one)(keys), 0)

    keys = jax.random.split(jax.random.key(5), TESTS)
    before, after = (100 * np.asarray(run(meta, keys)) for meta in metas)

    def draw(figure):
        axis, place = figure.subplots(), np.arange(1, len(before) + 1)
        axis.plot(place, before, "o--", color=THEME.ink, ms=4, label="untrained")
        axis.plot(place, after, "o-", color=THEME.blue, ms=5, lw=2, label="trained")
        axis.axhline(100 / 3, color=THEME.ink, lw=0.8, ls=":")
        axis.set(title="accuracy at a class's n-th example in the sequence, %",
                 xticks=place, xlabel="n", ylim=(0, 100))  # fmt: skip
        axis.legend(fontsize=8, loc="lower right")

    return picture(draw)


def meta_gan() -> bytes:
    """Where examples look real, and what the generator makes up."""
    parts = dict(
        generator=jm.models.mlp(2, hidden=(32, 32)),
        encoder=jm.models.mlp(None, hidden=(16,)),
        latent=4,
    )
    net = jm.models.mlp(3, hidden=(32, 32), activation=jnp.tanh)
    it, more = (
        meta_gan_process(net, optax.sgd(0.2), steps=3, fakes=n, **parts)
        for n in (10, 80)
    )
    rates = {"discriminator": optax.adam(2e-3), "generator": optax.adam(1e-3, b1=0.5)}
    tx = optax.partition(rates, players)
    _, meta = trained(it.learner, rings, steps=1500, batch=8, tx=tx)

    @jax.jit
    def say(meta, key):
        support = rings(key).support
        fast = it.learner.adapt(meta, support, key)
        logits = it.learner.predict(meta, fast, PLANE)
        real = jax.nn.sigmoid(jax.nn.logsumexp(logits, -1)).reshape(SIDE, SIDE)
        return support, real, more.generate(meta, support, key)

    def draw(figure):
        from matplotlib.colors import LinearSegmentedColormap

        axis = figure.subplots()
        support, real, fakes = say(meta, TASK_SHOWN)
        clear = LinearSegmentedColormap.from_list("", ["#2f9f6300", "#2f9f6390"])
        shown = axis.contourf(LINE, LINE, real, levels=np.linspace(0, 1, 6), cmap=clear)
        axis.plot(*np.asarray(fakes).T, "x", color=THEME.ink, ms=4, label="made up")
        labels = np.asarray(support.targets).argmax(-1)
        axis.scatter(*support.inputs.T, c=[COLOURS[i] for i in labels], s=36,
                     edgecolors="white", zorder=3)  # fmt: skip
        axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=[], yticks=[],
                 aspect="equal", title="how real a place looks")  # fmt: skip
        axis.legend(fontsize=7, loc="lower left")
        figure.colorbar(shown, ax=axis)

    return picture(draw, (3.8, 2.9))


PICTURES: dict[str, Callable[[], bytes]] = {
    "oml": oml, "anml": anml, "online_maml": online_maml, "mann": mann,
    "meta_gan": meta_gan,
}  # fmt: skip
