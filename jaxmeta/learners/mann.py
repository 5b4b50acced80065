"""MANN: a recurrent network that writes examples into an external memory.

Santoro, Bartunov, Botvinick, Wierstra, Lillicrap 2016, Meta-Learning with
Memory-Augmented Neural Networks, https://arxiv.org/abs/1605.06065.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta import criteria, metrics
from jaxmeta.checks import at_least, one_of
from jaxmeta.core import (
    Array,
    Aux,
    Batch,
    Criterion,
    Episode,
    Features,
    Key,
    Meta,
    MetaLearner,
)
from jaxmeta.functional.rows import clean, joined, weights_of
from jaxmeta.functional.sequence import presented
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model
from jaxmeta.models.memory import Write, empty_state, memory_controller
from jaxmeta.signatures import signature_of


class MemoryNetwork(NamedTuple):
    """A memory-augmented network, as a learner and as what it is: a sequence model.

    Attributes:
      learner: the `MetaLearner`.
      sequence: `(meta, batch) -> logits [n, c]`, inference; examples in the order given,
        each predicted before its label is shown.
    """

    learner: MetaLearner
    sequence: Callable[[Meta, Batch], Array]


def memory_network(
    model: Features,
    *,
    hidden: int = 200,
    slots: int = 128,
    width: int = 40,
    heads: int = 4,
    decay: float = 0.95,
    write: Write = "key",
    sharpness: float | None = None,
    criterion: Criterion | Callable = criteria.classification,
    instances: Sequence[int] = (1, 2, 5),
) -> MemoryNetwork:
    """`mann`, with its predictions along a sequence beside the learner.

    Args:
      model: as in `mann`; so are the other arguments.
      hidden: likewise.

    Returns:
      A `MemoryNetwork`.

    >>> import jaxmeta as jm
    >>> network = memory_network(jm.models.mlp(None, hidden=(8,)), hidden=8, slots=16)
    >>> episode = jm.testing.probe()(jax.random.key(0))
    >>> meta = network.learner.init(jax.random.key(1), episode)
    >>> network.sequence(meta, episode.query).shape
    (12, 3)
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    at_least(1, hidden=hidden, width=width)
    if not 1 <= heads <= slots:
        raise ValueError(f"heads: got {heads}, wants 1 to {slots}, the number of slots")
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"decay: got {decay}, wants a number in [0, 1)")
    one_of(("key", "own"), write=write)
    if sharpness is not None and not 1 < sharpness < 100:
        raise ValueError(
            f"sharpness: got {sharpness}, wants a number in (1, 100) or None"
        )
    if any(i < 1 for i in instances):
        raise ValueError(f"instances: got {instances}, wants integers >= 1")
    options = dict(
        hidden=hidden,
        width=width,
        heads=heads,
        decay=decay,
        write=write,
        sharpness=sharpness,
    )

    def embed(meta: Meta, inputs, weights, **how):
        here = Meta(meta.params["embedding"], meta.buffers)
        features, buffers = call(model, here, inputs, weights=weights, **how)
        # of order one, whatever the embedding: what is faint is not remembered
        return jax.nn.standardize(features), buffers

    def empty(ways, dtype):
        return empty_state(ways, hidden, slots, width, heads, dtype)

    def stepper(params):
        """`(state, x) -> (state, logits)` for these parameters."""
        ways = params["head"]["bias"].shape[0]
        rest = ways + heads * width + hidden
        features = params["lstm"]["kernel"].shape[0] - rest
        controller = memory_controller(features, ways, **options)
        return lambda state, x: controller.apply(Meta(params, {}), (state, x))[0]

    def run(meta: Meta, batch: Batch):
        """Shows embedded examples in order: the last state, and logits `[n, ways]`."""
        params = meta.params["controller"]
        ways = params["head"]["bias"].shape[0]
        if batch.targets.shape[-1] != ways:
            raise ValueError(
                f"targets: got {batch.targets.shape[-1]} ways, wants {ways}: "
                "a label is part of MANN's input, of a length fixed by init"
            )
        advance = stepper(params)

        def step(state, example):
            (x, y), real = example
            after, logits = advance(state, x)
            after = after._replace(label=y)  # shown with the next example
            state = jax.tree.map(lambda a, b: jnp.where(real, a, b), after, state)
            return state, logits

        start = empty(ways, batch.inputs.dtype)
        real = weights_of(batch) > 0
        return lax.scan(step, start, ((batch.inputs, batch.targets), real))

    def init(key, episode):
        first, second = jax.random.split(key)
        inputs, targets = episode.support.inputs, episode.support.targets
        embedding = model.init(first, inputs)
        features = jax.eval_shape(lambda m, x: model.apply(m, x)[0], embedding, inputs)
        ways, d = targets.shape[-1], features.shape[-1]
        blank = (empty(ways, features.dtype), jnp.zeros(d, features.dtype))
        controller = memory_controller(d, ways, **options).init(second, blank)
        params = {"embedding": embedding.params, "controller": controller.params}
        return Meta(params, embedding.buffers)

    def adapt(meta, support, key):
        features, _ = embed(meta, support.inputs, support.weights)
        batch, _ = presented(support._replace(inputs=features), key)
        return run(meta, batch)[0]

    def predict(meta, fast, inputs, weights=None):
        # every query is the next example after the support set, on its own copy
        features, _ = embed(meta, inputs, weights)
        advance = stepper(meta.params["controller"])
        return jax.vmap(lambda x: advance(fast, x)[1])(features)

    def loss(meta, episode, key):
        order, noise = jax.random.split(key)
        both = joined(*episode)
        features, buffers = embed(
            meta, both.inputs, both.weights, train=True, key=noise
        )
        batch, _ = presented(both._replace(inputs=features), order)
        _, outputs = run(meta, batch)
        # the sequence is its own support set: a class is there if it is in it
        value, report = judged(criterion, outputs, batch, batch)
        return value, Aux(
            {**report, **_by_instance(outputs, batch, instances)}, buffers
        )

    def sequence(meta, batch):
        batch = clean(batch)
        features, _ = embed(meta, batch.inputs, batch.weights)
        return run(meta, batch._replace(inputs=features))[1]

    learner = learner_of(init, adapt, predict, loss, criterion)
    return MemoryNetwork(learner, sequence)


def _by_instance(outputs: Array, batch: Batch, wanted: Sequence[int]) -> dict:
    """Accuracy at the 1st, 2nd, 5th example of a class, as far as there may be so many."""
    each = max(batch.targets.shape[0] // batch.targets.shape[1], 1)
    some = [i for i in wanted if i <= each]
    if not some:
        return {}
    found = metrics.accuracy_by_instance(
        outputs, batch.targets, max(some), batch.weights
    )
    return {f"instance_{i}": found[i - 1] for i in some}


@signature_of(memory_network)
def mann(*args, **options) -> MetaLearner:
    """A memory-augmented neural network with least-recently-used access.

        h_t = LSTM([f(x_t); y_{t-1}; r_{t-1}]),  r_t = memory(h_t),  p_t = softmax(W [h_t; r_t])
        L = -1/T sum_t log p_t(y_t)

    In training, support and query are one sequence in random order and every step
    counts: the first example of a class can only be guessed, the later ones recalled.
    At inference the support set is written into the memory, in an order drawn from the
    key, and each query is the next example on a copy of its own. `memory_network` gives
    the predictions along a sequence, for accuracies by instance number.

    Examples of weight 0 are passed by: the state stays as it was. A sequence has no half
    examples: any other weight is 1 to the memory, and counts as it is in the loss.

    Any number of examples will do; the number of ways is the length of a label and
    cannot change.

    Args:
      model: the embedding, `[n, ...] -> [n, d]`; the paper has none, `models.flat()`.
        Each f(x) is standardised over its d values.
      hidden: width of the LSTM controller.
      slots: rows of the memory.
      width: length of a row.
      heads: reading heads.
      decay: gamma, of the usage weights.
      write: what a head writes: "key", the k it looks for, so that like finds like from
        the first step on; or "own", a vector of its own, as some implementations do.
      sharpness: where beta > 1 of softmax(beta cos(k, M)) starts, which every head then
        learns. `None` is the paper's beta = 1: of 128 slots none weighs more than e^2
        times another, and what is read is close to the mean of the memory.
      criterion: what each step of the sequence is judged by, and queries in tests.
      instances: at which examples of a class the training loss reports the accuracy:
        "instance_1", ...; `()` where targets are no classes.

    Returns:
      A `MetaLearner` whose `fast` is the controller's state after the support set.

    Raises:
      ValueError: for bad sizes, or another number of ways than at `init`.

    >>> import jaxmeta as jm
    >>> learner = jm.mann(jm.models.flat())
    """
    return memory_network(*args, **options).learner


def instance_accuracy(
    network: MemoryNetwork, meta: Meta, episode: Episode, key: Key
) -> Array:
    """Accuracy at the 1st, 2nd, ... example of a class in one shuffled sequence.

    Support and query make one sequence; all classes must have equally many examples.
    Examples of weight 0 are not in it.

    Args:
      network: from `memory_network`.
      meta: its parameters.
      episode: one task.
      key: the order.

    Returns:
      `[shots + queries]`; average it over episodes, by `jax.vmap`.

    >>> import jaxmeta as jm
    >>> network = memory_network(jm.models.flat(), hidden=8, slots=16)
    >>> episode = jm.testing.probe(shots=2, queries=4)(jax.random.key(0))
    >>> meta = network.learner.init(jax.random.key(1), episode)
    >>> instance_accuracy(network, meta, episode, jax.random.key(2)).shape
    (6,)
    """
    batch, _ = presented(joined(*episode), key)
    outputs = network.sequence(meta, batch)
    each = batch.targets.shape[0] // batch.targets.shape[1]
    return metrics.accuracy_by_instance(outputs, batch.targets, each, batch.weights)
