"""Batch norms under an inner loop: whose statistics, and who says so."""

import warnings

import jax
import optax
import pytest
from flax import nnx

import jaxmeta as jm
from jaxmeta.testing import probe

KEY = jax.random.key(0)


class Normed(nnx.Module):
    def __init__(self, *, rngs):
        self.body = nnx.Linear(8, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.norm(self.body(x))))


def build(**options):
    return jm.models.from_nnx(lambda rngs: Normed(rngs=rngs), **options)


SGD = optax.sgd(0.1)
UNROLLED = {
    "maml": lambda model: jm.maml(model, SGD, steps=1),
    "imaml": lambda model: jm.imaml(model, SGD, steps=1),
    "reptile": lambda model: jm.reptile(model, SGD, steps=1),
    "platipus": lambda model: jm.platipus(model, SGD, steps=1),
    "bmaml": lambda model: jm.bmaml(model, SGD, steps=1, particles=2),
}


@pytest.mark.parametrize("name", UNROLLED)
def test_running_averages_under_an_inner_loop_are_warned_of(name):
    episode = probe()(KEY)
    with pytest.warns(
        UserWarning, match=r"running averages of norm.*statistics=\"batch\""
    ):
        UNROLLED[name](build()).init(KEY, episode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        UNROLLED[name](build(statistics="batch")).init(KEY, episode)


def test_who_is_not_warned():
    """A comparison of features trains and tests as usual; MAML++ has averages per step."""
    episode = probe()(KEY)
    images = jm.tasks.glyphs(3, 1, 1, size=8)(KEY)
    net = jm.models.conv4(3, filters=2, blocks=1, norm="batch_running")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jm.protonet(build()).init(KEY, episode)
        jm.maml_plus_plus(net, steps=1).init(KEY, images)
    with pytest.warns(UserWarning, match=r'block1/norm.*norm="batch"'):
        jm.maml(net, SGD, steps=1).init(KEY, images)


@pytest.mark.parametrize("builder", [jm.anil, jm.boil])
def test_a_head_by_another_name_is_asked_for(builder):
    """Layers are found by path: another name is said, never taken for something else."""
    model = jm.models.from_nnx(lambda rngs: nnx.Linear(8, 3, rngs=rngs))
    episode = probe()(KEY)
    with pytest.raises(
        ValueError, match=r"none of the parameters \['bias', 'kernel'\]"
    ):
        learner = builder(model, SGD, steps=1)
        learner.loss(learner.init(KEY, episode), episode, KEY)
    both = builder(build(statistics="batch"), SGD, head=lambda path: "norm" in path)
    both.init(KEY, episode)


@pytest.mark.parametrize(
    "model",
    [nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Linear, lambda x: x],
    ids=["instance", "class", "function"],
)
def test_what_is_no_model_is_refused(model):
    for builder in (
        lambda m: jm.maml(m, SGD),
        jm.protonet,
        jm.r2d2,
        jm.snail,
        lambda m: jm.cnp(m, m),
        lambda m: jm.reptile(m, SGD, steps=1),
    ):
        with pytest.raises(TypeError, match=r"(model|encoder): got .*from_nnx"):
            builder(model)
