"""The same bits again, in another process; and no random key used twice.

The programs are this file itself: `python -m tests.scorecard.bits train|keys ...`.
"""

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


def _train(learners: list[str] | None, steps: int) -> dict[str, str]:
    import jax

    from jaxmeta import train
    from tests.scorecard import tiny

    found = {}
    for recipe in (tiny.GLYPHS, tiny.SINUSOID):
        for name, job in tiny.jobs(learners, recipe):

            @jax.jit
            def run(task, key, job=job):
                state = job.start(key)
                return train.fit(job.trainer, task, state, key, steps=steps, batch=2)

            task = job.experiment.tasks.train
            found[f"{name}, {recipe}"] = digest(run(task, jax.random.key(0)))
    return found


def _keys(learners: list[str] | None) -> dict[str, str]:
    import jax
    import numpy as np

    import jaxmeta as jm
    from tests.scorecard import tiny

    found = {}
    data = jm.data.from_counts(np.arange(60), [20, 20, 20], ("a", "b", "c"))
    task = jm.tasks.few_shot(data, 2, 1, 2)
    draws = jax.vmap(task)(jax.random.split(jax.random.key(0), 10))
    seen = digest((draws.support.inputs, draws.query.inputs))
    found["first ten episodes"] = "" if seen.startswith(GOLDEN) else seen[:12]
    with jax.debug_key_reuse(True):
        for name, job in tiny.jobs(learners):
            try:
                _once(job)
                found[name] = ""
            except jax.errors.KeyReuseError as error:
                found[name] = " ".join(str(error).split())[:150]
    return found


def _once(job) -> None:
    import jax

    from jaxmeta import train

    learner, tasks = job.experiment.learner, job.experiment.tasks

    @jax.jit
    def everything(key):
        making, drawing, learning = jax.random.split(key, 3)
        state = job.start(making)
        episode = tasks.train(drawing)
        adapting, judging = jax.random.split(learning)
        outputs = train.predictions(learner, state.meta, episode, adapting)
        return learner.loss(state.meta, episode, judging), outputs

    jax.block_until_ready(everything(jax.random.key(0)))


def main(word: str, argument: str) -> dict:
    given = json.loads(argument)
    return _train(**given) if word == "train" else _keys(given)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2])))
