"""Every learner of the registry obeys the laws of the design."""

import jax
import jax.numpy as jnp
import pytest

import jaxmeta as jm
from jaxmeta.learners import LEARNERS
from jaxmeta.testing import LawBroken, check_learner, probe
from tests.learners.cases import CASES


def test_every_learner_has_a_case():
    assert set(CASES) == set(LEARNERS)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("x64")
def test_contract(name):
    case = CASES[name]
    check_learner(case.build(), case.task, **case.checks)


@pytest.mark.usefixtures("x64")
def test_batch_statistics_are_found_transductive():
    learner = jm.protonet(jm.models.conv4(None, filters=2, blocks=1))
    task = jm.tasks.glyphs(3, 1, 2, size=8)
    law = ["queries_are_independent"]
    check_learner(learner, task, laws=law, transductive=True)
    with pytest.raises(LawBroken, match="queries"):
        check_learner(learner, task, laws=law)


def broken(**changes):
    """A prototypical network with one of its functions spoilt."""
    base = CASES["protonet"].build()
    return base._replace(**{k: v(base) for k, v in changes.items()})


def forgets_the_mask(base):
    def loss(meta, episode, key):
        value, aux = base.loss(meta, episode, key)
        return value * episode.query.targets.shape[0], aux

    return loss


def peeks_at_the_order(base):
    def adapt(meta, support, key):
        fast = base.adapt(meta, support, key)
        return fast + support.inputs[0, 0]

    return adapt


def reads_the_other_queries(base):
    def predict(meta, fast, inputs):
        return base.predict(meta, fast, inputs - inputs.mean(0))

    return predict


def nan_gradient(base):
    def loss(meta, episode, key):
        value, aux = base.loss(meta, episode, key)
        return value + jnp.sqrt(0.0 * value), aux

    return loss


def wrong_shape(base):
    return lambda meta, fast, inputs: base.predict(meta, fast, inputs)[:, :1]


def no_progress(base):
    return lambda meta, episode, key: (
        0.0 * base.loss(meta, episode, key)[0],
        jm.Aux({}),
    )


@pytest.mark.parametrize(
    ("law", "changes"),
    [
        ("padding_is_invisible", dict(loss=forgets_the_mask)),
        ("support_order_is_irrelevant", dict(adapt=peeks_at_the_order)),
        ("queries_are_independent", dict(predict=reads_the_other_queries)),
        ("loss_and_gradient_are_finite", dict(loss=nan_gradient)),
        ("outputs_have_target_shape", dict(predict=wrong_shape)),
        ("it_learns", dict(loss=no_progress)),
    ],
)
def test_the_laws_can_be_broken(law, changes):
    with pytest.raises(LawBroken, match=law):
        check_learner(broken(**changes), probe(), laws=[law])


def test_random_label_law_catches_a_leak():
    base = CASES["protonet"].build()

    def adapt(meta, support, key):  # ignores the labels it is given: rows are in order
        targets = jax.nn.one_hot(jnp.repeat(jnp.arange(3), 2), 3)
        return base.adapt(meta, support._replace(targets=targets), key)

    with pytest.raises(LawBroken, match="random_labels"):
        check_learner(
            base._replace(adapt=adapt), probe(), laws=["random_labels_give_chance"]
        )


def test_unknown_law_is_named():
    with pytest.raises(ValueError, match="laws: got 'nope'"):
        check_learner(CASES["protonet"].build(), probe(), laws=["nope"])
