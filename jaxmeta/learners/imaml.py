"""iMAML: MAML whose gradient is that of the minimum, not of the path to it.

Rajeswaran, Finn, Kakade, Levine 2019, Meta-Learning with Implicit Gradients,
https://arxiv.org/abs/1909.04630.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxmeta import criteria, tree
from jaxmeta.checks import at_least, not_negative, positive
from jaxmeta.core import Aux, Criterion, Meta, MetaLearner, Model, Rule
from jaxmeta.functional.implicit import proximal_minimum
from jaxmeta.learners.common import choose, warn_of_averages
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model


def imaml(
    model: Model,
    inner: optax.GradientTransformation,
    *,
    steps: int = 16,
    lam: float = 2.0,
    cg_steps: int = 5,
    cg_tol: float = 1e-10,
    damping: float = 0.0,
    adapt_only: Callable[[str], bool] | None = None,
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
) -> MetaLearner:
    """Implicit MAML: memory and time of the backward pass do not depend on the steps.

        phi* = argmin_phi L(phi; S) + lam/2 ||phi - theta||^2             (eq. 3)
        meta-gradient = (I + H/lam)^-1 grad L(phi*; Q),  H = grad^2 L(phi*; S)   (eq. 6)

    `inner` walks from theta towards phi*, and the system is solved by conjugate
    gradient. Both are approximate: "inner_gap" among the metrics is the gradient that
    is left at the end of the walk, relative to the proximal pull lam ||phi - theta||,
    and should be small. Parameters that do not adapt get their gradient through the
    minimum, too.

    Args:
      model: the network.
      inner: the inner optimiser, for the loss with its proximal term.
      steps: of the walk; 16 on Omniglot 5-way as published.
      lam: strength of the proximal term, positive; 2 on Omniglot as published. Too weak
        a term makes the system indefinite where L is concave.
      cg_steps: at most so many conjugate-gradient steps; 5 as published.
      cg_tol: stops them at this relative residual.
      damping: added to `lam` in the system I + H/lam alone: networks are concave in
        some directions, and where L is more concave than `lam` the exact system is
        indefinite. 0 is exact; the authors' program adds 10.
      adapt_only: selects, by path, what the inner loop moves; all of it by default.
      criterion: what a task is judged by, see `jaxmeta.criteria`.
      inner_criterion: whose loss the inner loop descends, `criterion` by default.

    Returns:
      A `MetaLearner` whose `fast` are the adapted parameters (the selected ones only).

    Raises:
      ValueError: for bad hyper-parameters.
      TypeError: if `inner` is a learned `Rule`: the minimum does not depend on how it
        was reached, so its meta-gradient would be zero.

    >>> import jaxmeta as jm
    >>> learner = jm.imaml(jm.models.mlp(5), optax.sgd(0.1), steps=16, lam=2.0)
    """
    check_model(model)
    if isinstance(inner, Rule):
        raise TypeError(
            "inner: got a learned Rule, wants an optax.GradientTransformation: a "
            "minimum does not depend on the rule that reached it"
        )
    at_least(1, steps=steps)
    positive(lam=lam)
    at_least(0, cg_steps=cg_steps)
    not_negative(damping=damping)

    criterion = criteria.as_criterion(criterion)
    inner_loss = criterion
    if inner_criterion is not None:
        inner_loss = criteria.as_criterion(inner_criterion)

    def problem(meta: Meta, train: bool, key):
        """The inner loss; one key for all steps, or it would have no minimum."""
        phi_0, rest = choose(meta.params, adapt_only)

        def loss(phi, batch, k):
            full = Meta(tree.combine(phi, rest), meta.buffers)
            outputs, _ = call(
                model, full, batch.inputs, weights=batch.weights, train=train, key=key
            )
            outputs = inner_loss.prepare(outputs, batch)
            return inner_loss.loss(outputs, batch.targets, batch.weights)

        return loss, phi_0

    def run(meta: Meta, support, train: bool, key):
        loss, phi_0 = problem(meta, train, key)
        return proximal_minimum(
            loss,
            phi_0,
            inner,
            support,
            steps=steps,
            lam=lam,
            cg_steps=cg_steps,
            cg_tol=cg_tol,
            damping=damping,
        ).params

    def merged(meta: Meta, phi) -> Meta:
        rest = choose(meta.params, adapt_only)[1]
        return Meta(tree.combine(phi, rest), meta.buffers)

    def gap(meta: Meta, phi, support, key):
        """||grad L + lam (phi - theta)|| / ||lam (phi - theta)||, 0 at the minimum."""
        loss, phi_0 = problem(meta, True, key)
        grads = jax.grad(loss)(phi, support, jnp.array(steps - 1))
        pull = jax.tree.map(lambda p, t: lam * (p - t), phi, phi_0)
        left, size = optax.tree.norm(optax.tree.add(grads, pull)), optax.tree.norm(pull)
        return left / jnp.where(size > 0, size, 1)

    def init(key, episode):
        meta = model.init(key, episode.support.inputs)
        warn_of_averages(model, meta, episode.support.inputs)
        return meta

    def adapt(meta, support, key):
        return run(meta, support, False, key)

    def predict(meta, fast, inputs, weights=None):
        return call(model, merged(meta, fast), inputs, weights=weights)[0]

    def loss(meta, episode, key):
        support, query = episode
        phi = run(meta, support, True, key)
        outputs, buffers = call(
            model,
            merged(meta, phi),
            query.inputs,
            weights=query.weights,
            train=True,
            key=key,
        )
        still = jax.lax.stop_gradient((meta, phi))
        report = {"inner_gap": gap(*still, support, key)}
        value, found = judged(criterion, outputs, support, query)
        return value, Aux(report | found, buffers)

    return learner_of(init, adapt, predict, loss, criterion, places=True)
