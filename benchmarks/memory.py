"""What the backward pass of an inner loop keeps, and what that costs in time.

    python -m benchmarks.memory [--problem NAME ...] [--repeats 3] [--out FILE]
    python -m benchmarks.memory --table          # results/memory.json as Markdown

For one task, the meta-gradient of MAML is compiled under every `unrolled(memory=)`; the figure is
XLA's own: `compiled.memory_analysis().temp_size_in_bytes`, all that is neither argument
nor result. It depends on the shapes alone, not on the load of the machine; the seconds
do. `--repeats 0` compiles only, and quickly: the code generator's effort does not
change what is allocated. It adds to the rows that FILE has from the same machine.
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import jaxmeta as jm

RESULT = Path(__file__).parent / "results" / "memory.json"
MEMORY = ("store", "remat", "sqrt", "mixed")


def conv4(queries=75):
    """Omniglot, 5-way 5-shot, 15 queries a class: 25 and 75 images of 28x28."""
    images = lambda n: jax.ShapeDtypeStruct((n, 28, 28, 1), jnp.float32)  # noqa: E731
    labels = lambda n: jax.ShapeDtypeStruct((n, 5), jnp.float32)  # noqa: E731
    episode = jm.Episode(
        jm.Batch(images(25), labels(25)), jm.Batch(images(queries), labels(queries))
    )
    return jm.models.conv4(5), optax.sgd(0.4), jm.losses.cross_entropy, episode


def conv4_one_query():
    """The same with 1 query a class: 25 and 5 images. The query pass is not unrolled, and
    with 75 images it is what remains."""
    return conv4(5)


def sequences(n=16, tokens=64, features=16):
    return jm.Batch(
        jax.ShapeDtypeStruct((n, tokens, features), jnp.float32),
        jax.ShapeDtypeStruct((n, 1), jnp.float32),
    )


def transformer():
    """Regression, 6 blocks of width 64, 16 sequences of 64 tokens, inner Adam."""
    model = jm.models.transformer(1, width=64, depth=6, heads=4)
    episode = jm.Episode(sequences(), sequences())
    return model, optax.adam(1e-3, eps_root=1e-8), jm.losses.mse, episode


def transformer_block_remat():
    """The same, each block computed again in the inner backward pass, as large models
    are trained."""
    width, heads, depth, tokens, features = 64, 4, 6, 64, 16
    shapes = {"qkv": (width, 3 * width), "out": (width, width), "up": (width, 256),
              "down": (256, width)}  # fmt: skip

    def init(key, inputs):
        keys = iter(jax.random.split(key, 8))
        draw = lambda *shape: (  # noqa: E731
            jax.random.normal(next(keys), shape) * shape[-2] ** -0.5
        )
        blocks = {name: draw(depth, *shape) for name, shape in shapes.items()}
        return jm.Meta({"embed": draw(features, width), "blocks": blocks,
                        "position": 0.02 * draw(tokens, width),
                        "head": draw(width, 1)})  # fmt: skip

    def norm(x):
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)

    def block(x, w):
        split = lambda a: a.reshape(*a.shape[:2], heads, -1).swapaxes(1, 2)  # noqa: E731
        q, k, v = map(split, jnp.split(norm(x) @ w["qkv"], 3, -1))
        weights = jax.nn.softmax(q @ k.mT * (width // heads) ** -0.5)
        x = x + (weights @ v).swapaxes(1, 2).reshape(x.shape) @ w["out"]
        return x + jax.nn.gelu(norm(x) @ w["up"]) @ w["down"], None

    def apply(meta, x, train=False, key=None):
        x = x @ meta.params["embed"] + meta.params["position"]
        again = jax.checkpoint(block, prevent_cse=False)
        x, _ = jax.lax.scan(again, x, meta.params["blocks"])
        return norm(x).mean(1) @ meta.params["head"], ()

    _, tx, loss, episode = transformer()
    return jm.Model(init, apply), tx, loss, episode


PROBLEMS = {
    "conv4": (conv4, (10, 0, 1, 2, 5)),
    "conv4-one-query": (conv4_one_query, (10,)),
    "transformer": (transformer, (8,)),
    "transformer-block-remat": (transformer_block_remat, (8,)),
}


def measure(build, steps, memory, repeats):
    model, inner, task_loss, episode = build()
    gradient = jm.gradients.unrolled(memory=memory)
    learner = jm.maml(model, inner, steps=steps, gradient=gradient, criterion=task_loss)
    key = jax.random.key(0)

    def gradient(params, buffers, episode):
        loss = lambda params: learner.loss(  # noqa: E731
            jm.Meta(params, buffers), episode, key
        )[0]
        return jax.grad(loss)(params)

    shapes = jax.eval_shape(learner.init, key, episode)
    quick = {} if repeats else {"xla_backend_optimization_level": 0}
    if jax.default_backend() != "cpu":
        quick = {}
    began = time.perf_counter()
    compiled = (
        jax.jit(gradient, compiler_options=quick)
        .lower(shapes.params, shapes.buffers, episode)
        .compile()
    )
    row = {
        "steps": steps,
        "memory": memory,
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "parameters": sum(x.size for x in jax.tree.leaves(shapes.params)),
    }
    if repeats:
        row["compile_seconds"] = round(time.perf_counter() - began, 2)
        meta = learner.init(key, episode_of(episode))
        args = meta.params, meta.buffers, episode_of(episode)
        jax.block_until_ready(compiled(*args))
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            jax.block_until_ready(compiled(*args))
            times.append(time.perf_counter() - began)
        row["seconds"] = sorted(times)[repeats // 2]
    return row


def episode_of(shapes):
    """Noise of those shapes, with one-hot rows where there are classes."""

    def batch(shape, key):
        n, c = shape.targets.shape
        targets = jnp.eye(c)[jnp.arange(n) % c]
        return jm.Batch(jax.random.normal(key, shape.inputs.shape), targets)

    keys = jax.random.split(jax.random.key(1))
    return jm.Episode(*(batch(s, k) for s, k in zip(shapes, keys, strict=True)))


def table(result) -> str:
    """A line for every problem and number of steps: MB, and times "store"."""
    lines = ["| problem | K | " + " | ".join(MEMORY) + " |", "|---|---|" + "---|" * 4]
    for name, found in result["problems"].items():
        for steps in sorted({row["steps"] for row in found["rows"]}):
            rows = {r["memory"]: r for r in found["rows"] if r["steps"] == steps}
            cells = []
            for memory in MEMORY:
                if memory not in rows:
                    cells.append("")
                    continue
                size = rows[memory]["temporary_bytes"]
                cell = f"{size / 1e6:.1f} MB"
                if "store" in rows and memory != "store":
                    cell += f" (1/{rows['store']['temporary_bytes'] / size:.1f})"
                if "seconds" in rows[memory]:
                    cell += f", {rows[memory]['seconds']:.3f} s"
                cells.append(cell)
            lines.append(f"| {name} | {steps} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--problem", nargs="*", choices=PROBLEMS, default=list(PROBLEMS)
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.out.read_text())))
        return
    machine = {
        "what": "temporary bytes of one task's meta-gradient, float32; median seconds",
        "device": jax.devices()[0].device_kind,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {x: version(x) for x in ("jax", "jaxlib", "flax", "optax")},
    }
    result = json.loads(options.out.read_text()) if options.out.exists() else {}
    if {name: result.get(name) for name in machine} != machine or options.repeats:
        result = machine | {"problems": {}}
    for name in options.problem:
        build, counts = PROBLEMS[name]
        found = {"shapes": " ".join(build.__doc__.split()), "rows": []}
        found = result["problems"].setdefault(name, found)
        done = {(row["steps"], row["memory"]) for row in found["rows"]}
        for steps in counts:
            for memory in MEMORY:
                if (steps, memory) in done:
                    continue
                row = measure(build, steps, memory, options.repeats)
                found["rows"].append(row)
                print(name, row, flush=True)
                options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
