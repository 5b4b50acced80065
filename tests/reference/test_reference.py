"""The library against problems.json, through the public API alone."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm

pytestmark = pytest.mark.usefixtures("x64")

FILE = Path(__file__).with_name("problems.json")
PROBLEMS = {problem["name"]: problem for problem in json.loads(FILE.read_text())}


def linear(params, x):
    return x @ params["w"][:, None]


def logits(params, x):
    return x @ params["w"]


def tanh_net(params, x):
    return jnp.tanh(x @ params["body"]) @ params["head"]


def half_square(outputs, targets):
    return 0.5 * jnp.sum((outputs - targets) ** 2)


MODELS = {"linear": linear, "logits": logits, "tanh_net": tanh_net}
LOSSES = {
    "half_square": half_square,
    "mse": jm.losses.mse,
    "cross_entropy": jm.losses.cross_entropy,
}
INNER = {
    "sgd": optax.sgd,
    "momentum": optax.sgd,
    "adam": optax.adam,
    "weight_decay": lambda learning_rate, weight_decay: optax.chain(
        optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate)
    ),
    "meta_sgd": lambda learning_rate: jm.rules.meta_sgd(learning_rate),
    "lslr": lambda learning_rate, steps: jm.rules.lslr(learning_rate, steps=steps),
}


def arrays(tree):
    """Numbers and decimal strings, "1/3" too, in nested dicts to float64 arrays."""
    if isinstance(tree, dict):
        return {name: arrays(part) for name, part in tree.items()}

    def read(x):
        if isinstance(x, list):
            return [read(part) for part in x]
        top, _, bottom = str(x).partition("/")
        return float(top) / float(bottom or 1)

    return np.array(read(tree))


def inner_of(problem):
    options = dict(problem["inner"])
    name = options.pop("name")
    if name == "lslr":
        options["steps"] = problem["steps"]
    return INNER[name](**options)


def build(problem, maml=jm.maml, memory="store"):
    """The learner of a problem, and where its meta-gradient is taken."""
    apply = MODELS[problem["model"]]
    model = jm.Model(
        lambda key, inputs: jm.Meta(arrays(problem["theta"])),
        lambda meta, x, train=False, key=None: (apply(meta.params, x), ()),
    )
    inner = inner_of(problem)
    options = dict(steps=problem["steps"], criterion=LOSSES[problem["loss"]])
    if problem["method"] == "reptile":
        return jm.reptile(model, inner, **options)
    if problem["method"] == "imaml":
        solver = jm.gradients.cg(steps=20, tolerance=1e-14)
        way = jm.gradients.implicit(solver=solver)
        return jm.imaml(model, inner, lam=problem["lam"], gradient=way, **options)
    last = 0 if problem.get("order") == "first" else problem.get("truncate")
    options["gradient"] = jm.gradients.unrolled(memory=memory, last=last)
    if "adapt_only" in problem:
        options["adapt_only"] = lambda path: path == problem["adapt_only"]
    if "query_weights" in problem:
        options["query_weights"] = arrays(problem["query_weights"])
    return maml(model, inner, **options)


def episode_of(problem):
    return jm.Episode(
        *(jm.Batch(**arrays(problem[name])) for name in ("support", "query"))
    )


def solve(problem, **options):
    """What the library finds, in the layout of "expected"."""
    learner, episode = build(problem, **options), episode_of(problem)
    meta = learner.init(jax.random.key(0), episode)
    if problem["method"] == "es":
        directions = [arrays(direction) for direction in problem["directions"]]
        value = lambda p: learner.loss(jm.Meta(p), episode, jax.random.key(0))[0]  # noqa: E731
        stacked = jax.tree.map(lambda *x: np.stack(x), *directions)
        found = jm.gradients.antithetic(
            value, meta.params, stacked, sigma=problem["sigma"]
        )
        return {"gradient": found}
    episodes = jax.tree.map(lambda x: x[None], episode)
    quick = {"xla_backend_optimization_level": 0}
    run = jax.jit(jm.meta_gradient, static_argnums=0, compiler_options=quick)
    grads, metrics = run(learner, meta, episodes, jax.random.key(0))
    found = {"loss": metrics["loss"], "gradient": grads}
    if isinstance(inner_of(problem), jm.Rule):
        found |= {"gradient": grads["model"], "rule": grads["rule"]}
    return found


def check(problem, found):
    """Every expected entry: 1e-12 of its array where it is a closed form, else 1e-10."""
    tolerance = 1e-12 if problem["closed_form"] else 1e-10
    for name, expected in problem["expected"].items():
        want, got = arrays(expected), found[name]
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(
                a, b, rtol=0, atol=tolerance * np.abs(b).max()
            ),
            got,
            want,
        )


@pytest.mark.parametrize("name", PROBLEMS)
def test_problem(name):
    check(PROBLEMS[name], solve(PROBLEMS[name]))


@pytest.mark.parametrize("memory", ["remat", "sqrt", "mixed"])
@pytest.mark.parametrize("name", ["maml-5-steps", "anil-tanh-net"])
def test_every_memory_has_all_digits(name, memory):
    check(PROBLEMS[name], solve(PROBLEMS[name], memory=memory))


def test_the_file_is_what_the_generator_writes():
    """Problems of the file are those of the specifications, and have all digits."""
    from tests.reference.specs import SPECS

    for spec, problem in zip(SPECS, PROBLEMS.values(), strict=True):
        spec = dict(spec, closed_form="closed_form" in spec)
        assert {**problem, "expected": None} == {**spec, "expected": None}
        assert problem["derivation"]


def test_the_generator_reproduces_its_values():
    pytest.importorskip(
        "mpmath", reason="mpmath writes the file; nothing else needs it"
    )
    from tests.reference.generate import Problem

    for name in ("maml-5-steps", "maml-3-steps-rows", "fomaml-tanh-net"):
        assert Problem(PROBLEMS[name]).solve() == PROBLEMS[name]["expected"]
