"""Evaluations that could flatter: the guards, tried on what they must and must not pass."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxmeta as jm
from jaxmeta.core import Batch, Episode
from jaxmeta.data import Splits, from_counts
from jaxmeta.runs.experiment import tested
from jaxmeta.testing import evidence, guards
from jaxmeta.testing.evidence import Leak
from tests.scorecard import tiny
from tests.scorecard.score import Score, Tally


def query_independent(learners: list[str] | None = None) -> Score:
    """QUERY-INDEPENDENT: logits alone, in the batch, shuffled and sorted by class agree
    to 1e-5, or `evaluate` stamps the result; batch statistics must be found out."""
    tally = Tally()
    for name, job in tiny.jobs(learners):
        key = jax.random.key(0)
        task = tested(job.experiment.tasks)
        state, episode = job.start(key), task(key)
        moved = guards.query_independence(job.tester, state.meta, episode, key)
        found = jm.evaluate(job.tester, state.meta, task, key, episodes=2, chunk=2)
        stamped = found.transductive
        tally.add(moved <= 1e-5 or stamped, f"{name}: moves by {moved:.1e}, no stamp")

    net = jm.models.conv4(3, filters=4, blocks=2, norm="batch")
    learner = jm.protonet(net)
    x = jax.random.normal(jax.random.key(1), (6, 8, 8, 1))
    batch = Batch(x, jnp.tile(jnp.eye(3), (2, 1)))
    episode = Episode(batch, batch._replace(inputs=x + 1))
    meta = learner.init(jax.random.key(2), episode)
    moved = guards.query_independence(learner, meta, episode, jax.random.key(3))
    tally.add(moved > 1e-3, f"batch statistics not noticed: {moved:.1e}")
    mixed = [{"recipe": "a", "transductive": x} for x in (True, False)]
    tally.add(_raises(evidence.comparable, mixed, error=ValueError), "a mixed table")
    tally.add(
        _raises(evidence.comparable, [{}], error=ValueError), "an unmarked result"
    )
    tally.case("tables of one kind", lambda: evidence.comparable(mixed[:1] * 2) is None)
    return tally.score()


def disjoint(planted: int = 20, seed: int = 0) -> Score:
    """DISJOINT: planted classes and examples in two splits, and support examples among
    the queries, are all found; clean data pass."""
    tally = Tally()
    for i in range(planted):
        rng = np.random.default_rng(seed + i)
        parts = [rng.integers(0, 256, (12, 6, 6, 1), np.uint8) for _ in range(3)]
        names = [tuple(f"{s}{c}" for c in range(3)) for s in "abc"]
        clean = _splits(parts, names)
        passes = not _raises(evidence.disjoint, clean)
        a, b = rng.choice(3, 2, replace=False)
        if i % 3 == 0:  # a class
            spoilt = list(names)
            spoilt[b] = (names[a][int(rng.integers(3))], *names[b][1:])
            found = _raises(evidence.disjoint, _splits(parts, spoilt))
        elif i % 3 == 1:  # an example
            copied = [x.copy() for x in parts]
            copied[b][rng.integers(12)] = parts[a][rng.integers(12)]
            found = _raises(evidence.disjoint, _splits(copied, names))
        else:  # an example of an episode
            task = jm.tasks.few_shot(clean.train, 2, 1, 2)
            episode = task(jax.random.key(i))
            passes &= not _raises(evidence.fresh_queries, episode)
            query = episode.query.inputs.at[int(rng.integers(4))].set(
                episode.support.inputs[int(rng.integers(2))]
            )
            spoilt = episode._replace(query=episode.query._replace(inputs=query))
            found = _raises(evidence.fresh_queries, spoilt)
        tally.add(found and passes, f"plant {i}: found {found}, clean passes {passes}")
    return tally.score()


def _splits(parts, names) -> Splits:
    pairs = zip(parts, names, strict=True)
    return Splits(*(from_counts(x, [4, 4, 4], tuple(n)) for x, n in pairs))


def burst() -> Score:
    """BURST-LEAK: the sampler takes support and query from anywhere in a film; one that
    takes neighbours is found out."""
    tally = Tally()
    for seed in range(3):
        key = jax.random.key(seed)
        tally.case(
            f"few_shot, seed {seed}",
            lambda key=key: evidence.burst_leak(_few_shot, key) > evidence.FALSE_ALARM,
        )
        tally.add(_raises(evidence.burst_leak, _neighbours, key), "neighbours pass")
    return tally.score()


def _few_shot(data):
    return jm.tasks.few_shot(data, 2, 1, 1)


def _neighbours(data):
    """What a reader that does not shuffle does: the frames after a random one."""
    inputs = jnp.asarray(data.inputs).reshape(len(data.names), -1, 1)

    def task(key):
        first = jax.random.randint(key, (2,), 0, inputs.shape[1] - 1)
        rows = jnp.arange(2)
        support, query = inputs[rows, first], inputs[rows, first + 1]
        return Episode(Batch(support, jnp.eye(2)), Batch(query, jnp.eye(2)))

    return task


def label_null(episodes: int = 1000, learners: list[str] | None = None) -> Score:
    """LABEL-NULL: with random support labels, and with none, accuracy is chance for
    every learner; one that peeks at a fixed class order is found out."""
    tally = Tally()
    for name, job in tiny.jobs(learners):
        key = jax.random.key(0)
        state = job.start(key)
        for empty in (False, True):

            def null(job=job, state=state, empty=empty, key=key):
                task, n = tested(job.experiment.tasks), episodes
                guards.label_null(
                    job.tester, state.meta, task, key, episodes=n, empty=empty
                )

            tally.case(f"{name}, {'no' if empty else 'random'} labels", null)

    def peeks(meta, fast, inputs):  # knows that queries come sorted by class
        n = len(inputs)
        return jax.nn.one_hot(jnp.arange(n) * 3 // n, 3)

    fair = jm.protonet(jm.models.mlp(None, hidden=(4,)))
    task, key = jm.testing.probe(), jax.random.key(1)
    meta = fair.init(key, task(key))
    cheat = fair._replace(predict=peeks)
    tally.add(_raises(guards.label_null, cheat, meta, task, key), "a cheat passes")
    return tally.score(f"{episodes} episodes each, 99.9 % band over episodes")


def coverage(studies: int = 2000) -> Score:
    """CI-COVERAGE: nominal 95 % intervals cover the truth in 94 to 96 % of simulated
    studies, over episodes and over five seeds; two wrong ways do not."""
    tally, notes = Tally(), []

    def episodes(rng):  # 75 queries of each episode, episodes of uneven difficulty
        p = rng.beta(8, 4, 600)
        return rng.binomial(75, p) / 75, 8 / 12

    def seeds(rng):
        return rng.normal(0.6, 0.01, 5), 0.6

    def gaussian(scores):  # 1.96 and the wrong denominator, as often seen
        return scores.mean(), 1.96 * scores.std() / np.sqrt(len(scores))

    def binomial(scores):  # the query as the unit
        m = scores.mean()
        return m, 1.96 * np.sqrt(m * (1 - m) / (75 * len(scores)))

    cases = [
        ("600 episodes", jm.train.interval, episodes, True),
        ("5 seeds", jm.train.interval, seeds, True),
        ("5 seeds, 1.96 and n", gaussian, seeds, False),
        ("queries as the unit", binomial, episodes, False),
    ]
    for name, interval, draw, right in cases:
        # four times the studies: the band itself is two standard errors of 2,000
        n = studies * 4 if right else studies
        found = evidence.coverage(interval, draw, studies=n)
        notes.append(f"{name} {found:.3f}")
        tally.add((0.94 <= found <= 0.96) == right, f"{name}: covers {found:.3f}")
    return tally.score(", ".join(notes))


def _raises(check, *args, error: type[Exception] = Leak) -> bool:
    try:
        check(*args)
    except error:
        return True
    return False
