"""What MAML takes of memory over a network of which little adapts, by the number of tasks.

    python -m benchmarks.adapters [--size 64] [--width 192] [--tasks 1 8 32] [--out FILE]
    python -m benchmarks.adapters --table        # results/adapters.json as Markdown

Two blocks of a vision transformer (patches of 16; 192 wide as DeiT-Ti, 384 as DeiT-S) with
a linear head, 5-way 1-shot with one query a class, one inner step, the second-order
meta-gradient of all tasks side by side. The figure is XLA's own,
`compiled.memory_analysis().temp_size_in_bytes`: all that is neither argument nor result,
activations among it, which every task has of its own whatever adapts. It depends on the
shapes alone; nothing is run. It adds to the rows that FILE has.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import jaxmeta as jm

RESULT = Path(__file__).parent / "results" / "adapters.json"
WRAPPERS = {
    "all of it": lambda net: net,
    "LoRA, rank 8": lambda net: jm.models.lora(net, 8),
    "adapters of 8": lambda net: jm.models.adapter(net, 8),
    "scale and shift, outputs": lambda net: jm.models.scale_shift(net, scale="output"),
    "biases": jm.models.bias_only,
    "the head": jm.models.frozen,
}


def measure(name: str, size: int, width: int, tasks: int) -> dict:
    """The compiled outer gradient of so many tasks side by side."""
    body = jm.models.vit(None, width=width, depth=2, heads=width // 64, size=size)
    net = jm.models.with_head(WRAPPERS[name](body), jm.models.linear_head(5))
    objective = jm.episodic(jm.maml(net, optax.sgd(0.01), steps=1), chunk=tasks)
    batch = jm.Batch(
        jax.ShapeDtypeStruct((tasks, 5, size, size, 3), jnp.float32),
        jax.ShapeDtypeStruct((tasks, 5, 5), jnp.float32),
    )
    episodes, key = jm.Episode(batch, batch), jax.random.key(0)
    meta = jax.eval_shape(objective.init, key, episodes)
    quick = {"xla_backend_optimization_level": 0}  # allocates the same
    quick = quick if jax.default_backend() == "cpu" else {}
    run = jax.jit(objective.value_and_grad, compiler_options=quick)
    found = run.lower(meta, episodes, key).compile().memory_analysis()
    count = lambda tree: sum(x.size for x in jax.tree.leaves(tree))  # noqa: E731
    return {
        "what": name,
        "size": size,
        "width": width,
        "tasks": tasks,
        "temporary_bytes": found.temp_size_in_bytes,
        "adapts": count(meta.params),
        "frozen": count(meta.buffers),
    }


def table(rows: list[dict]) -> str:
    """A line for each network: what adapts, MB by tasks, MB for one task more."""
    counts = sorted({row["tasks"] for row in rows})
    head = ["adapts", "parameters of a task", *(f"{n} tasks" for n in counts)]
    lines = [
        f"| {' | '.join([*head, 'one more task'])} |",
        "|---" * (len(head) + 1) + "|",
    ]
    for name in WRAPPERS:
        mine = {r["tasks"]: r for r in rows if r["what"] == name}
        if not mine:
            continue
        size = {n: r["temporary_bytes"] / 1e6 for n, r in mine.items()}
        cells = [f"{size[n]:.1f} MB" if n in size else "" for n in counts]
        low, high = min(size), max(size)
        more = (size[high] - size[low]) / max(high - low, 1)
        adapts = f"{next(iter(mine.values()))['adapts']:,}"
        lines.append(f"| {' | '.join([name, adapts, *cells, f'{more:.2f} MB'])} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--what", nargs="*", choices=WRAPPERS, default=list(WRAPPERS))
    parser.add_argument("--tasks", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    known = {"versions": {x: version(x) for x in ("jax", "jaxlib", "flax")}, "rows": []}
    if options.out.exists():
        known = json.loads(options.out.read_text())
    rows = known["rows"]
    if not options.table:
        done = {(r["what"], r["size"], r["width"], r["tasks"]) for r in rows}
        for name in options.what:
            for tasks in options.tasks:
                if (name, options.size, options.width, tasks) in done:
                    continue
                rows.append(measure(name, options.size, options.width, tasks))
                print(rows[-1], flush=True)
                options.out.write_text(json.dumps(known, indent=1) + "\n")
    for size, width in sorted({(r["size"], r["width"]) for r in rows}):
        print(f"\n{size}x{size} pictures, {width} wide\n")
        print(table([r for r in rows if (r["size"], r["width"]) == (size, width)]))


if __name__ == "__main__":
    main()
