"""Numbers that are not finite, put where they hurt most."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from jaxmeta.core import Aux, Meta
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.errors import RunError
from jaxmeta.runs.job import build
from jaxmeta.runs.nonfinite import explain_step, rolled_back, watch
from jaxmeta.runs.settings import Settings
from jaxmeta.runs.training import train_made
from jaxmeta.train import TrainState
from tests.scorecard import tiny
from tests.scorecard.pictures import write_classes
from tests.scorecard.score import Score, Tally, digest, scratch

TASKS, BAD = 16, 11


def nonfinite(bad_steps: int = 1000) -> Score:
    """NONFINITE: one exploding task of 16 under each policy; a thousand bad steps in a
    row; an inner rate a hundred times too large."""
    tally = Tally()
    tally.case("skip_task is the mean of the other 15", _skip_is_the_mean_of_the_rest)
    tally.case("raise: no update", _raise_holds)
    tally.case(f"{bad_steps} bad steps", lambda: _bad_steps(bad_steps))
    tally.case("rollback: parameters of the checkpoint, other tasks", _rollback)
    tally.case("the message names step, task, inner step, leaf", _message)
    tally.case("the message names the classes", _message_classes)
    tally.case("inner rate x 100: alarm before the first step", _alarm)
    return tally.score()


def _problem(bad: int | None):
    """Sixteen tasks; the loss and the gradient of task `bad` are no numbers."""
    plain = jm.maml(
        jm.models.mlp(1, hidden=(4,)),
        optax.sgd(0.01),
        steps=1,
        criterion=jm.criteria.regression,
    )

    def loss(meta, episode, key):
        value, aux = plain.loss(meta, episode, key)
        sick = episode.query.targets[0, 0] > 1e3
        total = sum(jnp.sum(x) for x in jax.tree.leaves(meta.params))
        return value + total * jnp.where(sick, jnp.nan, 0.0), aux

    episodes = jax.vmap(jm.tasks.sinusoid())(jax.random.split(jax.random.key(0), TASKS))
    episodes = jax.tree.map(lambda x: x.astype(jnp.zeros(()).dtype), episodes)
    if bad is not None:
        targets = episodes.query.targets.at[bad].set(1e6)
        episodes = episodes._replace(query=episodes.query._replace(targets=targets))
    meta = plain.init(jax.random.key(1), jax.tree.map(lambda x: x[0], episodes))
    meta = jax.tree.map(lambda x: x.astype(jnp.zeros(()).dtype), meta)
    return plain._replace(loss=loss), meta, episodes


def _skip_is_the_mean_of_the_rest() -> bool:
    with jax.enable_x64(True):
        learner, meta, episodes = _problem(BAD)
        key = jax.random.key(2)
        skip = jm.train.skip_nonfinite(learner)
        (value, aux), grads = jax.jit(skip.value_and_grad)(meta, episodes, key)
        rows = np.array([i for i in range(TASKS) if i != BAD])
        keys = jax.random.split(key, TASKS)[rows]

        def each(episode, key):
            def loss(params):
                return learner.loss(meta._replace(params=params), episode, key)[0]

            return jax.value_and_grad(loss)(meta.params)

        rest = jax.tree.map(lambda x: x[rows], episodes)
        wanted = jax.tree.map(lambda x: x.mean(0), jax.jit(jax.vmap(each))(rest, keys))
        gaps = jax.tree.map(
            lambda a, b: float(jnp.max(jnp.abs(a - b) / jnp.maximum(1, jnp.abs(b)))),
            (value, grads),
            wanted,
        )
        skipped = float(aux.metrics["skipped_tasks"]) == 1
        return skipped and max(jax.tree.leaves(gaps)) <= 1e-12


def _raise_holds() -> bool:
    learner, meta, episodes = _problem(BAD)
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(0.1))
    held = jm.train.hold_nonfinite(trainer)
    state = trainer.init(jax.random.key(1), episodes)._replace(meta=meta)
    after, metrics = jax.jit(held.step)(state, episodes, jax.random.key(2))
    naive, _ = jax.jit(trainer.step)(state, episodes, jax.random.key(2))
    broken = not bool(jm.train.all_finite(naive.meta))  # or the check checks nothing
    return digest(after) == digest(state) and metrics["held"] == 1 and broken


def _bad_steps(steps: int) -> bool:
    objective = jm.from_loss(
        lambda key, x: Meta(jnp.ones(3)),
        lambda meta, x, key: (jnp.sum(meta.params) * jnp.nan, Aux({})),
    )
    trainer = jm.train.hold_nonfinite(
        jm.make_trainer(objective, optax.adam(0.1)), advance=True
    )
    state = trainer.init(jax.random.key(0), jnp.ones(1))

    @jax.jit
    def run(state):
        key = jax.random.key(1)
        return jm.fit(trainer, jax.random.uniform, state, key, steps=steps, batch=2)[0]

    after = run(state)
    same = digest(after.meta) == digest(state.meta)
    return same and bool(jm.train.all_finite(after)) and int(after.step) == steps


def _made(**options):
    few = {"hidden": (8,), "batch": 2, "shots": 5, "queries": 5}
    return tiny.made(tiny.SINUSOID, **{**few, **options})


_SHORT = Settings(steps=6, chunk=2, episodes=4, validate_episodes=4, checkpoint_every=2)


def _message() -> bool:
    with scratch() as root:
        settings = _SHORT.having(out=str(root / "run"))
        try:
            train_made(_made(inner_rate=1e38), settings, say=lambda line: None)
        except RunError as error:
            words = ("outer step 1,", "task 0", "inner step 1", "gradient of")
            return all(word in str(error) for word in words)
    return False


def _message_classes() -> bool:
    with scratch() as root:
        write_classes(root / "data", classes=15, each=4)
        made = tiny.made(
            "glyphs-maml-5w1s", dataset="folder", data=str(root / "data"), size=8,
            network="mlp", hidden=(4,), ways=2, shots=1, queries=1, train_queries=None,
            batch=2, inner_rate=1e38,
        )  # fmt: skip
        job = build(made, _SHORT.having(validate_every=0))
        state = job.start(jax.random.key(0))
        text = explain_step(job, state, jax.random.key(1))
        return "classes class" in text and "task 0" in text


def _rollback() -> bool:
    def state(x, step):
        return TrainState(Meta(jnp.full(3, x)), (), jnp.asarray(step, "int32"))

    saved = Snapshot(state(1.0, 4), (), jax.random.key(0), {"best": None})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found, step, info = rolled_back(saved, state(2.0, 7), "loss: got nan")
    told = "rolled back to step 4" in str(seen[0].message)
    right = digest(found.meta) == digest(saved.state.meta)
    return right and step == 8 == int(found.step) and info["rollbacks"] == 1 and told


def _alarm() -> bool:
    said = []
    for rate in (0.01, 1.0):
        made = _made(inner_rate=rate, inner_steps=3)
        job = build(made, _SHORT.having(inner_alarm=10.0))
        state = job.start(jax.random.key(0))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            watch(job, state.meta)
        said.append([str(w.message) for w in seen])
    return not said[0] and len(said[1]) == 1 and "inner step" in said[1][0]
