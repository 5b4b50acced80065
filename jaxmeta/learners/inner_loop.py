"""What MAML and its kin do: `argmin` on the support set, a loss on the query set."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta import tree
from jaxmeta.checks import at_least
from jaxmeta.core import (
    Array,
    Aux,
    Batch,
    Criterion,
    Episode,
    Key,
    Meta,
    MetaLearner,
    Model,
    PyTree,
    Rule,
    Scalar,
)
from jaxmeta.criteria import as_criterion
from jaxmeta.functional.rows import check_minibatch, minibatch
from jaxmeta.gradients import (
    Annealed,
    Argmin,
    Evolution,
    Gradient,
    Implicit,
    Unrolled,
    argmin,
    first_order,
)
from jaxmeta.learners.common import Part, Slow, learned, warn_of_averages
from jaxmeta.learners.differentiated import (
    Loss,
    by_values,
    check_gradient,
    check_implicit,
    differentiates,
    watched,
)
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.padded import learner_of
from jaxmeta.rules import check_differentiable

QueryWeights = Array | Callable[[Array], Array]


class Family(NamedTuple):
    """A learner that adapts by an inner loop, with everything said; options as of `maml`.

    The functions below are its four; `unrolled_learner` makes a `MetaLearner` of them.
    """

    part: Part
    slow: Slow
    inner: optax.GradientTransformation | Rule
    steps: int
    gradient: Gradient
    criterion: Criterion
    inner_criterion: Criterion
    inner_batch: int | None
    query_weights: QueryWeights | None
    proximal: float | None

    @property
    def scheduled(self) -> bool:
        """Whether something depends on the outer step, which is then in the buffers."""
        return isinstance(self.gradient, Annealed) or callable(self.query_weights)


class Opened(NamedTuple):
    """A learner's `Meta`, taken apart."""

    net: Meta
    solver: optax.GradientTransformation
    now: Array | None


def opened(how: Family, meta: Meta) -> Opened:
    params, solver = how.slow.open(meta.params)
    if not how.scheduled:
        return Opened(Meta(params, meta.buffers), solver, None)
    net = Meta(params, meta.buffers["model"])
    return Opened(net, solver, meta.buffers["step"])


def descend(
    how: Family,
    meta: Meta,
    support: Batch,
    train: bool,
    key: Key,
    visit: Callable | None = None,
    watch: Array | float = 0.0,
) -> Argmin:
    """What MAML and its kin do to a task: `argmin` on its support set.

        phi_K = argmin_phi L(phi, meta; S)   by K steps from phi_0(meta, S)

    The hypers are the learner's `Meta`: the network with what does not adapt, and the
    rule's own parameters.
    """

    def loss(phi, meta, seen):
        k, noise = seen
        batch = support
        if how.inner_batch is not None:
            noise, drawing = jax.random.split(noise)
            batch = minibatch(batch, how.inner_batch, drawing)
        net = opened(how, meta).net
        outputs, _ = how.part.apply(
            net, phi, batch.inputs, k, train, noise, batch.weights
        )
        outputs = how.inner_criterion.prepare(outputs, support)
        return how.inner_criterion.loss(outputs, batch.targets, batch.weights)

    each = lambda k: (k, jax.random.fold_in(key, k))  # noqa: E731
    if isinstance(how.gradient, Implicit):
        # one loss for all steps, or it would have no minimum
        last = (max(how.steps - 1, 0), key)
        task, batches = (lambda phi, meta: loss(phi, meta, last)), None
    else:
        task, batches = loss, each
    net, _, now = opened(how, meta)
    return argmin(
        task,
        how.part.start(net, support, train, key),
        meta,
        lambda meta: opened(how, meta).solver,
        steps=how.steps,
        gradient=how.gradient,
        batches=batches,
        proximal=how.proximal,
        visit=visit,
        now=now,
        watch=watch,
    )


def start_meta(how: Family, key: Key, episode: Episode) -> Meta:
    """`init` of the learner."""
    net = how.part.init(key, episode.support.inputs)
    phi = how.part.start(net, episode.support, False, key)
    if how.steps and differentiates(how.gradient):
        # masks by name are judged where names are
        check_differentiable(how.inner, phi, steps=how.steps)
    if how.part.gather is None:  # else there are averages for each inner step
        bare = Model(how.part.init, lambda m, x, *, train=False, key=None: how.part.apply(
            m, phi, x, 0, train, key, None
        ))  # fmt: skip
        warn_of_averages(bare, net, episode.support.inputs)
    meta = how.slow.init(net, phi)
    if how.scheduled:
        # floating point, as all buffers: the mean over tasks keeps it exact
        buffers = {"model": meta.buffers, "step": jnp.zeros(())}
        meta = meta._replace(buffers=buffers)
    return meta


def adapted(how: Family, meta: Meta, support: Batch, key: Key) -> PyTree:
    """`adapt` of the learner."""
    return descend(how, meta, support, False, key).params


def answers(how: Family, meta: Meta, fast: PyTree, inputs: PyTree, weights=None):
    """`predict` of the learner."""
    net = opened(how, meta).net
    return how.part.apply(net, fast, inputs, how.steps - 1, False, None, weights)[0]


def judge(how: Family, meta: Meta, episode: Episode, key: Key, phi: PyTree, k):
    """Query loss, metrics and buffers of phi_k."""
    at, query = jax.random.fold_in(key, how.steps + k), episode.query
    outputs, buffers = how.part.apply(
        opened(how, meta).net, phi, query.inputs, k - 1, True, at, query.weights
    )
    return *judged(how.criterion, outputs, episode.support, query), buffers


def query_loss(
    how: Family, meta: Meta, episode: Episode, key: Key, watch=0.0
) -> tuple[Scalar, Aux]:
    """`loss` of the learner: that of the queries after the inner loop, or after each
    step, by their weights."""
    net, _, now = opened(how, meta)
    judging = partial(judge, how, meta, episode, key)
    gather = how.part.gather if tree.leaves(net.buffers) else None
    run = partial(descend, how, meta, episode.support, True, key)
    if how.steps == 0 or (how.query_weights is None and gather is None):
        found = run(watch=watch)
        value, report, buffers = judging(found.params, how.steps)
        if found.report is not None:
            report = {"inner_gap": found.report.gap} | report
    else:
        w = step_weights(how, now)
        needed = w if gather is None else None
        visit = partial(judge_if_needed, judging, needed, how.steps)
        values, reports, visited = run(visit).visits
        value = jnp.sum(w.astype(values.dtype) * values)
        report, last = jax.tree.map(lambda x: x[-1], (reports, visited))
        buffers = last if gather is None else gather(net.buffers, visited)
    if now is not None:
        buffers = {"model": buffers, "step": jnp.round(now) + 1}
    return value, Aux(report, buffers)


def step_weights(how: Family, now: Any) -> Array:
    """w_1..K of the query losses after each step."""
    weights = how.query_weights
    if weights is None:
        return jnp.zeros(how.steps).at[-1].set(1.0)
    return weights(now) if callable(weights) else weights


def judge_if_needed(judging, w: Array | None, steps: int, phi: PyTree, k: Array):
    """A schedule ends with weights of 0: those passes are not worth running."""
    if w is None:
        return judging(phi, k)
    nothing = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(judging, phi, k)
    )
    needed = (w[k - 1] != 0) | (k == steps)
    return lax.cond(needed, judging, lambda phi, k: nothing, phi, k)


def unrolled_learner(
    part: Part,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int,
    gradient: Gradient,
    criterion: Criterion | Callable,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    query_weights: QueryWeights | None = None,
    proximal: float | None = None,
) -> MetaLearner:
    """The learner that adapts `part` by `steps` of `inner`; options as of `maml`.

        phi_0 = start(meta, S),  phi_{k+1} = phi_k + tx(grad L(phi_k; S))
        loss = sum_k w_k L(phi_k; Q),   w = (0, ..., 0, 1) by default

    Schedules of the outer step make the buffers `{"model": ..., "step": t}`: t counts
    calls of `loss` whose new buffers were kept, so `loss` stays a pure function of
    (meta, episode, key) and one compiled program serves the whole run.
    """
    at_least(0, steps=steps)
    check_minibatch(inner_batch)
    serves = [Unrolled, Annealed, Evolution]
    if part.shares or proximal is not None:
        serves.append(Implicit)
    check_gradient(gradient, *serves)
    if isinstance(gradient, Implicit):
        check_implicit(inner, steps, inner_batch, query_weights)
    if steps and differentiates(gradient):
        check_differentiable(inner)
    criterion = as_criterion(criterion)
    within = criterion if inner_criterion is None else as_criterion(inner_criterion)
    if query_weights is not None and not callable(query_weights):
        query_weights = jnp.asarray(query_weights)
        if query_weights.shape != (steps,):
            raise ValueError(
                f"query_weights: got shape {query_weights.shape}, wants ({steps},)"
            )
    how = Family(
        part, learned(inner), inner, steps, gradient, criterion, within, inner_batch,
        query_weights, proximal,
    )  # fmt: skip
    init, adapt, predict = (partial(f, how) for f in (start_meta, adapted, answers))
    loss: Loss = partial(query_loss, how)
    if isinstance(gradient, Evolution):
        loss = by_values(
            partial(query_loss, how._replace(gradient=first_order)), gradient
        )
    if isinstance(gradient, Implicit):
        loss = watched(loss)
    return learner_of(init, adapt, predict, loss, criterion, places=True)
