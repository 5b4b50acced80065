"""A learner that nobody trained, its test, and a result as a run would write it."""

import jax
import optax
import pytest

import jaxmeta as jm
from jaxmeta.report import Finished

EPISODES = 4


def untrained(learner, task, **more) -> Finished:
    """What pictures get of a run, at its first step."""
    meta = learner.init(jax.random.key(0), task(jax.random.key(1)))
    key = jax.random.key(2)
    found = jm.evaluate(learner, meta, task, key, episodes=EPISODES)
    return Finished(
        learner, meta, task, key, jax.random.key(3), EPISODES, found, **more
    )


def result_of(**more) -> dict:
    return {
        "recipe": "few-shot",
        "title": "ProtoNet, 3-way 1-shot on <glyphs> & $more$",
        "learner": "protonet",
        "metric": "accuracy",
        "accuracy": 0.5,
        "ci95": 0.125,
        "episodes": EPISODES,
        "ways": 3,
        "shots": 1,
        "queries": 2,
        "seed": 0,
        "steps": 20,
        "batch": 4,
        "transductive": False,
        "kept": "best",
        "kept_step": 20,
        "validation": {"step": 20, "val_accuracy": 0.5, "val_ci95": 0.1},
        "tasks_per_second": 12.5,
        "train_seconds": 2.0,
        "compile_seconds": 3.0,
        "wall_seconds": 61.0,
        "started": "2026-01-01T00:00:00+00:00",
        "version": "0.2",
        "fingerprint": {"jax": "1.2.3", "device": "abacus", "xla_flags": ""},
        **more,
    }


ROWS = [
    {"step": 0, "val_accuracy": 0.3, "val_ci95": 0.1},
    {"step": 10, "loss": 1.0, "grad_norm": 9.0, "tasks_per_second": 8.0},
    {
        **{"step": 20, "loss": 0.01, "grad_norm": 0.1, "tasks_per_second": 9.0},
        **{"accuracy": 0.6, "val_accuracy": 0.5, "val_ci95": None},
    },
]


@pytest.fixture(scope="session")
def glyphs() -> Finished:
    """ProtoNet on small glyphs."""
    learner = jm.protonet(jm.models.mlp(None, hidden=(8,)))
    return untrained(learner, jm.tasks.glyphs(3, 1, 2, size=8))


@pytest.fixture(scope="session")
def waves() -> Finished:
    """MAML on sine waves of three to five points, padded to five."""

    def at_steps(steps: int):
        if steps > 2:
            raise ValueError(f"steps: got {steps}, wants at most 2")
        model = jm.models.mlp(1, hidden=(4,))
        criterion = jm.criteria.regression
        return jm.maml(model, optax.sgd(0.1), steps=steps, criterion=criterion)

    task = jm.tasks.sinusoid((3, 5), 6)
    return untrained(at_steps(1), task, at_steps=at_steps, inner_steps=(1, 1))
