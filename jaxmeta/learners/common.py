"""The learner behind all that unroll an inner loop: MAML and what grew from it."""

import warnings
from collections.abc import Callable
from typing import Literal, NamedTuple

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
    Key,
    Meta,
    MetaLearner,
    Model,
    PyTree,
    Rule,
)
from jaxmeta.criteria import as_criterion
from jaxmeta.functional.rows import check_minibatch, minibatch
from jaxmeta.functional.unroll import unroll
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.statistics import running_averages_at_test
from jaxmeta.rules import as_rule, check_differentiable

Order = Literal["second", "first"] | Callable[[Array], Array]
QueryWeights = Array | Callable[[Array], Array]


class Slow(NamedTuple):
    """How `Meta.params` is laid out, as two functions.

    Attributes:
      init: `(the model's Meta, what adapts) -> the learner's Meta`.
      open: `Meta.params -> (model params, inner optimiser)`.
    """

    init: Callable[..., Meta]
    open: Callable[[PyTree], tuple[PyTree, optax.GradientTransformation]]


def learned(inner: optax.GradientTransformation | Rule) -> Slow:
    """Plain model parameters for an Optax transform; `{"model", "rule"}` for a rule."""
    rule = as_rule(inner)
    if not isinstance(inner, Rule):
        return Slow(lambda meta, phi=None: meta, lambda params: (params, rule.make(())))

    def init(meta: Meta, phi: PyTree = None) -> Meta:
        of = meta.params if phi is None else phi
        return meta._replace(params={"model": meta.params, "rule": rule.init(of)})

    return Slow(init, lambda params: (params["model"], rule.make(params["rule"])))


class Part(NamedTuple):
    """What of a network adapts to a task, as pure functions.

    Attributes:
      init: `(key, inputs) -> Meta`, the slow side without the inner optimiser's.
      start: `(meta, support, train, key) -> phi_0`.
      apply: `(meta, phi, inputs, step, train, key, weights) -> (outputs, buffers)`;
        inner step k and the query pass after it have `step` k.
      gather: joins the buffers of the query passes after every step, for models that
        keep statistics per step: `(before, visited [steps, ...]) -> buffers`.
    """

    init: Callable[[Key, PyTree], Meta]
    start: Callable[[Meta, Batch, bool, Key], PyTree]
    apply: Callable[..., tuple[Array, PyTree]]
    gather: Callable[[PyTree, PyTree], PyTree] | None = None


class Only(NamedTuple):
    """An `adapt_only` that is the head alone."""

    head: Callable[[str], bool]

    def __call__(self, path: str) -> bool:
        return bool(self.head(path))


class AllBut(NamedTuple):
    """An `adapt_only` that leaves a part out, which must be there."""

    part: Callable[[str], bool]

    def __call__(self, path: str) -> bool:
        return not self.part(path)


def choose(
    params: PyTree, adapt_only: Callable[[str], bool] | None
) -> tuple[PyTree, PyTree]:
    """Splits parameters in what the inner loop moves and the rest."""
    chosen, rest = tree.partition(params, adapt_only or (lambda path: True))
    names = sorted(tree.leaves(tree.paths(params)))
    if not tree.leaves(chosen):
        field = "head" if isinstance(adapt_only, Only) else "adapt_only"
        raise ValueError(f"{field}: selects none of the parameters {names}")
    if isinstance(adapt_only, AllBut) and not tree.leaves(rest):
        raise ValueError(
            f"head: selects none of the parameters {names}, and all would adapt: give "
            "head=, a function of the path"
        )
    return chosen, rest


def warn_of_averages(model: Model, meta: Meta, inputs: PyTree) -> None:
    """Warns where adapting at a test uses statistics that meta-training never did."""
    if norms := running_averages_at_test(model, meta, inputs):
        warnings.warn(
            f"adapt and predict will use the running averages of {', '.join(norms)}, and "
            "the inner loop is meta-learned with those of the batch: scores in a test "
            'may be far lower; norm="batch" of conv4 and resnet12, or statistics="batch" '
            "of from_nnx and from_linen, uses the same statistics",
            stacklevel=3,
        )


def unrolled(
    part: Part,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int,
    order: Order,
    memory: str,
    criterion: Criterion | Callable,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    query_weights: QueryWeights | None = None,
    truncate: int | None = None,
) -> MetaLearner:
    """The learner that adapts `part` by `steps` of `inner`; options as of `maml`.

        phi_0 = start(meta, S),  phi_{k+1} = phi_k + tx(grad L(phi_k; S))
        loss = sum_k w_k L(phi_k; Q),   w = (0, ..., 0, 1) by default

    Schedules of the outer step make the buffers `{"model": ..., "step": t}`: t counts
    calls of `loss` whose new buffers were kept, so `loss` stays a pure function of
    (meta, episode, key) and one compiled program serves the whole run.
    """
    at_least(0, steps=steps)
    if order not in ("second", "first") and not callable(order):
        raise ValueError(
            f'order: got {order!r}, wants "second", "first" or a function of the step'
        )
    if steps and order != "first":
        check_differentiable(inner)
    check_minibatch(inner_batch)
    criterion = as_criterion(criterion)
    inner_loss = criterion if inner_criterion is None else as_criterion(inner_criterion)
    if query_weights is not None and not callable(query_weights):
        query_weights = jnp.asarray(query_weights)
        if query_weights.shape != (steps,):
            raise ValueError(
                f"query_weights: got shape {query_weights.shape}, wants ({steps},)"
            )
    slow = learned(inner)
    scheduled = callable(order) or callable(query_weights)

    def opened(meta: Meta):
        params, tx = slow.open(meta.params)
        if not scheduled:
            return Meta(params, meta.buffers), tx, None
        return Meta(params, meta.buffers["model"]), tx, meta.buffers["step"]

    def run(meta: Meta, support: Batch, train: bool, key: Key, visit=None):
        net, tx, now = opened(meta)
        phi = part.start(net, support, train, key)

        def loss(phi, batch, k):
            noise = jax.random.fold_in(key, k)
            if inner_batch is not None:
                noise, drawing = jax.random.split(noise)
                batch = minibatch(batch, inner_batch, drawing)
            outputs, _ = part.apply(
                net, phi, batch.inputs, k, train, noise, batch.weights
            )
            outputs = inner_loss.prepare(outputs, support)
            return inner_loss.loss(outputs, batch.targets, batch.weights)

        return unroll(
            loss,
            phi,
            tx,
            support,
            steps=steps,
            order=order(now) if callable(order) else order,
            memory=memory,
            truncate=truncate,
            visit=visit,
        )

    def weights(now):
        if query_weights is None:
            return jnp.zeros(steps).at[-1].set(1.0)
        return query_weights(now) if callable(query_weights) else query_weights

    def init(key, episode):
        net = part.init(key, episode.support.inputs)
        phi = part.start(net, episode.support, False, key)
        if steps and order != "first":  # masks by name are judged where names are
            check_differentiable(inner, phi, steps=steps)
        if part.gather is None:  # else there are averages for each inner step
            bare = Model(part.init, lambda m, x, *, train, key: part.apply(
                m, phi, x, 0, train, key, None
            ))  # fmt: skip
            warn_of_averages(bare, net, episode.support.inputs)
        meta = slow.init(net, phi)
        if scheduled:
            # floating point, as all buffers: the mean over tasks keeps it exact
            buffers = {"model": meta.buffers, "step": jnp.zeros(())}
            meta = meta._replace(buffers=buffers)
        return meta

    def adapt(meta, support, key):
        return run(meta, support, False, key).params

    def predict(meta, fast, inputs, weights=None):
        net, _, _ = opened(meta)
        return part.apply(net, fast, inputs, steps - 1, False, None, weights)[0]

    def loss(meta, episode, key):
        net, _, now = opened(meta)
        support, query = episode
        everywhere = part.gather is not None and bool(tree.leaves(net.buffers))

        def judge(phi, k):
            at = jax.random.fold_in(key, steps + k)
            outputs, buffers = part.apply(
                net, phi, query.inputs, k - 1, True, at, query.weights
            )
            return *judged(criterion, outputs, support, query), buffers

        if steps == 0 or (query_weights is None and not everywhere):
            phi = run(meta, support, True, key).params
            value, report, buffers = judge(phi, steps)
        else:
            w = weights(now)

            def visit(phi, k):
                if everywhere:
                    return judge(phi, k)
                # a schedule ends with weights of 0: those passes are not worth running
                nothing = jax.tree.map(
                    lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(judge, phi, k)
                )
                needed = (w[k - 1] != 0) | (k == steps)
                return lax.cond(needed, judge, lambda phi, k: nothing, phi, k)

            values, reports, visited = run(meta, support, True, key, visit).visits
            value = jnp.sum(w.astype(values.dtype) * values)
            report = jax.tree.map(lambda x: x[-1], reports)
            if everywhere:
                buffers = part.gather(net.buffers, visited)
            else:
                buffers = jax.tree.map(lambda x: x[-1], visited)
        if scheduled:
            buffers = {"model": buffers, "step": jnp.round(now) + 1}
        return value, Aux(report, buffers)

    return learner_of(init, adapt, predict, loss, criterion, places=True)
