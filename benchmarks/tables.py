"""Writes the tables of speed and of uncertainty of benchmarks/README.md from the kept results.

python -m benchmarks.tables
"""

import json
from pathlib import Path

from benchmarks import accelerator as gpu
from benchmarks import (
    compile_time,
    generative,
    paired,
    precision,
    probabilistic,
    throughput,
)

HERE = Path(__file__).parent
README = HERE / "README.md"


def read(name: str) -> dict | None:
    file = HERE / "results" / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def host(machine: dict) -> str:
    names = ("jax", "jaxlib", "torch", "flax", "numpy")
    versions = ", ".join(f"{n} {machine[n]}" for n in names if n in machine)
    cores = f"{machine['cores']} core{'s' * (machine['cores'] > 1)}"
    return f"{cores} of an {machine['processor']}, {versions}, {machine['date']}"


def speed() -> str:
    found = read("throughput")
    if found is None:
        return "Not measured."
    rows = found["rows"]
    rounds = [len(times) for row in rows.values() for times in row["seconds"].values()]
    lines = [
        f"{host(next(iter(rows.values()))['machine'])}. Tasks a second, "
        f"medians of {min(rounds)} to {max(rounds)} alternating rounds, float32; ratios "
        "are those of the same run. Rows that are missing are not measured.",
        "",
        throughput.table(rows),
    ]
    if "sampling" in rows and "maml-1" in rows:
        drawn = 32 / rows["sampling"]["tasks_per_second"]["jaxmeta"]
        step = 32 / rows["maml-1"]["tasks_per_second"]["jaxmeta"]
        share = drawn / (drawn + step)
        lines += ["", f"Drawing the episodes of an outer step takes {share:.2%} of it."]
    flat = {n: rows[n] for n in rows if n.startswith("flat-")}
    if flat:
        text = ", ".join(
            f"{row['case']['tasks']} tasks {row['tasks_per_second']['jaxmeta']:.1f}/s and "
            f"{row['memory']['jaxmeta']['temporary_mb']:.0f} MB"
            for row in flat.values()
        )
        lines += ["", f"Against the number of tasks: {text}."]
    if "maml-1" in rows:
        text = "; ".join(
            f"{side} {facts['peak_mb']} MB"
            + (
                f" ({facts['temporary_mb']} MB of it XLA's)"
                if "temporary_mb" in facts
                else ""
            )
            for side, facts in rows["maml-1"]["memory"].items()
        )
        lines += ["", f"Peak memory of the process above its imports, maml-1: {text}. "
                  "jaxmeta's is reached while it compiles."]  # fmt: skip
    return "\n".join(lines)


def accelerator() -> str:
    found = read("accelerator")
    if found is None:
        return "Not measured."
    machine, peaks = found["machine"], found["peaks"]
    names = ("jax", "jaxlib", "torch", "flax")
    versions = ", ".join(f"{n} {machine[n]}" for n in names)
    return "\n".join([
        f"One {machine['device']}, {versions}, {machine['date']}. Matrix products of 8192 "
        f"reach {peaks['fp32_tflops']} TFLOP/s in float32, {peaks['tf32_tflops']} in TF32, "
        f"{peaks['bf16_tflops']} in bfloat16; a copy {peaks['copy_tb_per_s']} TB/s. Tasks "
        "a second, medians of alternating rounds. Rows that are missing are not measured.",
        "",
        gpu.table(found),
    ])  # fmt: skip


def compiling() -> str:
    found = read("compile_time")
    if found is None:
        return "Not measured."
    lines = [
        f"{host(found['machine'])}. Seconds, MB above the imports; the last of a processor.",
        "",
        "| program | how | trace | compile | start to first gradient | memory | a step |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    told = ("trace", "compile", "start", "memory_mb", "step")
    for name in compile_time.CASES:
        for way, row in found[name].items():
            cells = (row[key] for key in told)
            lines.append(f"| {name} | {way} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def roofline() -> str:
    found = read("roofline")
    if found is None:
        return "Not measured."
    lines = [
        f"{host(found['machine'])}. A matrix product of 3072 reaches "
        f"{found['gemm_gflops']} GFLOP/s, a copy {found['copy_gb_per_s']} GB/s.", "",
        "| program | tasks/s | GFLOP/s, counted as direct convolutions | of the product |",
        "|---|---|---|---|",
    ]  # fmt: skip
    for name, row in found["rows"].items():
        lines.append(
            f"| {name} | {row['tasks_per_second']} | "
            f"{row['gflops_as_direct_convolution']} | {row['fraction_of_gemm_peak']:.0%} |"
        )
    return "\n".join(lines)


def accuracy() -> str:
    found = read("end_to_end")
    if found is None:
        return "Not measured: it needs the machine for itself for a quarter of an hour."
    sides = [
        f"{side}: {found[side]['seconds']:.0f} s, {found[side]['steps']} steps"
        for side in ("jaxmeta", "torch")
    ]
    return f"{host(found['machine'])}. {'; '.join(sides)}. Ratio {found['ratio']}."


def half() -> str:
    found = read("precision")
    if found is None:
        return "Not measured."
    run = found["runs"][0]
    episodes = f"{run['episodes']:,} test episodes with their 95 % intervals"
    return f"{host(found['machine'])}. Accuracy over {episodes}.\n\n{precision.table(found)}"


def controls() -> str:
    found = read("paired")
    if found is None:
        return "Not measured."
    return f"{host(found['machine'])}. {paired.table(found)}"


def main() -> None:
    text = README.read_text()
    sections = {
        "throughput": speed,
        "accelerator": accelerator,
        "compile_time": compiling,
        "roofline": roofline,
        "end_to_end": accuracy,
        "precision": half,
        "paired": controls,
        "sine_or_line": probabilistic.table,
        "generative": generative.table,
    }
    for name, make in sections.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}\n{make()}\n{end}{after}"
    README.write_text(text)


if __name__ == "__main__":
    main()
