"""Bayesian MAML: particles that learn to become a task's posterior in a few steps.

Yoon, Kim, Dia, Kim, Bengio, Ahn 2018, Bayesian Model-Agnostic Meta-Learning,
https://arxiv.org/abs/1806.03836.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta import losses, metrics
from jaxmeta.core import Aux, Batch, Meta, MetaLearner, Model, Rule
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.rows import joined
from jaxmeta.functional.unroll import unroll
from jaxmeta.learners.common import TaskLoss
from jaxmeta.learners.probabilistic import Probabilistic, log_noise, mixture
from jaxmeta.rules import as_rule, chain, check_differentiable, svgd


def bmaml_process(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    particles: int = 5,
    steps: int = 1,
    leader_steps: int = 1,
    objective: Literal["chaser", "likelihood"] = "chaser",
    repulsion: float = 0.1,
    order: Literal["second", "first"] = "second",
    memory: Literal["store", "remat", "sqrt"] = "store",
    task_loss: TaskLoss = losses.cross_entropy,
    noise: float | None = None,
) -> Probabilistic:
    """`bmaml`, with its predictive distribution beside the learner.

    Args:
      model: as in `bmaml`; so are the other arguments.
      inner: likewise.

    Returns:
      A `Probabilistic`.
    """
    least = {"particles": 1, "steps": 0, "leader_steps": 1}
    for name, value in dict(
        particles=particles, steps=steps, leader_steps=leader_steps
    ).items():
        if value < least[name]:
            raise ValueError(f"{name}: got {value}, wants an integer >= {least[name]}")
    if objective not in ("chaser", "likelihood"):
        raise ValueError(
            f'objective: got {objective!r}, wants "chaser" or "likelihood"'
        )
    if repulsion < 0:
        raise ValueError(f"repulsion: got {repulsion}, wants a number >= 0")
    if steps and order != "first":
        check_differentiable(inner)
    own = as_rule(inner)

    def outputs_of(theta, buffers, inputs, train, key):
        def one(weights, kept):
            return model.apply(Meta(weights, kept), inputs, train=train, key=key)

        return jax.vmap(one)(theta, buffers)

    def descend(meta, theta, batch: Batch, count, train, key, order=order):
        """`count` steps of SVGD on the particles; their losses are added, so that each
        one's gradient is that of its own."""

        def loss(theta, batch, k):
            at = jax.random.fold_in(key, k)
            outputs, _ = outputs_of(theta, meta.buffers, batch.inputs, train, at)
            return jax.vmap(task_loss, (0, None))(outputs, batch.targets).sum()

        step = chain(svgd(repulsion), own)
        tx = step.make(((), meta.params.get("rule", ())))
        return unroll(
            loss, theta, tx, batch, steps=count, order=order, memory=memory
        ).params

    def init(key, episode):
        keys = jax.random.split(key, particles)
        start = jax.vmap(lambda k: model.init(k, episode.support.inputs))(keys)
        params = {"particles": start.params, **log_noise(noise)}
        if isinstance(inner, Rule):
            params["rule"] = inner.init(start.params)
        return Meta(params, start.buffers)

    def adapt(meta, support, key):
        return descend(meta, meta.params["particles"], support, steps, False, key)

    def predictive(meta, fast, inputs):
        outputs, _ = outputs_of(fast, meta.buffers, inputs, False, None)
        return mixture(outputs, meta.params)

    def predict(meta, fast, inputs):
        return pr.point(predictive(meta, fast, inputs))

    def loss(meta, episode, key):
        support, query = episode
        params = meta.params
        chasing, leading, judging = jax.random.split(key, 3)
        chaser = descend(meta, params["particles"], support, steps, True, chasing)
        outputs, buffers = outputs_of(chaser, meta.buffers, query.inputs, True, judging)
        seen = lax.stop_gradient(outputs) if objective == "chaser" else outputs
        belief = mixture(seen, params)
        value = nll = pr.nll(belief, query.targets)
        if objective == "chaser":
            # the leader has seen the query too: the posterior that is chased
            leader = descend(
                meta,
                lax.stop_gradient(chaser),
                joined(support, query),
                leader_steps,
                True,
                leading,
                "first",
            )
            gaps = jax.tree.map(
                lambda a, b: jnp.sum(jnp.square(a - lax.stop_gradient(b))),
                chaser,
                leader,
            )
            value = sum(jax.tree.leaves(gaps))
            if noise is not None:
                value = value + nll  # whose only gradient is the noise's
        report = metrics.summary(pr.point(belief), query.targets)
        return value, Aux({**report, "nll": nll}, buffers)

    return Probabilistic(MetaLearner(init, adapt, predict, loss), predictive)


def bmaml(
    model: Model, inner: optax.GradientTransformation | Rule, **options
) -> MetaLearner:
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
      **options: `particles`: M. `steps`: of the chaser, and at test. `leader_steps`: more
        steps of the leader. `objective`: "chaser", or "likelihood": that of the queries
        under the mixture. `repulsion`: of the particles; L is a mean, so 1/n makes SVGD's
        target the posterior of n examples at unit noise. `order`: "second" or "first".
        `memory`: see `jaxmeta.functional.unroll`. `task_loss`: `(outputs, targets) ->
        scalar`. `noise`: for regression, where the learned standard deviation of the
        targets starts; it is learned from the likelihood of the queries. `None` is
        classification.

    Returns:
      A `MetaLearner` whose `fast` are the adapted particles, and whose outputs are means,
      or log-probabilities. `bmaml_process` also gives the distribution.

    Raises:
      ValueError: for bad hyper-parameters.

    >>> import jaxmeta as jm
    >>> learner = jm.bmaml(jm.models.mlp(5), optax.sgd(0.1), particles=3)
    """
    return bmaml_process(model, inner, **options).learner
