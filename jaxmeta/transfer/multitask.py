"""Many tasks at once: a shared trunk, a head for each task, one direction for the trunk."""

import functools
import inspect
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxmeta import criteria
from jaxmeta.core import (
    Array,
    Aux,
    Batch,
    Criterion,
    Key,
    Meta,
    Model,
    Objective,
    PyTree,
)
from jaxmeta.functional.rows import clean_rows, example_weights
from jaxmeta.models.call import call
from jaxmeta.transfer.branched import branched, parts
from jaxmeta.transfer.multitask_aggregators import (
    Aggregate,
    combine_tasks,
    equal_weights,
)
from jaxmeta.transfer.multitask_weights import Weighting


def multitask(
    trunk: Model,
    heads: Mapping[str, Model],
    aggregate: Aggregate | Weighting | None = None,
    *,
    criterion: Criterion
    | Callable
    | Mapping[str, Criterion | Callable] = criteria.classification,
) -> Objective:
    """Learns several tasks with shared parameters.

        J_k = grad_trunk L_k;   trunk: aggregate(J),   head k: grad_head L_k

    One forward pass through the trunk, and a backward pass a task. The heads get their
    own plain gradients, or with a `Weighting` those of w_k L_k.

    A label that is missing has weight 0 and may hold anything, NaN too. A task without
    one label in a batch has loss 0 and gradient 0 in it.

    Args:
      trunk: the shared network.
      heads: task name -> network of the trunk's features.
      aggregate: `J -> d`, or `(J, key) -> d`, on trees with a leading axis of tasks in
        the order of their sorted names (`pcgrad()`, `cagrad()`, `mgda()`,
        `equal_weights()`, `fixed_weights(w)`), or a `Weighting` (`uncertainty()`,
        `gradnorm()`), whose state is in "weighting". By default `equal_weights()`.
        A PRNG key is passed to an argument of the name "key".
      criterion: of all tasks, or task name -> criterion; see `jaxmeta.criteria`.

    Returns:
      An `Objective`. Its batch is a `Batch` whose targets are a dictionary, task name ->
      `[n, c]` (one input, many tasks), or a dictionary, task name -> `Batch` (many
      inputs; running averages of the trunk are then the mean of the tasks'). The
      weights of a `Batch` with several tasks are `[n]`, or a dictionary, task name ->
      `[n]`; the trunk takes an example for as much as the task that needs it most. The
      parameters are those of `branched(trunk, heads)`, which predicts. It reports
      "loss/left", "accuracy/left" and so on; "loss" is the mean of the losses.

    Raises:
      ValueError: without heads, for criteria of other tasks, or an `aggregate` that
        needs another second argument than a key; when called, if tasks of batch and
        heads differ.

    References:
      Sener and Koltun 2018, arXiv:1810.04650, sections 2 and 3, for the setting.

    >>> import optax, jaxmeta as jm
    >>> heads = {"left": jm.models.linear_head(3), "right": jm.models.linear_head(2)}
    >>> trainer = jm.make_trainer(multitask(jm.models.mlp(None), heads), optax.adam(1e-3))
    >>> batch = Batch(jnp.ones((1, 4)), {"left": jnp.eye(1, 3), "right": jnp.eye(1, 2)})
    >>> state = jax.jit(trainer.init)(jax.random.key(0), batch)
    >>> sorted(jax.jit(trainer.step)(state, batch, jax.random.key(1))[1])[:3]
    ['accuracy/left', 'accuracy/right', 'grad_norm']
    """
    model = branched(trunk, heads)
    names = sorted(heads)
    if isinstance(criterion, Mapping):
        _same_tasks("criterion", criterion, names)
        judges = {name: criteria.as_criterion(criterion[name]) for name in names}
    else:
        judges = dict.fromkeys(names, criteria.as_criterion(criterion))
    weighting, direction = None, _keyed(equal_weights())
    if isinstance(aggregate, Weighting):
        weighting = aggregate
    elif aggregate is not None:
        direction = _keyed(aggregate)

    def init(key: Key, batch: PyTree) -> Meta:
        inputs = next(iter(_inputs(batch, names).values()))[0]
        meta = model.init(key, inputs)
        if weighting is None:
            return meta
        state = weighting.init(len(names))
        return Meta(
            {**meta.params, "weighting": state.params},
            {**meta.buffers, "weighting": state.buffers},
        )

    def value_and_grad(meta: Meta, batch: PyTree, key: Key):
        asked = _asked(batch, names)
        body, tops = parts(meta)
        own, key = jax.random.split(key)
        of_trunk, of_heads = jax.random.split(key)

        def through(inputs, weights, key):
            """Features, the backward pass to the trunk's parameters, its buffers."""

            def features(params):
                at = body._replace(params=params)
                return call(trunk, at, inputs, weights=weights, train=True, key=key)

            return jax.vjp(features, body.params, has_aux=True)

        def task(name, key, features):
            """Loss, metrics and buffers of a head; gradients in it and its features."""
            targets, weights = asked[name]

            def loss(params, features):
                outputs, buffers = call(
                    heads[name], tops[name]._replace(params=params), features,
                    weights=weights, train=True, key=key,
                )  # fmt: skip
                against = (outputs, targets, weights)
                judge = judges[name]
                return judge.loss(*against), (judge.metrics(*against), buffers)

            found = jax.value_and_grad(loss, (0, 1), has_aux=True)
            return found(tops[name].params, features)

        passes = _inputs(batch, names)
        keys = dict(zip(names, jax.random.split(of_heads, len(names)), strict=True))
        found, rows, every = {}, {}, []
        for k, (some, (inputs, weights)) in enumerate(passes.items()):
            at = jax.random.fold_in(of_trunk, k)
            features, back, buffers = through(inputs, weights, at)
            found |= {n: task(n, keys[n], features) for n in some}
            # what a pass through the trunk serves goes back through it side by side
            cotangents = _stack([found[n][1][1] for n in some])
            (jacobian,) = jax.vmap(back)(cotangents)
            for j, n in enumerate(some):
                rows[n] = jax.tree.map(lambda x, j=j: x[j], jacobian)
            every.append(buffers)
        jacobian = _stack([rows[n] for n in names])
        running = jax.tree.map(lambda x: x.mean(0), _stack(every))

        values = jnp.stack([found[n][0][0] for n in names])
        grads = {n: found[n][1][0] for n in names}
        report = {}
        for n in names:
            (value, (summary, _)), _ = found[n]
            report |= {f"loss/{n}": value}
            report |= {f"{metric}/{n}": x for metric, x in summary.items()}
        buffers = {
            **meta.buffers,
            "trunk": running,
            "heads": {n: found[n][0][1][1] for n in names},
        }
        if weighting is None:
            every = {"trunk": direction(jacobian, own), "heads": grads}
            return (values.mean(), Aux(report, buffers)), every

        how = weighting.weigh
        state = Meta(meta.params["weighting"], meta.buffers["weighting"])

        def weigh(params):
            w, objective, kept = how(state._replace(params=params), values, jacobian)
            return objective, (w, kept)

        moves, (w, kept) = jax.grad(weigh, has_aux=True)(state.params)
        for k, n in enumerate(names):
            grads[n] = jax.tree.map(lambda g, s=w[k]: s * g, grads[n])
            report[f"weight/{n}"] = w[k]
        every = {
            "trunk": combine_tasks(w, jacobian), "heads": grads, "weighting": moves,
        }  # fmt: skip
        buffers = {**buffers, "weighting": kept}
        return (values.mean(), Aux(report, buffers)), every

    return Objective(init, value_and_grad)


def _keyed(aggregate: Aggregate) -> Callable[[PyTree, Key], PyTree]:
    """An aggregator that is given a key, whether it takes one or not."""
    _, *others = inspect.signature(aggregate).parameters.values()
    if any(p.name == "key" and p.kind != p.VAR_KEYWORD for p in others):
        return lambda jacobian, key: aggregate(jacobian, key=key)
    needed = [
        p.name
        for p in others
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        raise ValueError(
            f"aggregate: got a function that needs {needed[0]!r}, wants one of J, or of "
            "J and key"
        )
    return lambda jacobian, key: aggregate(jacobian)


def _inputs(
    batch: PyTree, names: list[str]
) -> dict[tuple[str, ...], tuple[PyTree, Array | None]]:
    """What passes the trunk: the tasks that a pass serves -> inputs and weights."""
    asked = _asked(batch, names)
    if not isinstance(batch, Batch):
        of = {n: (batch[n].inputs, asked[n][1]) for n in names}
        return {(n,): (clean_rows(x, w), w) for n, (x, w) in of.items()}
    weights = None
    if any(w is not None for _, w in asked.values()):
        each = [jnp.ones(()) if w is None else w for _, w in asked.values()]
        weights = functools.reduce(jnp.maximum, each)
    return {tuple(names): (clean_rows(batch.inputs, weights), weights)}


def _asked(batch: PyTree, names: list[str]) -> dict[str, tuple[Array, Array | None]]:
    """Targets and weights of each task, with nothing in what does not count."""
    if isinstance(batch, Batch):
        _same_tasks("batch", batch.targets, names)
        weights = batch.weights
        if isinstance(weights, Mapping):
            _same_tasks("weights", weights, names)
        else:
            weights = dict.fromkeys(names, weights)
        found = {n: (batch.targets[n], weights[n]) for n in names}
    else:
        _same_tasks("batch", batch, names)
        found = {n: (batch[n].targets, batch[n].weights) for n in names}
    rows = {n: None if w is None else example_weights(w) for n, (_, w) in found.items()}
    return {n: (clean_rows(found[n][0], rows[n]), rows[n]) for n in names}


def _stack(trees: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def _same_tasks(field: str, found: PyTree, names: list[str]) -> None:
    got = sorted(found) if isinstance(found, Mapping) else found
    if got != names:
        raise ValueError(f"{field}: got tasks {got}, wants those of the heads {names}")
