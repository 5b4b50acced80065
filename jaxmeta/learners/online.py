"""Learning from a stream, one example after another, and learning to do so.

OML: Javed, White 2019, Meta-Learning Representations for Continual Learning,
https://arxiv.org/abs/1905.12588. ANML: Beaulieu et al. 2020, Learning to Continually
Learn, https://arxiv.org/abs/2002.09571. Test-time training whose inner loss is the outer one:
Sun et al. 2024, Learning to (Learn at Test Time), https://arxiv.org/abs/2407.04620.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxmeta import criteria
from jaxmeta.core import Aux, Batch, Criterion, Meta, MetaLearner, Model, Rule
from jaxmeta.functional.rows import joined, weights_of
from jaxmeta.gradients import Argmin, Gradient, Unrolled, argmin, unrolled
from jaxmeta.learners.common import AllBut, Only, learned, warn_of_averages
from jaxmeta.learners.differentiated import check_gradient, differentiates
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.maml import is_head, network
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.gated import is_gate
from jaxmeta.rules import check_differentiable


def oml(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    head: Callable[[str], bool] = is_head,
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
) -> MetaLearner:
    """Online-aware meta-learning: features on which a stream does not undo itself.

        phi_{k+1} = phi_k - alpha grad_head L(body, phi_k; x_k),   k over S in its order
        min_{body, phi_0}  E_task L(body, phi_n; S u Q)

    Each example is seen once, in the order of the episode: give it classes one after
    another, as `tasks` do. Forgetting the first classes for the last costs the outer
    loss, since it asks for all of them. A stream that comes in pieces, an `adapt` each,
    wants `inner_criterion=jm.losses.cross_entropy`: classification takes out the classes
    that a piece has no example of, and of a single one nothing is learned.

    Args:
      model: the network.
      inner: the inner optimiser of the head, or a learned rule. A row of weight 0 has no
        gradient, but is a step: take one without momentum where there is padding.
      head: selects, by path, what learns online.
      gradient: `unrolled(...)` or `first_order`, as in `maml`; `unrolled(last=T)` for long
        streams.
      criterion: what a task is judged by, see `jaxmeta.criteria`.
      inner_criterion: whose loss the stream descends, `criterion` by default.

    Returns:
      A `MetaLearner` whose `fast` is the head after the support set.

    Raises:
      ValueError: as `maml`.

    >>> import jaxmeta as jm
    >>> learner = jm.oml(jm.models.mlp(5), optax.sgd(0.03))
    """
    return _online(
        model, inner, Only(head), gradient, criterion, inner_criterion, online=False
    )


def anml(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    gate: Callable[[str], bool] = is_gate,
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
) -> MetaLearner:
    """Neuromodulated meta-learning: a network that learns to switch learning on and off.

        y = head(f(x; phi) * g(x; psi)),   g in (0, 1)
        phi_{k+1} = phi_k - alpha grad_phi L(phi_k, psi; x_k),   k over S in its order
        min_{phi_0, psi}  E_task L(phi_n, psi; S u Q)

    The stream moves all but the gates. Where a gate is shut, an example reads no feature
    and moves no weight behind it, so that classes can keep out of one another's way. It
    is `oml` that adapts more; the published test moves the last layer alone, and that is
    `oml` of the same model: their `Meta` is the same.

    Args:
      model: a network with gates: `with_head(models.gated(f, g), linear_head(5))`.
      inner: the inner optimiser, or a learned rule, as in `oml`.
      gate: selects, by path, the network that stays as it is in a task.
      gradient: as in `oml`.
      criterion: as in `oml`.
      inner_criterion: as in `oml`.

    Returns:
      A `MetaLearner` whose `fast` is all but the gates, after the support set.

    Raises:
      ValueError: as `maml`; at `init`, if `gate` selects nothing.

    >>> import jaxmeta as jm
    >>> features = jm.models.gated(jm.models.conv4(None), jm.models.conv4(None, filters=16))
    >>> model = jm.models.with_head(features, jm.models.linear_head(5))
    >>> learner = jm.anml(model, optax.sgd(0.1))
    """
    part = AllBut(gate, "gate")
    return _online(
        model, inner, part, gradient, criterion, inner_criterion, online=False
    )


def online_maml(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    adapt_only: Callable[[str], bool] | None = None,
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """Online MAML, or test-time training end to end: predict an example, then learn it.

        phi_{k+1} = phi_k - alpha grad L(phi_k; x_k),   k over S in its order
        min_theta  E_task [ sum_k L(phi_k; x_k) + sum_{x in Q} L(phi_n; x) ] / (|S| + |Q|)

    The inner loss is the outer one: the losses that the inner loop met before each step
    are part of the outer loss as they are, at no second forward pass.

    Args:
      model: the network.
      inner: the inner optimiser, or a learned rule, as in `oml`.
      adapt_only: selects, by path, what learns online; all of it by default.
      gradient: `unrolled(...)` or `first_order`, as in `maml`.
      criterion: what each example is judged by, inside and out.

    Returns:
      A `MetaLearner` whose `fast` are the parameters after the support set.

    Raises:
      ValueError: as `maml`.

    >>> import jaxmeta as jm
    >>> learner = jm.online_maml(jm.models.mlp(5), optax.sgd(0.1))
    """
    return _online(model, inner, adapt_only, gradient, criterion, None, online=True)


def _online(
    model, inner, adapt_only, gradient, criterion, inner_criterion, *, online: bool
) -> MetaLearner:
    part, slow = network(model, adapt_only), learned(inner)
    check_gradient(gradient, Unrolled)
    if part.gather is not None:
        raise ValueError("model: got one with norms for each step, wants one for all")
    if differentiates(gradient):
        check_differentiable(inner)
    criterion = criteria.as_criterion(criterion)
    within = criterion
    if inner_criterion is not None:
        within = criteria.as_criterion(inner_criterion)

    def opened(meta: Meta) -> tuple[Meta, optax.GradientTransformation]:
        params, solver = slow.open(meta.params)
        return Meta(params, meta.buffers), solver

    def learn(meta: Meta, support: Batch, train: bool, key) -> Argmin:
        """One step an example, in their order."""

        def loss(phi, meta, seen):
            row, k = seen
            noise, net = jax.random.fold_in(key, k), opened(meta)[0]
            outputs, _ = part.apply(net, phi, row.inputs, k, train, noise, row.weights)
            outputs = within.prepare(outputs, support)
            return within.loss(outputs, row.targets, row.weights)

        n = support.targets.shape[0]
        rows = jax.tree.map(lambda x: x[:, None], support)  # [n, 1, ...]
        return argmin(
            loss,
            part.start(opened(meta)[0], support, train, key),
            meta,
            lambda meta: opened(meta)[1],
            steps=n,
            gradient=gradient,
            batches=(rows, jnp.arange(n)),
        )

    def init(key, episode):
        net = part.init(key, episode.support.inputs)
        warn_of_averages(model, net, episode.support.inputs)
        phi = part.start(net, episode.support, False, key)
        if differentiates(gradient):
            check_differentiable(inner, phi)
        return slow.init(net, phi)

    def adapt(meta, support, key):
        return learn(meta, support, False, key).params

    def predict(meta, fast, inputs, weights=None):
        net = opened(meta)[0]
        return part.apply(net, fast, inputs, 0, False, None, weights)[0]

    def loss(meta, episode, key):
        support, query = episode
        key, judging = jax.random.split(key)
        both = joined(support, query)
        found = learn(meta, support, True, key)
        asked = query if online else both
        outputs, buffers = part.apply(
            opened(meta)[0], found.params, asked.inputs, 0, True, judging, asked.weights
        )
        value, report = judged(criterion, outputs, support, asked)
        if online:
            # a row of weight w counts as w rows, but is one step
            w, more = weights_of(support), jnp.sum(weights_of(query))
            rows = jnp.maximum(jnp.sum(w) + more, 1e-12)
            value = (jnp.sum(w * found.losses) + more * value) / rows
        return value, Aux(report, buffers)

    return learner_of(init, adapt, predict, loss, criterion, places=True)
