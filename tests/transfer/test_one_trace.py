"""A step's state goes into the next step: nothing is traced twice, as a user builds it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import rl, transfer
from jaxmeta.data import from_counts
from jaxmeta.tasks.domains import DomainPair, Unlabelled

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Y = np.eye(2, dtype="float32")[[0, 1, 0, 1]]
BATCH = jm.Batch(X, Y)
PAIR = DomainPair(BATCH, Unlabelled(X + 1))
BODY, HEAD = jm.models.mlp(None, hidden=(3,)), jm.models.linear_head(2)
JUDGE = jm.models.mlp(1, hidden=(2,))
WALK = rl.point_navigation(horizon=3)
BANDIT = rl.bandit(2, pulls=3, goal=(0.2, 0.8))


def adapted(made):
    return jm.from_loss(made.init, made.loss)


def several(aggregate):
    return transfer.multitask(BODY, {"a": HEAD, "b": HEAD}, aggregate)


def of_data():
    data = from_counts(np.repeat(X, 4, 0), [4] * 4, tuple("abcd"))
    learner = jm.protonet(BODY)
    task = transfer.class_task(data, 1, 1)
    return transfer.hard_tasks(jm.episodic(learner), learner, task, classes=4, ways=2)


def gradient(family, env, **options):
    policy = rl.policy(jm.models.linear_head(2), family)
    return rl.maml_pg(env, policy, optax.sgd(0.1), episodes=2, **options)


def learned(family, env):
    policy = rl.policy(jm.models.linear_head(2), family)
    return rl.maml_pg(env, policy, jm.rules.meta_sgd(0.1), episodes=2, baseline=None)


def memory(family, env):
    return rl.rl2(env, family, hidden=2)


SHARED = jm.Batch(X, {"a": Y, "b": Y}, {"a": np.array([1.0, 1, 0, 1]), "b": None})
TRANSFER = {
    "supervised": lambda: (
        transfer.supervised(jm.models.conv4(2, filters=1, blocks=1)),
        jm.Batch(np.ones((4, 2, 2, 1), "float32"), Y),
    ),
    "fine_tune": lambda: (transfer.fine_tune(BODY, HEAD), BATCH),
    "multitask": lambda: (several(None), SHARED),
    "uncertainty": lambda: (several(transfer.uncertainty()), SHARED),
    "gradnorm": lambda: (several(transfer.gradnorm()), SHARED),
    "source_only": lambda: (adapted(transfer.source_only(BODY, HEAD)), PAIR),
    "dann": lambda: (adapted(transfer.dann(BODY, HEAD, JUDGE, steps=2)), PAIR),
    "cdan": lambda: (adapted(transfer.cdan(BODY, HEAD, JUDGE, steps=2)), PAIR),
    "deep_coral": lambda: (adapted(transfer.deep_coral(BODY, HEAD)), PAIR),
    "dan": lambda: (adapted(transfer.dan(BODY, HEAD)), PAIR),
    "hard_tasks": lambda: (of_data(), jax.random.split(KEY, 2)),
}
OUTER = {
    "policy_gradient": rl.policy_gradient,
    "ppo": lambda agent: rl.ppo(agent, optax.adam(0.1), epochs=2),
    "trpo": lambda agent: rl.trpo(agent, cg_steps=2, backtracks=2),
}
AGENTS = {"maml_pg": gradient, "rl2": memory, "learned rates": learned}
FAMILIES = {"gaussian": (lambda: rl.gaussian(2), WALK),
            "categorical": (lambda: rl.categorical(2), BANDIT)}  # fmt: skip


def acting(outer, agent, family):
    make, env = FAMILIES[family]
    tasks = jax.vmap(env.tasks)(jax.random.split(KEY, 2))
    return OUTER[outer](AGENTS[agent](make(), env)), tasks


ACTING = {
    f"{outer}, {agent}, {family}": (outer, agent, family)
    for outer in OUTER for agent in AGENTS for family in FAMILIES
}  # fmt: skip


def check(objective, batch, tx):
    """What a compiled step takes for the same: shapes, dtypes and how weak they are."""
    trainer = jm.make_trainer(objective, tx)
    state = trainer.init(KEY, batch)
    before = jax.tree.map(jax.typeof, state)
    after = jax.eval_shape(trainer.step, state, batch, KEY)[0]
    assert jax.tree.structure(before) == jax.tree.structure(after)
    told = zip(
        *map(jax.tree.leaves, (jm.tree.paths(before), before, after)), strict=True
    )
    for path, old, new in told:
        same = (old.shape, old.dtype, old.weak_type) == (
            new.shape, new.dtype, new.weak_type,
        )  # fmt: skip
        assert same, (path, old, new)


@pytest.mark.parametrize("name", TRANSFER)
def test_transfer(name):
    check(*TRANSFER[name](), optax.adam(0.1))


def test_what_holds():
    layers = ("layer1", "head")
    for tx in (
        transfer.freeze(optax.adam(0.1), transfer.within("layer1")),
        transfer.gradual_unfreezing(optax.adam(0.1), layers, every=2),
        transfer.discriminative(optax.adam(0.1), layers),
    ):
        check(*TRANSFER["fine_tune"](), tx)


@pytest.mark.parametrize("name", ACTING)
def test_rl(name):
    check(*acting(*ACTING[name]), optax.sgd(1.0))


def test_compiled_steps_are_traced_once():
    for objective, batch in (
        TRANSFER["fine_tune"](),
        acting("policy_gradient", "maml_pg", "gaussian"),
    ):
        count = []
        trainer = jm.make_trainer(objective, optax.adam(0.1))

        @jax.jit
        def step(state, batch, key, trainer=trainer, count=count):
            count.append(1)
            return trainer.step(state, batch, key)

        state = trainer.init(KEY, batch)
        for _ in range(3):
            state, _ = step(state, batch, KEY)
        assert len(count) == 1


def test_the_law_can_fail():
    def loss(meta, batch, key):
        return jnp.sum(meta.params**2), jm.Aux({})

    weak = jm.from_loss(lambda key, batch: jm.Meta(jnp.full(2, jnp.log(1.0))), loss)
    with pytest.raises(AssertionError):
        check(weak, BATCH, optax.sgd(jnp.ones(())))
