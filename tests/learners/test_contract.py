"""Every learner of the registry obeys the laws of the design."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.core import Features
from jaxmeta.learners import LEARNERS
from jaxmeta.models import call
from jaxmeta.testing import LAWS, LawBroken, check_learner, probe
from jaxmeta.testing.subject import nth
from tests.learners.cases import CASES, NOISY, OWN, body, head, nets, usual


def test_every_learner_has_a_case():
    assert set(CASES) == set(LEARNERS) and set(OWN) < set(LEARNERS)


def test_a_new_learner_needs_no_row_of_its_own():
    """A file and a row in LEARNERS: its case comes of its signature."""

    def sharp(model: Features, *, sharpness: float = 2.0) -> jm.MetaLearner:
        return jm.protonet(model, temperature=1 / sharpness)

    case = usual(sharp)
    laws = ["outputs_have_target_shape", "support_order_is_irrelevant"]
    check_learner(case.build(head, body), case.task, laws=laws, **case.checks)


DROPPING = (  # laws that dropout makes harder
    "init_is_abstract",
    "loss_and_gradient_are_finite",
    "no_second_compilation",
    "same_key_same_value",
    "nan_is_no_score",
)
AVERAGING = (  # and those that running averages do: dropout would hide what they look at
    "outputs_have_target_shape",
    "support_order_is_irrelevant",
    "padding_is_invisible",
    "classes_are_exchangeable",
    "queries_are_independent",
    "weights_are_copies",
)
SLOW = ("vmap_is_a_loop", "jit_is_eager")  # said by the first row, too


@pytest.mark.parametrize(
    "left_out",
    # what the second row says, of a network that makes it harder
    [
        pytest.param(AVERAGING, id="fast"),
        pytest.param((), id="whole", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("x64")
def test_contract(name, left_out):
    """The first row: a plain network, in float64."""
    case = CASES[name]
    laws = [x for x in LAWS if x not in left_out and applies(x, case.checks)]
    check_learner(case.build(head, body), case.task, laws=laws, **case.checks)


@pytest.mark.parametrize(
    "more", [(), pytest.param(SLOW, marks=pytest.mark.slow)], ids=["fast", "whole"]
)
@pytest.mark.parametrize("name", NOISY)
# Flax's averages are float32, whatever is averaged
@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible:FutureWarning")
@pytest.mark.usefixtures("x64")
def test_contract_with_dropout_and_running_averages(name, more):
    """The second row: an encoder with Dropout and running averages."""
    case = NOISY[name]

    def check(drop, laws):
        laws = [law for law in laws if applies(law, case.checks)]
        drops = drop > 0 and name != "meta_transfer"  # which runs it at inference alone
        checks = {**case.checks, "dropout": drops, "episodes": 3}
        check_learner(case.build(*nets(drop)), case.task, laws=laws, **checks)

    with jax.enable_x64(False):  # as a user builds it: Flax's averages are float32
        check(0.2, DROPPING)
    check(0.0, AVERAGING + more)


def applies(law, checks):
    """Whether a law is one of those that the case's options leave."""
    left_out = {
        "support_order_is_irrelevant": not checks.get("set_learner", True),
        "classes_are_exchangeable": not checks.get("metric_learner", False),
        "weights_are_copies": not checks.get("weighs_rows", True),
        "random_labels_give_chance": not checks.get("classification", True),
    }
    return not left_out.get(law, False)


UNROLLED = {  # learner -> passes in training mode that each want a key of their own
    **dict.fromkeys(("maml", "anil", "boil", "meta_sgd", "meta_curvature"), 3),
    **dict.fromkeys(("maml_plus_plus", "proto_maml", "lstm_meta_learner"), 3),
    **{"cavia": 4, "reptile": 5, "platipus": 2, "bmaml": 2},
}


@pytest.mark.parametrize("name", UNROLLED)
def test_every_inner_step_has_a_key_of_its_own(name):
    """Dropout masks differ from step to step: the keys that the network was given do."""
    seen = []

    def recording(model):
        def apply(meta, inputs, *, train=False, key=None, weights=None, **at):
            if train and key is not None:
                data = jax.random.key_data(key)
                jax.debug.callback(
                    lambda k: seen.append(tuple(k.ravel().tolist())), data
                )
            return call(
                model, meta, inputs, weights=weights, train=train, key=key, **at
            )

        return jm.Model(model.init, apply)

    learner = CASES[name].build(
        lambda ways=3: recording(head(ways)), lambda: recording(body())
    )
    episode = probe()(jax.random.key(0))
    meta = learner.init(jax.random.key(1), episode)
    jax.block_until_ready(jax.jit(learner.loss)(meta, episode, jax.random.key(2))[0])
    jax.effects_barrier()
    assert len(set(seen)) >= UNROLLED[name], f"{len(set(seen))} keys"


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
    base = CASES["protonet"].build(head, body)
    return base._replace(**{k: v(base) for k, v in changes.items()})


def forgets_the_mask(base):
    def loss(meta, episode, key):
        value, aux = base.loss(meta, episode, key)
        return value * episode.query.targets.shape[0], aux

    return loss


def takes_weights_for_a_mask(base):
    def loss(meta, episode, key):
        seen = [
            b if b.weights is None else b._replace(weights=1.0 * (b.weights > 0))
            for b in episode
        ]
        return base.loss(meta, jm.Episode(*seen), key)

    return loss


def guesses_where_it_knows_nothing(base):
    def predict(meta, fast, inputs):
        return jnp.nan_to_num(base.predict(meta, fast, inputs))

    return predict


def starts_with_a_python_number(base):
    def init(key, episode):
        meta = base.init(key, episode)
        return meta._replace(params={"net": meta.params, "rate": jnp.asarray(0.1)})

    return init


def widens_its_buffers(base):
    def loss(meta, episode, key):
        value, aux = base.loss(meta, episode, key)
        return value, aux._replace(buffers={"seen": jnp.ones(2)})

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
        ("weights_are_copies", dict(loss=takes_weights_for_a_mask)),
        ("nan_is_no_score", dict(predict=guesses_where_it_knows_nothing)),
        ("init_is_abstract", dict(init=starts_with_a_python_number)),
        ("no_second_compilation", dict(loss=widens_its_buffers)),
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


def test_no_order_of_three_rows_stays_in_place():
    learner = broken(adapt=peeks_at_the_order)
    with pytest.raises(LawBroken, match="support"):
        check_learner(learner, probe(3, 1), laws=["support_order_is_irrelevant"])


def test_random_keys_are_cut_like_numbers():
    keys = jax.random.split(jax.random.key(0), 3)
    found = jax.random.key_data(nth(keys, slice(1, 3)))
    np.testing.assert_array_equal(found, jax.random.key_data(keys)[1:])


def test_random_label_law_catches_a_leak():
    base = CASES["protonet"].build(head, body)

    def adapt(meta, support, key):  # ignores the labels it is given: rows are in order
        targets = jax.nn.one_hot(jnp.repeat(jnp.arange(3), 2), 3)
        return base.adapt(meta, support._replace(targets=targets), key)

    with pytest.raises(LawBroken, match="random_labels"):
        check_learner(
            base._replace(adapt=adapt), probe(), laws=["random_labels_give_chance"]
        )


def test_unknown_law_is_named():
    with pytest.raises(ValueError, match="laws: got 'nope'"):
        check_learner(CASES["protonet"].build(head, body), probe(), laws=["nope"])
