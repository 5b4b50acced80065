"""What the page on pods tells to run is run: four processes on this machine."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROCESSES = 4
PAGE = Path(__file__).parents[2] / "notebooks" / "site" / "pod.md"


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["slurm", "kubernetes"])
def test_four_processes_say_the_same_loss(cluster, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (program,) = [b for b in blocks if "jax.distributed.initialize()\n" in b]
    (told,) = [b for b in blocks if "JOB_COMPLETION_INDEX" in b]
    port = free_port()
    if cluster == "kubernetes":
        assert '"my-job-0.my-service:1234"' in told and "num_processes=4" in told
        told = told.replace("my-job-0.my-service:1234", f"127.0.0.1:{port}")
        program = "import os\n" + program.replace(
            "jax.distributed.initialize()\n", told
        )
    file = tmp_path / "my_training.py"
    file.write_text(program, encoding="utf-8")
    started = [
        subprocess.Popen(
            [sys.executable, file],
            env=variables(cluster, rank, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    try:
        outs = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    said = [re.search(r"process (\d) of 4: (\S+)", out) for out in outs]
    assert all(said), "\n".join(outs)
    assert [int(found[1]) for found in said] == list(range(PROCESSES))
    losses = {found[2] for found in said}
    assert len(losses) == 1 and 0 < float(losses.pop()) < 100


FIRST_PORT = 61440
"""JAX makes a job's port of its number: this, and the number's last twelve bits."""


def free_port() -> int:
    for port in range(FIRST_PORT + os.getpid() % 2048, FIRST_PORT + 4096):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)):
                return port
    raise OSError("no free port")


def variables(cluster: str, rank: int, port: int) -> dict[str, str]:
    """What a cluster's launcher would set for one process."""
    if cluster == "kubernetes":
        own = {"JOB_COMPLETION_INDEX": str(rank)}
    else:
        own = {
            "SLURM_JOB_ID": str(port - FIRST_PORT),
            "SLURM_STEP_NODELIST": "127.0.0.1",
            "SLURM_NTASKS": str(PROCESSES),
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": "0",
        }
    root = str(Path(__file__).parents[2])
    backend = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    return {**os.environ, **backend, **own, "PYTHONPATH": root}
