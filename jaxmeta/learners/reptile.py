"""Reptile: move towards the adapted weights.

Nichol, Achiam, Schulman 2018, On First-Order Meta-Learning Algorithms,
https://arxiv.org/abs/1803.02999.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta import criteria
from jaxmeta.checks import at_least
from jaxmeta.core import Aux, Batch, Criterion, Meta, MetaLearner, Model, PyTree, Rule
from jaxmeta.functional.rows import check_minibatch, minibatch
from jaxmeta.gradients import Argmin, argmin, first_order
from jaxmeta.learners.common import warn_of_averages
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model
from jaxmeta.rules import as_rule


def reptile(
    model: Model,
    inner: optax.GradientTransformation,
    *,
    steps: int,
    inner_batch: int | None = None,
    reset_inner_opt: bool = True,
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
) -> MetaLearner:
    """Reptile: the direction from the start to the end of ordinary training.

        theta <- theta + eps (mean_tasks phi_K - theta)

    As a loss, 1/2 ||theta - sg(phi_K)||^2, whose gradient theta - phi_K makes an outer
    SGD of rate eps exactly this update. Only the support set is trained on: give it the
    paper's larger number of training shots (10 where the test has 1). With `steps=1`
    and plain SGD it is SGD on the joint loss.

    In the published program the moments of Adam outlive a task: the parameters go back
    to theta, the optimiser does not. `reset_inner_opt=False` is that. Then
    `Meta.buffers` are `{"model": ..., "inner": state}`, and a test task starts from the
    state that training left. One thing differs: the program takes the tasks of a batch
    one after another, each from the state that the last one left; here all of them start
    from the same, and their mean goes on. With one task a batch the two agree.

    Args:
      model: the network.
      inner: the inner optimiser; the paper's is Adam with beta1 = 0, `optax.adam(1e-3,
        b1=0.0)`.
      steps: K >= 1 inner steps.
      inner_batch: examples a step, drawn anew each step without replacement, as in the
        paper; `None` takes all of them at every step.
      reset_inner_opt: whether the inner optimiser starts anew for every task.
      criterion: what the adapted weights are judged by.
      inner_criterion: whose loss the inner loop descends, `criterion` by default.

    Returns:
      A `MetaLearner` whose `fast` are the adapted parameters.

    Raises:
      ValueError: if `steps < 1`, or `inner_batch` is below 1 or above what there is.
      TypeError: if `inner` is a learned `Rule`: Reptile has no gradient to teach it.

    >>> import jaxmeta as jm
    >>> learner = jm.reptile(jm.models.mlp(5), optax.adam(1e-3, b1=0.0), steps=5)
    """
    check_model(model)
    at_least(1, steps=steps)
    if isinstance(inner, Rule):
        raise TypeError(
            "inner: got a learned Rule, wants an optax.GradientTransformation"
        )
    check_minibatch(inner_batch)
    criterion = criteria.as_criterion(criterion)
    within = criterion if inner_criterion is None else inner_criterion
    within = criteria.as_criterion(within)
    tx = as_rule(inner).make(())

    def kept(meta: Meta) -> PyTree:
        """The network's own buffers."""
        return meta.buffers if reset_inner_opt else meta.buffers["model"]

    def apply(meta, phi, batch: Batch, train, key):
        here = Meta(phi, kept(meta))
        weights = batch.weights
        return call(model, here, batch.inputs, weights=weights, train=train, key=key)

    def run(meta: Meta, support, train, key) -> Argmin:
        def loss(phi, meta, at):
            batch = support
            if inner_batch is not None:
                # inner minibatches must differ, or K steps are one long step
                at, choosing = jax.random.split(at)
                batch = minibatch(batch, inner_batch, choosing)
            outputs, _ = apply(meta, phi, batch, train, at)
            outputs = within.prepare(outputs, support)
            return within.loss(outputs, batch.targets, batch.weights)

        state = None
        if not reset_inner_opt:
            state = _thawed(meta.buffers["inner"], tx.init(meta.params))
        return argmin(
            loss,
            meta.params,
            meta,
            tx,
            steps=steps,
            gradient=first_order,
            batches=lambda k: jax.random.fold_in(key, k),
            state=state,
        )

    def init(key, episode):
        start = model.init(key, episode.support.inputs)
        warn_of_averages(model, start, episode.support.inputs)
        if reset_inner_opt:
            return start
        state = _frozen(tx.init(start.params))
        return start._replace(buffers={"model": start.buffers, "inner": state})

    def adapt(meta, support, key):
        return run(meta, support, False, key).params

    def predict(meta, fast, inputs, weights=None):
        batch = Batch(inputs, None, weights)  # type: ignore[arg-type]  # none are asked for
        return apply(meta, fast, batch, False, None)[0]

    def loss(meta, episode, key):
        support, query = episode
        found = lax.stop_gradient(run(meta, support, True, key))
        phi, state = found.params, found.state
        value = 0.5 * sum(
            jnp.sum(jnp.square(a - b))
            for a, b in zip(
                jax.tree.leaves(meta.params), jax.tree.leaves(phi), strict=True
            )
        )
        at = jax.random.fold_in(key, steps)
        outputs, buffers = apply(meta, phi, query, True, at)
        if not reset_inner_opt:
            buffers = {"model": buffers, "inner": _frozen(state)}
        return value, Aux(judged(criterion, outputs, support, query)[1], buffers)

    return learner_of(init, adapt, predict, loss, criterion, places=True)


def _frozen(state: PyTree) -> PyTree:
    """An optimiser's state as buffers: floating point, so that tasks have a mean."""

    def one(x):
        x = jnp.asarray(x)
        if jnp.issubdtype(x.dtype, jnp.floating):
            return x
        if x.ndim or not jnp.issubdtype(x.dtype, jnp.signedinteger):
            raise TypeError(
                f"reset_inner_opt: got False and an inner optimiser whose state has "
                f"{x.dtype}{list(x.shape)}, wants one of real numbers and counts"
            )
        return x.astype(jnp.zeros(()).dtype)

    return jax.tree.map(one, state)


def _thawed(kept: PyTree, like: PyTree) -> PyTree:
    """The state again: counts are integers, and all tasks of a batch have counted alike."""

    def one(x, y):
        whole = jnp.issubdtype(y.dtype, jnp.integer)
        return jnp.round(x).astype(y.dtype) if whole else x

    return jax.tree.map(one, kept, like)
