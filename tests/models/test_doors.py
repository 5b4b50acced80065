"""Flax modules in and out: modes, statistics, what is refused and how it is said."""

import inspect
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxmeta as jm
from jaxmeta.models.modes import INFERENCE, TRAINING
from jaxmeta.tree import leaves, paths

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (6, 3))


class Normed(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.norm(self.first(x))))


class LinenNormed(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train, name="norm")(nn.Dense(4)(x))
        return nn.Dense(2)(nn.relu(x))


def normed(**options):
    return jm.models.from_nnx(lambda rngs: Normed(rngs), **options)


def linen_normed(**options):
    return jm.models.from_linen(LinenNormed(), **options)


@pytest.mark.parametrize("build", [normed, linen_normed])
def test_statistics_of_the_batch_or_of_training(build):
    running, batch = build(), build(statistics="batch")
    meta = running.init(KEY, X)
    assert jax.tree.structure(batch.init(KEY, X)) == jax.tree.structure(meta)
    trained, moved = running.apply(meta, X, train=True)
    found, kept = batch.apply(meta, X)
    np.testing.assert_allclose(found, trained, rtol=1e-5, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, kept, meta.buffers)
    # in training both gather averages: the same `Meta` serves both
    after = batch.apply(meta, X, train=True)[1]
    jax.tree.map(np.testing.assert_array_equal, after, moved)
    assert np.abs(running.apply(meta, X)[0] - trained).max() > 1e-2
    assert jm.models.running_averages_at_test(running, meta, X) == ("norm",)
    assert jm.models.running_averages_at_test(batch, meta, X) == ()


def test_which_tests_run_by_averages_that_training_does_not_use():
    images = jnp.zeros((2, 4, 4, 1))
    running = jm.models.conv4(None, filters=2, blocks=1, norm="batch_running")

    def asked(model):
        meta = jax.eval_shape(model.init, KEY, images)
        return jm.models.running_averages_at_test(model, meta, images)

    wrapped = jm.models.half_precision(
        jm.models.with_head(running, jm.models.linear_head(2))
    )
    assert asked(running) == asked(wrapped) == ("block1/norm",)
    assert asked(jm.models.per_step(running, 2)) == ("block1/norm",)
    # frozen averages are those of training, too
    assert asked(jm.models.scale_shift(running)) == ()
    assert asked(jm.models.flat()) == ()
    by_hand = jm.Model(lambda key, x: jm.Meta({}), lambda meta, x, **options: (x, ()))
    assert asked(by_hand) == ()


def test_unrolled_learners_learn_by_the_statistics_that_they_test_by():
    """A step that lowers the loss in training also does at inference, with "batch"."""
    support = jm.Batch(10 + X, jax.nn.one_hot(jnp.arange(6) % 2, 2))
    learner = jm.maml(normed(statistics="batch"), optax.sgd(0.5), steps=3)
    meta = learner.init(KEY, jm.Episode(support, support))
    fast = learner.adapt(meta, support, KEY)
    outputs = learner.predict(meta, fast, support.inputs)
    value, _ = learner.loss(meta, jm.Episode(support, support), KEY)
    found = jm.losses.cross_entropy(outputs, support.targets)
    np.testing.assert_allclose(found, value, rtol=1e-4)


def takes(flag, function):
    """A `__call__` with an argument of that name."""

    def call(self, x, **given):
        return function(self, x, given.get(flag, flag in INFERENCE))

    kinds = inspect.Parameter
    names = [kinds(name, kinds.POSITIONAL_OR_KEYWORD) for name in ("self", "x", flag)]
    call.__signature__ = inspect.Signature(names)
    return call


@pytest.mark.parametrize("flag", [*TRAINING, *INFERENCE])
def test_the_mode_by_any_of_its_names(flag):
    """The flag reaches dropout: something is dropped in training, nothing at inference."""

    def still(value):
        return value if flag in INFERENCE else not value

    def drop(self, x, value):
        return nn.Dropout(0.5, deterministic=still(value))(x)

    class ByCall(nn.Module):
        __call__ = nn.compact(takes(flag, drop))

    class ByField(nn.Module):
        __annotations__ = {flag: bool}
        locals()[flag] = flag in INFERENCE

        @nn.compact
        def __call__(self, x):
            return drop(self, x, getattr(self, flag))

    class Inner(nnx.Module):
        def __init__(self, rngs):
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        __call__ = takes(flag, lambda s, x, v: s.dropout(x, deterministic=still(v)))

    class Outer(nnx.Module):
        def __init__(self, rngs):
            self.inner = Inner(rngs)

        __call__ = takes(flag, lambda self, x, value: self.inner(x, **{flag: value}))

    class Deaf(Outer):
        def __call__(self, x):
            return self.inner(x)

    x = jnp.ones((20, 5))
    for model in (
        jm.models.from_linen(ByCall()),
        jm.models.from_linen(ByField()),
        jm.models.from_nnx(lambda rngs: Inner(rngs)),
        jm.models.from_nnx(lambda rngs: Outer(rngs)),
    ):
        meta = model.init(KEY, x)
        assert (model.apply(meta, x, key=KEY)[0] == 1).all()
        dropped = model.apply(meta, x, train=True, key=KEY)[0] == 0
        assert 0.2 < dropped.mean() < 0.8
    with pytest.raises(ValueError, match=f"inner: takes {flag}= and has dropout"):
        jm.models.from_nnx(lambda rngs: Deaf(rngs)).init(KEY, x)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (lambda: nn.Dropout(0.5, deterministic=True, name="odd"), "drops units"),
        (
            lambda: nn.BatchNorm(use_running_average=True, name="odd"),
            "has running averages",
        ),
        (
            lambda: nn.SelfAttention(
                1, dropout_rate=0.5, deterministic=True, name="odd"
            ),
            "drops units",
        ),
    ],
)
def test_linen_modules_that_cannot_be_told_the_mode(layer, text):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layer()(x)

    x = jnp.ones((2, 3, 4))
    with pytest.raises(ValueError, match=rf"module: odd {text}.*let its __call__ take"):
        jm.models.from_linen(Net()).init(KEY, x)


def test_a_norm_that_always_takes_the_batch_needs_no_flag():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.BatchNorm(use_running_average=False)(x)

    with pytest.raises(ValueError, match='or say statistics="batch"'):
        jm.models.from_linen(Net()).init(KEY, X)
    model = jm.models.from_linen(Net(), statistics="batch")
    y, _ = model.apply(model.init(KEY, X), X)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-6)


def test_layers_of_flax_as_whole_networks():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (
            jm.models.from_linen(nn.BatchNorm()),
            jm.models.from_linen(nn.BatchNorm(use_running_average=True)),
            jm.models.from_linen(nn.Dropout(0.5)),
            jm.models.from_nnx(lambda rngs: nnx.BatchNorm(3, rngs=rngs)),
            jm.models.from_nnx(lambda rngs: nnx.Dropout(0.5, rngs=rngs)),
        ):
            meta = model.init(KEY, X)
            test = model.apply(meta, X, key=KEY)[0]
            assert np.abs(test - X).max() < 1e-4
            assert np.abs(model.apply(meta, X, train=True, key=KEY)[0] - X).max() > 0.1


def test_a_trained_module_comes_in_and_goes_out():
    module = Normed(nnx.Rngs(7))
    tx = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)
    tx.update(module, nnx.grad(lambda m: jnp.sum(m(X) ** 2))(module))
    model = jm.models.from_nnx(module)
    meta = model.init(KEY, X)
    module.eval()
    np.testing.assert_array_equal(model.apply(meta, X)[0], module(X))
    batch = jm.Batch(X, jax.nn.one_hot(jnp.arange(6) % 2, 2))
    learner = jm.maml(jm.models.from_nnx(module, statistics="batch"), optax.sgd(0.1))
    start = learner.init(KEY, jm.Episode(batch, batch))
    jax.tree.map(np.testing.assert_array_equal, start.params, meta.params)
    grads = jax.grad(lambda p: learner.loss(start._replace(params=p), jm.Episode(batch, batch), KEY)[0])(start.params)  # noqa: E501 # fmt: skip
    moved = meta._replace(params=jax.tree.map(lambda p, g: p - g, start.params, grads))
    out = jm.models.to_nnx(model, moved)
    assert type(out) is Normed and type(out.norm) is nnx.BatchNorm
    out.eval()
    np.testing.assert_array_equal(out(X), model.apply(moved, X)[0])
    again = jm.models.from_nnx(out).init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, again, moved)
    # what happens to the module afterwards is not seen
    module.head.bias[...] += 1.0
    np.testing.assert_array_equal(model.init(KEY, X).params["head"]["bias"], meta.params["head"]["bias"])  # noqa: E501 # fmt: skip


def test_networks_of_the_library_go_out_too():
    model = jm.models.mlp(2, hidden=(3,))
    meta = model.init(KEY, X)
    out = jm.models.to_nnx(model, meta, X)
    np.testing.assert_array_equal(out(X), model.apply(meta, X)[0])
    with pytest.raises(ValueError, match="inputs: got None, wants an example"):
        jm.models.to_nnx(model, meta)
    with pytest.raises(ValueError, match=r"meta: its params differ .* head/bias"):
        wrong = {**meta.params, "head": {"kernel": meta.params["head"]["kernel"]}}
        jm.models.to_nnx(model, jm.Meta(wrong), X)
    with pytest.raises(TypeError, match="model: got one that is no NNX module"):
        jm.models.to_nnx(jm.models.flat(), meta)


def test_what_one_call_leaves_behind_is_no_buffer():
    class Sown(Normed):
        def __call__(self, x):
            self.seen = nnx.Intermediate(x)
            return super().__call__(x)

    model = jm.models.from_nnx(lambda rngs: Sown(rngs))
    meta = model.init(KEY, X)
    _, buffers = model.apply(meta, X, train=True)
    assert paths(buffers) == paths(meta.buffers)


@pytest.mark.parametrize("part", [nn.Dense(4), nn.Sequential([nn.Dense(4), nn.relu])])
def test_linen_without_buffers_inside_other_things(part):
    body = jm.models.from_linen(part)
    joined = jm.models.with_head(body, jm.models.from_linen(nn.Dense(2)))
    meta = joined.init(KEY, X)
    y, buffers = joined.apply(meta, X, train=True)
    assert y.shape == (6, 2) and leaves(buffers) == []
    assert body.apply(jm.Meta(body.init(KEY, X).params), X)[1] == ()
    support = jm.Batch(X, jax.nn.one_hot(jnp.arange(6) % 2, 2))
    head = jm.models.from_linen(nn.Dense(2))
    learner = jm.meta_transfer(body, optax.sgd(0.1), head=head)
    episode = jm.Episode(support, support)
    start = learner.init(KEY, episode)
    assert np.isfinite(learner.loss(start, episode, KEY)[0])
    fast = learner.adapt(start, support, KEY)
    assert learner.predict(start, fast, X).shape == (6, 2)


def linear(rngs):
    return nnx.Linear(3, 2, rngs=rngs)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: jm.models.from_nnx(nnx.Linear),
            r"from_nnx\(lambda rngs: Linear\(\.\.\.",
        ),
        (lambda: jm.models.from_nnx(nn.Dense), r"from_linen\(Dense\(\.\.\.\)\)"),
        (lambda: jm.models.from_nnx(nn.Dense(2)), "from_linen"),
        (lambda: jm.models.from_nnx(3), "build: got int, wants a function"),
        (
            lambda: jm.models.from_nnx(lambda rngs: None).init(KEY, X),
            "build: it returned NoneType",
        ),
        (
            lambda: jm.models.from_nnx(lambda rngs: nnx.Linear).init(KEY, X),
            "build: it returned Linear",
        ),
        (
            lambda: jm.models.from_linen(nn.Dense),
            r"class Dense, wants .*Dense\(\.\.\.\)",
        ),
        (lambda: jm.models.from_linen(nnx.Linear), "from_nnx"),
        (lambda: jm.models.from_linen(linear(nnx.Rngs(0))), "from_nnx"),
        (lambda: jm.models.from_linen(linear), "module: got function"),
        (lambda: jm.models.from_linen(nn.Dense(2).bind({})), "bound"),
        (lambda: jm.models.check_model(linear), "model: got function, wants a Model"),
        (lambda: jm.models.check_model(nn.Dense(2)), r"from_linen\(Dense\(\.\.\.\)\)"),
        (lambda: jm.models.check_model(nn.Dense), r"from_linen\(Dense\(\.\.\.\)\)"),
        (
            lambda: jm.models.check_model(nnx.Linear, "head"),
            r"head: .*from_nnx\(lambda rngs: Linear",
        ),
        (
            lambda: jm.models.with_head(jm.models.flat(), linear(nnx.Rngs(0))),
            r"head: got an NNX module, wants a Model: .*from_nnx\(Linear",
        ),
    ],
)
def test_what_is_no_model_is_told_the_door(call, text):
    with pytest.raises(TypeError, match=text):
        call()


def test_other_refusals():
    for door in (normed, linen_normed):
        with pytest.raises(ValueError, match="statistics: got 'mean', wants"):
            door(statistics="mean")


class Odd(nnx.Module):
    """A norm by another name."""

    def __init__(self, rngs):
        self.bn = nnx.BatchNorm(3, rngs=rngs)
        self.norm = nnx.LayerNorm(3, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.bn(x))


class LinenOdd(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.BatchNorm(use_running_average=not train, name="bn")(x)


def test_norms_are_not_missed_because_of_their_names():
    odd = jm.models.from_nnx(lambda rngs: Odd(rngs))
    by_hand = jm.Model(
        lambda key, x: jm.Meta({"w": jnp.ones(3)}), lambda meta, x, **options: (x, ())
    )
    every = r"bn/bias, bn/scale, norm/bias, norm/scale"
    for model, text in (
        (odd, "select: misses bn, wants some of " + every),
        (
            jm.models.with_head(odd, jm.models.linear_head(2)),
            "select: misses bn, wants",
        ),
        (
            jm.models.from_linen(LinenOdd()),
            "select: misses bn, wants some of bn/bias, bn",
        ),
        (by_hand, "select: matches no parameter, wants some of w"),
    ):
        with pytest.raises(ValueError, match=text):
            jm.models.per_step(model, 2).init(KEY, X)
    with pytest.raises(ValueError, match=r"select: matches no .* bias, kernel"):
        select = lambda path: "norm" in path  # noqa: E731
        jm.models.per_step(jm.models.from_nnx(linear), 2, select=select).init(KEY, X)
    names = lambda path: path.startswith(("bn", "norm"))  # noqa: E731
    meta = jm.models.per_step(odd, 2, select=names).init(KEY, X)
    assert {x.shape for x in leaves(meta)} == {(2, 3)}
    # no norm at all: nothing to copy, and nothing missed
    meta = jm.models.per_step(jm.models.from_nnx(linear), 2).init(KEY, X)
    assert meta.params["kernel"].shape == (3, 2)
