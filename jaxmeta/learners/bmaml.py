"""Bayesian MAML: particles that learn to become a task's posterior in a few steps.

Yoon, Kim, Dia, Kim, Bengio, Ahn 2018, Bayesian Model-Agnostic Meta-Learning,
https://arxiv.org/abs/1806.03836.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta import criteria
from jaxmeta.checks import at_least, not_negative, one_of
from jaxmeta.core import Aux, Batch, Criterion, Meta, MetaLearner, Model, Rule
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.rows import check_minibatch, clean_rows, joined, minibatch
from jaxmeta.gradients import Gradient, Unrolled, argmin, first_order, unrolled
from jaxmeta.learners.common import warn_of_averages
from jaxmeta.learners.differentiated import check_gradient, differentiates
from jaxmeta.learners.padded import learner_of
from jaxmeta.learners.probabilistic import (
    Probabilistic,
    check_noise,
    likelihood,
    log_noise,
    mixture,
    prepared,
)
from jaxmeta.models.call import call, check_model
from jaxmeta.rules import as_rule, chain, check_differentiable, svgd
from jaxmeta.signatures import signature_of


def bmaml_process(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    particles: int = 5,
    steps: int = 1,
    leader_steps: int = 1,
    objective: Literal["chaser", "likelihood"] = "chaser",
    repulsion: float = 0.1,
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    noise: float | None = None,
) -> Probabilistic:
    """`bmaml`, with its predictive distribution beside the learner.

    Args:
      model: as in `bmaml`; so are the other arguments.
      inner: likewise.

    Returns:
      A `Probabilistic`.
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    within = criterion if inner_criterion is None else inner_criterion
    within = criteria.as_criterion(within)
    check_noise(criterion, noise)
    check_minibatch(inner_batch)
    check_gradient(gradient, Unrolled)
    at_least(1, particles=particles, leader_steps=leader_steps)
    at_least(0, steps=steps)
    one_of(("chaser", "likelihood"), objective=objective)
    not_negative(repulsion=repulsion)
    if steps and differentiates(gradient):
        check_differentiable(inner)
    own = as_rule(inner)

    def outputs_of(theta, buffers, batch: Batch, train, key):
        keys = None if key is None else jax.random.split(key, particles)

        def one(theta, kept, key):
            here = Meta(theta, kept)
            weights = batch.weights
            return call(
                model, here, batch.inputs, weights=weights, train=train, key=key
            )

        return jax.vmap(one)(theta, buffers, keys)

    def descend(meta, theta, batch, support, count, train, key, gradient=gradient):
        """`count` steps of SVGD on the particles; their losses are added, so that each
        one's gradient is that of its own."""

        def loss(theta, meta, at):
            seen = batch
            if inner_batch is not None:
                at, choosing = jax.random.split(at)
                seen = minibatch(batch, inner_batch, choosing)
            outputs, _ = outputs_of(theta, meta.buffers, seen, train, at)
            each = jax.vmap(within.loss, (0, None, None))
            outputs = prepared(within, outputs, support)
            return each(outputs, seen.targets, seen.weights).sum()

        step = chain(svgd(repulsion), own)
        return argmin(
            loss,
            theta,
            meta,
            lambda meta: step.make(((), meta.params.get("rule", ()))),
            steps=count,
            gradient=gradient,
            batches=lambda k: jax.random.fold_in(key, k),
        ).params

    def init(key, episode):
        keys = jax.random.split(key, particles)
        start = jax.vmap(lambda k: model.init(k, episode.support.inputs))(keys)
        first = jax.tree.map(lambda x: x[0], start)
        warn_of_averages(model, first, episode.support.inputs)
        if steps and differentiates(gradient):
            check_differentiable(inner, start.params, steps=steps)
        params = {"particles": start.params, **log_noise(noise, start.params)}
        if isinstance(inner, Rule):
            params["rule"] = inner.init(start.params)
        return Meta(params, start.buffers)

    def adapt(meta, support, key):
        start = meta.params["particles"]
        return descend(meta, start, support, support, steps, False, key)

    def predictive(meta, fast, inputs, weights=None):
        asked = Batch(clean_rows(inputs, weights), None, weights)  # type: ignore[arg-type]  # none are asked for
        outputs, _ = outputs_of(fast, meta.buffers, asked, False, None)
        return mixture(outputs, meta.params)

    def predict(meta, fast, inputs, weights=None):
        return pr.point(predictive(meta, fast, inputs, weights))

    def loss(meta, episode, key):
        support, query = episode
        params = meta.params
        chasing, leading, judging = jax.random.split(key, 3)
        start = params["particles"]
        chaser = descend(meta, start, support, support, steps, True, chasing)
        outputs, buffers = outputs_of(chaser, meta.buffers, query, True, judging)
        outputs = prepared(criterion, outputs, support)
        seen = lax.stop_gradient(outputs) if objective == "chaser" else outputs
        value = nll = likelihood(criterion, seen, params, query)
        if objective == "chaser":
            # the leader has seen the query too: the posterior that is chased
            leader = descend(
                meta,
                lax.stop_gradient(chaser),
                joined(support, query),
                support,
                leader_steps,
                True,
                leading,
                first_order,
            )
            gaps = jax.tree.map(
                lambda a, b: jnp.sum(jnp.square(a - lax.stop_gradient(b))),
                chaser,
                leader,
            )
            value = sum(jax.tree.leaves(gaps))
            if noise is not None:
                value = value + nll  # whose only gradient is the noise's
        point = pr.point(mixture(seen, params))
        report = criterion.metrics(point, query.targets, query.weights)
        return value, Aux({**report, "nll": nll}, buffers)

    return Probabilistic(learner_of(init, adapt, predict, loss, criterion), predictive)


@signature_of(bmaml_process)
def bmaml(*args, **options) -> MetaLearner:
    """Bayesian MAML: an ensemble of initialisations, adapted together by SVGD.

        theta_i <- theta_i - alpha/M sum_j [ k_ij grad L(theta_j; S)
                                             - repulsion d k(theta_j, theta_i) / d theta_j ]
        chaser = `steps` of these on S,  leader = `leader_steps` more on S and Q
        min  sum_i || chaser_i - sg(leader_i) ||^2                         (eq. 9)

    k is the RBF kernel over whole particles, with bandwidth med^2 / log M. The gradient
    flows through all steps of the chaser, kernel and bandwidth included, and none of the
    leader's. Predictions are the mean over the particles. One particle with
    `objective="likelihood"` is MAML.

    `Meta.params` are `{"particles"}` with leaves `[M, ...]`, "log_noise" and "rule" where
    there are any. The prior is flat: the loss of the paper without its hyper-prior.

    Args:
      model: the network.
      inner: applied to the SVGD direction; SGD as published.
      particles: M.
      steps: of the chaser, and at test.
      leader_steps: more steps of the leader.
      objective: "chaser", or "likelihood": that of the queries under the mixture.
      repulsion: of the particles; L is a mean, so 1/n makes SVGD's target the posterior
        of n examples at unit noise.
      gradient: how to differentiate the chaser, `unrolled(...)` or `first_order`.
      criterion: what a task is judged by; in classification it is the outer loss of
        "likelihood", too. Real values have the normal likelihood for one, see `noise`.
      inner_criterion: whose loss the particles descend, `criterion` by default.
      inner_batch: examples a step, drawn anew each step without replacement; `None`
        takes all of them.
      noise: for regression, where the learned standard deviation of the targets starts;
        it is learned from the likelihood of the queries. `None` is classification:
        outputs are logits.

    Returns:
      A `MetaLearner` whose `fast` are the adapted particles, and whose outputs are means,
      or log-probabilities. `bmaml_process` also gives the distribution.

    Raises:
      ValueError: for bad hyper-parameters.

    >>> import jaxmeta as jm
    >>> learner = jm.bmaml(jm.models.mlp(5), optax.sgd(0.1), particles=3)
    """
    return bmaml_process(*args, **options).learner
