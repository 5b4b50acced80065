"""Words from one and five examples by a stranger; six speakers told apart by other words.

    JAXMETA_DATA=DIR python -m benchmarks.speech choose     # on validation
    JAXMETA_DATA=DIR python -m benchmarks.speech word 0     # a fold: 0 to 5
    JAXMETA_DATA=DIR python -m benchmarks.speech speaker 0
    JAXMETA_DATA=DIR python -m benchmarks.speech unheard    # other words to validate on
    python -m benchmarks.speech table

Free Spoken Digits. Words: a fold trains on five words by four speakers and tests on the five
others by two others; the support is by one of these two, the queries by the other. Speakers:
a fold trains on four words by all six speakers and tests on four others; support and query
are of different words. All rivals see the same episodes, by the same spectrograms. What can
be chosen is chosen on validation: of words, two other speakers who say the words of training
(folds 0 and 1); of speakers, two other words (fold 0). That the first of these cannot tell a
network that knows words from one that knows these words was seen in the test; `unheard` is a
validation of other words, and plays no part in what is reported.
"""

import argparse
import functools
import json
import os
import time
from pathlib import Path

import jax
import numpy as np
from scipy import stats

import jaxmeta as jm
from benchmarks.common import machine
from jaxmeta.functional import sound
from jaxmeta.recipes.sounds import EACH
from jaxmeta.runs.making import make
from jaxmeta.runs.registry import known

RESULT = Path(__file__).parent / "results" / "speech.json"
EPISODES, QUERIES = 600, 10
SHOTS = (1, 5)
RECIPE = {"word": "speech-protonet-5w1s", "speaker": "speech-protonet-speakers-6w1s"}
TAKES = {
    "word": None,
    "speaker": 20,
}  # of each word by each speaker that are drawn from
NETWORKS = {  # what is chosen for the network: what training changes
    "plain": {"warp": False, "augment": False},
    "both": {"warp": True, "augment": True},
}
UNHEARD = NETWORKS | {
    "augmented": {"warp": False, "augment": True},
    "warped": {"warp": True, "augment": False},
}
FEATURES = ("frames", "moments", "centred")
NEAREST = [(f, m) for f in FEATURES for m in ("euclid", "cosine")]
LINEAR = [(f, lam) for f in FEATURES for lam in (1e-3, 1e-1, 10.0)]
DTW = ("levels", "centred")


@functools.lru_cache(maxsize=4)
def experiment(told: str, fold: int, validate: bool, **options):
    """What the command line runs."""
    said = {"data": os.environ["JAXMETA_DATA"], "fold": fold, "validate": validate}
    return make(known()[RECIPE[told]], said | options).experiment


@functools.cache
def fitter(told: str, validate: bool, steps: int):
    """The training, compiled once for all folds."""
    first = experiment(told, 0, validate, steps=steps)
    trainer = jm.make_trainer(jm.episodic(first.learner), first.outer)

    @jax.jit
    def run(task, key):
        one, two = jax.random.split(key)
        state = trainer.init(one, jax.vmap(task)(jax.random.split(one, 2)))
        return jm.fit(trainer, task, state, two, steps=steps, batch=first.batch)[0].meta

    return run


def train(told: str, fold: int, validate: bool, steps: int, **options):
    """The parameters after training, and the seconds it took."""
    run = fitter(told, validate, steps)
    task = experiment(told, fold, validate, steps=steps, **options).tasks.train
    begin = time.perf_counter()
    meta = jax.block_until_ready(run(task, jax.random.key(fold)))
    return meta, time.perf_counter() - begin


def part_of(told: str, fold: int, part: str, takes: int | None = None):
    """Spectrograms, labels, and episodes as rows of them, for each number of shots.

    With `takes`, the first so many of each word by each speaker.
    """
    task = getattr(experiment(told, fold, True).tasks, part)
    inputs, _, counts, hands, _ = map(np.asarray, task.args)
    labels = np.repeat(np.arange(len(counts)), counts)
    if takes is not None:
        pairs = list(zip(labels.tolist(), hands.tolist(), strict=True))
        keep = np.array([pairs[:i].count(pair) < takes for i, pair in enumerate(pairs)])
        inputs, labels, hands = inputs[keep], labels[keep], hands[keep]
    rows = jm.data.from_labels(np.arange(len(inputs))[:, None], labels)
    keys = jax.random.split(jax.random.key(1000 + fold), EPISODES)
    episodes = {}
    for shots in SHOTS if part != "train" else ():
        sampler = jm.tasks.other_hands(
            rows, len(counts), shots, QUERIES, hands=np.asarray(hands)
        )
        found = jax.jit(jax.vmap(sampler))(keys)
        episodes[shots] = [np.asarray(b.inputs)[..., 0] for b in found]
    return inputs[..., 0], labels, episodes


def voiced(image):
    """First and last frame within 45 dB of the loudest."""
    loud = np.flatnonzero(image.max(0) > 0.25)
    return loud[0], loud[-1] + 1


def features(x, kind):
    """`[n, d]`: all frames; mean and deviation of each band; frames less their mean."""
    if kind == "moments":
        found = []
        for image in x:
            a, b = voiced(image)
            found.append([image[:, a:b].mean(1), image[:, a:b].std(1)])
        return np.array(found).reshape(len(x), -1)
    if kind == "centred":
        x = x - x.mean(2, keepdims=True)
    return x.reshape(len(x), -1)


def distances(u, metric):
    if metric == "cosine":
        u = u / np.linalg.norm(u, axis=1, keepdims=True)
    square = (u**2).sum(1)
    return square[:, None] + square - 2 * u @ u.T


def warping(x, kind, most=24, chunk=25):
    """Dynamic time warping of each pair, over voiced frames: `[n, n]`.

    D_ij = c_ij + min(D_{i-1,j}, D_{i,j-1}, D_{i-1,j-1}),   D_end / (frames of both)
    """
    sequences = np.zeros((len(x), most, x.shape[1]), np.float32)
    ends = np.zeros(len(x), int)
    for i, image in enumerate(x):
        a, b = voiced(image)
        cut = image[:, a:b][:, :most]
        cut = cut - cut.mean(1, keepdims=True) if kind == "centred" else cut
        sequences[i, : cut.shape[1]], ends[i] = cut.T, cut.shape[1]
    square = (sequences**2).sum(-1)
    out = np.zeros((len(x), len(x)), np.float32)
    for start in range(0, len(x), chunk):
        some = slice(start, start + chunk)
        cross = np.einsum("aik,bjk->ijab", sequences[some], sequences, optimize=True)
        cost = np.sqrt(np.maximum(
            square[some].T[:, None, :, None] + square.T[None, :, None, :] - 2 * cross, 0
        ))  # fmt: skip
        for i in range(most):
            for j in range(most):
                before = [cost[a, b] for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1))
                          if a >= 0 and b >= 0]  # fmt: skip
                if before:
                    cost[i, j] += functools.reduce(np.minimum, before)
        a, b = np.meshgrid(np.arange(cost.shape[2]), np.arange(len(x)), indexing="ij")
        first, second = ends[some][a], ends[b]
        out[some] = cost[first - 1, second - 1, a, b] / (first + second)
    return out


def scored(predicted, labels, support, query, ways):
    """Accuracy of each episode; labels are those of the episode's own order."""
    shots, queries = support.shape[1] // ways, query.shape[1] // ways
    true = np.repeat(np.arange(ways), queries)
    assert (labels[support].reshape(-1, ways, shots).std(-1) == 0).all()
    return (predicted == true).mean(1)


def nearest(d, labels, episode, ways):
    support, query = episode
    shots = support.shape[1] // ways
    between = d[query[:, :, None], support[:, None, :]]
    best = between.reshape(*query.shape, ways, shots).min(-1)
    return scored(best.argmin(-1), labels, support, query, ways)


def prototypes(u, labels, episode, ways):
    support, query = episode
    means = u[support].reshape(len(support), ways, -1, u.shape[1]).mean(2)
    cross = np.einsum("eqd,ecd->eqc", u[query], means)
    said = (2 * cross - (means**2).sum(-1)[:, None]).argmax(-1)
    return scored(said, labels, support, query, ways)


def ridge(u, labels, episode, ways, lam):
    """A linear head: least squares to one-hot labels with a penalty, in its dual form."""
    support, query = episode
    shots = support.shape[1] // ways
    centre = u[support].mean(1, keepdims=True)
    s, q = u[support] - centre, u[query] - centre
    kernel = s @ s.transpose(0, 2, 1)
    scale = np.trace(kernel, axis1=1, axis2=2)[:, None, None] / kernel.shape[1]
    targets = np.repeat(np.eye(ways), shots, axis=0) - 1 / ways
    alpha = np.linalg.solve(
        kernel + lam * scale * np.eye(kernel.shape[1]), targets[None]
    )
    said = (q @ s.transpose(0, 2, 1) @ alpha).argmax(-1)
    return scored(said, labels, support, query, ways)


@functools.cache
def embedding(told: str):
    """Features of the network, in inference: they do not depend on the company."""
    made = make(known()[RECIPE[told]], {"data": os.environ["JAXMETA_DATA"]})
    model = jm.models.conv4(
        None, filters=made.options["filters"], norm=made.options["norm"]
    )
    return jax.jit(lambda meta, x: model.apply(meta, x[..., None])[0])


def rivals(x, labels, episodes, ways, chosen):
    """Accuracy `[episodes]` of every rival at its chosen setting, for each shots."""
    (kind, metric), (linear, lam) = chosen["nearest"], chosen["linear"]
    d = distances(features(x, kind), metric)
    warped = warping(x, chosen["dtw"])
    u = features(x, linear)
    return {
        shots: {
            "nearest": nearest(d, labels, e, ways),
            "dtw": nearest(warped, labels, e, ways),
            "linear": ridge(u, labels, e, ways, lam),
        }
        for shots, e in episodes.items()
    }


def choose(told: str, fold: int, steps: int) -> None:
    """Judges settings by the validation part of a fold, the mean over both shots.

    Goes on where it was stopped.
    """
    tried = load().get("validation", {}).get(told, {})
    done = [
        str(fold) in by_fold
        for what in ("nearest", "linear", "dtw", "network")
        for by_fold in tried.get(what, {}).values()
    ]
    if sum(done) == sum(map(len, (NEAREST, LINEAR, DTW, NETWORKS))):
        return
    x, labels, episodes = part_of(told, fold, "val", TAKES[told])
    ways = labels.max() + 1

    def mean(judge, of, *more):
        scores = [judge(of, labels, e, ways, *more) for e in episodes.values()]
        return float(np.mean(scores))

    def network(options):
        meta = train(told, fold, True, steps, **options)[0]
        return mean(prototypes, np.asarray(embedding(told)(meta, x)))

    write = functools.partial(note, told, fold)
    for kind, metric in NEAREST:
        d = distances(features(x, kind), metric)
        write("nearest", f"{kind} {metric}", functools.partial(mean, nearest, d))
    for kind, lam in LINEAR:
        u = features(x, kind)
        write("linear", f"{kind} {lam}", functools.partial(mean, ridge, u, lam))
    for kind in DTW:
        write("dtw", kind, lambda kind=kind: mean(nearest, warping(x, kind)))
    for name, options in NETWORKS.items():
        write("network", name, functools.partial(network, options))


def unheard(fold: int, steps: int, *, warp: bool, augment: bool) -> float:
    """Two words that training has not heard, by two speakers whom it has not.

    Words of the test have no part in it: of the five training words two are held out,
    the last and then the first.
    """
    found = jm.data.spoken_digits(os.environ["JAXMETA_DATA"])
    found = found._replace(inputs=jm.data.spectrograms(found.inputs, rate=8000))
    learn, val, _ = jm.data.word_splits(found, fold=fold)
    names = learn.data.names
    speakers = [
        [found.speaker_names[i] for i in np.unique(p.hands)] for p in (learn, val)
    ]
    scores = []
    for known_words, new in ((names[:3], names[3:]), (names[2:], names[:2])):
        part = jm.data.by_word(
            jm.data.select(found, words=known_words, speakers=speakers[0])
        )
        warps = {"warp_class": sound.backwards, "warp_hand": sound.other_voice}
        task = jm.tasks.other_hands(
            part.data, 3, 1, 4, hands=part.hands, **(warps if warp else {})
        )
        task = jm.tasks.augmented(task, EACH) if augment else task
        meta = fitter("word", True, steps)(task, jax.random.key(fold))
        part = jm.data.by_word(jm.data.select(found, words=new, speakers=speakers[1]))
        u = np.asarray(embedding("word")(meta, part.data.inputs[..., 0]))
        labels = np.repeat([0, 1], part.data.counts)
        rows = part.data._replace(inputs=np.arange(len(labels))[:, None])
        for shots in SHOTS:
            draw = jm.tasks.other_hands(rows, 2, shots, QUERIES, hands=part.hands)
            keys = jax.random.split(jax.random.key(2000 + fold), EPISODES)
            episode = [
                np.asarray(b.inputs)[..., 0] for b in jax.jit(jax.vmap(draw))(keys)
            ]
            scores.append(prototypes(u, labels, episode, 2).mean())
    return float(np.mean(scores))


def note(told: str, fold: int, what: str, name: str, judged) -> None:
    """Writes an accuracy on validation down, unless it is there."""
    found = load()
    tried = found.setdefault("validation", {}).setdefault(told, {}).setdefault(what, {})
    by_fold = tried.setdefault(name, {})
    if str(fold) not in by_fold:
        by_fold[str(fold)] = round(judged(), 4)
        print(told, fold, what, name, by_fold[str(fold)], flush=True)
        save(found)


def save(found: dict) -> None:
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


def chosen_of(found: dict, told: str) -> dict:
    best = {
        what: max(tried, key=lambda n: np.mean([*tried[n].values()]))
        for what, tried in found["validation"][told].items()
        if what != "unheard"
    }
    near, lin = best["nearest"].split(), best["linear"].split()
    return {
        "nearest": (near[0], near[1]), "linear": (lin[0], float(lin[1])),
        "dtw": best["dtw"], "network": best["network"],
    }  # fmt: skip


def fold_of(told: str, fold: int, steps: int) -> None:
    """All methods on the test episodes of a fold."""
    found = load()
    chosen = chosen_of(found, told)
    x, labels, episodes = part_of(told, fold, "test", TAKES[told])
    ways = labels.max() + 1
    scores = rivals(x, labels, episodes, ways, chosen)
    options = NETWORKS[chosen["network"]]
    meta, seconds = train(told, fold, False, steps, **options)
    u = np.asarray(embedding(told)(meta, x))
    for shots, e in episodes.items():
        scores[shots]["network"] = prototypes(u, labels, e, ways)
    row = {
        str(shots): {m: round(float(a.mean()), 5) for m, a in by.items()}
        for shots, by in scores.items()
    }
    if told == "speaker":
        row["all"] = of_all_training(fold, x, labels, u, meta)
    row["training_seconds"] = round(seconds, 1)
    found = load()  # choices may have been written meanwhile
    found.setdefault(told, {})[str(fold)] = row
    found["settings"] = {
        "steps": steps, "episodes": EPISODES, "queries": QUERIES, "recipes": RECIPE,
        "takes": TAKES, "transductive": False,
    }  # fmt: skip
    found["machine"] = machine()
    print(told, fold, json.dumps(row), flush=True)
    save(found)


def of_all_training(fold, x, labels, u, meta) -> dict:
    """Known speakers need no examples of the test: every training recording is one."""
    heard, names, _ = part_of("speaker", fold, "train")
    tuned, truth, _ = part_of("speaker", fold, "val")
    targets = np.eye(names.max() + 1)[names]
    best = (-1.0, np.zeros(0))
    for kind, lam in LINEAR:
        a, b, c = (features(part, kind) for part in (heard, tuned, x))
        centre, gram = a.mean(0), (a - a.mean(0)).T @ (a - a.mean(0))
        scale = lam * np.trace(gram) / len(gram) * np.eye(len(gram))
        w = np.linalg.solve(gram + scale, (a - centre).T @ (targets - targets.mean(0)))
        right = (((b - centre) @ w).argmax(1) == truth).mean()
        best = max(
            best, (right, ((c - centre) @ w).argmax(1)), key=lambda pair: pair[0]
        )
    mine = np.asarray(embedding("speaker")(meta, heard))
    means = np.stack([mine[names == c].mean(0) for c in range(names.max() + 1)])
    said = (2 * u @ means.T - (means**2).sum(1)).argmax(1)
    right = {"linear": best[1] == labels, "network": said == labels}
    return {name: round(float(r.mean()), 5) for name, r in right.items()}


def load() -> dict:
    return json.loads(RESULT.read_text()) if RESULT.is_file() else {}


def interval(values) -> str:
    """Mean and 95 % interval of Student's t over folds."""
    mean, n = np.mean(values), len(values)
    half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return f"{100 * mean:.1f} ± {100 * half:.1f}"


TITLES = {
    "nearest": "nearest neighbour on mel features", "dtw": "dynamic time warping",
    "linear": "a linear head", "network": "ProtoNet",
}  # fmt: skip


def table() -> str:
    """What has been measured, a column for each kind of test; mean over its folds."""
    found = load()
    columns = {
        f"{told}, {shots} example{'s' * (shots != '1')}": [r[shots] for r in rows]
        for told in RECIPE
        for shots in ("1", "5", "all")
        if (rows := list(found.get(told, {}).values())) and shots in rows[0]
    }
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for method, title in TITLES.items():
        cells = [
            f"{interval([r[method] for r in rows])} %" if method in rows[0] else ""
            for rows in columns.values()
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    gains = []
    for rows in columns.values():
        others = [m for m in rows[0] if m != "network"]
        best = max(others, key=lambda m: np.mean([r[m] for r in rows]))
        gains.append(f"{interval([r['network'] - r[best] for r in rows])} ({best})")
    lines.append(
        f"| ProtoNet above the best of these, in pairs | {' | '.join(gains)} |"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", choices=("choose", "unheard", "word", "speaker", "table")
    )
    parser.add_argument("fold", type=int, nargs="*", default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--steps", type=int, default=400)
    args = parser.parse_args()
    if args.what == "table":
        return print(table())
    if args.what == "choose":
        for told, fold in (("word", 0), ("word", 1), ("speaker", 0)):
            choose(told, fold, args.steps)
        return None
    if args.what == "unheard":
        for name, options in UNHEARD.items():
            for fold in (0, 1):
                judged = functools.partial(unheard, fold, args.steps, **options)
                note("word", fold, "unheard", name, judged)
        return None
    for fold in args.fold:
        if str(fold) not in load().get(args.what, {}):
            fold_of(args.what, fold, args.steps)


if __name__ == "__main__":
    main()
