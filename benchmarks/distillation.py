"""Ten images, one a class, that a network learns MNIST from.

    JAXMETA_DATA=DIR python -m benchmarks.distillation fixed [--seeds 3] [--memory store]
    JAXMETA_DATA=DIR python -m benchmarks.distillation random [--picture FILE.png]
    JAXMETA_DATA=DIR python -m benchmarks.distillation kernel
    python -m benchmarks.distillation table

fixed, random: Wang et al. 2018, Dataset Distillation (arXiv:1811.10959), algorithm 1: the
loss on real digits after K steps of gradient descent on ten images X, each step with a
rate of its own that is learned, too, differentiated through the steps by `jm.argmin`:

    min_{X, rates}  E_{phi_0}  L(phi_K; real),   phi_{k+1} = phi_k - rates_k grad L(phi_k; X)

"fixed": phi_0 is the same in training and at test, and the images work for it alone;
"random": it is drawn anew each outer step, and the images are judged from 20 others. The
network is an MLP, the paper's a LeNet. Control: ten real digits, one a class, the same
steps or many at one rate.

kernel: Nguyen et al. 2021, Dataset Meta-Learning from Kernel Ridge-Regression
(arXiv:2011.00050), eq. 7 with fixed labels: the network is infinitely wide, and training
it is ridge regression with its neural tangent kernel, in closed form; here that of one
hidden layer of relu units. Control: the same regression from ten real digits.

Learning rates are chosen by 5,000 of the training digits, which train nothing else, with
seed 99, those of the controls with each seed's own; test digits are looked at once.
"""

import argparse
import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.scipy.linalg import solve_triangular

import jaxmeta as jm
from benchmarks import digits
from jaxmeta.functional import ridge
from jaxmeta.gradients import unrolled

RESULT = Path(__file__).parent / "results" / "distillation.json"
STEPS, MANY, STARTS, TESTED, TUNING = 10, 300, 2, 20, 99  # STARTS: phi_0 an outer step
OUTER = {"fixed": 2000, "random": 2000, "kernel": 5000}
REAL = {"fixed": 512, "random": 256, "kernel": 1000}  # digits an outer step
RATES = (3e-3, 1e-2, 3e-2)  # of Adam, which moves the images
FIRST_RATE, CONTROL = 0.05, (0.01, 0.03, 0.1, 0.3)  # of the inner steps
LABELS = jnp.arange(10)
NET = jm.models.mlp(10, hidden=(100,))


def initial(key):
    return NET.init(key, jnp.zeros((1, 784))).params


def outputs(params, x):
    return NET.apply(jm.Meta(params), x)[0]


def loss(params, x, y):
    found = optax.softmax_cross_entropy_with_integer_labels(outputs(params, x), y)
    return jnp.mean(found)


def learn(start, images, rates, memory="store"):
    """phi_K, from ten images, one a class; `rates` has one for each step."""

    def solver(hypers):  # rates are hypers, too
        return optax.sgd(lambda step: hypers[1][step])

    return jm.argmin(
        lambda params, hypers: loss(params, hypers[0], LABELS), start, (images, rates),
        solver, steps=len(rates), gradient=unrolled(memory=memory),
    ).params  # fmt: skip


def standard(x):
    """Pixels to about mean 0 and variance 1, by MNIST's well-known constants."""
    return (jnp.asarray(x) - 0.1307) / 0.3081


def begin(key):
    """Images of noise, and rates before softplus."""
    noise = jax.random.normal(key, (10, 784))
    return {"images": noise, "rates": jnp.full(STEPS, jnp.log(jnp.expm1(FIRST_RATE)))}


def after(hypers, start, memory="store"):
    return learn(start, hypers["images"], jax.nn.softplus(hypers["rates"]), memory)


@functools.partial(jax.jit, static_argnames=("kind", "memory", "steps"))
def distil(real, rate, key, *, kind, memory="store", steps):
    """The images and rates after `steps` of Adam, and the losses."""
    own, key, start = jax.random.split(key, 3)
    hypers = (
        {"images": jax.random.normal(own, (10, 784))}
        if kind == "kernel"
        else begin(own)
    )
    solver = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def objective(hypers, key, x, y):
        if kind == "kernel":
            wanted = jax.nn.one_hot(y, 10) - 0.1  # mean 0
            return jnp.mean(jnp.square(wanted - kernel_ridge(hypers["images"], x))) * 5
        if kind == "fixed":
            return loss(after(hypers, initial(start), memory), x, y)
        one = lambda key: loss(after(hypers, initial(key), memory), x, y)  # noqa: E731
        return jnp.mean(jax.vmap(one)(jax.random.split(key, STARTS)))

    def step(carry, key):
        hypers, moments = carry
        draw, key = jax.random.split(key)
        chosen = jax.random.randint(draw, (REAL[kind],), 0, len(real[1]))
        value, slope = jax.value_and_grad(objective)(
            hypers, key, real[0][chosen], real[1][chosen]
        )
        updates, moments = solver.update(slope, moments)
        return (optax.apply_updates(hypers, updates), moments), value

    carry = hypers, solver.init(hypers)
    (hypers, _), values = lax.scan(step, carry, jax.random.split(key, steps))
    return hypers, values, initial(start)


def tangent(a, b, *, weight=2.0, bias=0.01):
    """The neural tangent kernel of one hidden layer of infinitely many relu units.

    With weights of variance `weight` / inputs and biases of variance `bias`, and
    s(a, b) = weight a.b / d + bias, cos t = s(a, b) / sqrt(s(a, a) s(b, b)):

        nngp = weight sqrt(s(a, a) s(b, b)) (sin t + (pi - t) cos t) / (2 pi) + bias
        ntk  = nngp + s(a, b) weight (pi - t) / (2 pi)

    (Jacot et al. 2018, arXiv:1806.07572; the integrals are those of Cho and Saul 2009).
    """
    norm = lambda z: weight * jnp.mean(z**2, -1) + bias  # noqa: E731
    s = weight * a @ b.T / a.shape[-1] + bias
    scale = jnp.sqrt(norm(a)[:, None] * norm(b))
    cos = s / scale
    # the angle between a point and itself is 0 whatever the point; its slope is not a number
    same = jnp.abs(cos) > 1 - 1e-6
    inside = jnp.where(same, 0, cos)
    t = jnp.where(same, jnp.where(cos > 0, 0, jnp.pi), jnp.arccos(inside))
    sin = jnp.where(same, 0, jnp.sqrt(1 - inside**2))
    nngp = weight * scale * (sin + (jnp.pi - t) * cos) / (2 * jnp.pi) + bias
    return nngp + s * weight * (jnp.pi - t) / (2 * jnp.pi)


def kernel_ridge(images, x, lam=1e-6):
    """K_ts (K_ss + lam tr(K_ss) / n I)^-1 y_s, `[n, 10]` for the rows of x.

    The rows of a Cholesky factor, K_ss = F F^T, are features whose inner products are the
    kernel; those of x follow by a triangular solve, and ridge regression is the library's.
    """
    among = tangent(images, images)
    lam = lam * jnp.trace(among) / len(among)
    factor = jnp.linalg.cholesky(among)
    features = solve_triangular(factor, tangent(images, x), lower=True).T
    return features @ ridge(factor, jnp.eye(10) - 0.1, lam)


@functools.partial(jax.jit, static_argnames="steps")
def control(images, rate, starts, x, y, *, steps):
    """Accuracy from real digits, for each start."""

    def one(start):
        return percent(outputs(learn(start, images, jnp.full(steps, rate)), x), y)

    return lax.map(one, starts)


@jax.jit
def judge(hypers, starts, x, y):
    return lax.map(lambda start: percent(outputs(after(hypers, start), x), y), starts)


def percent(found, y):
    return 100 * jnp.mean(jnp.argmax(found, -1) == y)


def split(seed: int):
    """Training digits, 5,000 for choices, and ten of the first, one a class."""
    x, y = digits.read("train")
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(y))
    train, held = order[:-5000], order[-5000:]
    ten = np.array([draw.choice(train[y[train] == label]) for label in range(10)])
    part = lambda chosen: (standard(x[chosen]), jnp.asarray(y[chosen], jnp.int32))  # noqa: E731
    return part(train), part(held), part(ten)[0]


def starts_of(kind, start, seed):
    """Where a network begins that is judged; the random ones were in no training."""
    if kind == "fixed":
        return jax.tree.map(lambda x: x[None], start)
    return jax.vmap(initial)(jax.random.split(jax.random.key(10_000 + seed), TESTED))


def choose(kind: str, memory: str):
    """Adam's rate, by validation digits, and what each reached."""
    train, held, _ = split(TUNING)
    tried = {}
    for rate in RATES:
        hypers, _, start = distil(
            train,
            rate,
            jax.random.key(TUNING),
            kind=kind,
            memory=memory,
            steps=OUTER[kind] // 2,
        )
        if kind == "kernel":
            found = percent(kernel_ridge(hypers["images"], held[0]), held[1])
        else:
            found = jnp.mean(judge(hypers, starts_of(kind, start, TUNING), *held))
        tried[rate] = float(found)
        print(
            f"  rate {rate}: {tried[rate]:.2f} % of the validation digits", flush=True
        )
    return max(tried, key=tried.get), tried


def measure(kind: str, memory: str, rate: float, seed: int, test):
    train, held, ten = split(seed)
    began = time.perf_counter()
    hypers, values, start = distil(
        train, rate, jax.random.key(seed), kind=kind, memory=memory, steps=OUTER[kind]
    )
    found = {"seed": seed, "loss": float(values[-100:].mean())}
    found["seconds"] = time.perf_counter() - began
    if kind == "kernel":
        found["distilled"] = float(
            percent(kernel_ridge(hypers["images"], test[0]), test[1])
        )
        found["real"] = float(percent(kernel_ridge(ten, test[0]), test[1]))
        return found, hypers["images"]
    starts = starts_of(kind, start, seed)
    scores = judge(hypers, starts, *test)
    found["distilled"], found["lowest"] = float(scores.mean()), float(scores.min())
    found["inner_rates"] = (
        np.asarray(jax.nn.softplus(hypers["rates"])).round(4).tolist()
    )
    for name, steps in (("real", STEPS), ("real, many steps", MANY)):
        reached = {
            r: float(control(ten, r, starts, *held, steps=steps).mean())
            for r in CONTROL
        }
        best = max(reached, key=reached.get)
        found[name] = float(control(ten, best, starts, *test, steps=steps).mean())
        found[f"rate of {name}"] = best
    return found, hypers["images"]


def draw(images, file: str) -> None:
    """The ten images of the last seed in a row."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 10, figsize=(10, 1.2))
    for label, (axis, image) in enumerate(zip(axes, np.asarray(images), strict=True)):
        axis.imshow(image.reshape(28, 28), cmap="gray")
        axis.set_title(label)
        axis.axis("off")
    figure.savefig(file, bbox_inches="tight", dpi=150)


def table(found: dict) -> str:
    lines = [
        "| ten images | distilled | real digits | real digits, many steps |",
        "|---|---|---|---|",
    ]
    said = {
        "fixed": "one initialisation",
        "random": "any initialisation",
        "kernel": "kernel ridge",
    }
    for kind, name in said.items():
        if kind not in found:
            lines.append(f"| {name} | not measured | | |")
            continue
        runs = found[kind]["runs"]
        cells = [f"{digits.interval([r[n] for r in runs])} %" if n in runs[0] else ""
                 for n in ("distilled", "real", "real, many steps")]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=(*OUTER, "table"))
    parser.add_argument("--seeds", type=int, default=3, choices=digits.T95)
    parser.add_argument(
        "--memory", default="store", choices=("store", "remat", "sqrt", "mixed")
    )
    parser.add_argument("--picture", metavar="FILE")
    options = parser.parse_args()
    if options.part != "table":
        x, y = digits.read("t10k")
        test = standard(x), jnp.asarray(y, jnp.int32)
        rate, tried = choose(options.part, options.memory)
        runs = []
        for seed in range(options.seeds):
            found, images = measure(options.part, options.memory, rate, seed, test)
            runs.append(found)
            print(found, flush=True)
        kept = {"rate": rate, "tried": tried, "memory": options.memory, "runs": runs}
        digits.keep(RESULT, options.part, kept)
        if options.picture:
            draw(images, options.picture)
    print(table(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
