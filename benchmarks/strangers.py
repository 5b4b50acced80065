r"""Strangers among the queries: how many are told "none of these", at 5 % of wrong ones.

    jaxmeta train omniglot-protonet-5w1s --steps 2000 --validate-every 0 \
        --data PATH_TO/omniglot --out RUN
    python -m benchmarks.strangers --run RUN
    python -m benchmarks.strangers --data PATH_TO/grocery --backbone FILE.safetensors
    python -m benchmarks.strangers --table                     # the table of the README

Five classes with five examples each are known, five others are strangers. A threshold is
chosen on validation classes: the highest that turns 5 % of their known queries away. Test
classes say how many known ones it really turns away, and how many strangers. Last, what
`jaxmeta adapt --backbone --reject` does where there are no validation classes: the
threshold is that of the support itself, each class left out in turn.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np

import jaxmeta as jm
from benchmarks.common import machine, write_between
from benchmarks.grocery import HEADS, embedded
from jaxmeta.data.grocery import split_products
from jaxmeta.functional import familiarity, normalise
from jaxmeta.functional.familiarity import SCORES
from jaxmeta.runs import heads
from jaxmeta.runs.left_out import by_left_out
from jaxmeta.train.open_set import auroc, judged, rejected

HERE = Path(__file__).parent
RESULT = HERE / "results" / "strangers.json"
README = HERE / "README.md"
BEGIN, END = "<!-- strangers: begin -->", "<!-- strangers: end -->"
WAYS, STRANGERS = 5, 5
CHEAP = ("nearest mean", "ridge", "matching", "tip-adapter")
"""Heads in closed form: 600 episodes of the others take many minutes."""


def task_of(task, shots: int, queries: int):
    return jm.tasks.open_set(task, WAYS, shots, queries, strangers=STRANGERS)


def both(learner, meta, val, test, episodes: int) -> dict:
    """Each score: chosen on validation classes, judged on test classes."""
    keys = jax.random.key(11), jax.random.key(12)
    drawn = [
        jm.train.open_scores(learner, meta, task, key, episodes=episodes)
        for task, key in zip((val, test), keys, strict=True)
    ]
    found = {"accuracy": float(drawn[1].accuracy.mean()), "scores": {}}
    for score in SCORES:
        chosen = judged(drawn[0].known[score], drawn[0].strangers[score], score=score)
        held = judged(
            drawn[1].known[score], drawn[1].strangers[score], score=score,
            threshold=chosen.threshold,
        )  # fmt: skip
        found["scores"][score] = {"val": chosen._asdict(), "test": held._asdict()}
    areas = {s: row["val"]["auroc"] for s, row in found["scores"].items()}
    found["chosen"] = max(areas, key=areas.get)
    return found


def omniglot(args, found: dict) -> None:
    """A trained run, on the characters that it was chosen by and tested on."""
    run = jm.runs.load(args.run)
    kept = ("accuracy", "steps", "batch", "train_ways", "transductive")
    found |= {"title": run.experiment.title, **{k: run.result[k] for k in kept}}
    tasks = run.experiment.tasks
    for shots in (5, 1):
        if f"{shots}-shot" not in found:
            val, test = (task_of(t, shots, 10) for t in (tasks.val, tasks.test))
            rows = both(run.learner, run.meta, val, test, args.episodes)
            found[f"{shots}-shot"] = rows
            keep(args)


def grocery(args, found: dict) -> None:
    """Heads on features of a frozen network: 45 products centre, 15 choose, 21 test."""
    parts = split_products(embedded(args)[0])
    mean = parts.train.inputs.mean(0)
    val, test = (
        part._replace(inputs=np.asarray(normalise(part.inputs, "cl2n", mean=mean)))
        for part in parts[1:]
    )
    if "left out" not in found:
        raw = jm.tasks.few_shot(parts.test, WAYS, 5, 5)
        found["left out"] = left_out(jax.jit(task_of(raw, 5, 5)), args.supports)
        keep(args)
    for shots in (5, 1):
        rows = found.setdefault(f"{shots}-shot", {})
        for name in CHEAP:
            if name in rows:
                continue
            learner = HEADS[name]
            tasks = [
                task_of(jm.tasks.few_shot(part, WAYS, shots, 5), shots, 5)
                for part in (val, test)
            ]
            sample = tasks[0](jax.random.key(0)).known
            meta = learner.init(jax.random.key(0), sample)
            rows[name] = both(learner, meta, *tasks, args.episodes)
            keep(args)


def keep(args) -> None:
    """What has been measured so far: a part that is there is not measured again."""
    RESULT.write_text(json.dumps(args.result, indent=2) + "\n")
    print("kept", flush=True)


def left_out(task, episodes: int) -> dict:
    """The threshold of each support, its classes left out in turn; the usual head."""
    head = heads.heads()["protonet"]
    said, rows = [], []
    for t in range(episodes):
        drawn = task(jax.random.fold_in(jax.random.key(12), t))
        support, query = drawn.known
        x, labels = np.asarray(support.inputs)[:, None], np.asarray(support.targets)
        labels, asked = (
            labels.argmax(1),
            np.concatenate([query.inputs, drawn.strangers]),
        )
        u, v = heads.footing(x, asked)
        tried = heads.tried(head, u, labels, WAYS)
        found = by_left_out(head, x, labels, WAYS, tried).found
        z = heads.predicted(head, u, labels, WAYS, v, tried.temperature)
        near, n = np.asarray(familiarity(z, found.score)), len(query.targets)
        area = auroc(near[:n], near[n:])
        rates = [rejected(part, found.threshold) for part in (near[:n], near[n:])]
        rows.append((area, *rates, found.auroc, found.right_rejections))
        said.append(found.score)
    names = (
        "auroc",
        "wrong_rejections",
        "right_rejections",
        "auroc_said",
        "right_said",
    )
    values = dict(zip(names, np.array(rows).T, strict=True))
    means = {k: jm.train.interval(x) for k, x in values.items()}
    result = {k: {"mean": m, "ci95": half} for k, (m, half) in means.items()}
    result |= {"episodes": episodes, "scores": {s: said.count(s) for s in SCORES}}
    print("left out", json.dumps(result), flush=True)
    return result


def cell(row: dict, name: str) -> str:
    return f"{100 * row[name]:.1f} ± {100 * row[f'{name}_ci95']:.1f}"


def lines_of(title: str, found: dict) -> list[str]:
    lines = []
    for score in found["scores"]:
        val, test = (found["scores"][score][part] for part in ("val", "test"))
        words = score.replace("_", " ") + (
            " (chosen)" if score == found["chosen"] else ""
        )
        cells = [cell(val, "auroc"), cell(test, "auroc"), cell(test, "wrong_rejections"),
                 cell(test, "right_rejections")]  # fmt: skip
        lines.append(f"| {title} | {words} | {' | '.join(cells)} |")
    return lines


def table(result: dict) -> str:
    """Markdown, from what results/strangers.json holds."""
    lines = [
        "| 5 known classes, 5 of strangers | score | AUROC, validation | AUROC, test | "
        "wrong rejections | right rejections |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for shots in ("1-shot", "5-shot"):
        if shots in result.get("omniglot", {}):
            lines += lines_of(f"Omniglot, ProtoNet, {shots}", result["omniglot"][shots])
    if "grocery" in result:
        for shots in ("1-shot", "5-shot"):
            for head, rows in result["grocery"][shots].items():
                lines += lines_of(f"groceries, {head}, {shots}", rows)
    lines += [
        "",
        f"In per cent, over {result['episodes']} episodes of test classes (10 queries a "
        "class, 5 of groceries), 95 % t-intervals over episodes; the threshold is one "
        "number, from as many episodes of validation classes, whose own interval is not "
        "in these. "
        "Chosen: the score with the larger AUROC on validation classes.",
    ]
    if "omniglot" in result:
        run = result["omniglot"]
        lines += ["", f"Omniglot: a run of {run['steps']:,} steps with {run['train_ways']} "
                  f"ways, {100 * run['accuracy']:.1f} % in its own 5-way 1-shot test, "
                  f"{'transductive' if run['transductive'] else 'not transductive'}; "
                  "validation has chosen nothing but score and threshold. Strangers may "
                  "be quarter turns of a known character."]  # fmt: skip
    if "grocery" in result:
        row = result["grocery"]["left out"]

        def said(name: str) -> str:
            return f"{100 * row[name]['mean']:.1f} ± {100 * row[name]['ci95']:.1f}"

        lines += [
            "",
            "Without validation classes, the threshold from each 5-way 5-shot support of "
            f"groceries itself (25 pictures; nearest mean; {row['episodes']} supports): "
            f"AUROC {said('auroc')} (said beforehand: {said('auroc_said')}), wrong "
            f"rejections {said('wrong_rejections')}, right rejections "
            f"{said('right_rejections')} (said: {said('right_said')}).",
        ]
    where = result["machine"]
    lines += ["", f"{where['cores']} cores of {where['processor']}, jax {where['jax']}, "
              f"{where['date']}."]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", help="a run of omniglot-protonet-5w1s")
    parser.add_argument("--data", help="folder with Grocery Store's zip files")
    parser.add_argument("--backbone", help="a .safetensors file")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--supports", type=int, default=100)
    parser.add_argument("--table", action="store_true", help="only write the table")
    args = parser.parse_args()
    if not args.table:
        result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        if result.get("episodes") != args.episodes:
            result = {"episodes": args.episodes}
        args.result = result | {"machine": machine()}
        if args.run:
            omniglot(args, args.result.setdefault("omniglot", {}))
        if args.data:
            args.result["backbone"] = Path(args.backbone).stem
            grocery(args, args.result.setdefault("grocery", {}))
        keep(args)
    write_between(README, BEGIN, END, table(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
