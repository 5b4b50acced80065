"""Learners as options: what a signature gives, and what is written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmeta import criteria, models
from jaxmeta.core import Features, MetaLearner
from jaxmeta.learners import LEARNERS
from jaxmeta.learners.protonet import protonet
from jaxmeta.recipes.methods import table
from jaxmeta.recipes.parts import Room, Side
from jaxmeta.runs import ConfigError
from jaxmeta.runs.docstrings import summary_of
from jaxmeta.runs.making import make, options_of, without_data
from jaxmeta.runs.options import own_options
from jaxmeta.runs.registry import known
from jaxmeta.tasks import sinusoid
from jaxmeta.testing import probe

TINY = {"network": "mlp", "hidden": (8,), "size": 8, "ways": 2, "queries": 2}


def room(criterion=criteria.classification, outputs=3, support=6):
    def network(outputs):
        return models.mlp(outputs, hidden=(4,))

    side = Side(outputs, support)
    return Room(network, side, side, criterion, 100)


@pytest.mark.parametrize("name", table())
def test_every_option_says_what_it_is(name):
    assert summary_of(table()[name])
    assert [o.name for o in own_options(table()[name]) if not o.help] == []


def test_a_new_learner_is_an_option_with_its_own(monkeypatch):
    def sharp(model: Features, *, sharpness: float = 2.0) -> MetaLearner:
        """Prototypes, sharply.

        Args:
          sharpness: how sharply.
        """
        return protonet(model, temperature=1 / sharpness)

    monkeypatch.setitem(LEARNERS, "sharp", sharp)
    recipe = known()["few-shot"]
    option = options_of(recipe, {"learner": "sharp"}, None).options["sharpness"]
    assert (option.default, option.owner, option.help) == (
        2.0,
        "learner",
        "how sharply.",
    )
    made = make(recipe, {**TINY, "learner": "sharp", "sharpness": 3.0})
    assert made.options["sharpness"] == 3.0
    assert made.experiment.title.startswith("sharp, 2-way 1-shot")


@pytest.mark.parametrize(
    "learner", ["protonet", "proto_maml", "mann", "snail", "meta_gan"]
)
def test_a_classifier_refuses_a_regression(learner):
    with pytest.raises(ConfigError, match=f"learner: got {learner}"):
        make(known()["regression"], {"learner": learner})


def test_a_neural_process_refuses_classes():
    with pytest.raises(ConfigError, match="learner: got cnp"):
        make(known()["few-shot"], TINY | {"learner": "cnp"})


@pytest.mark.parametrize("learner", ["maml", "snail", "mann", "meta_transfer"])
def test_a_fixed_number_of_classes_is_said(learner):
    options = TINY | {"learner": learner, "train_ways": 4}
    with pytest.raises(ConfigError, match="train_ways: got 4, wants 2"):
        make(known()["few-shot"], options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"learner": "reptile", "inner_steps": 0}, "inner_steps: got 0"),
        ({"learner": "maml", "inner_rate": 0.0}, "inner_rate: got 0.0"),
        ({"learner": "lstm_meta_learner", "inner_rate": 1.5}, "inner_rate: got 1.5"),
        ({"learner": "meta_gan", "size": 10}, "size: got 10"),
        ({"learner": "meta_gan", "generator_rate": -1.0}, "generator_rate: got -1.0"),
        ({"learner": "protonet", "batch": "8"}, "batch: got '8'"),
    ],
)
def test_bad_options_name_themselves(options, match):
    with pytest.raises(ConfigError, match=match):
        make(known()["few-shot"], TINY | options)


def test_a_small_support_set_is_drawn_whole():
    """Reptile's minibatch of training is larger than the support set of the test."""
    method = table()["reptile"](room()._replace(test=Side(3, 3)), inner_batch=5)
    episode = probe(ways=3, shots=1)(jax.random.key(0))
    meta = method.learner.init(jax.random.key(1), episode)
    fast = method.tester.adapt(meta, episode.support, jax.random.key(2))
    outputs = method.tester.predict(meta, fast, episode.query.inputs)
    assert bool(jnp.isfinite(outputs).all())


@pytest.mark.parametrize("name", ["reptile", "imaml"])
def test_no_inner_step_is_the_network_as_it_is(name):
    method = table()[name](room())
    episode = probe(ways=3)(jax.random.key(0))
    meta = method.learner.init(jax.random.key(1), episode)
    plain = method.at_steps(0)
    fast = plain.adapt(meta, episode.support, jax.random.key(2))
    found = plain.predict(meta, fast, episode.query.inputs)
    wants, _ = models.mlp(3, hidden=(4,)).apply(meta, episode.query.inputs)
    np.testing.assert_array_equal(found, wants)


def test_particles_have_noise_where_targets_are_real():
    for name in ("platipus", "bmaml"):
        method = table()[name](room(criteria.regression, outputs=1), noise=0.3)
        episode = sinusoid()(jax.random.key(0))
        meta = method.learner.init(jax.random.key(1), episode)
        fast = method.tester.adapt(meta, episode.support, jax.random.key(2))
        believed = method.predictive(meta, fast, episode.query.inputs)
        assert believed.std is not None and bool((believed.std > 0).all())


def test_an_epoch_is_a_hundredth_of_the_run():
    """MAML++ anneals its weights over the run that it is in, however long."""
    short, long = (
        table()["maml_plus_plus"](room()._replace(steps=steps)).learner
        for steps in (100, 10_000)
    )
    episode = probe(ways=3)(jax.random.key(0))
    meta = short.init(jax.random.key(1), episode)
    late = meta._replace(buffers=meta.buffers | {"step": jnp.float32(50)})
    key = jax.random.key(2)
    first, second = (learner.loss(late, episode, key)[0] for learner in (short, long))
    assert abs(float(first - second)) > 1e-6


def test_scores_of_pairs_are_no_beliefs():
    assert table()["relation_network"](room()).predictive is None
    assert table()["protonet"](room()).predictive is not None


def test_how_to_differentiate_is_an_option_with_its_own():
    options = {"learner": "imaml", "damping": 3.0, "hidden": (4,)}
    made = make(known()["regression"], options)
    assert made.options["gradient"] == "implicit" and made.options["damping"] == 3.0
    first, exact = (
        make(known()["regression"], {"gradient": name, "hidden": (4,)}).experiment
        for name in ("first_order", "unrolled")
    )
    episode = exact.tasks.train(jax.random.key(0))
    meta = exact.learner.init(jax.random.key(1), episode)

    def slope(learner):
        def loss(params):
            return learner.loss(
                meta._replace(params=params), episode, jax.random.key(2)
            )[0]

        return jax.grad(loss)(meta.params)

    same = jax.tree.map(jnp.allclose, slope(first.learner), slope(exact.learner))
    assert not all(jax.tree.leaves(same))


def test_layers_and_fits_are_no_inner_steps():
    """`steps` of what adapts no parameters is an option like others."""
    for name in ("matching_network", "baseline_plus_plus"):
        names = {o.name for o in own_options(table()[name])}
        assert "steps" in names and "inner_steps" not in names
        assert table()[name](room()).at_steps is None


def test_maps_are_asked_for_where_there_are_any():
    options = {"learner": "relation_network", "filters": 4, "ways": 2, "queries": 2}
    with without_data():
        made = make(known()["few-shot"], options)
    episode = made.experiment.tasks.train(jax.random.key(0))
    shapes = jax.eval_shape(made.experiment.learner.init, jax.random.key(1), episode)
    kernels = [
        x.shape for x in jax.tree.leaves(shapes.params["relation"]) if x.ndim == 4
    ]
    assert kernels and kernels[0][2] == 8  # channels of two maps, side by side


@pytest.mark.parametrize("learner", ["oml", "online_maml", "anml"])
def test_a_stream_has_no_number_of_steps_and_a_fixed_head(learner):
    names = {o.name for o in own_options(table()[learner])}
    assert {"inner", "inner_rate", "gradient"} <= names and "inner_steps" not in names
    method = table()[learner](room(), inner_rate=0.3)
    episode = probe(ways=3)(jax.random.key(0))
    meta = method.learner.init(jax.random.key(1), episode)
    fast = method.tester.adapt(meta, episode.support, jax.random.key(2))
    slower = table()[learner](room(), inner_rate=0.003).tester
    slow = slower.adapt(meta, episode.support, jax.random.key(2))
    assert not jnp.allclose(*(jax.tree.leaves(f["head"])[0] for f in (fast, slow)))
    with pytest.raises(ConfigError, match="train_ways: got 4, wants 2"):
        make(known()["few-shot"], TINY | {"learner": learner, "train_ways": 4})
    with pytest.raises(ConfigError, match="gradient: got"):
        make(known()["few-shot"], TINY | {"learner": learner, "gradient": "implicit"})
