"""The programs that `tpu_compile.py` compiles: one outer step of a learner, by name."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

import jaxmeta as jm

WAYS, SHOTS, QUERIES = 5, 1, 15
TASKS = 8  # a chip
FOLDS = {1: "v5e:2x2", 4: "v5e:2x2", 256: "v5e:16x16"}  # one chip is one of four


class Case(NamedTuple):
    """What a row is of. `steps` is `None` where a learner takes no inner steps.

    `side` is of pictures, or how many numbers a row of a table has.
    """

    learner: str = "maml"
    network: str = "conv4"
    side: int = 28
    steps: int | None = 1
    dtype: str = "float32"
    chips: int = 1
    impl: str = "auto"

    @property
    def name(self) -> str:
        steps = "-" if self.steps is None else self.steps
        words = self.learner, self.network, self.side, f"K={steps}", *self[4:]
        return " ".join(map(str, words))


def _inner(builder, *, body=False, **more):
    return lambda whole, feature, steps: builder(
        feature if body else whole, optax.sgd(0.1), steps=steps, **more
    )


def _rated(builder, **more):
    return lambda whole, feature, steps: builder(
        whole, init_rate=0.1, steps=steps, **more
    )


def _metric(builder):
    return lambda whole, feature, steps: builder(feature)


INNER = {
    "maml": _inner(jm.maml),
    "fomaml": _inner(jm.maml, gradient=jm.gradients.first_order),
    "anil": _inner(jm.anil),
    "boil": _inner(jm.boil),
    "reptile": _inner(jm.reptile),
    "cavia": _inner(jm.cavia, film="block3/norm", context=100),
    "proto_maml": _inner(jm.proto_maml, body=True),
    "meta_sgd": _rated(jm.meta_sgd),
    "meta_curvature": _inner(jm.meta_curvature),
    "maml_plus_plus": _rated(jm.maml_plus_plus),
    "imaml": _inner(jm.imaml),
    "platipus": _inner(jm.platipus),
    "bmaml": _inner(jm.bmaml, particles=3),
    "meta_gan": _inner(jm.meta_gan),
    "meta_transfer": _inner(jm.meta_transfer, body=True),
    "baseline_plus_plus": lambda whole, feature, steps: jm.baseline_plus_plus(
        feature, steps=steps
    ),
    "lstm_meta_learner": lambda whole, feature, steps: jm.lstm_meta_learner(
        whole, steps=steps
    ),
}
"""Learners with inner steps: `(network with a head, features, steps) -> learner`."""


def _relation(whole, feature, steps):
    # pairs of maps, 5x5 for 28x28 pixels
    maps = jm.models.conv4(None, flatten=False, pools=2, valid=2)
    return jm.relation_network(maps, relation=jm.models.relation())


def _anml(whole, feature, steps):
    gated = jm.models.gated(feature, feature)
    head = jm.models.linear_head(WAYS)
    return jm.anml(jm.models.with_head(gated, head), optax.sgd(0.1))


OTHERS = {
    "protonet": _metric(jm.protonet),
    "matching_network": _metric(jm.matching_network),
    "r2d2": _metric(jm.r2d2),
    "metaoptnet": _metric(jm.metaoptnet),
    "simple_shot": _metric(jm.simple_shot),
    "relation_network": _relation,
    "logistic_regression": _metric(jm.logistic_regression),
    "tip_adapter": _metric(jm.tip_adapter),
    "mann": _metric(jm.mann),
    "snail": _metric(jm.snail),
    "oml": lambda whole, feature, steps: jm.oml(whole, optax.sgd(0.1)),
    "anml": _anml,
    "online_maml": lambda whole, feature, steps: jm.online_maml(whole, optax.sgd(0.1)),
}
"""Learners without them."""


def _process(builder, width=None, hidden=(128, 128, 128), **more):
    # targets are one number: a mean and a standard deviation
    encoder, decoder = (jm.models.mlp(out, hidden=hidden) for out in (width, 2))
    return lambda: builder(encoder, decoder, **more)


CURVES = {
    "cnp": _process(jm.cnp),
    "attentive_cnp": _process(
        jm.cnp, attention="multihead", keys=jm.models.mlp(None, hidden=(128, 128))
    ),
    "np": _process(jm.np, latent=128),
    "conv_cnp": _process(jm.conv_cnp, 32, (32, 32), filters=32),
    "tnp": _process(jm.tnp, 64, (64, 64, 64)),
}
TABLES = {"prior_fitted_network": lambda: jm.prior_fitted_network(classes=WAYS)}
"""Learners of numbers: of one column and a target, and of 8 columns and a class."""
KNOWN, ASKED = 50, 20  # rows of either


def queue() -> list[Case]:
    """All programs, those first that are worth most."""
    maml = [Case(steps=k, chips=n) for k, n in itertools.product((1, 5), FOLDS)]
    half = [case._replace(dtype="bfloat16") for case in maml if case.chips == 1]
    nets = [
        Case(learner, network, side, steps)
        for network, side in (("conv4", 84), ("transformer", 28), ("resnet12", 84))
        for learner, steps in (("protonet", None), ("maml", 1), ("maml", 5))
    ]
    impls = [Case(impl=impl) for impl in ("dot", "xla", "winograd")]
    rest = [Case(name) for name in INNER] + [Case(name, steps=None) for name in OTHERS]
    rest += [Case(name, "rows", 1, None) for name in CURVES]
    rest += [Case(name, "rows", 8, None) for name in TABLES]
    spread = [case._replace(chips=4) for case in (*nets, *rest)]
    five = [case._replace(steps=5) for case in rest if case.steps]
    low = [
        case._replace(dtype="bfloat16")
        for case in (*nets, *rest, *five)
        if case.network != "rows"  # their networks compute in float32
    ]
    far = [case._replace(chips=256) for case in (*nets, *rest)]
    order = (maml, half, nets, impls, rest, spread, five, low, far)
    return list(dict.fromkeys(itertools.chain(*order)))


def network(case: Case, ways: int | None) -> jm.Model:
    if case.network == "conv4":
        model = jm.models.conv4(ways, filters=64 if case.side == 28 else 32)
    elif case.network == "resnet12":
        model = jm.models.resnet12(ways)
    else:
        model = jm.models.transformer(ways)
    return (
        model
        if case.dtype == "float32"
        else jm.models.half_precision(model, case.dtype)
    )


def learner_of(case: Case) -> jm.MetaLearner:
    if case.network == "rows":
        return (CURVES | TABLES)[case.learner]()
    build = (INNER | OTHERS)[case.learner]
    return build(network(case, WAYS), network(case, None), case.steps)


def program(case: Case, devices):
    """`(jitted outer step, its arguments)`, shapes in place of values."""
    learner = learner_of(case)
    mesh = jm.train.task_mesh(devices)
    trainer = jm.make_trainer(jm.episodic(learner, mesh=mesh), optax.adam(1e-3))
    tasks = TASKS * case.chips
    rows = case.network == "rows"
    one = (case.side, case.side, 1 if case.side == 28 else 3)
    shape = (case.side,) if rows else one
    outputs = 1 if case.learner in CURVES else WAYS

    def batch(n):
        return jm.Batch(
            jnp.zeros((tasks, n, *shape)),
            jnp.zeros((tasks, n, outputs)).at[:, :, 0].set(1),
        )

    def arguments():
        sizes = (KNOWN, ASKED) if rows else (SHOTS * WAYS, QUERIES * WAYS)
        episodes = jm.Episode(*map(batch, sizes))
        key = jax.random.key(0)
        return trainer.init(key, episodes), episodes, key

    state, episodes, key = jax.eval_shape(arguments)
    everywhere, apart = (
        NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec("tasks"))
    )
    state, key = _placed((state, key), everywhere)
    return jax.jit(trainer.step, donate_argnums=0), (
        state,
        _placed(episodes, apart),
        key,
    )


def _placed(tree, sharding: NamedSharding):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )


def chips(case: Case) -> list[jax.Device]:
    """Chips that are not here."""
    from jax.experimental import topologies

    found = topologies.get_topology_desc(
        platform="tpu", topology_name=FOLDS[case.chips]
    )
    return found.devices[: case.chips]
