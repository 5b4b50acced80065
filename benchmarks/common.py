"""What every timing here shares: the machine's name, alternating runs, medians."""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jax

from jaxmeta.functional.threads import cpu_threads


def machine() -> dict:
    """Hardware and versions."""
    return {
        "processor": processor(),
        "cores": cores(),
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "flax", "numpy")},
        **({"torch": version("torch")} if "torch" in sys.modules else {}),
        "date": datetime.date.today().isoformat(),
    }


def cores() -> int:
    """Cores this process may use."""
    return cpu_threads()


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Puts a table between two marks of a page."""
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


class Worker:
    """One rival in a process of its own, which runs a round when it is told to.

    Thread pools of two libraries in one process spin in each other's way.
    """

    def __init__(self, command: list[str], environment: dict[str, str]):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.facts = json.loads(self.read())  # it is ready: all is compiled

    def read(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args}: ended early")
        return line

    def round(self, order: str = "") -> float:
        print(order, file=self.process.stdin, flush=True)
        return float(self.read())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(function, facts: dict) -> None:
    """The worker's side: says it is ready, then times a round for every line it reads."""
    function()
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        function()
        print(time.perf_counter() - begin, flush=True)


def alternate(workers: dict, *, repeats: int, seconds: float) -> dict[str, list[float]]:
    """Times workers in turn, so that whatever else the machine does hits them alike.

    Args:
      workers: name -> `Worker`.
      repeats: rounds at most.
      seconds: no new round after so long.

    Returns:
      name -> seconds of each round.
    """
    times = {name: [] for name in workers}
    start = time.perf_counter()
    for _ in range(repeats):
        for name, worker in workers.items():
            times[name].append(worker.round())
        if time.perf_counter() - start > seconds:
            break
    return times


def median(times: list[float]) -> float:
    return statistics.median(times)
