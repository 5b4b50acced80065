"""Meta-gradients of jaxmeta beside those of PyTorch libraries, on the same arrays.

    pip install torch
    pip install --no-deps higher==0.2.1 torchopt==0.7.3
    pip install optree graphviz typing-extensions
    python -m benchmarks.cross_implementation       # writes results/cross_implementation.json

A convolutional network with batch norm (statistics of the batch), ReLU, max-pooling and
a linear head, in float64; two tasks, 3-way, cross-entropy. The PyTorch side shares no
code with the JAX side: parameters and images are exported once, as NumPy arrays, and
batch norm is written by hand (that of torch.func is wrong under grad(vmap)). Libraries
that are not installed are left out. None of them is a dependency of the package.
"""

import hashlib
import importlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F

import jaxmeta as jm

RATE, WAYS, TASKS = 0.1, 3, 2
RESULT = Path(__file__).parent / "results" / "cross_implementation.json"
METHODS = {
    "maml-1": dict(steps=1),
    "maml-5": dict(steps=5),
    "fomaml-5": dict(steps=5, order="first"),
    "meta-sgd-3": dict(steps=3, rates=True),
}


def export():
    """Parameters, rates and two tasks as NumPy arrays: all that both sides know."""
    model = jm.models.conv4(WAYS, filters=4, blocks=2)
    draw = np.random.default_rng(0)
    tasks = {
        f"{part}_{name}": value
        for part, n in (("support", 2), ("query", 3))
        for name, value in (
            ("images", draw.normal(size=(TASKS, n * WAYS, 12, 12, 2))),
            ("labels", np.tile(np.arange(WAYS), (TASKS, n))),
        )
    }
    meta = model.init(jax.random.key(0), tasks["support_images"][0])
    leaves, treedef = jax.tree.flatten(meta.params)
    # scales and offsets start at 1 and 0, which would hide mistakes
    leaves = [np.asarray(x) + 0.1 * draw.normal(size=x.shape) for x in leaves]
    rates = [RATE * draw.uniform(0.5, 1.5, size=x.shape) for x in leaves]
    names = jax.tree.leaves(jm.tree.paths(meta.params))
    return model, treedef, names, leaves, rates, tasks


def by_jaxmeta(exported, *, steps, order="second", rates=False):
    model, treedef, names, leaves, alphas, tasks = exported
    inner = jm.rules.meta_sgd(RATE) if rates else optax.sgd(RATE)
    exact = order == "second"
    gradient = jm.gradients.unrolled() if exact else jm.gradients.first_order
    learner = jm.maml(model, inner, steps=steps, gradient=gradient)
    params = treedef.unflatten(map(jnp.asarray, leaves))
    if rates:
        alphas = treedef.unflatten(map(jnp.asarray, alphas))
        params = {"model": params, "rule": alphas}

    def batch(part):
        labels = jax.nn.one_hot(tasks[f"{part}_labels"], WAYS, dtype=jnp.float64)
        return jm.Batch(jnp.asarray(tasks[f"{part}_images"]), labels)

    episodes = jm.Episode(batch("support"), batch("query"))
    gradient = jax.jit(lambda p: jm.meta_gradient(learner, jm.Meta(p), episodes,
                                                  jax.random.key(0)))  # fmt: skip
    grads, metrics = gradient(params)
    found = dict(zip(names, jax.tree.leaves(grads["model"] if rates else grads),
                     strict=True))  # fmt: skip
    if rates:
        found |= {
            f"rate/{name}": x
            for name, x in zip(names, jax.tree.leaves(grads["rule"]), strict=True)
        }
    return float(metrics["loss"]), {name: np.asarray(x) for name, x in found.items()}


# the PyTorch side


def to_torch(name, x):
    """HWIO kernels become OIHW, NHWC images NCHW; the head's matrix is transposed."""
    x = torch.tensor(np.asarray(x))
    if x.ndim == 4:
        x = x.permute(3, 2, 0, 1)
    return (x.T if name == "head/kernel" else x).contiguous()


def from_torch(name, x):
    x = x.detach()
    if x.ndim == 4:
        x = x.permute(2, 3, 1, 0)
    return (x.T if name.endswith("head/kernel") else x).numpy()


def network(p, x):
    """x [n, c, h, w]; parameters by name."""
    for i in (1, 2):
        x = F.conv2d(x, p[f"block{i}/conv/kernel"], padding=1)
        mean = x.mean((0, 2, 3), keepdim=True)
        var = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
        scale, bias = p[f"block{i}/norm/scale"], p[f"block{i}/norm/bias"]
        x = (x - mean) / torch.sqrt(var + 1e-5) * scale[:, None, None]
        x = F.max_pool2d(F.relu(x + bias[:, None, None]), 2)
    x = x.permute(0, 2, 3, 1).flatten(1)  # the JAX side flattens NHWC
    return x @ p["head/kernel"].T + p["head/bias"]


def task_loss(p, images, labels):
    return F.cross_entropy(network(p, images), labels)


def torch_tasks(tasks):
    """(support images, support labels, query images, query labels), a task at a time."""
    return [
        torch.tensor(tasks[f"{part}_{name}"])
        if name == "labels"
        else torch.tensor(tasks[f"{part}_{name}"]).permute(0, 1, 4, 2, 3)
        for part in ("support", "query")
        for name in ("images", "labels")
    ]


def by_torch_func(exported, *, steps, order="second", rates=False):
    _, _, names, leaves, alphas, tasks = exported
    params = {n: to_torch(n, x) for n, x in zip(names, leaves, strict=True)}
    alpha = {n: to_torch(n, x) if rates else torch.tensor(RATE, dtype=torch.float64)
             for n, x in zip(names, alphas, strict=True)}  # fmt: skip

    def outer(both, support_x, support_y, query_x, query_y):
        params, alpha = both
        phi = params
        for _ in range(steps):
            g = torch.func.grad(task_loss)(phi, support_x, support_y)
            if order == "first":
                g = {n: x.detach() for n, x in g.items()}
            phi = {n: phi[n] - alpha[n] * g[n] for n in phi}
        return task_loss(phi, query_x, query_y)

    one = torch.func.grad_and_value(outer)
    many = torch.func.vmap(one, in_dims=(None, 0, 0, 0, 0))
    (grads, slopes), losses = many((params, alpha), *torch_tasks(tasks))
    found = {n: from_torch(n, x.mean(0)) for n, x in grads.items()}
    if rates:
        found |= {f"rate/{n}": from_torch(n, x.mean(0)) for n, x in slopes.items()}
    return losses.mean().item(), found


class Net(torch.nn.Module):
    def __init__(self, names, leaves):
        super().__init__()
        self.names = names
        for name, x in zip(names, leaves, strict=True):
            parameter = torch.nn.Parameter(to_torch(name, x))
            self.register_parameter(name.replace("/", "_"), parameter)

    def forward(self, x):
        return network({n: getattr(self, n.replace("/", "_")) for n in self.names}, x)


def over_tasks(exported, one):
    """Means over the tasks of `one(net, four tensors) -> (loss, gradients by name)`."""
    _, _, names, leaves, _, tasks = exported
    losses, total = [], {}
    for task in zip(*torch_tasks(tasks), strict=True):
        loss, grads = one(Net(names, leaves), *task)
        losses.append(loss.item())
        for name, g in grads.items():
            total[name] = total.get(name, 0) + from_torch(name, g) / TASKS
    return float(np.mean(losses)), total


def by_higher(exported, *, steps, order="second", rates=False):
    import higher

    _, _, names, _, alphas, _ = exported

    def one(net, support_x, support_y, query_x, query_y):
        groups = [{"params": [p]} for p in net.parameters()]
        order_of = [n.replace("_", "/") for n, _ in net.named_parameters()]
        given = dict(zip(names, alphas, strict=True))
        alpha = [to_torch(n, given[n]).requires_grad_() for n in order_of]
        options = {"track_higher_grads": order == "second"}
        if rates:
            options["override"] = {"lr": alpha}
        tx = torch.optim.SGD(groups, lr=RATE)
        with higher.innerloop_ctx(net, tx, **options) as (fast, inner):
            for _ in range(steps):
                inner.step(F.cross_entropy(fast(support_x), support_y))
            loss = F.cross_entropy(fast(query_x), query_y)
            # first order: the gradient at the last fast weights
            at = fast.parameters(time=0 if order == "second" else -1)
            wanted = [*at, *(alpha if rates else [])]
            grads = torch.autograd.grad(loss, wanted)
        labels = [*order_of, *(f"rate/{n}" for n in order_of)]
        return loss, dict(zip(labels, grads, strict=False))

    return over_tasks(exported, one)


def by_torchopt(exported, *, steps, order="second", rates=False):
    import torchopt

    if order == "first" or rates:
        return None  # MetaSGD, its differentiable optimiser, has neither

    def one(net, support_x, support_y, query_x, query_y):
        start = list(net.parameters())
        names = [n.replace("_", "/") for n, _ in net.named_parameters()]
        inner = torchopt.MetaSGD(net, lr=RATE)
        for _ in range(steps):
            inner.step(F.cross_entropy(net(support_x), support_y))
        loss = F.cross_entropy(net(query_x), query_y)
        grads = torch.autograd.grad(loss, start)
        return loss, dict(zip(names, grads, strict=True))

    return over_tasks(exported, one)


OTHERS = {"torch": by_torch_func, "higher": by_higher, "torchopt": by_torchopt}


def main():
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True):
        exported = export()
        rows = []
        for method, options in METHODS.items():
            loss, ours = by_jaxmeta(exported, **options)
            for library, solve in OTHERS.items():
                try:
                    importlib.import_module(library)
                except ImportError:
                    print(f"{library}: not installed, left out")
                    continue
                found = solve(exported, **options)
                if found is None:
                    continue
                their_loss, theirs = found
                assert ours.keys() == theirs.keys(), (ours.keys(), theirs.keys())
                scale = max(np.abs(x).max() for x in theirs.values())
                error = max(np.abs(ours[n] - theirs[n]).max() for n in ours) / scale
                rows.append(
                    {
                        "method": method,
                        "library": "torch.func" if library == "torch" else library,
                        "loss": loss,
                        "loss_error": abs(loss - their_loss),
                        "gradient_max": float(scale),
                        "gradient_relative_error": float(error),
                    }
                )
                print(f"{method:12} {library:9} {error:.1e}")
    arrays = [*exported[3], *exported[4], *exported[5].values()]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in arrays))
    packages = ["jax", "jaxlib", "flax", "optax", "torch"]
    packages += [
        x for x in ("higher", "torchopt") if any(r["library"] == x for r in rows)
    ]
    RESULT.write_text(
        json.dumps(
            {
                "what": "meta-gradients, mean over 2 tasks of 3-way 2-shot, float64; "
                "conv 3x3x4, batch norm, ReLU, max-pool, twice, and a linear head",
                "error": "max |jaxmeta - other| / max |other| over all entries",
                "versions": {x: version(x) for x in packages},
                "python": platform.python_version(),
                "arrays_sha256": digest.hexdigest(),
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )
    worst = max(row["gradient_relative_error"] for row in rows)
    assert worst <= 1e-10, worst


if __name__ == "__main__":
    main()
