"""PLATIPUS: MAML whose initialisation is a distribution.

Finn, Xu, Levine 2018, Probabilistic Model-Agnostic Meta-Learning,
https://arxiv.org/abs/1806.02817.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta import criteria
from jaxmeta.checks import at_least, not_negative, one_of
from jaxmeta.core import Aux, Batch, Criterion, Meta, MetaLearner, Model, PyTree, Rule
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.gaussian import Gaussian, kl_divergence
from jaxmeta.functional.rows import check_minibatch, clean_rows, minibatch
from jaxmeta.gradients import Gradient, Unrolled, argmin, unrolled
from jaxmeta.learners.common import warn_of_averages
from jaxmeta.learners.differentiated import check_gradient, differentiates
from jaxmeta.learners.padded import learner_of
from jaxmeta.learners.probabilistic import (
    Probabilistic,
    check_noise,
    draw_tree,
    likelihood,
    mixture,
    prepared,
)
from jaxmeta.learners.probabilistic import warm_start as warm_start
from jaxmeta.models.call import call, check_model
from jaxmeta.rules import as_rule, check_differentiable
from jaxmeta.signatures import signature_of


def platipus_process(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int = 5,
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    kl_weight: float = 1e-6,
    init_std: float = 0.02,
    init_gamma: float = 0.01,
    noise: float | None = None,
    samples: int = 10,
    train_samples: int = 1,
    bound: Literal["mean", "mixture"] = "mean",
) -> Probabilistic:
    """`platipus`, with its predictive distribution beside the learner.

    Args:
      model: as in `platipus`; so are the other arguments.
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
    at_least(1, samples=samples, train_samples=train_samples)
    not_negative(kl_weight=kl_weight, init_std=init_std)
    check_gradient(gradient, Unrolled)
    exact = differentiates(gradient)
    one_of(("mean", "mixture"), bound=bound)
    if steps and exact:
        check_differentiable(inner)
    rule = as_rule(inner)

    def apply(meta, theta, batch, train, key):
        here = Meta(theta, meta.buffers)
        weights = batch.weights
        return call(model, here, batch.inputs, weights=weights, train=train, key=key)

    def inner_loss(meta, support, train, key):
        """`(weights, batch) -> scalar`, among the classes that the support set has."""

        def loss(theta, batch):
            outputs, _ = apply(meta, theta, batch, train, key)
            outputs = within.prepare(outputs, support)
            return within.loss(outputs, batch.targets, batch.weights)

        return loss

    def infer(meta, batch, support, gamma, log_std, train, key) -> Gaussian:
        """N(mu - gamma grad L(mu; batch), std^2): one step is the whole network."""
        mean = meta.params["mean"]
        at = mean if exact else lax.stop_gradient(mean)
        grads = jax.grad(inner_loss(meta, support, train, key))(at, batch)
        if not exact:
            grads = lax.stop_gradient(grads)
        moved = jax.tree.map(lambda m, r, g: m - r * g, mean, gamma, grads)
        return Gaussian(moved, jax.tree.map(jnp.exp, log_std))

    def prior(meta, support, train, key):
        gamma, log_std = meta.params["gamma_p"], meta.params["log_std_p"]
        return infer(meta, support, support, gamma, log_std, train, key)

    def adapted(meta, start: Gaussian, support, train, key) -> PyTree:
        """theta ~ start by reparametrisation, then steps on the support set."""
        drawing, descending = jax.random.split(key)
        theta = draw_tree(start, drawing)

        def loss(theta, meta, at):
            batch = support
            if inner_batch is not None:
                at, choosing = jax.random.split(at)
                batch = minibatch(support, inner_batch, choosing)
            return inner_loss(meta, support, train, at)(theta, batch)

        return argmin(
            loss,
            theta,
            meta,
            lambda meta: rule.make(meta.params.get("rule", ())),
            steps=steps,
            gradient=gradient,
            batches=lambda k: jax.random.fold_in(descending, k),
        ).params

    def init(key, episode):
        start = model.init(key, episode.support.inputs)
        warn_of_averages(model, start, episode.support.inputs)
        if steps and exact:
            check_differentiable(inner, start.params, steps=steps)
        return warm_start(
            start,
            inner,
            init_std=init_std,
            init_gamma=init_gamma,
            noise=noise,
        )

    def adapt(meta, support, key):
        drawing, inferring = jax.random.split(key)
        start = prior(meta, support, False, inferring)
        keys = jax.random.split(drawing, samples)
        return jax.vmap(lambda k: adapted(meta, start, support, False, k))(keys)

    def predictive(meta, fast, inputs, weights=None):
        asked = Batch(clean_rows(inputs, weights), None, weights)  # type: ignore[arg-type]  # none are asked for
        outputs = jax.vmap(lambda phi: apply(meta, phi, asked, False, None)[0])(fast)
        return mixture(outputs, meta.params)

    def predict(meta, fast, inputs, weights=None):
        return pr.point(predictive(meta, fast, inputs, weights))

    def loss(meta, episode, key):
        support, query = episode
        params, (key, inferring) = meta.params, jax.random.split(key)
        gamma, log_std = params["gamma_q"], params["log_std_q"]
        q = infer(meta, query, support, gamma, log_std, True, inferring)

        def one(key):
            phi = adapted(meta, q, support, True, key)
            return apply(meta, phi, query, True, jax.random.fold_in(key, steps))

        def judge(outputs):
            return likelihood(criterion, outputs, params, query)

        if train_samples == 1:
            outputs, buffers = one(key)
            outputs = outputs[None]  # a single draw has no axis to be mapped over
        else:
            outputs, buffers = jax.vmap(one)(jax.random.split(key, train_samples))
            buffers = jax.tree.map(lambda x: x.mean(0), buffers)
        outputs = prepared(criterion, outputs, support)
        if bound == "mixture":
            value = judge(outputs)
        else:
            value = jnp.mean(jnp.stack([judge(out[None]) for out in outputs]))
        point = pr.point(mixture(outputs, params))
        report = dict(criterion.metrics(point, query.targets, query.weights))
        if kl_weight:
            p = prior(meta, support, True, inferring)
            apart = [
                jnp.sum(kl_divergence(Gaussian(*each[:2]), Gaussian(*each[2:])))
                for each in zip(*map(jax.tree.leaves, (*q, *p)), strict=True)
            ]
            divergence = sum(apart[1:], apart[0])
            report["kl"] = divergence
            value = value + kl_weight * divergence
        return value, Aux(report, buffers)

    return Probabilistic(learner_of(init, adapt, predict, loss, criterion), predictive)


@signature_of(platipus_process)
def platipus(*args, **options) -> MetaLearner:
    """Variational MAML: what a few examples leave open is drawn from a distribution.

        q(theta | S, Q) = N(mu - gamma_q grad L(mu; Q), v_q)      training
        p(theta | S)    = N(mu - gamma_p grad L(mu; S), s^2)      test
        phi = theta - alpha grad L(theta; S),  K times            a draw of theta, adapted
        min  E_q L(phi; Q) + kl_weight KL(q || p)

    At test `samples` draws of p(theta | S) are adapted, and their predictions averaged.
    The gradient flows through the inner loop, the draw and both inference steps. L is a
    mean over examples and KL a sum over parameters: `kl_weight` = 1 / (number of
    queries) is the bound of the paper, which a large network's KL swamps; the public
    code has 1e-6. With zero variances, zero gammas and no KL it is MAML.

    `Meta.params` are `{"mean", "log_std_p", "log_std_q", "gamma_p", "gamma_q"}`, and
    "log_noise" and "rule" where there are any: standard deviations per weight, step
    sizes per array. Start from a trained MAML with `warm_start`.

    Args:
      model: the network.
      inner: the inner optimiser.
      steps: K >= 0.
      gradient: how to differentiate the inner loop, `unrolled(...)`, or `first_order`,
        which holds all inner gradients constant, those of inference too.
      criterion: what a task is judged by. In classification it is the outer loss, too;
        real values have the normal likelihood for one, see `noise`.
      inner_criterion: whose loss the inner loop and inference descend, `criterion` by
        default.
      inner_batch: support examples a step of the inner loop, drawn anew each step
        without replacement; `None` takes all of them.
      kl_weight: as above; 0 leaves the term out.
      init_std: where all standard deviations start.
      init_gamma: where all step sizes of inference start.
      noise: for regression, where the learned standard deviation of the targets starts;
        the outer loss is then the normal likelihood. `None` is classification: outputs
        are logits.
      samples: draws at test.
      train_samples: draws in training.
      bound: of these draws, "mean" averages their losses, as published; "mixture" takes
        the loss of their mixture, which is what is predicted at test: then draws may
        differ where the task is open, and need not each be right.

    Returns:
      A `MetaLearner` whose `fast` are adapted parameters `[samples, ...]`, and whose
      outputs are means, or log-probabilities. `platipus_process` also gives the
      distribution.

    Raises:
      ValueError: for bad hyper-parameters.

    >>> import jaxmeta as jm
    >>> learner = jm.platipus(jm.models.mlp(5), optax.sgd(0.1), steps=1, samples=4)
    """
    return platipus_process(*args, **options).learner
