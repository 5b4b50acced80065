"""All queries of a task are classified together: what a learner says at a test changes.

Each takes a trained learner and the network whose features its classes are told by, and
leaves `init` and `loss`. Results are transductive: they depend on who else is asked, and
compare with transductive results only. The maths is in `jaxmeta.functional`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from jaxmeta import criteria, functional
from jaxmeta.checks import at_least, not_negative, positive, within
from jaxmeta.core import Array, Features, Meta, MetaLearner
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model


class Shown(NamedTuple):
    """What is kept of a support set.

    Attributes:
      features: `[n, d]`.
      targets: one-hot `[n, c]`.
      weights: `[n]`, or `None`.
    """

    features: Array
    targets: Array
    weights: Array | None


def whole(meta: Meta) -> Meta:
    """The network's `Meta` where the learner has nothing else, as `protonet`."""
    return meta


def tim(
    learner: MetaLearner,
    model: Features,
    *,
    where: Callable[[Meta], Meta] = whole,
    ce: float = 0.1,
    marginal: float = 1.0,
    conditional: float = 0.1,
    temperature: float = 15.0,
    rate: float = 1e-4,
    steps: int = 1000,
) -> MetaLearner:
    """TIM: class weights that tell most about all queries, by gradient descent.

        min_W  a CE(S) - b H(mean_Q p) + c mean_Q H(p),   p ~ exp(-T/2 ||w_k - z||^2)

    Args:
      learner: any classifier: what it was trained with.
      model: the network that it was built with, `[n, ...] -> [n, d]`.
      where: the network's part of the learner's `Meta`: all of it by default, and
        `jaxmeta.learners.embedding.encoder` where its params are `{"model", "head"}`.
      ce: a, of the support's cross-entropy. This and the numbers below are of the
        authors' code; that of Veilleux et al. 2021 has a = b = c = 1.
      marginal: b, of the entropy of the mean prediction: classes are equally many.
      conditional: c, of the mean entropy of a prediction: each is sure.
      temperature: T.
      rate: of Adam.
      steps: of Adam; 0: the nearest prototype of features of length 1.

    Returns:
      A `MetaLearner` with the same `Meta`, `init` and `loss`, whose `fast` is a `Shown`.

    Raises:
      ValueError: for numbers out of range.

    References:
      Boudiaf et al. 2020, arXiv:2008.11297 (TIM-GD, section 2.2).

    >>> import jaxmeta as jm
    >>> net = jm.models.conv4(None)
    >>> tester = tim(jm.protonet(net), net)
    """
    options: dict[str, Any] = {"ce": ce, "marginal": marginal, "rate": rate}
    options |= {"conditional": conditional, "temperature": temperature, "steps": steps}
    return alpha_tim(learner, model, where=where, alpha=1.0, **options)


def alpha_tim(
    learner: MetaLearner,
    model: Features,
    *,
    where: Callable[[Meta], Meta] = whole,
    alpha: float = 2.0,
    ce: float = 1.0,
    marginal: float = 1.0,
    conditional: float = 1.0,
    temperature: float = 15.0,
    rate: float = 1e-4,
    steps: int = 1000,
) -> MetaLearner:
    """alpha-TIM: TIM with Tsallis entropies, for classes of unequal numbers of queries.

        H_alpha(p) = (1 - sum_k p_k^alpha) / (alpha - 1)

    Args:
      learner: as of `tim`.
      model: likewise.
      where: likewise.
      alpha: > 0; 1 is `tim` with the same numbers. The authors' code has 2 for one
        shot, 7 for five or more.
      ce: of the support's cross-entropy, that of Shannon, as in the authors' code. The
        numbers below are of that code, too.
      marginal: of the entropy of the mean prediction.
      conditional: of the mean entropy of a prediction.
      temperature: as of `tim`.
      rate: of Adam.
      steps: of Adam.

    Returns:
      A `MetaLearner`, as of `tim`.

    Raises:
      ValueError: for numbers out of range.

    References:
      Veilleux et al. 2021, arXiv:2204.11181, section 4.
    """
    options = {"ce": ce, "marginal": marginal, "conditional": conditional}
    not_negative(**options)
    positive(alpha=alpha, temperature=temperature, rate=rate)
    at_least(0, steps=steps)
    options |= {"alpha": alpha, "temperature": temperature, "rate": rate}
    options["steps"] = steps
    return together(learner, model, where, partial(functional.tim, **options))


def laplacian_shot(
    learner: MetaLearner,
    model: Features,
    *,
    where: Callable[[Meta], Meta] = whole,
    strength: float = 0.7,
    neighbours: int = 2,
    steps: int = 20,
    rectify: bool = False,
) -> MetaLearner:
    """LaplacianShot: the nearest prototype, and near queries are of one class.

        y_q <- softmax_k(-||z_q - m_k||^2 + l sum_{p near q} y_pk)

    Args:
      learner: as of `tim`.
      model: likewise.
      where: likewise.
      strength: l >= 0, to be chosen by validation of 0.1 to 1.5; 0.7 is what Veilleux
        et al. 2021 chose for one shot of miniImageNet with a ResNet-18.
      neighbours: how many other queries each listens to: the authors' k = 3 counts the
        query itself.
      steps: of the update.
      rectify: start from the prototypes of `bd_cspn`.

    Returns:
      A `MetaLearner`, as of `tim`.

    Raises:
      ValueError: for numbers out of range.

    References:
      Ziko et al. 2020, arXiv:2006.15486.
    """
    not_negative(strength=strength)
    at_least(1, neighbours=neighbours)
    at_least(0, steps=steps)
    options: dict[str, Any] = {"strength": strength, "neighbours": neighbours}
    options |= {"steps": steps, "rectify": rectify}
    return together(
        learner, model, where, partial(functional.laplacian_shot, **options)
    )


def bd_cspn(
    learner: MetaLearner,
    model: Features,
    *,
    where: Callable[[Meta], Meta] = whole,
    scale: float = 10.0,
) -> MetaLearner:
    """BD-CSPN: queries moved to the support's mean, then taken into the prototypes.

        z' = z + mean_S z - mean_Q z,   P'_k ~ sum_i exp(e cos(z'_i, P_k)) z'_i

    Args:
      learner: as of `tim`.
      model: likewise.
      where: likewise.
      scale: e > 0, of the cosines; 10 as in the code of Veilleux et al. 2021.

    Returns:
      A `MetaLearner`, as of `tim`.

    Raises:
      ValueError: for a scale that is not positive.

    References:
      Liu et al. 2020, arXiv:1911.10713.
    """
    positive(scale=scale)
    return together(learner, model, where, partial(functional.bd_cspn, scale=scale))


def pt_map(
    learner: MetaLearner,
    model: Features,
    *,
    where: Callable[[Meta], Meta] = whole,
    power: float = 0.5,
    centre: bool = True,
    strength: float = 10.0,
    inertia: float = 0.2,
    steps: int = 20,
    rounds: int = 100,
) -> MetaLearner:
    """PT-MAP: class centres by optimal transport, told that classes are equally many.

        M = sinkhorn(||z_q - c_k||^2, 1, |Q| / K),   c_k <- c_k + a (mu_k(M) - c_k)

    Args:
      learner: as of `tim`.
      model: likewise; one whose features are >= 0, or `power` 1.
      where: likewise.
      power: of the features, > 0. All numbers are of the authors' code.
      centre: move support and query each to mean 0.
      strength: of the costs against the entropy, > 0.
      inertia: a in [0, 1], to be chosen by validation.
      steps: of the centres.
      rounds: of `functional.sinkhorn`.

    Returns:
      A `MetaLearner`, as of `tim`.

    Raises:
      ValueError: for numbers out of range.

    References:
      Hu et al. 2021, arXiv:2006.03806.
    """
    positive(power=power, strength=strength)
    within("[0, 1]", inertia=inertia)
    at_least(0, steps=steps)
    at_least(1, rounds=rounds)
    options: dict[str, Any] = {"power": power, "centre": centre, "strength": strength}
    options |= {"inertia": inertia, "steps": steps, "rounds": rounds}
    return together(learner, model, where, partial(functional.pt_map, **options))


def together(
    learner: MetaLearner,
    model: Features,
    where: Callable[[Meta], Meta],
    classify: Callable[..., Array],
) -> MetaLearner:
    """A learner whose queries are classified at once, by a function of features.

    Args:
      learner: any classifier.
      model: its network.
      where: the network's part of the learner's `Meta`.
      classify: `(support, targets, query, *, weights, query_weights) -> logits [m, c]`.

    Returns:
      A `MetaLearner` with the same `Meta`, `init` and `loss`.
    """
    check_model(model)

    def adapt(meta, support, key):
        features, _ = call(model, where(meta), support.inputs, weights=support.weights)
        return Shown(features, support.targets, support.weights)

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, where(meta), inputs, weights=weights)
        given = {"weights": fast.weights, "query_weights": weights}
        return classify(fast.features, fast.targets, features, **given)

    criterion = criteria.as_criterion(learner.criterion)
    made = learner_of(learner.init, adapt, predict, learner.loss, criterion)
    return learner._replace(adapt=made.adapt, predict=made.predict)
