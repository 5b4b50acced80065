"""The LSTM meta-learner: the optimiser is a network, the weights are its memory.

Ravi and Larochelle 2017, Optimization as a Model for Few-Shot Learning,
https://openreview.net/forum?id=rJY0-Kcll.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta import losses, metrics
from jaxmeta.core import Aux, Meta, MetaLearner, Model
from jaxmeta.functional.unroll import unroll
from jaxmeta.rules.lstm import coordinate_lstm


def lstm_meta_learner(
    model: Model,
    *,
    steps: int = 12,
    inner_batch: int | None = None,
    hidden: int = 20,
    forget_bias: tuple[float, float] = (4.0, 5.0),
    input_bias: tuple[float, float] = (-5.0, -4.0),
    memory: Literal["store", "remat", "mixed"] = "store",
    task_loss: Callable = losses.cross_entropy,
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
    queries; in training the queries use their own statistics.

    Args:
      model: the network.
      steps: T >= 1 updates; the paper's 12 (1-shot) and 8 (5-shot).
      inner_batch: examples an update; each epoch goes once through the support set in a
        new order. `None` takes all of them, as the paper does for 5 ways.
      hidden: width of the LSTM.
      forget_bias: b_F is drawn from this interval; f starts near 1.
      input_bias: b_I likewise; the initial learning rate is sigmoid(b_I).
      memory: see `jaxmeta.functional.unroll`.
      task_loss: `(outputs, targets) -> scalar`, inner and outer.

    Returns:
      A `MetaLearner` with params `{"model": theta_0, "rule": ...}`, whose `fast` are the
      adapted weights with their batch statistics, a `Meta`.

    Raises:
      ValueError: if `steps < 1`, or `inner_batch` does not divide the support set.

    >>> import jaxmeta as jm
    >>> learner = jm.lstm_meta_learner(jm.models.mlp(5), steps=5)
    """
    if steps < 1:
        raise ValueError(f"steps: got {steps}, wants an integer >= 1")
    if inner_batch is not None and inner_batch < 1:
        raise ValueError(f"inner_batch: got {inner_batch}, wants an integer >= 1")
    rule = coordinate_lstm(
        hidden=hidden, forget_bias=forget_bias, input_bias=input_bias
    )

    def minibatch(batch, key, step):
        n = batch.targets.shape[0]
        if inner_batch is None or inner_batch == n:
            return batch
        if n % inner_batch:
            raise ValueError(
                f"inner_batch: got {inner_batch}, wants a divisor of the {n} examples"
            )
        per_epoch = n // inner_batch
        order = jax.random.permutation(jax.random.fold_in(key, step // per_epoch), n)
        start = (step % per_epoch) * inner_batch
        rows = lax.dynamic_slice_in_dim(order, start, inner_batch)
        return jax.tree.map(lambda x: x[rows], batch)

    def run(meta: Meta, support, train, key, visit=None):
        def loss(params, batch, step):
            inputs, targets = minibatch(batch, key, step)
            here = Meta(params, meta.buffers)
            outputs, _ = model.apply(here, inputs, train=train, key=key)
            return task_loss(outputs, targets)

        return unroll(
            loss,
            meta.params["model"],
            rule.make(meta.params["rule"]),
            support,
            steps=steps,
            order="first",  # the paper's assumption: no derivative of the gradient
            memory=memory,
            visit=visit,
        )

    def statistics(meta: Meta, support, key, visits):
        """Running averages over the forward passes of the inner loop."""
        seen = jax.tree.map(  # phi_0, ..., phi_{T-1}
            lambda first, rest: jnp.concatenate([first[None], rest[:-1]]),
            meta.params["model"],
            visits,
        )

        def step(buffers, at):
            params, k = at
            inputs, _ = minibatch(support, key, k)
            here = Meta(params, buffers)
            return model.apply(here, inputs, train=True, key=key)[1], None

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
        if not jax.tree.leaves(meta.buffers):
            return Meta(run(meta, support, False, key).params, meta.buffers)
        done = run(meta, support, True, key, visit=lambda phi, k: phi)
        return Meta(done.params, statistics(meta, support, key, done.visits))

    def predict(meta, fast, inputs):
        return model.apply(fast, inputs)[0]

    def loss(meta, episode, key):
        phi = run(meta, episode.support, True, key).params
        inputs, targets = episode.query
        here = Meta(phi, meta.buffers)
        # the new buffers are dropped: they start anew in each episode
        outputs, _ = model.apply(here, inputs, train=True, key=key)
        return task_loss(outputs, targets), Aux(metrics.summary(outputs, targets))

    return MetaLearner(init, adapt, predict, loss)
