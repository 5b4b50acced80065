"""Meta-Dataset's rules, on every episode that hypothesis thinks of; and what padding costs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

import jaxmeta as jm
from jaxmeta.data import from_counts
from jaxmeta.tasks import few_shot, meta_dataset, mixture
from jaxmeta.tasks.meta_dataset import _Sizes, composition
from jaxmeta.tasks.sampling import choose
from jaxmeta.train.predictions import predictions

FALSE_ALARM = 1e-3  # of each chi-squared test, over seeds; the seed is fixed

COUNTS = [2, 40, 7, 13, 6, 25, 9, 30, 4, 11, 60, 5]
OWNER = np.repeat(np.arange(len(COUNTS)), COUNTS)
NAMES = tuple(f"{group}/{i}" for i, group in enumerate("aaaaabbbbbbb"))
# An example is its own row number plus 1 (0 is padding): episodes tell what they are of.
ROWS = from_counts(np.arange(1, len(OWNER) + 1)[:, None], COUNTS, NAMES)
SIZES = {"min_ways": 3, "max_ways": 8, "max_queries": 4, "max_support": 60}

FLAT = meta_dataset(ROWS, **SIZES, max_contribution=20)
TREE = meta_dataset(
    ROWS, **SIZES, max_contribution=20, hierarchy=lambda name: name.split("/")[0]
)
SAMPLE = jax.jit(lambda task, key: task(key))
SAMPLE_MANY = jax.jit(lambda task, keys: jax.vmap(task)(keys))


def rows_of(batch):
    """The real rows of a batch, and the label of each."""
    targets, inputs = np.asarray(batch.targets), np.asarray(batch.inputs)[:, 0]
    assert batch.weights.dtype == jnp.float32
    real = np.asarray(batch.weights) == 1
    assert ((targets == 0) | (targets == 1)).all() and (targets.sum(1) == 1).all()
    assert (np.asarray(batch.weights)[~real] == 0).all()
    assert (inputs[~real] == 0).all() and (inputs[real] > 0).all()
    return inputs[real] - 1, targets[real].argmax(1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), grouped=st.booleans())
def test_an_episode_obeys_the_rules(seed, grouped):
    episode = SAMPLE(TREE if grouped else FLAT, jax.random.key(seed))
    (support, given), (query, asked) = rows_of(episode.support), rows_of(episode.query)
    assert len(set(support) | set(query)) == len(support) + len(query), "one twice"
    ways = given.max() + 1
    assert 3 <= ways <= 8
    assert sorted(set(given)) == sorted(set(asked)) == list(range(ways))
    classes = []
    for label in range(ways):
        (owner,) = set(OWNER[support[given == label]]) | set(
            OWNER[query[asked == label]]
        )
        classes.append(owner)
    assert len(set(classes)) == ways, "a class under two labels"
    if grouped:
        assert len({NAMES[c][0] for c in classes}) == 1, "two alphabets in one episode"
        assert ways <= [NAMES[c][0] for c in range(12)].count(NAMES[classes[0]][0])
    n = np.array(COUNTS)[classes]
    shots = np.bincount(given)
    queries = np.bincount(asked)
    assert (queries == min(4, (n // 2).min())).all()
    assert (shots >= 1).all() and (shots + queries <= n).all()
    assert len(support) <= min(60, np.minimum(20, n - queries).sum())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_an_episode_is_a_function_of_its_key(seed):
    key = jax.random.key(seed)
    jax.tree.map(np.testing.assert_array_equal, SAMPLE(FLAT, key), SAMPLE(FLAT, key))


def test_frequencies_are_those_of_the_rules():
    episodes = SAMPLE_MANY(FLAT, jax.random.split(jax.random.key(3), 4000))
    real = np.asarray(episodes.query.targets * episodes.query.weights[..., None])
    ways = (real.sum(1) > 0).sum(1)
    assert chisquare(np.bincount(ways)[3:9]).pvalue > FALSE_ALARM
    # a class is in an episode of w ways with probability w / 12, whatever its size
    label_0 = np.asarray(episodes.support.inputs)[:, 0, 0] - 1
    assert chisquare(np.bincount(OWNER[label_0])).pvalue > FALSE_ALARM
    # within a class every example is equally likely to be the first query
    first = np.asarray(episodes.query.inputs)[:, 0, 0] - 1
    for c in (1, 7, 10):
        mine = first[OWNER[first] == c] - ROWS.starts[c]
        assert chisquare(np.bincount(mine, minlength=COUNTS[c])).pvalue > FALSE_ALARM

    episodes = SAMPLE_MANY(TREE, jax.random.split(jax.random.key(4), 4000))
    owner = OWNER[np.asarray(episodes.support.inputs)[:, 0, 0] - 1]
    in_a = (owner < 5).sum()  # groups alike, though one has 5 classes and one has 7
    assert chisquare([in_a, 4000 - in_a]).pvalue > FALSE_ALARM


def test_omniglot_one_alphabet_an_episode(real_data):
    """Groups are the alphabets of the evaluation set; ways go up to all that it has."""
    data = jm.data.omniglot(real_data / "omniglot", split="official").test
    rows = from_counts(np.arange(len(data.inputs))[:, None], data.counts, data.names)
    task = meta_dataset(rows, hierarchy=lambda name: name.split("/")[0])
    episodes = SAMPLE_MANY(task, jax.random.split(jax.random.key(0), 300))
    owner = np.repeat(np.arange(len(data.names)), data.counts)
    alphabets = [name.split("/")[0] for name in data.names]
    drawn = []
    for inputs, targets, weights in zip(*map(np.asarray, episodes.query), strict=True):
        real = weights > 0
        classes = np.unique(owner[inputs[real, 0]])
        assert len(classes) == targets[real].any(0).sum() >= 5
        (alphabet,) = {alphabets[c] for c in classes}
        assert len(classes) <= alphabets.count(alphabet)
        drawn.append(alphabet)
    found = np.unique(drawn, return_counts=True)[1]
    assert len(found) == 20 and chisquare(found).pvalue > FALSE_ALARM


def published(uniform, weights, n, sizes):
    """Shots and queries by the equations of section 3.2, in NumPy, from given draws."""
    queries = min(sizes.max_queries, int((n // 2).min()))
    left = n - queries
    beta = 1 - uniform  # in (0, 1]
    total = np.ceil(beta * np.minimum(sizes.max_contribution, left)).sum()
    total = min(total, sizes.max_support)
    share = n * np.exp(weights) / (n * np.exp(weights)).sum()
    shots = np.minimum(np.floor(share * (total - len(n))) + 1, left)
    return shots, queries


def test_shots_follow_the_published_equations(x64):
    sizes = _Sizes(3, 8, 4, 60, 20)
    draw = jax.jit(lambda key, n, real: composition(key, n, real, sizes))
    rng = np.random.default_rng(0)
    for seed in range(200):
        key = jax.random.key(seed)
        ways = rng.integers(3, 9)
        n = rng.integers(2, 50, 8)
        shots, queries = draw(key, jnp.asarray(n), jnp.arange(8) < ways)
        size_key, weight_key = jax.random.split(key)
        log_2 = np.log(2)
        weights = jax.random.uniform(weight_key, (8,), minval=-log_2, maxval=log_2)
        # ceil(b x) of b in (0, 1] and floor(b' x) + 1 of b' = b in [0, 1) differ where
        # b x is whole only; b' = u is compared with b just above it
        uniform = 1 - np.nextafter(float(jax.random.uniform(size_key)), 2)
        want = published(uniform, np.asarray(weights)[:ways], n[:ways], sizes)
        np.testing.assert_array_equal(shots[:ways], want[0])
        assert (np.asarray(shots[ways:]) == 0).all() and queries == want[1]


def test_choose_gives_all_of_a_small_class_in_random_order():
    keys = jax.random.split(jax.random.key(0), 3000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: choose(key, 3, 5)))(keys))[:, :3]
    assert (np.sort(drawn, 1) == [0, 1, 2]).all()
    assert chisquare(np.bincount(drawn @ [9, 3, 1])[[5, 7, 11, 15, 19, 21]]).pvalue > (
        FALSE_ALARM
    )


def blobs(classes=10, seed=0):
    """Points around a centre for each class."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(4, 20, classes)
    centres = np.repeat(rng.normal(size=(classes, 4)), counts, axis=0)
    x = (centres + 0.3 * rng.normal(size=centres.shape)).astype(np.float32)
    return from_counts(x, counts, tuple(f"{seed}-{i}" for i in range(classes)))


SMALL = {"min_ways": 2, "max_ways": 5, "max_queries": 3, "max_support": 20}
BLOBS = meta_dataset(blobs(), **SMALL)


def head(ways):
    return jm.models.mlp(ways, hidden=(8,), activation=jnp.tanh)


def gradient_steps(build):
    def make(ways):
        return build(head(ways), criterion=jm.criteria.classification)

    return make


LEARNERS = {
    "protonet": lambda ways: jm.protonet(head(None)),
    "simple_shot": lambda ways: jm.simple_shot(head(None)),
    "matching_network": lambda ways: jm.matching_network(head(None)),
    "relation_network": lambda ways: jm.relation_network(head(None)),
    "r2d2": lambda ways: jm.r2d2(head(None)),
    "metaoptnet": lambda ways: jm.metaoptnet(head(None)),
    "baseline_plus_plus": lambda ways: jm.baseline_plus_plus(head(None), steps=5),
    "proto_maml": lambda ways: jm.proto_maml(
        head(None), optax.sgd(0.1), steps=2, criterion=jm.criteria.classification
    ),
    "maml": gradient_steps(
        lambda net, **kw: jm.maml(net, optax.sgd(0.3), steps=2, **kw)
    ),
}

# The rest of MAML's relatives, whose programs take their time to compile. (In MANN and
# SNAIL labels are inputs: their padded rows are a law of the contract, their width fixed.)
SLOW = {
    "anil": gradient_steps(
        lambda net, **kw: jm.anil(net, optax.sgd(0.3), steps=2, **kw)
    ),
    "meta_sgd": gradient_steps(
        lambda net, **kw: jm.meta_sgd(net, init_rate=0.3, steps=2, **kw)
    ),
    "maml_plus_plus": gradient_steps(
        lambda net, **kw: jm.maml_plus_plus(net, steps=2, init_rate=0.3, **kw)
    ),
    "imaml": gradient_steps(
        lambda net, **kw: jm.imaml(net, optax.sgd(0.2), steps=3, lam=1.0, **kw)
    ),
    "reptile": gradient_steps(
        lambda net, **kw: jm.reptile(net, optax.sgd(0.3), steps=2, **kw)
    ),
    "cavia": gradient_steps(
        lambda net, **kw: jm.cavia(
            net, optax.sgd(1.0), context=4, film="layer1", steps=2, **kw
        )
    ),
    "lstm_meta_learner": gradient_steps(
        lambda net, **kw: jm.lstm_meta_learner(
            net, steps=2, hidden=4, input_bias=(-1.0, 0.0), **kw
        )
    ),
    "meta_transfer": lambda ways: jm.meta_transfer(
        head(None),
        optax.sgd(0.3),
        steps=2,
        criterion=jm.criteria.classification,
    ),
}


def ways_of(episode):
    counted = episode.support.targets * episode.support.weights[:, None]
    return (counted.sum(0) > 0).sum()


def cut(meta, ways):
    """A network of 5 outputs as one of `ways` outputs: the others' weights are dropped."""

    def leaf(path, x):
        named = "head" in jax.tree_util.keystr(path)
        return x[..., :ways] if named and x.shape[-1:] == (5,) else x

    return jax.tree_util.tree_map_with_path(leaf, meta)


@pytest.mark.parametrize(
    "name", [*LEARNERS, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)]
)
def test_padding_of_rows_and_columns_changes_nothing(name, x64):
    """An episode of 3 ways in the shape of 5: the same predictions."""
    key = jax.random.key(2)
    keys = (jax.random.key(i) for i in range(100))
    episodes = (jm.testing.subject.cast(SAMPLE(BLOBS, k)) for k in keys)
    ways = 3
    episode = next(e for e in episodes if ways_of(e) == ways)
    real = [np.flatnonzero(batch.weights) for batch in episode]
    plain = jm.Episode(
        *(
            jm.Batch(b.inputs[r], b.targets[r, :ways])
            for b, r in zip(episode, real, strict=True)
        )
    )
    build = (LEARNERS | SLOW)[name]
    padded_learner, plain_learner = build(5), build(ways)
    meta = jm.testing.subject.cast(padded_learner.init(key, episode))

    @jax.jit
    def both(meta, key):
        padded = predictions(padded_learner, meta, episode, key)
        return padded, predictions(plain_learner, cut(meta, ways), plain, key)

    padded, unpadded = both(meta, key)
    assert (padded[:, ways:] < -1e30).all()
    np.testing.assert_allclose(padded[real[1], :ways], unpadded, rtol=0, atol=1e-6)


class Traces:
    """Shapes that a function was traced with; no part of what the function is."""

    def __init__(self):
        self.shapes = []


def test_all_sizes_evaluate_with_one_compilation():
    learner, traces = jm.protonet(head(None)), Traces()
    meta = learner.init(jax.random.key(0), BLOBS(jax.random.key(0)))

    def accuracy(outputs, targets, weights):
        traces.shapes.append(targets.shape)
        return jm.metrics.accuracy(outputs, targets, weights)

    def evaluated(seed):
        key = jax.random.key(seed)
        found = jm.evaluate(learner, meta, BLOBS, key, episodes=40, criterion=accuracy)
        return found.mean, len(traces.shapes)

    first, second = evaluated(0), evaluated(1)
    assert first[0] != second[0] and min(first[0], second[0]) > 0.6
    assert first[1] == second[1], "another program for other sizes"
    assert set(traces.shapes) == {(15, 5)}


def test_a_mixture_draws_its_sources_by_weight():
    sources = [blobs(seed=0), blobs(seed=1)]
    tasks = [meta_dataset(data, **SMALL) for data in sources]
    task = mixture(tasks, [1, 3])
    episodes = SAMPLE_MANY(task, jax.random.split(jax.random.key(1), 2000))
    first = np.asarray(episodes.support.inputs)[:, 0]
    of_0 = (first[:, None] == sources[0].inputs).all(-1).any(1)
    of_1 = (first[:, None] == sources[1].inputs).all(-1).any(1)
    assert (of_0 ^ of_1).all()
    assert chisquare([of_0.sum(), of_1.sum()], [500, 1500]).pvalue > FALSE_ALARM
    meta = (learner := jm.protonet(head(None))).init(
        jax.random.key(0), task(jax.random.key(0))
    )
    assert jm.evaluate(learner, meta, task, jax.random.key(0), episodes=20).mean > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_ways": 9}, r"min_ways: got 9, wants at most max_ways 8"),
        ({"min_ways": 0}, r"min_ways: got 0, wants an integer >= 1"),
        ({"max_support": 7}, r"max_support: got 7, wants at least max_ways 8"),
        (
            {"min_ways": 13, "max_ways": 20},
            r"got 13, wants at most 12, the classes of the data set",
        ),
        (
            {"min_ways": 6, "hierarchy": lambda name: name[0]},
            r"got 6, wants at most 5, the classes of group 'a'",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_once(change, message):
    with pytest.raises(ValueError, match=message):
        meta_dataset(ROWS, **{**SIZES, **change})


def test_more_that_cannot_be():
    lonely = from_counts(np.zeros((4, 1)), [3, 1], ("a", "b"))
    with pytest.raises(ValueError, match="class 'b': got 1 examples, wants at least 2"):
        meta_dataset(lonely, min_ways=2, max_ways=2)
    with pytest.raises(ValueError, match="tasks: got none, wants one or more"):
        mixture([])
    with pytest.raises(
        ValueError, match=r"weights: got \[1, 2\], wants 1 numbers >= 0"
    ):
        mixture([BLOBS], [1, 2])
    with pytest.raises(ValueError, match=r"tasks: got support/.* from task 0 and"):
        mixture([BLOBS, few_shot(blobs(), 2, 1, 1)])
