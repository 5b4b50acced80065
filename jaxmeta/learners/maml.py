"""MAML: an initialisation from which a few gradient steps go far.

Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep
Networks, https://arxiv.org/abs/1703.03400. ANIL: Raghu et al. 2020,
https://arxiv.org/abs/1909.09157. BOIL: Oh et al. 2021,
https://arxiv.org/abs/2008.08882.

The method itself, for one task; the rest of this file and of `common` is what a user can
say about it:

>>> import jax, jax.numpy as jnp, jaxmeta as jm, numpy as np
>>> net = jm.models.mlp(1, hidden=(8,), activation=jnp.tanh)
>>> def error(params, batch):
...     outputs, _ = net.apply(jm.Meta(params), batch.inputs)
...     return jm.losses.mse(outputs, batch.targets)
>>> def plain_maml(theta, episode):
...     phi = theta
...     for _ in range(5):                                       # eq. 1, on the support set
...         grads = jax.grad(error)(phi, episode.support)
...         phi = jax.tree.map(lambda p, g: p - 0.1 * g, phi, grads)
...     return error(phi, episode.query)                         # eq. 2, on the query set

The loop is `argmin`, and the whole is `maml`: one gradient, to the last digits.

>>> def by_argmin(theta, episode):
...     loss = lambda phi, support: error(phi, support)
...     found = jm.argmin(loss, theta, episode.support, optax.sgd(0.1), steps=5)
...     return error(found.params, episode.query)
>>> learner = jm.maml(net, optax.sgd(0.1), steps=5, criterion=jm.criteria.regression)
>>> with jax.enable_x64(True):
...     episode = jm.tasks.sinusoid()(jax.random.key(0))
...     theta = learner.init(jax.random.key(1), episode).params
...     theta, episode = jax.tree.map(lambda x: x.astype(float), (theta, episode))
...     by_maml = lambda theta, e: learner.loss(jm.Meta(theta), e, jax.random.key(2))[0]
...     ways = (plain_maml, by_argmin, by_maml)
...     flat = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(jax.grad(f)(theta, episode))])
...             for f in ways]
>>> bool(abs(flat[0] - flat[1]).max() < 1e-12), bool(abs(flat[0] - flat[2]).max() < 1e-12)
(True, True)
"""

from collections.abc import Callable

import optax

from jaxmeta import criteria, tree
from jaxmeta.core import Criterion, Meta, MetaLearner, Model, Rule
from jaxmeta.gradients import Gradient, unrolled
from jaxmeta.learners.common import AllBut, Only, Part, choose
from jaxmeta.learners.inner_loop import QueryWeights, unrolled_learner
from jaxmeta.models.call import check_model
from jaxmeta.models.per_step import PerStep, apply_at, gather


def is_head(path: str) -> bool:
    """Whether a leaf belongs to the last layer of a network of `jaxmeta.models`.

    >>> is_head("head/kernel"), is_head("block1/conv/kernel")
    (True, False)
    """
    return path.startswith("head")


def maml(
    model: Model | PerStep,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int = 5,
    gradient: Gradient = unrolled(),
    adapt_only: Callable[[str], bool] | None = None,
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    query_weights: QueryWeights | None = None,
) -> MetaLearner:
    """Model-agnostic meta-learning: descend the loss that is left after adapting.

        phi_0 = theta,  phi_{k+1} = phi_k - alpha grad L(phi_k; S)      (eq. 1)
        min_theta  E_task L(phi_K(theta); Q)                            (eq. 2)

    The first line is `argmin` on the support set, the second its outer loss; `gradient`
    says how the one is differentiated in the other. `Meta.params` are the model's, or,
    where `inner` is a learned `Rule`, `{"model": ..., "rule": ...}`. Everything combines:
    `anil(model, rules.lslr(0.1, steps=5), query_weights=multi_step_weights(5))` is
    ANIL with MAML++'s rates and multi-step loss.

    `query_weights` may be a function of the outer step t, and `annealed` gradients change
    with it. Then `Meta.buffers` are `{"model": ..., "step": t}`, and t moves on with the
    buffers that `loss` returns.

    Args:
      model: the network.
      inner: the inner optimiser: any Optax transform, or a rule from `jaxmeta.rules`.
      steps: K >= 0; 0 is joint training on the query sets.
      gradient: how to differentiate the inner loop, see `jaxmeta.gradients`: `unrolled()`
        through all K steps, `first_order` (FOMAML), `annealed(...)`, `evolution(...)`;
        and `implicit(...)` where `adapt_only` leaves something to learn.
      adapt_only: selects, by path ("head/kernel"), what the inner loop moves; all of it
        by default. The rest is still meta-learned.
      criterion: what a task is judged by, see `jaxmeta.criteria`.
      inner_criterion: whose loss the inner loop descends, `criterion` by default.
      inner_batch: support examples a step, drawn anew each step without replacement;
        `None` takes all of them.
      query_weights: `[K]`, or t -> `[K]`: the outer loss is then sum_k w_k L(phi_k; Q)
        over the parameters after each step (MAML++'s multi-step loss); by default only
        the last counts. A query pass whose weight is 0 is not run.

    Returns:
      A `MetaLearner` whose `fast` are the adapted parameters (the selected ones only).

    Raises:
      ValueError: for bad hyper-parameters; if `adapt_only` selects nothing; or for an
        inner optimiser whose derivative is not finite (`rules.check_differentiable`).

    >>> import jax, jax.numpy as jnp, jaxmeta as jm
    >>> learner = jm.maml(jm.models.mlp(1), optax.sgd(0.01), criterion=jm.criteria.regression)
    >>> episode = jm.tasks.sinusoid()(jax.random.key(0))
    >>> meta = learner.init(jax.random.key(1), episode)
    >>> learner.loss(meta, episode, jax.random.key(2))[0].shape
    ()
    """
    return unrolled_learner(
        network(model, adapt_only),
        inner,
        steps=steps,
        gradient=gradient,
        criterion=criterion,
        inner_criterion=inner_criterion,
        inner_batch=inner_batch,
        query_weights=query_weights,
    )


def network(model: Model | PerStep, adapt_only: Callable[[str], bool] | None) -> Part:
    """A network of which all, or what `adapt_only` selects, adapts from where it is."""
    check_model(model)

    def start(meta, support, train, key):
        return choose(meta.params, adapt_only)[0]

    def apply(meta, phi, inputs, step, train, key, weights):
        full = Meta(tree.combine(phi, choose(meta.params, adapt_only)[1]), meta.buffers)
        return apply_at(
            model, full, inputs, step, train=train, key=key, weights=weights
        )

    per_step = gather if isinstance(model, PerStep) else None
    return Part(model.init, start, apply, per_step, shares=adapt_only is not None)


def anil(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    head: Callable[[str], bool] = is_head,
    steps: int = 5,
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    query_weights: QueryWeights | None = None,
) -> MetaLearner:
    """Almost no inner loop: MAML that adapts the head alone.

        theta = (body, head);  phi_{k+1} = phi_k - alpha grad_head L(body, phi_k; S)

    Args:
      model: the network.
      inner: the inner optimiser.
      head: selects the head by path; all of the parameters make it MAML.
      steps: as of `maml`; so are all that follow.

    Returns:
      A `MetaLearner` whose `fast` is the adapted head.

    Raises:
      ValueError: as `maml`, and if `head` selects nothing.

    References:
      Raghu et al. 2020, Rapid Learning or Feature Reuse?, arXiv:1909.09157.

    >>> import jaxmeta as jm
    >>> learner = jm.anil(jm.models.mlp(5), optax.sgd(0.1), steps=3)
    """
    return maml(
        model,
        inner,
        adapt_only=Only(head),
        steps=steps,
        gradient=gradient,
        criterion=criterion,
        inner_criterion=inner_criterion,
        inner_batch=inner_batch,
        query_weights=query_weights,
    )


def boil(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    head: Callable[[str], bool] = is_head,
    steps: int = 5,
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    query_weights: QueryWeights | None = None,
) -> MetaLearner:
    """Body only update in the inner loop: MAML that leaves the head alone.

        theta = (body, head);  phi_{k+1} = phi_k - alpha grad_body L(phi_k, head; S)

    The head is meta-learned but never adapts, so the features must change with the task.

    Args:
      model: the network.
      inner: the inner optimiser.
      head: selects the head by path.
      steps: as of `maml`; so are all that follow.

    Returns:
      A `MetaLearner` whose `fast` is the adapted body.

    Raises:
      ValueError: as `maml`, and if `head` selects everything, or nothing.

    References:
      Oh, Yoo, Kim, Yun 2021, BOIL, arXiv:2008.08882.

    >>> import jaxmeta as jm
    >>> learner = jm.boil(jm.models.mlp(5), optax.sgd(0.5), steps=1)
    """
    return maml(
        model,
        inner,
        adapt_only=AllBut(head),
        steps=steps,
        gradient=gradient,
        criterion=criterion,
        inner_criterion=inner_criterion,
        inner_batch=inner_batch,
        query_weights=query_weights,
    )
