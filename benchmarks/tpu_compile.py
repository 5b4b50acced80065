"""What a TPU's compiler makes of every learner, on a machine that has no TPU.

    pip install 'jax[tpu]'     # the compiler is in libtpu; no chip is asked for
    python -m benchmarks.tpu_compile [--minutes 50] [--limit 300] [WORD ...]
    python -m benchmarks.tpu_compile --table

Each program is one outer step (gradient, its reduction over chips, Adam) of 8 tasks a
chip, 5-way 1-shot, 15 queries a class, compiled ahead of time for TPU v5e. Rows are added
to results/tpu_compile.json as they come, each from a process of its own under a time
limit; a second call goes on where the first stopped. WORDs choose the programs whose
names hold them all. No chip has run any of this: seconds are those of compiling, bytes
and FLOPs what the compiler counts, where the body of a loop counts once.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import tpu_programs as programs

RESULT = Path(__file__).parent / "results" / "tpu_compile.json"
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
_BYTES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "bf16": 2,
    "f16": 2,
    "f32": 4,
    "s32": 4,
    "u32": 4,
}


def child(name: str) -> dict:
    """Compiles one program, and says what the compiler says of it."""
    import jax

    from jaxmeta.convolution import convolution

    case = next(case for case in programs.queue() if case.name == name)
    if case.impl != "auto":  # every convolution, those of `conv_batch_norm` included
        bind = convolution.bind
        convolution.bind = lambda x, w, stride, pads, _: bind(
            x, w, stride, pads, case.impl
        )
    jax.config.update("jax_enable_compilation_cache", False)
    step, arguments = programs.program(case, programs.chips(case))
    begin, used = time.perf_counter(), time.process_time()
    lowered = step.trace(*arguments).lower(lowering_platforms=("tpu",))
    traced = time.perf_counter()
    compiled = lowered.compile()
    ended, all_used = time.perf_counter(), time.process_time()
    return {
        "trace_seconds": round(traced - begin, 1),
        "compile_seconds": round(ended - traced, 1),
        "processor_seconds": round(all_used - used, 1),
        "compiler_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **facts(compiled),
    }


def facts(compiled) -> dict:
    """Memory, work and traffic of a compiled program, on each chip."""
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    text = compiled.as_text()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return {
        "gigaflops": round(cost["flops"] / 1e9, 2),
        "gigabytes_accessed": round(cost["bytes accessed"] / 1e9, 3),
        "temporary_mb": round(memory.temp_size_in_bytes / 1e6, 1),
        "memory_mb": round(
            (held - memory.alias_size_in_bytes + memory.temp_size_in_bytes) / 1e6, 1
        ),
        "loops": len(re.findall(r" while\(", text)),
        **collectives(text),
    }


def collectives(text: str) -> dict:
    """How many of each kind a program has, and the bytes that are reduced.

    >>> found = collectives("a = f32[10]{0:T(256)} all-reduce(b), to_apply=add")
    >>> found["all-reduce"], found["all-gather"], found["reduced_bytes"]
    (1, 0, 40)
    """
    count = {
        kind: len(re.findall(rf" {kind}(?:-start)?\(", text)) for kind in COLLECTIVES
    }
    reduced = 0
    for shapes in re.findall(r"= (.*?) all-reduce(?:-start)?\(", text):
        for dtype, sizes in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            if dtype in _BYTES:
                size = 1
                for n in filter(None, sizes.split(",")):
                    size *= int(n)
                reduced += size * _BYTES[dtype]
    return {**count, "reduced_bytes": reduced}


def measure(name: str, limit: float) -> dict:
    """The row of a program, or why there is none."""
    settings = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}
    command = [sys.executable, "-m", "benchmarks.tpu_compile", "--child", name]
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=limit,
            env={**os.environ, **settings},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": f"not compiled within {limit:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"failed": last[:300], "seconds": round(time.perf_counter() - begin)}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", help="parts of names, all to be met")
    parser.add_argument("--minutes", type=float, default=50, help="no new one after")
    parser.add_argument("--limit", type=float, default=300, help="seconds a program")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--again", action="store_true", help="also those that are kept")
    parser.add_argument("--table", action="store_true", help="print the kept results")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child)))
        return
    rows = json.loads(args.out.read_text())["rows"] if args.out.exists() else {}
    if args.table:
        print(table(rows))
        return
    begin = time.perf_counter()
    for case in programs.queue():
        chosen = all(word in case.name.split() for word in args.words)
        if not chosen or (case.name in rows and not args.again):
            continue
        if time.perf_counter() - begin > 60 * args.minutes:
            break
        rows[case.name] = case._asdict() | measure(case.name, args.limit)
        print(case.name, rows[case.name], flush=True)
        args.out.write_text(
            json.dumps({"about": about(), "rows": rows}, indent=1) + "\n"
        )


def about() -> dict:
    from importlib.metadata import version

    names = ("jax", "jaxlib", "libtpu", "flax")
    return {"chip": "TPU v5e", "tasks_a_chip": programs.TASKS} | {
        name: version(name) for name in names
    }


def table(rows: dict) -> str:
    """The rows as Markdown."""
    head = "learner, network, pixels", "K", "type", "chips", "algorithm"
    told = {
        "compile, s": "compile_seconds", "GFLOP": "gigaflops", "GB": "gigabytes_accessed",
        "temporary MB": "temporary_mb", "loops": "loops", "all-reduce": "all-reduce",
        "all-gather": "all-gather", "KB reduced": "reduced_bytes",
    }  # fmt: skip
    lines = [
        f"| {' | '.join((*head, *told))} |",
        "|---" * (len(head) + len(told)) + "|",
    ]
    for row in rows.values():
        cells = [
            f"{row['learner']}, {row['network']}, {row['side']}",
            row["steps"] or "",
        ]
        cells += [row["dtype"], row["chips"], row["impl"]]
        if "failed" in row:
            cells += [row["failed"], *[""] * (len(told) - 1)]
        else:
            values = {**row, "reduced_bytes": round(row["reduced_bytes"] / 1e3)}
            cells += [values[key] for key in told.values()]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
