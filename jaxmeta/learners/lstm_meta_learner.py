"""The LSTM meta-learner: the optimiser is a network, the weights are its memory.

Ravi and Larochelle 2017, Optimization as a Model for Few-Shot Learning,
https://openreview.net/forum?id=rJY0-Kcll.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta import criteria
from jaxmeta.checks import at_least
from jaxmeta.core import Aux, Batch, Criterion, Meta, MetaLearner, Model
from jaxmeta.functional.rows import check_minibatch, weights_of
from jaxmeta.functional.sequence import presented
from jaxmeta.gradients import Gradient, Unrolled, argmin, first_order
from jaxmeta.learners.differentiated import differentiates
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model
from jaxmeta.rules.lstm import coordinate_lstm


def lstm_meta_learner(
    model: Model,
    *,
    steps: int = 12,
    inner_batch: int | None = None,
    hidden: int = 20,
    forget_bias: tuple[float, float] = (4.0, 5.0),
    input_bias: tuple[float, float] = (-5.0, -4.0),
    gradient: Gradient = first_order,
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
) -> MetaLearner:
    """A learned optimiser and the weights it starts from.

        theta_t = f_t theta_{t-1} - i_t grad L(theta_{t-1}; S_t)              (eq. 1)
        min over theta_0 and the gates  E_task L(theta_T; Q)

    The gates come from an LSTM shared by all coordinates, see
    `jaxmeta.rules.coordinate_lstm`; the cell's initial state is the learned
    initialisation theta_0. Inner gradients and losses are constants to the outer
    gradient, as in the paper.

    Batch norm follows from the model. Without buffers (`norm="batch"`), statistics are
    always those of the batch at hand, and predictions transductive. With running
    averages (`norm="batch_running"`) it is the paper's protocol: the averages start
    anew in each episode, gather while the weights learn the support set, and serve its
    queries; in training the queries use their own statistics. That adapting is training
    then, dropout included.

    Args:
      model: the network.
      steps: T >= 1 updates; the paper's 12 (1-shot) and 8 (5-shot).
      inner_batch: examples an update; each epoch goes once through the support set in a
        new order. `None` takes all of them, as the paper does for 5 ways. Examples of
        weight 0 are passed by; if it does not divide the number of the others, each
        epoch leaves some out.
      hidden: width of the LSTM.
      forget_bias: b_F is drawn from this interval; f starts near 1.
      input_bias: b_I likewise; the initial learning rate is sigmoid(b_I).
      gradient: `first_order`, or `unrolled(memory=..., last=0)`: inner gradients are
        constants.
      criterion: what a task is judged by; its loss is the outer one.
      inner_criterion: whose loss and gradient the LSTM is shown, `criterion` by default.

    Returns:
      A `MetaLearner` with params `{"model": theta_0, "rule": ...}`, whose `fast` are the
      adapted weights with their batch statistics, a `Meta`.

    Raises:
      ValueError: if `steps < 1`, or `inner_batch` does not divide the support set.

    >>> import jaxmeta as jm
    >>> learner = jm.lstm_meta_learner(jm.models.mlp(5), steps=5)
    """
    check_model(model)
    at_least(1, steps=steps)
    check_minibatch(inner_batch)
    if not isinstance(gradient, Unrolled) or differentiates(gradient):
        raise ValueError(
            f"gradient: got {type(gradient).__name__}(...) that is not first order, wants "
            "first_order or unrolled(memory=..., last=0): the paper's assumption"
        )
    criterion = criteria.as_criterion(criterion)
    within = criterion if inner_criterion is None else inner_criterion
    within = criteria.as_criterion(within)
    rule = coordinate_lstm(
        hidden=hidden, forget_bias=forget_bias, input_bias=input_bias
    )

    def minibatch(batch: Batch, key, step) -> Batch:
        n = batch.targets.shape[0]
        size = inner_batch
        if size is None or size == n:
            return batch
        if size > n or (batch.weights is None and n % size):
            raise ValueError(
                f"inner_batch: got {size}, wants a divisor of the {n} examples"
            )
        real = jnp.sum(weights_of(batch) > 0)
        per_epoch = jnp.maximum(real // size, 1)
        epoch, at = step // per_epoch, step % per_epoch
        # in a new order, with the examples that do not count in front
        batch, _ = presented(batch, jax.random.fold_in(key, epoch))
        start = n - (at + 1) * size
        return jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, size), batch)

    def apply(meta: Meta, batch: Batch, train, key):
        weights = batch.weights
        return call(model, meta, batch.inputs, weights=weights, train=train, key=key)

    def run(meta: Meta, support, train, keys, visit=None):
        ordering, dropping = keys

        def loss(params, meta, step):
            batch = minibatch(support, ordering, step)
            at = jax.random.fold_in(dropping, step)
            outputs, _ = apply(Meta(params, meta.buffers), batch, train, at)
            outputs = within.prepare(outputs, support)
            return within.loss(outputs, batch.targets, batch.weights)

        return argmin(
            loss,
            meta.params["model"],
            meta,
            lambda meta: rule.make(meta.params["rule"]),
            steps=steps,
            gradient=gradient,
            batches=lambda step: step,
            visit=visit,
        )

    def statistics(meta: Meta, support, keys, visits):
        """Running averages over the forward passes of the inner loop."""
        ordering, dropping = keys
        seen = jax.tree.map(  # phi_0, ..., phi_{T-1}
            lambda first, rest: jnp.concatenate([first[None], rest[:-1]]),
            meta.params["model"],
            visits,
        )

        def step(buffers, at):
            params, k = at
            batch = minibatch(support, ordering, k)
            noise = jax.random.fold_in(dropping, k)  # the pass that the step took
            return apply(Meta(params, buffers), batch, True, noise)[1], None

        return lax.scan(step, meta.buffers, (seen, jnp.arange(steps)))[0]

    def init(key, episode):
        first, second = jax.random.split(key)
        start = model.init(first, episode.support.inputs)
        gates = coordinate_lstm(
            hidden=hidden, forget_bias=forget_bias, input_bias=input_bias, key=second
        )
        params = {"model": start.params, "rule": gates.init(start.params)}
        return Meta(params, start.buffers)

    def adapt(meta, support, key):
        keys = jax.random.split(key)
        if not jax.tree.leaves(meta.buffers):
            return Meta(run(meta, support, False, keys).params, meta.buffers)
        done = run(meta, support, True, keys, visit=lambda phi, k: phi)
        return Meta(done.params, statistics(meta, support, keys, done.visits))

    def predict(meta, fast, inputs, weights=None):
        batch = Batch(inputs, None, weights)  # type: ignore[arg-type]  # none are asked for
        return apply(fast, batch, False, None)[0]

    def loss(meta, episode, key):
        support, query = episode
        *keys, judging = jax.random.split(key, 3)
        phi = run(meta, support, True, keys).params
        # the new buffers are dropped: they start anew in each episode
        outputs, _ = apply(Meta(phi, meta.buffers), query, True, judging)
        value, report = judged(criterion, outputs, support, query)
        return value, Aux(report)

    return learner_of(init, adapt, predict, loss, criterion, places=True)
