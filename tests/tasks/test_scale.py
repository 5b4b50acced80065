"""One data set has one scale: uint8 is [0, 1] in every builder, other types pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta import tasks
from jaxmeta.data import from_counts
from jaxmeta.functional import augment
from jaxmeta.transfer.hard_tasks import class_task
from jaxmeta.transfer.supervised import examples

KEY = jax.random.key(0)


def data(dtype):
    """All bytes 51, 102 or 153: a fifth, two, three of 255."""
    rows = np.arange(8 * 4 * 4).reshape(8, 4, 4, 1) % 3 * 51 + 51
    return from_counts(rows.astype(dtype), [4, 4], ("a", "b"))


def plain(dtype, ways=2):
    """A user's own task, a function."""
    few = data(dtype)
    x = jnp.asarray(np.concatenate([few.inputs] * 2)[: 4 * ways])

    def task(key):
        del key
        labels = jnp.repeat(jnp.arange(ways), 4)
        return jm.Episode(*(jm.Batch.of_labels(x, labels, ways),) * 2)

    return task


def of_stream(dtype):
    pytest.importorskip("grain")
    few = data(dtype)
    labels = np.repeat([0, 1], 4)
    return tasks.stream(few.inputs, labels, 2, 1, 2, steps=1, batch=2)[0]


def pictures_of(batch):
    """A batch without the texts beside its pictures."""
    return batch._replace(inputs=batch.inputs.image)


BUILDERS = {
    "few_shot": lambda d: tasks.few_shot(data(d), 2, 1, 2)(KEY),
    "rotations": lambda d: tasks.few_shot(data(d), 2, 1, 2, rotations=True)(KEY),
    "meta_dataset": lambda d: tasks.meta_dataset(
        data(d), min_ways=2, max_ways=2, max_queries=2, max_support=4
    )(KEY),
    "domains": lambda d: tasks.domains({"x": data(d), "y": data(d)}, 2, 1, 2)(KEY),
    "labelled": lambda d: tasks.labelled(data(d)),
    "unlabelled": lambda d: tasks.unlabelled(data(d)),
    "domain_pair": lambda d: tasks.domain_pair(
        tasks.labelled(data(d)), tasks.unlabelled(data(d))
    )(KEY),
    "domain_pair of raw arrays": lambda d: tasks.domain_pair(
        jm.Batch(data(d).inputs, np.ones((8, 2))), tasks.Unlabelled(data(d).inputs)
    )(KEY),
    "stream": of_stream,
    "examples": lambda d: examples(data(d))(KEY),
    "class_task": lambda d: class_task(data(d), 1, 2)(KEY, jnp.array([1, 0])),
    "augmented": lambda d: tasks.augmented(plain(d), augment.flip)(KEY),
    "mixture": lambda d: tasks.mixture([plain(d), plain(d)])(KEY),
    "semi_supervised": lambda d: tasks.semi_supervised(plain(d), 1, 2)(KEY),
    "ambiguous": lambda d: tasks.ambiguous(plain(d, ways=4))(KEY),
    "padded": lambda d: tasks.padded(plain(d), support=9)(KEY),
    "within_groups": lambda d: tasks.within_groups(
        data(d), 2, 1, 2, groups=("same", "same")
    )(KEY),
    "other_hands": lambda d: tasks.other_hands(
        data(d), 2, 1, 2, hands=[0, 0, 1, 1] * 2
    )(KEY),
    "dirichlet_queries": lambda d: tasks.dirichlet_queries(plain(d), 4)(KEY),
    "cross_modal": lambda d: pictures_of(
        tasks.cross_modal(data(d), np.eye(2, dtype="float32"), 2, 1, 2)(KEY).query
    ),
    "pairs": lambda d: pictures_of(
        tasks.pairs(data(d), np.eye(2, dtype="float32"))(KEY)
    ),
    "varying": lambda d: tasks.varying(plain(d), query=(2, 4))(KEY),
}


def inputs_of(drawn):
    """All inputs of an episode, a batch or a pair, real rows only."""
    if isinstance(drawn, jm.Batch) and drawn.weights is not None:
        return [np.asarray(drawn.inputs)[np.asarray(drawn.weights) > 0]]
    if isinstance(drawn, jm.Batch | tasks.Unlabelled):
        return [np.asarray(x) for x in jax.tree.leaves(drawn.inputs)]
    return [x for part in drawn for x in inputs_of(part)]


@pytest.mark.parametrize("name", BUILDERS)
def test_bytes_are_in_the_unit_range(name):
    for x in inputs_of(BUILDERS[name]("uint8")):
        assert x.dtype == np.float32
        np.testing.assert_allclose(
            np.unique(np.round(5 * x, 5)), [1, 2, 3][: 3 if x.size else 0]
        )


@pytest.mark.parametrize("name", [n for n in BUILDERS if n != "augmented"])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_tokens_and_floats_are_what_their_owner_gave(name, dtype):
    for x in inputs_of(BUILDERS[name](dtype)):
        assert x.dtype == dtype
        assert set(np.unique(x)) == ({51, 102, 153} if x.size else set())


def test_every_builder_of_the_room_is_in_the_table():
    """Those without data of their own have no scale to lose."""
    drawn = {"glyphs", "sinusoid", "sine_or_line", "gaussian_process"}
    drawn |= {"bayesian_network", "structural_causal", "tree_ensemble"}
    drawn |= {"additive_model"}
    others = {"class_names", "episode_classes", "prior_of", "hyper_of"}
    others |= {"target_quantiles"}
    others |= {"class_count", "resized", "open_set"}  # of a task that stands
    others |= {"ratings"}  # numbers of categories and of users: no array of one type
    public = {n for n in dir(tasks) if n.islower() and callable(getattr(tasks, n))}
    assert public - drawn - others <= set(BUILDERS)


def test_a_pair_from_bytes_and_floats_is_the_owners_to_scale():
    pair = tasks.domain_pair(
        tasks.labelled(data("uint8")), tasks.Unlabelled(data("uint8").inputs)
    )
    assert pair(KEY).target.inputs.max() <= 1
    with pytest.raises(
        ValueError, match="target: got examples of int32, wants float32"
    ):
        tasks.domain_pair(
            tasks.labelled(data("uint8")), tasks.unlabelled(data("int32"))
        )


def test_numbers_that_do_not_fit_are_refused():
    big = from_counts(np.array([[2**40], [1]]), [1, 1], ("a", "b"))
    with pytest.raises(ValueError, match=r"inputs: got int64 from 1 to 1099511627776"):
        tasks.labelled(big)
    raw = big._replace(inputs=np.array(["a", "b"]))
    with pytest.raises(ValueError, match="inputs: got an array of <U1, wants numbers"):
        tasks.labelled(raw)
