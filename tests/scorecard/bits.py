"""The same bits again, in another process; and no random key used twice.

The programs are this file itself: `python -m tests.scorecard.bits train|keys ...`.
"""

import dataclasses
import json
import subprocess
import sys

from tests.scorecard.score import Score, Tally, digest, environment

GOLDEN = "86ddfe3fc747"
"""Start of the SHA-256 of the example numbers of the first ten episodes."""


def same_bits(learners: list[str] | None = None, steps: int = 200) -> Score:
    """SAME-BITS: every learner of the command line, on small characters and on the
    sinusoid, trained in two fresh processes: equal hashes of the whole state."""
    words = [json.dumps({"learners": learners, "steps": steps})]
    first, second = (answer("bits", "train", *words) for _ in range(2))
    tally = Tally()
    for name, value in first.items():
        tally.add(value == second.get(name), name)
    return tally.score(f"{steps} steps, two processes, one number of threads")


def keys(learners: list[str] | None = None) -> Score:
    """KEYS: no learner uses a key twice under JAX's own checker, and the first episodes
    of a seed are the ones they always were."""
    found = answer("bits", "keys", json.dumps(learners))
    tally = Tally()
    for what, problem in found.items():
        tally.add(not problem, f"{what}: {problem}")
    return tally.score("jax_debug_key_reuse on loss, adapt and predict")


def answer(module: str, *words: str, **variables: str) -> dict:
    """The last line that a program of this folder prints, in a fresh process."""
    command = [sys.executable, "-m", f"tests.scorecard.{module}", *words]
    done = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-400:])
    return json.loads(done.stdout.splitlines()[-1])


def tiny(learner: str, dataset: str = "glyphs"):
    """A recipe of a learner that compiles quickly."""
    from jaxmeta.runs import RECIPES

    base = RECIPES["sinusoid-maml" if dataset == "sinusoid" else "glyphs-protonet-5w1s"]
    classes = (
        {} if dataset == "sinusoid" else {"ways": 3, "train_ways": None, "size": 8}
    )
    return dataclasses.replace(
        base, learner=learner, model="mlp", hidden=(8,), shots=2, queries=4, tasks=2,
        norm="none", inner_steps=2, inner_rate=0.01, episodes=4, **classes,
    )  # fmt: skip


def trainable(dataset: str) -> list[str]:
    """The learners of the command line that a data set can train."""
    from jaxmeta.runs.build import METHODS

    return [n for n, m in METHODS.items() if m.regression or dataset != "sinusoid"]


def _train(learners: list[str] | None, steps: int) -> dict[str, str]:
    import jax
    from jaxmeta.runs.build import build, init_state

    from jaxmeta import train

    found = {}
    for dataset in ("glyphs", "sinusoid"):
        for name in trainable(dataset):
            if learners is not None and name not in learners:
                continue
            try:
                job = build(tiny(name, dataset))
            except ValueError:
                continue  # this learner has no network of this size

            @jax.jit
            def run(task, key, job=job):
                state = init_state(job, key)
                return train.fit(job.trainer, task, state, key, steps=steps, batch=2)

            found[f"{name} on {dataset}"] = digest(
                run(job.tasks.train, jax.random.key(0))
            )
    return found


def _keys(learners: list[str] | None) -> dict[str, str]:
    import jax
    import numpy as np
    from jaxmeta.runs.build import build, init_state

    import jaxmeta as jm

    found = {}
    data = jm.data.from_counts(np.arange(60), [20, 20, 20], ("a", "b", "c"))
    task = jm.tasks.few_shot(data, 2, 1, 2)
    draws = jax.vmap(task)(jax.random.split(jax.random.key(0), 10))
    seen = digest((draws.support.inputs, draws.query.inputs))
    found["first ten episodes"] = "" if seen.startswith(GOLDEN) else seen[:12]
    with jax.debug_key_reuse(True):
        for name in learners or trainable("glyphs"):
            try:
                job = build(tiny(name))
            except ValueError:
                continue
            try:
                _once(job, init_state)
                found[name] = ""
            except jax.errors.KeyReuseError as error:
                found[name] = " ".join(str(error).split())[:150]
    return found


def _once(job, init_state) -> None:
    import jax

    from jaxmeta import train

    @jax.jit
    def everything(key):
        making, drawing, learning = jax.random.split(key, 3)
        state = init_state(job, making)
        episode = job.tasks.train(drawing)
        adapting, judging = jax.random.split(learning)
        outputs = train.predictions(job.learner, state.meta, episode, adapting)
        return job.learner.loss(state.meta, episode, judging), outputs

    jax.block_until_ready(everything(jax.random.key(0)))


def main(word: str, argument: str) -> dict:
    given = json.loads(argument)
    return _train(**given) if word == "train" else _keys(given)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2])))
