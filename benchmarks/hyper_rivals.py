"""One hypergradient of hyper-cleaning by three libraries: the same numbers, and the time.

    pip install torch optimistix torchopt==0.7.3
    JAXMETA_DATA=DIR python -m benchmarks.hyper_rivals    # writes results/hyper_rivals.json

The problem of `hyper_cleaning.py`, with `--rows` of its 5,000 training digits, at weights
of the examples drawn at random, in float64 and on one core. Every side starts from the
same minimum, takes the same ten steps of SGD with Nesterov's momentum, and solves the same
linear system by conjugate gradient to TOLERANCE. Each has a process of its own and they
are timed in turn. optimistix: `minimise` with `ImplicitAdjoint`; TorchOpt:
`implicit.custom_root`. Neither is a dependency of the package.
"""

import argparse
import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from benchmarks import common
from benchmarks import hyper_cleaning as problem

RESULT = Path(__file__).parent / "results" / "hyper_rivals.json"
STEPS, TOLERANCE, RATE, MOMENTUM = 10, 1e-9, 0.2, 0.9


def by_jaxmeta(x, y, valid_x, valid_y, hypers, start):
    gradient = jm.gradients.implicit(
        solver=jm.gradients.cg(steps=5000, tolerance=TOLERANCE)
    )

    def outer(h):
        found = jm.argmin(
            lambda w, h: problem.weighted(w, jax.nn.sigmoid(h), x, y), start, h, problem.SOLVER,
            steps=STEPS, gradient=gradient,
        )  # fmt: skip
        return jnp.mean(problem.errors(found.params, valid_x, valid_y))

    slope = jax.jit(jax.grad(outer))
    return lambda: np.asarray(slope(hypers))


def by_optimistix(x, y, valid_x, valid_y, hypers, start):
    import lineax as lx
    import optimistix as optx

    def outer_loss(w):
        return jnp.mean(problem.errors(w, valid_x, valid_y))

    # its tolerance is of each entry; with this one it is the others' own, |r| < tol |b|
    right = optax.tree.norm(jax.grad(outer_loss)(start))
    linear = lx.CG(rtol=0.0, atol=TOLERANCE * float(right), norm=optx.two_norm)
    tags = frozenset([lx.positive_semidefinite_tag])

    def outer(h):
        found = optx.minimise(
            lambda w, h: problem.weighted(w, jax.nn.sigmoid(h), x, y),
            optx.OptaxMinimiser(problem.SOLVER, rtol=0.0, atol=0.0),
            start, h, max_steps=STEPS, throw=False, tags=tags,
            adjoint=optx.ImplicitAdjoint(linear),
        )  # fmt: skip
        return outer_loss(found.value)

    slope = jax.jit(jax.grad(outer))
    return lambda: np.asarray(slope(hypers))


def by_torchopt(x, y, valid_x, valid_y, hypers, start):
    import torch
    import torch.nn.functional as F
    import torchopt

    x, y, valid_x, valid_y, hypers, kernel, bias = (
        torch.tensor(np.asarray(a))
        for a in (x, y, valid_x, valid_y, hypers, start["kernel"], start["bias"])
    )

    def loss(w, h):
        rows = F.cross_entropy(x @ w[0] + w[1], y, reduction="none")
        weights = torch.sigmoid(h)
        penalty = problem.LAM / 2 * (w[0] ** 2).sum()
        return (weights * rows).sum() / weights.sum() + penalty

    slope = torch.func.grad(loss)
    linear = torchopt.linear_solve.solve_cg(rtol=TOLERANCE, maxiter=5000)

    @torchopt.diff.implicit.custom_root(slope, argnums=1, solve=linear)
    def solve(w, h):
        velocity = [torch.zeros_like(a) for a in w]
        for _ in range(STEPS):
            g = slope(w, h)
            velocity = [MOMENTUM * v + g for v, g in zip(velocity, g, strict=True)]
            w = tuple(
                a - RATE * (g + MOMENTUM * v)
                for a, g, v in zip(w, g, velocity, strict=True)
            )
        return w

    def run():
        h = hypers.clone().requires_grad_()
        w = solve((kernel, bias), h)
        return torch.autograd.grad(F.cross_entropy(valid_x @ w[0] + w[1], valid_y), h)[
            0
        ].numpy()

    return run


RIVALS = {"jaxmeta": by_jaxmeta, "optimistix": by_optimistix, "torchopt": by_torchopt}


def given(rows: int) -> dict[str, np.ndarray]:
    """The arrays of all sides; "kernel" and "bias" are near the minimum."""
    (x, y), _, (valid_x, valid_y), _ = problem.split(0)
    x, y = jnp.asarray(x[:rows], jnp.float64), jnp.asarray(y[:rows])
    hypers = jnp.asarray(np.random.default_rng(0).normal(size=rows))

    def loss(w):
        return problem.weighted(w, jax.nn.sigmoid(hypers), x, y)

    found = jm.argmin(
        lambda w, h: loss(w),
        jax.tree.map(lambda a: a.astype(x.dtype), problem.zeros()),
        (),
        optax.sgd(RATE, momentum=0.99, nesterov=True),
        steps=3000,
        gradient=jm.gradients.first_order,
    )
    valid_x = np.asarray(valid_x, np.float64)
    names = ("x", "y", "valid_x", "valid_y", "hypers")
    arrays = dict(zip(names, (x, y, valid_x, valid_y, hypers), strict=True))
    slope = float(optax.tree.norm(jax.grad(loss)(found.params)))
    return {**arrays, **found.params, "slope": np.asarray(slope)}


def serve(name: str, folder: str) -> None:
    """A worker: its gradient to a file, then a round for every line it reads."""
    with np.load(f"{folder}/given.npz") as file:
        arrays = dict(file)
    start = {k: jnp.asarray(arrays[k]) for k in ("kernel", "bias")}
    rest = [arrays[k] for k in ("x", "y", "valid_x", "valid_y", "hypers")]
    run = RIVALS[name](*map(jnp.asarray, rest), start)
    np.save(f"{folder}/{name}.npy", run())
    common.serve(run, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "FOLDER"))
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if options.serve:
        return serve(*options.serve)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    machine = common.machine()
    with tempfile.TemporaryDirectory() as folder:
        arrays = given(options.rows)
        np.savez(f"{folder}/given.npz", **arrays)
        command = [sys.executable, "-m", "benchmarks.hyper_rivals", "--serve"]
        workers = {n: common.Worker([*command, n, folder], {}) for n in RIVALS}
        grads = {n: np.load(f"{folder}/{n}.npy") for n in RIVALS}
        times = common.alternate(workers, repeats=options.repeats, seconds=600)
        for worker in workers.values():
            worker.close()
    ours, found = grads["jaxmeta"], {}
    for name, g in grads.items():
        error = np.linalg.norm(ours - g) / np.linalg.norm(g)
        found[name] = {
            "version": version(name),
            "relative_error": float(error),
            "seconds": common.median(times[name]),
            "rounds": times[name],
        }
        print(f"{name:10}  {error:.1e}  {found[name]['seconds']:.2f} s", flush=True)
    result = {
        "what": f"hypergradient of {options.rows} weights, float64, one core",
        "slope_at_the_start": float(arrays["slope"]),
        "gradient_norm": float(np.linalg.norm(ours)),
        "machine": machine | {"torch": version("torch"), "cores": common.cores()},
        "rivals": found,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    assert max(x["relative_error"] for x in found.values()) < 1e-6


if __name__ == "__main__":
    main()
