"""Classes of all queries at once: against NumPy written out, and what has to hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmeta import functional as F
from jaxmeta.functional.tim import entropy

pytestmark = pytest.mark.usefixtures("x64")
K, D = 3, 4
TIM = {"rate": 0.05, "steps": 4}
METHODS = {
    "tim": (F.tim, TIM),
    "alpha_tim": (F.tim, TIM | {"alpha": 2.5, "ce": 1.0, "conditional": 0.7}),
    "laplacian_shot": (F.laplacian_shot, {"strength": 0.8, "steps": 5}),
    "rectified laplacian_shot": (F.laplacian_shot, {"steps": 5, "rectify": True}),
    "bd_cspn": (F.bd_cspn, {}),
    "pt_map": (F.pt_map, {"steps": 4, "rounds": 30}),
}
COMPILED = {}


def run(name, support, targets, query, weights=None, query_weights=None):
    function, options = METHODS[name]
    if name not in COMPILED:
        COMPILED[name] = jax.jit(
            lambda *x, w, q: function(*x, weights=w, query_weights=q, **options)
        )
    return np.asarray(
        COMPILED[name](support, targets, query, w=weights, q=query_weights)
    )


def problem(seed=0):
    """Two shots, seven queries, features >= 0 of three overlapping classes."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, 2, (K, D))
    labels, asked = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 0, 1, 1, 2])
    noise = lambda n: random.uniform(0, 1.5, (n, D))  # noqa: E731
    return centres[labels] + noise(6), np.eye(K)[labels], centres[asked] + noise(7)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x):
    return np.log(softmax(np.asarray(x)))


def means(z, t):
    return np.stack([z[t[:, k] == 1].mean(0) for k in range(t.shape[1])])


def squared(a, b):
    return np.array([[np.sum((x - y) ** 2) for y in b] for x in a])


def numpy_tim(s, t, q, *, alpha=1, ce=0.1, marginal=1.0, conditional=0.1, rate, steps):
    """The gradient by hand, and Adam by hand."""
    s, q, temp = unit(s), unit(q), 15.0
    w = means(s, t)
    m = v = np.zeros_like(w)

    def slope(p):  # of H_alpha(p) in p
        if alpha == 1:
            return -np.log(p) - 1
        return -alpha * p ** (alpha - 1) / (alpha - 1)

    for k in range(1, steps + 1):
        p = softmax(-temp / 2 * squared(q, w))
        g = (conditional * slope(p) - marginal * slope(p.mean(0))) / len(q)
        by_logit = p * (g - (p * g).sum(1, keepdims=True))
        known = ce / len(s) * (softmax(-temp / 2 * squared(s, w)) - t)
        grad = np.zeros_like(w)
        for rows, z in ((by_logit, q), (known, s)):
            for i in range(len(z)):
                grad += temp * rows[i][:, None] * (z[i] - w)
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        w = w - rate * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
    return -temp / 2 * squared(q, w)


def numpy_rectified(s, t, q):
    s, q = unit(s), unit(q)
    q = q + s.mean(0) - q.mean(0)
    first = means(s, t)
    cos = lambda a, b: float(unit(a) @ unit(b))  # noqa: E731
    new = []
    for k in range(K):
        mine = [z for z, row in zip(s, t, strict=True) if row[k]]
        mine += [z for z in q if np.argmax([cos(z, p) for p in first]) == k]
        part = softmax(np.array([10 * cos(z, first[k]) for z in mine]))
        new.append(sum(a * z for a, z in zip(part, mine, strict=True)))
    return np.stack(new), q


def numpy_bd_cspn(s, t, q):
    centres, q = numpy_rectified(s, t, q)
    return 10 * unit(q) @ unit(centres).T


def numpy_laplacian(s, t, q, *, strength=0.7, neighbours=2, steps, rectify=False):
    centres = numpy_rectified(s, t, q)[0] if rectify else means(unit(s), t)
    q = unit(q)
    cost, far = squared(q, centres), squared(q, q)
    y = softmax(-cost)
    for _ in range(steps):
        said = -cost.copy()
        for i in range(len(q)):
            others = [j for j in np.argsort(far[i]) if j != i][:neighbours]
            said[i] += strength * sum(y[j] for j in others)
        y = softmax(said)
    return said


def numpy_sinkhorn(kernel, rows, columns, rounds):
    m = np.exp(kernel)
    for _ in range(rounds):
        m = m * (rows / m.sum(1))[:, None]
        m = m * (columns / m.sum(0))
    return m


def numpy_pt_map(s, t, q, *, steps, rounds):
    s, q = (unit(np.sqrt(x + 1e-6)) for x in (s, q))
    s, q = unit(s - s.mean(0)), unit(q - q.mean(0))
    c = means(s, t)
    even = np.full(K, len(q) / K)
    plan = lambda c: numpy_sinkhorn(-10 * squared(q, c), np.ones(len(q)), even, rounds)  # noqa: E731
    for _ in range(steps):
        m = plan(c)
        mu = (t.T @ s + m.T @ q) / (t.sum(0) + m.sum(0))[:, None]
        c = c + 0.2 * (mu - c)
    return np.log(plan(c))


WRITTEN_OUT = {
    "tim": numpy_tim,
    "alpha_tim": numpy_tim,
    "laplacian_shot": numpy_laplacian,
    "rectified laplacian_shot": numpy_laplacian,
    "bd_cspn": numpy_bd_cspn,
    "pt_map": numpy_pt_map,
}
every = pytest.mark.parametrize("name", METHODS)


@every
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_what_it_is_written_out(name, seed):
    expected = WRITTEN_OUT[name](*problem(seed), **METHODS[name][1])
    got = log_softmax(run(name, *problem(seed)))
    np.testing.assert_allclose(got, log_softmax(expected), rtol=1e-7, atol=1e-9)


@every
def test_a_permutation_of_classes_is_one_of_the_columns(name):
    s, t, q = problem()
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(
        run(name, s, t[:, order], q), run(name, s, t, q)[:, order], rtol=1e-9
    )


@every
def test_rows_of_weight_zero_and_columns_without_a_class_change_nothing(name):
    s, t, q = problem()
    junk = np.full((2, D), 0.3)
    more = np.concatenate([s, junk]), np.concatenate([q[:3], junk, q[3:]])
    t = np.pad(t, [(0, 2), (0, 1)])
    t[-2:, 3] = 1  # the added rows are of the added class, and do not count
    weights, asked = (
        np.repeat([1.0, 0.0], [6, 2]),
        np.repeat([1.0, 0.0, 1.0], [3, 2, 4]),
    )
    got = run(name, more[0], t, more[1], weights, asked)
    np.testing.assert_allclose(
        got[asked > 0, :K], run(name, *problem()), rtol=1e-8, atol=1e-9
    )
    assert np.isfinite(got).all() and (softmax(got)[:, K] == 0).all()


@every
def test_no_query_that_counts_is_no_nan(name):
    s, t, q = problem()
    assert np.isfinite(run(name, s, t, q, None, np.zeros(7))).all()


@pytest.mark.parametrize("name", ["tim", "alpha_tim", "bd_cspn", "pt_map"])
def test_a_weight_of_two_is_a_second_copy(name):
    s, t, q = problem()
    weights = np.array([1, 1, 1, 2.0, 1, 1]), np.array([1, 2, 1, 1, 1, 3.0, 1])
    rows, asked = (np.repeat(np.arange(len(w)), w.astype(int)) for w in weights)
    got = run(name, s, t, q, *weights)
    copies = run(name, s[rows], t[rows], q[asked])
    np.testing.assert_allclose(got[asked], copies, rtol=1e-8, atol=1e-9)


def test_with_nothing_to_gain_it_is_the_nearest_prototype():
    s, t, q = problem()
    z, base = unit(q), -squared(unit(q), means(unit(s), t))
    none = {"ce": 0.0, "marginal": 0.0, "conditional": 0.0}
    for alpha in (1.0, 3.0):
        got = F.tim(s, t, q, alpha=alpha, steps=2, **none)
        np.testing.assert_allclose(log_softmax(got), log_softmax(7.5 * base), rtol=1e-9)
    for options in ({"strength": 0.0}, {"steps": 0}):
        np.testing.assert_allclose(
            F.laplacian_shot(s, t, q, **options), base, rtol=1e-9
        )
    got = F.pt_map(s, t, q, power=1, centre=False, steps=0, strength=2.0, rounds=1)
    # what the transport adds is one number a class
    assert np.ptp(np.asarray(got) - 2 * base, 0).max() < 1e-9
    assert np.abs(np.asarray(got) - 2 * base).max() > 0.01 and z.shape == q.shape


def test_order_one_is_shannon_and_the_limit_of_others():
    p = softmax(np.random.default_rng(0).normal(size=(5, 4)))
    shannon = -(p * np.log(p)).sum(1)
    np.testing.assert_allclose(entropy(np.log(p), 1.0), shannon, rtol=1e-12)
    np.testing.assert_allclose(entropy(np.log(p), 1 + 1e-6), shannon, rtol=1e-5)
    np.testing.assert_allclose(entropy(np.log(p), 2.0), 1 - (p**2).sum(1), rtol=1e-12)


def test_a_plan_has_the_sums_that_it_was_given():
    random = np.random.default_rng(0)
    cost = random.uniform(size=(6, 3))
    rows, columns = np.array([1, 2, 0, 1, 1, 3.0]), np.array([5, 0, 3.0])
    plan = np.asarray(F.sinkhorn(cost, rows, columns, strength=10.0, rounds=200))
    np.testing.assert_allclose(plan.sum(1), rows, atol=1e-9)
    np.testing.assert_allclose(plan.sum(0), columns, atol=1e-12)
    kept = np.ix_([0, 1, 3, 4, 5], [0, 2])
    found = np.log(plan[kept]) + 10 * cost[kept]  # the optimum: u_i + v_j
    assert np.abs(np.diff(found - found[:1], axis=1)).max() < 1e-9


def test_neighbours_more_than_there_are():
    s, t, q = problem()
    got = F.laplacian_shot(s, t, q, neighbours=50, steps=1)
    z = unit(q)
    base = -squared(z, means(unit(s), t))
    y = softmax(base)
    np.testing.assert_allclose(got, base + 0.7 * (y.sum(0) - y), rtol=1e-9)
    alone = F.laplacian_shot(s, t, q[:1])
    np.testing.assert_allclose(alone, base[:1], rtol=1e-9)
    assert jnp.isfinite(alone).all()
