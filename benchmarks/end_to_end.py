"""From data in memory to 95 % on Omniglot 5-way 1-shot: wall time beside a PyTorch loop.

    python -m benchmarks.end_to_end OMNIGLOT     # writes results/end_to_end.json

ProtoNet, Conv4-64, where PyTorch is at its best: one shared network, no inner loop. Both
sides train on 20-way 1-shot episodes with 5 queries, Adam 1e-3, rotations as classes,
Vinyals' split, and score the same 200 validation episodes (5-way 1-shot, 15 queries, batch
statistics) every 100 steps. The clock starts with the images in memory and stops at the
first score of at least 95 %; compiling, sampling and scoring count. Each side runs in a
process of its own, one after the other.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from benchmarks import common

RESULT = Path(__file__).parent / "results" / "end_to_end.json"
GOAL, EVERY, MOST, EPISODES = 0.95, 100, 4000, 200


def jax_side(splits) -> dict:
    begin = time.perf_counter()
    learner = jm.protonet(jm.models.conv4(None, norm="batch"))
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(1e-3))
    task = jm.tasks.few_shot(splits.train, 20, 1, 5, rotations=True)
    test = jm.tasks.few_shot(splits.val, 5, 1, 15, rotations=True)
    state = trainer.init(
        jax.random.key(0), jm.train.sample_batch(task, jax.random.key(1), 1)
    )
    fit = jax.jit(
        lambda state, task: jm.fit(
            trainer, task, state, jax.random.key(2), steps=EVERY, batch=1
        ),
        donate_argnums=0,
    )
    curve = []
    for step in range(EVERY, MOST + 1, EVERY):
        state, _ = fit(state, task)
        score = jm.evaluate(
            learner, state.meta, test, jax.random.key(3), episodes=EPISODES
        ).mean
        curve.append((step, round(time.perf_counter() - begin, 2), round(score, 4)))
        if score >= GOAL:
            break
    return {"curve": curve}


def torch_side(splits) -> dict:
    import torch
    import torch.nn.functional as F

    from benchmarks import rivals

    torch.set_num_threads(common.cores())
    begin = time.perf_counter()
    draw = np.random.default_rng(0)
    meta = jm.models.conv4(None, norm="batch").init(
        jax.random.key(0), jnp.zeros((1, 28, 28, 1))
    )
    names = jax.tree.leaves(jm.tree.paths(meta.params))
    params = {
        n: rivals.to_torch(n, x).requires_grad_()
        for n, x in zip(names, jax.tree.leaves(meta.params), strict=True)
    }
    adam = torch.optim.Adam(params.values(), lr=1e-3)
    data = {
        part: torch.tensor(getattr(splits, part).inputs)
        .permute(0, 3, 1, 2)
        .contiguous()
        for part in ("train", "val")
    }

    def episode(draw, part, ways, queries):
        split = getattr(splits, part)
        # as few_shot does: a class and a quarter turn make a new class
        classes = draw.choice(len(split.starts) * 4, ways, replace=False)
        support, query = [], []
        for c in classes:
            rows = split.starts[c // 4] + draw.choice(
                split.counts[c // 4], 1 + queries, replace=False
            )
            images = torch.rot90(data[part][rows], int(c % 4), (2, 3)).float() / 255
            support.append(images[:1])
            query.append(images[1:])
        labels = torch.arange(ways).repeat_interleave(queries)
        return torch.cat(support), torch.cat(query), labels

    def outputs(support, query):
        found = rivals.conv4(params, torch.cat([support, query]))
        centres, points = found[: len(support)], found[len(support) :]
        return -(torch.cdist(points, centres) ** 2)

    def score():
        same = np.random.default_rng(1)
        right = []
        with torch.no_grad():
            for _ in range(EPISODES):
                support, query, labels = episode(same, "val", 5, 15)
                right.append(
                    (outputs(support, query).argmax(1) == labels).double().mean()
                )
        return float(torch.stack(right).mean())

    curve = []
    for step in range(1, MOST + 1):
        support, query, labels = episode(draw, "train", 20, 5)
        adam.zero_grad()
        F.cross_entropy(outputs(support, query), labels).backward()
        adam.step()
        if step % EVERY == 0:
            found = score()
            curve.append((step, round(time.perf_counter() - begin, 2), round(found, 4)))
            if found >= GOAL:
                break
    return {"curve": curve}


def main() -> None:
    root = sys.argv[1]
    if len(sys.argv) > 2:
        splits = jm.data.omniglot(root)
        side = {"jaxmeta": jax_side, "torch": torch_side}[sys.argv[2]]
        print(json.dumps(side(splits)))
        return
    found = {"machine": common.machine(), "goal": GOAL}
    for side in ("jaxmeta", "torch"):
        command = [sys.executable, "-m", "benchmarks.end_to_end", root, side]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        curve = json.loads(done.stdout.splitlines()[-1])["curve"]
        step, seconds, score = curve[-1]
        reached = score >= GOAL
        found[side] = {
            "reached": reached,
            "steps": step,
            "seconds": seconds,
            "curve": curve,
        }
        print(side, found[side]["steps"], seconds, score, flush=True)
    found["ratio"] = round(found["torch"]["seconds"] / found["jaxmeta"]["seconds"], 2)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
