"""Second-order MAML, first-order MAML and ProtoNet as PyTorch users write them.

Each rival takes the same arrays as the JAX side (`to_torch`) and returns its meta-gradient
by name. `loop` is a Python loop over tasks with `create_graph=True`, the fastest thing a
PyTorch user can pick on a CPU; `torch_func` is `vmap(grad(...))` with batch norm written
by hand (that of `torch.func` has a wrong second derivative); `higher` and `torchopt` are
the libraries, where they are installed. None is a dependency of the package.
"""

import functools
import importlib

import numpy as np
import torch
import torch.nn.functional as F

RATE = 0.4
OUTER = 0.01
BLOCKS = 4


def to_torch(name, x):
    """HWIO kernels become OIHW; the head's matrix is transposed."""
    x = torch.tensor(np.asarray(x))
    if x.ndim == 4:
        x = x.permute(3, 2, 0, 1)
    return (x.T if name == "head/kernel" else x).contiguous()


def to_numpy(name, x):
    x = x.detach()
    if x.ndim == 4:
        x = x.permute(2, 3, 1, 0)
    return (x.T if name == "head/kernel" else x).numpy()


def images(x):
    """[..., h, w, c] -> [..., c, h, w]."""
    return torch.tensor(np.asarray(x)).movedim(-1, -3).contiguous()


def conv4(p, x, by_hand=False):
    """Features of Conv4."""
    for i in range(1, BLOCKS + 1):
        scale, bias = p[f"block{i}/norm/scale"], p[f"block{i}/norm/bias"]
        x = F.conv2d(x, p[f"block{i}/conv/kernel"], padding=1)
        if by_hand:
            mean = x.mean((0, 2, 3), keepdim=True)
            var = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
            x = (x - mean) * torch.rsqrt(var + 1e-5) * scale[:, None, None]
            x = x + bias[:, None, None]
        else:
            x = F.batch_norm(x, None, None, scale, bias, training=True)
        x = F.max_pool2d(F.relu(x), 2)
    return x.permute(0, 2, 3, 1).flatten(1)  # the JAX side flattens NHWC


def strided(p, x):
    """Features of Conv4 with strides of 2, as the recipes of Omniglot have it."""
    for i in range(1, BLOCKS + 1):
        odd = x.shape[-1] % 2  # `SAME`: an even side has its zeros after
        x = F.pad(x, (odd, 1, odd, 1))
        x = F.conv2d(x, p[f"block{i}/conv/kernel"], stride=2)
        scale, bias = p[f"block{i}/norm/scale"], p[f"block{i}/norm/bias"]
        x = F.relu(F.batch_norm(x, None, None, scale, bias, training=True))
    return x.mean((2, 3))


def resnet12(p, x):
    """Features of ResNet-12, nothing dropped."""

    def normed(block, conv, norm, x):
        w = p[f"{block}/{conv}/kernel"]
        x = F.conv2d(x, w, padding=w.shape[-1] // 2)
        scale, bias = p[f"{block}/{norm}/scale"], p[f"{block}/{norm}/bias"]
        return F.batch_norm(x, None, None, scale, bias, training=True)

    for i in range(1, BLOCKS + 1):
        block, y = f"block{i}", x
        for j in (1, 2, 3):
            y = normed(block, f"conv{j}", f"norm{j}", y)
            y = y if j == 3 else F.leaky_relu(y, 0.1)
        y = y + normed(block, "shortcut", "shortcut_norm", x)
        x = F.max_pool2d(F.leaky_relu(y, 0.1), 2)
    return x.mean((2, 3))


FEATURES = {"conv4": conv4, "strided": strided, "resnet12": resnet12}


def task_loss(p, x, y, features=conv4):
    outputs = F.linear(features(p, x), p["head/kernel"], p["head/bias"])
    return F.cross_entropy(outputs, y)


def loop(params, tasks, *, steps, first=False, features=conv4):
    """The Python loop over tasks."""
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    count = len(tasks[0])
    for xs, ys, xq, yq in zip(*tasks, strict=True):
        fast = params
        for _ in range(steps):
            loss = task_loss(fast, xs, ys, features)
            grads = torch.autograd.grad(
                loss, list(fast.values()), create_graph=not first
            )
            fast = {
                n: p - RATE * g for (n, p), g in zip(fast.items(), grads, strict=True)
            }
        loss = task_loss(fast, xq, yq, features)
        grads = torch.autograd.grad(loss, list(params.values()))
        for name, g in zip(total, grads, strict=True):
            total[name] += g / count
    return total


def torch_func(params, tasks, *, steps, first=False):
    """torch.func: the gradient of one task under vmap."""
    by_hand = functools.partial(conv4, by_hand=True)

    def outer(params, xs, ys, xq, yq):
        fast = params
        for _ in range(steps):
            grads = torch.func.grad(task_loss)(fast, xs, ys, by_hand)
            if first:
                grads = {n: g.detach() for n, g in grads.items()}
            fast = {n: p - RATE * grads[n] for n, p in fast.items()}
        return task_loss(fast, xq, yq, by_hand)

    each = torch.func.vmap(torch.func.grad(outer), in_dims=(None, 0, 0, 0, 0))
    return {n: g.mean(0) for n, g in each(params, *tasks).items()}


class Net(torch.nn.Module):
    """The same network for libraries that want a module."""

    def __init__(self, params):
        super().__init__()
        self.names = list(params)
        for name, p in params.items():
            safe = name.replace("/", "_")
            self.register_parameter(safe, torch.nn.Parameter(p.detach().clone()))

    def forward(self, x):
        p = {name: getattr(self, name.replace("/", "_")) for name in self.names}
        return F.linear(conv4(p, x), p["head/kernel"], p["head/bias"])


def higher(params, tasks, *, steps, first=False):
    library = importlib.import_module("higher")
    net = Net(params)
    inner = torch.optim.SGD(net.parameters(), lr=RATE)
    count = len(tasks[0])
    for xs, ys, xq, yq in zip(*tasks, strict=True):
        with library.innerloop_ctx(
            net, inner, copy_initial_weights=False, track_higher_grads=not first
        ) as (fast, differentiable):
            for _ in range(steps):
                differentiable.step(F.cross_entropy(fast(xs), ys))
            (F.cross_entropy(fast(xq), yq) / count).backward()
    return dict(zip(net.names, (p.grad for p in net.parameters()), strict=True))


def torchopt(params, tasks, *, steps, first=False):
    library = importlib.import_module("torchopt")
    net = Net(params)
    inner = library.MetaSGD(net, lr=RATE)
    start = library.extract_state_dict(net), library.extract_state_dict(inner)
    count = len(tasks[0])
    for xs, ys, xq, yq in zip(*tasks, strict=True):
        for _ in range(steps):
            inner.step(F.cross_entropy(net(xs), ys))
        (F.cross_entropy(net(xq), yq) / count).backward()
        library.recover_state_dict(net, start[0])
        library.recover_state_dict(inner, start[1])
    return dict(zip(net.names, (p.grad for p in net.parameters()), strict=True))


def train_protonet(params, tasks, features=conv4):
    """A step of gradient descent an episode, one after another."""
    params = {
        n: p.detach().clone().requires_grad_()
        for n, p in params.items()
        if not n.startswith("head")
    }
    for task in zip(*tasks, strict=True):
        grads = protonet(params, task, features)
        with torch.no_grad():
            for name, g in grads.items():
                params[name] -= OUTER * g
    return params


def protonet(params, task, features=conv4):
    """The gradient of one ProtoNet episode: one shared network, all images at once."""
    xs, ys, xq, yq = task
    found = features(params, torch.cat([xs, xq]))
    support, query = found[: len(xs)], found[len(xs) :]
    ways = int(ys.max()) + 1
    labels = F.one_hot(ys, ways).to(support.dtype)
    prototypes = labels.T @ support / labels.sum(0)[:, None]
    loss = F.cross_entropy(-(torch.cdist(query, prototypes) ** 2), yq)
    names = [n for n in params if not n.startswith("head")]
    grads = torch.autograd.grad(loss, [params[n] for n in names])
    return dict(zip(names, grads, strict=True))


def evaluate(params, tasks, *, steps):
    """Mean accuracy: adapt to each task without keeping a graph, then predict."""
    right = []
    for xs, ys, xq, yq in zip(*tasks, strict=True):
        fast = params
        for _ in range(steps):
            grads = torch.autograd.grad(task_loss(fast, xs, ys), list(fast.values()))
            fast = {
                n: (p - RATE * g).detach().requires_grad_()
                for (n, p), g in zip(fast.items(), grads, strict=True)
            }
        with torch.no_grad():
            outputs = F.linear(conv4(fast, xq), fast["head/kernel"], fast["head/bias"])
            right.append((outputs.argmax(1) == yq).double().mean())
    return float(torch.stack(right).mean())


MAML = {
    "torch loop": loop,
    "torch.func": torch_func,
    "higher": higher,
    "torchopt": torchopt,
}


def installed():
    """Which of them can run here, with their versions."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"torch": version("torch")}
    for name in ("higher", "torchopt", "learn2learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
