"""Writes problems.json: meta-gradients to 30 digits, from nothing but the losses.

    python -m tests.reference.generate           # needs mpmath, nothing else

Every derivative is a central difference in 120-digit arithmetic, so no line of calculus
is shared with the library: an inner gradient with a step of 1e-30 errs by about 1e-60,
and a meta-gradient, a difference with a step of 1e-20 of a function made of such inner
gradients, by about 1e-40. Where a closed form is known it is asserted as well.
"""

import json
from pathlib import Path

from mpmath import exp, fsum, log, lu_solve, matrix, mp, mpf, nstr, sqrt, tanh

mp.dps = 120
INNER, OUTER = mpf(10) ** -30, mpf(10) ** -20
DIGITS = 30
FILE = Path(__file__).with_name("problems.json")


def number(x):
    """Decimals mean what they say: 0.01 is one hundredth."""
    return mpf(str(x))


def gradient(f, w, h):
    def at(i, by):
        return f([x + by * (i == j) for j, x in enumerate(w)])

    return [(at(i, h) - at(i, -h)) / (2 * h) for i in range(len(w))]


# models: outputs [n][c] of flat parameters


def linear(w, x):
    return [[fsum(a * b for a, b in zip(w, row, strict=True))] for row in x]


def logits(w, x):
    """Two features, two classes; w is [2, 2], row by row."""
    return [[row[0] * w[c] + row[1] * w[2 + c] for c in range(2)] for row in x]


def tanh_net(w, x):
    """Two features, three hidden units: tanh(x body) head; no biases."""
    out = []
    for row in x:
        hidden = [tanh(row[0] * w[j] + row[1] * w[3 + j]) for j in range(3)]
        out.append([fsum(h * v for h, v in zip(hidden, w[6:], strict=True))])
    return out


MODELS = {"linear": linear, "logits": logits, "tanh_net": tanh_net}
SHAPES = {
    "linear": {"w": [3]},
    "logits": {"w": [2, 2]},
    "tanh_net": {"body": [2, 3], "head": [3, 1]},
}


# losses


def pairs(z, t):
    return [
        (a, b) for x, y in zip(z, t, strict=True) for a, b in zip(x, y, strict=True)
    ]


def half_square(z, t):
    return fsum((a - b) ** 2 for a, b in pairs(z, t)) / 2


def mse(z, t):
    return fsum((a - b) ** 2 for a, b in pairs(z, t)) / len(pairs(z, t))


def cross_entropy(z, t):
    total = mpf(0)
    for row, target in zip(z, t, strict=True):
        norm = log(fsum(exp(a) for a in row))
        total += fsum(b * (norm - a) for a, b in zip(row, target, strict=True))
    return total / fsum(fsum(target) for target in t)


LOSSES = {"half_square": half_square, "mse": mse, "cross_entropy": cross_entropy}


# inner optimisers: (gradient, parameters, state, k) -> (update, state)


def optimiser(inner, rates):
    """`rates[k][i]` multiplies the i-th entry of the k-th update."""
    name = inner["name"]
    options = {k: number(v) for k, v in inner.items() if k != "name"}

    def update(g, w, state, k):
        n = len(g)
        if name == "weight_decay":
            decay = options["weight_decay"]
            direction = [a + decay * b for a, b in zip(g, w, strict=True)]
        elif name == "momentum":
            old = state or [mpf(0)] * n
            direction = state = [
                a + options["momentum"] * b for a, b in zip(g, old, strict=True)
            ]
        elif name == "adam":
            b1, b2 = mpf("0.9"), mpf("0.999")
            m, v = state or ([mpf(0)] * n, [mpf(0)] * n)
            m = [b1 * a + (1 - b1) * b for a, b in zip(m, g, strict=True)]
            v = [b2 * a + (1 - b2) * b**2 for a, b in zip(v, g, strict=True)]
            state = (m, v)
            direction = [
                a / (1 - b1 ** (k + 1))
                / (sqrt(b / (1 - b2 ** (k + 1)) + options["eps_root"]) + options["eps"])
                for a, b in zip(m, v, strict=True)
            ]  # fmt: skip
        else:  # sgd and the learned rates
            direction = g
        step = [-r * a for r, a in zip(rates[k], direction, strict=True)]
        return step, state

    return update


class Problem:
    def __init__(self, spec):
        self.spec = spec
        self.model = MODELS[spec["model"]]
        self.loss = LOSSES[spec["loss"]]
        self.theta = [number(x) for x in flat(spec["theta"])]
        self.adapts = [
            spec.get("adapt_only") in (None, name)
            for name, shape in SHAPES[spec["model"]].items()
            for _ in range(count(shape))
        ]

    def judge(self, w, which):
        batch = self.spec[which]
        x, t = ([[number(a) for a in row] for row in batch[k]] for k in batch)
        return self.loss(self.model(w, x), t)

    def slope(self, w):
        return gradient(lambda w: self.judge(w, "support"), w, INNER)

    def rates(self):
        value = number(self.spec["inner"]["learning_rate"])
        return [[value] * len(self.theta) for _ in range(self.spec["steps"])]

    def walk(self, w, rates, held=()):
        """phi_0, ..., phi_K and the inner gradients; those in `held` are constants."""
        update, state, path, grads = optimiser(self.spec["inner"], rates), None, [w], []
        for k in range(self.spec["steps"]):
            grads.append(held[k] if k < len(held) else self.slope(w))
            step, state = update(grads[-1], w, state, k)
            moved = zip(w, step, self.adapts, strict=True)
            w = [a + b if adapts else a for a, b, adapts in moved]
            path.append(w)
        return path, grads

    def minimum(self, theta):
        """argmin L(w) + lam/2 ||w - theta||^2 by Newton's method."""
        lam, w = number(self.spec["lam"]), list(theta)

        def force(w):
            g = self.slope(w)
            return [a + lam * (b - c) for a, b, c in zip(g, w, theta, strict=True)]

        for _ in range(60):
            columns = range(len(w))
            rows = [gradient(lambda w, i=i: force(w)[i], w, OUTER) for i in columns]
            step = lu_solve(matrix(rows), matrix(force(w)))
            w = [a - b for a, b in zip(w, step, strict=True)]
            if max(abs(x) for x in step) < mpf(10) ** -55:
                return w
        raise RuntimeError(f"{self.spec['name']}: no minimum found")

    def value(self, theta, rates, held):
        spec = self.spec
        if spec["method"] == "imaml":
            return self.judge(self.minimum(theta), "query")
        path, _ = self.walk(theta, rates, held)
        weights = spec.get("query_weights")
        if weights is None:
            return self.judge(path[-1], "query")
        terms = zip(weights, path[1:], strict=True)
        return fsum(fraction(v) * self.judge(w, "query") for v, w in terms)

    def solve(self):
        spec, theta, rates = self.spec, self.theta, self.rates()
        path, grads = self.walk(theta, rates)
        if spec["method"] == "reptile":
            moved = [a - b for a, b in zip(theta, path[-1], strict=True)]
            return {"gradient": self.shaped(moved)}
        if spec["method"] == "es":
            return self.evolution(theta, rates)
        constant = spec["steps"] - spec.get("truncate", spec["steps"])
        held = grads[: spec["steps"] if spec.get("order") == "first" else constant]
        got = {"loss": text(self.value(theta, rates, held))}
        slope = gradient(lambda w: self.value(w, rates, held), theta, OUTER)
        got["gradient"] = self.shaped(slope)
        if spec["inner"]["name"] in ("meta_sgd", "lslr"):
            got["rule"] = self.rule_gradient(theta, rates)
        return got

    def rule_gradient(self, theta, rates):
        """d/d alpha: one an entry for Meta-SGD, one a leaf and step for LSLR."""
        names, at, out = SHAPES[self.spec["model"]], 0, {}
        per_entry = self.spec["inner"]["name"] == "meta_sgd"
        for name, shape in names.items():
            entries = range(at, at + count(shape))
            at += count(shape)
            groups = (
                [[(k, i) for k in range(len(rates))] for i in entries]
                if per_entry
                else [[(k, i) for i in entries] for k in range(len(rates))]
            )

            def at_rates(by, groups=groups):
                moved = [list(row) for row in rates]
                for group, d in zip(groups, by, strict=True):
                    for k, i in group:
                        moved[k][i] += d
                return self.value(theta, moved, ())

            slope = gradient(at_rates, [mpf(0)] * len(groups), OUTER)
            out[name] = nest(slope, shape if per_entry else [len(rates)])
        return out

    def evolution(self, theta, rates):
        """1/n sum_i (L(theta + s e_i) - L(theta - s e_i)) / (2 s) e_i."""
        s, total = number(self.spec["sigma"]), [mpf(0)] * len(theta)
        for direction in self.spec["directions"]:
            e = [number(x) for x in flat(direction)]

            def at(sign, e=e):
                return [a + sign * s * b for a, b in zip(theta, e, strict=True)]

            rise = self.value(at(1), rates, ()) - self.value(at(-1), rates, ())
            total = [a + rise / (2 * s) * b for a, b in zip(total, e, strict=True)]
        mean = [x / len(self.spec["directions"]) for x in total]
        return {"gradient": self.shaped(mean)}

    def shaped(self, values):
        out, at = {}, 0
        for name, shape in SHAPES[self.spec["model"]].items():
            out[name] = nest(values[at : at + count(shape)], shape)
            at += count(shape)
        return out


def fraction(x):
    top, _, bottom = str(x).partition("/")
    return mpf(top) / mpf(bottom or 1)


def flat(tree):
    if isinstance(tree, dict):
        return [x for name in tree for x in flat(tree[name])]
    return (
        [x for part in tree for x in flat(part)] if isinstance(tree, list) else [tree]
    )


def count(shape):
    return shape[0] * count(shape[1:]) if shape else 1


def nest(values, shape):
    if len(shape) == 1:
        return [text(x) for x in values]
    size = count(shape[1:])
    return [nest(values[i : i + size], shape[1:]) for i in range(0, len(values), size)]


def text(x):
    # differences leave 1e-40 where the value is 0
    return nstr(x if abs(x) > mpf(10) ** -32 else mpf(0), DIGITS)


def main():
    from tests.reference.specs import SPECS

    problems = []
    for spec in SPECS:
        spec = dict(spec)
        closed = spec.pop("closed_form", None)
        found = Problem(spec).solve()
        if closed is not None:
            for name, expected in closed.items():
                got = [mpf(x) for x in flat(found[name])]
                want = [fraction(x) for x in flat(expected)]
                close = [abs(a - b) < mpf(10) ** -25 * (1 + abs(b))
                         for a, b in zip(got, want, strict=True)]  # fmt: skip
                assert all(close), (spec["name"], name, got, want)
        problems.append({**spec, "closed_form": closed is not None, "expected": found})
        print(spec["name"])
    FILE.write_text(json.dumps(problems, indent=1) + "\n")


if __name__ == "__main__":
    main()
