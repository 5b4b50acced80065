"""Many tasks at once: a shared trunk, a head for each task, one direction for the trunk."""

import inspect
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxmeta import losses, metrics
from jaxmeta.core import Array, Aux, Batch, Key, Meta, Model, Objective, PyTree, Scalar
from jaxmeta.transfer.multitask_aggregators import (
    Aggregate,
    combine_tasks,
    equal_weights,
)
from jaxmeta.transfer.multitask_weights import Weighting

TaskLoss = Callable[[Array, Array], Scalar]


def branched(trunk: Model, heads: Mapping[str, Model]) -> Model:
    """A trunk and several heads as one network.

        y_k = head_k(trunk(x))

    Args:
      trunk: the shared network, `conv4(None)` say.
      heads: task name -> network of features, `linear_head(10)` or `mlp(10)`.

    Returns:
      A `Model` with parameters and buffers "trunk" and "heads"; its outputs are a
      dictionary, task name -> `[n, c]`.

    Raises:
      ValueError: without heads.

    >>> from jaxmeta.models import linear_head, mlp
    >>> model = branched(mlp(None), {"left": linear_head(3), "right": linear_head(2)})
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 4)))
    >>> model.apply(meta, jnp.zeros((5, 4)))[0]["right"].shape
    (5, 2)
    """
    if not heads:
        raise ValueError("heads: got none, wants one or more")

    def init(key: Key, inputs: PyTree) -> Meta:
        keys = jax.random.split(key, len(heads) + 1)
        body = trunk.init(keys[0], inputs)
        found = jax.eval_shape(trunk.apply, body, inputs)[0]
        features = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), found)
        tops = {
            name: head.init(key, features)
            for key, (name, head) in zip(keys[1:], sorted(heads.items()), strict=True)
        }
        return Meta(
            {"trunk": body.params, "heads": {k: top.params for k, top in tops.items()}},
            {"trunk": body.buffers, "heads": {k: t.buffers for k, t in tops.items()}},
        )

    def apply(meta: Meta, inputs: PyTree, *, train=False, key=None):
        body, tops = _parts(meta)
        features, running = trunk.apply(body, inputs, train=train, key=key)
        outputs, buffers = {}, {}
        for name, head in heads.items():
            outputs[name], buffers[name] = head.apply(
                tops[name], features, train=train, key=key
            )
        return outputs, {**dict(meta.buffers), "trunk": running, "heads": buffers}

    return Model(init, apply)


def multitask(
    trunk: Model,
    heads: Mapping[str, Model],
    aggregate: Aggregate | Weighting | None = None,
    *,
    task_loss: TaskLoss | Mapping[str, TaskLoss] = losses.cross_entropy,
) -> Objective:
    """Learns several tasks with shared parameters.

        J_k = grad_trunk L_k;   trunk: aggregate(J),   head k: grad_head L_k

    One forward pass through the trunk, and a backward pass a task. The heads get their
    own plain gradients, or with a `Weighting` those of w_k L_k.

    Args:
      trunk: the shared network.
      heads: task name -> network of the trunk's features.
      aggregate: `J -> d`, or `(J, key) -> d`, on trees with a leading axis of tasks in
        the order of their sorted names (`pcgrad()`, `cagrad()`, `mgda()`,
        `equal_weights()`, `fixed_weights(w)`), or a `Weighting` (`uncertainty()`,
        `gradnorm()`), whose state is in "weighting". By default `equal_weights()`.
      task_loss: of all tasks, or task name -> loss.

    Returns:
      An `Objective`. Its batch is a `Batch` whose targets are a dictionary, task name ->
      `[n, c]` (one input, many tasks), or a dictionary, task name -> `Batch` (many
      inputs; running averages of the trunk are then the mean of the tasks'). The
      parameters are those of `branched(trunk, heads)`, which predicts. It reports
      "loss/left", "accuracy/left" and so on; "loss" is the mean of the losses.

    Raises:
      ValueError: without heads; when called, if tasks of batch and heads differ.

    References:
      Sener and Koltun 2018, arXiv:1810.04650, sections 2 and 3, for the setting.

    >>> import optax, jaxmeta as jm
    >>> heads = {"left": jm.models.linear_head(3), "right": jm.models.linear_head(2)}
    >>> trainer = jm.make_trainer(multitask(jm.models.mlp(None), heads), optax.adam(1e-3))
    >>> batch = Batch(jnp.ones((1, 4)), {"left": jnp.eye(1, 3), "right": jnp.eye(1, 2)})
    >>> state = trainer.init(jax.random.key(0), batch)
    >>> sorted(trainer.step(state, batch, jax.random.key(1))[1])[:3]
    ['accuracy/left', 'accuracy/right', 'grad_norm']
    """
    model = branched(trunk, heads)
    names = sorted(heads)
    chosen = equal_weights() if aggregate is None else aggregate
    takes_key = callable(chosen) and len(inspect.signature(chosen).parameters) > 1

    def loss_of(name: str) -> TaskLoss:
        return task_loss[name] if isinstance(task_loss, Mapping) else task_loss

    def inputs_of(batch):
        if isinstance(batch, Batch):
            _same_tasks(batch.targets, names)
            return batch.inputs
        _same_tasks(batch, names)
        return batch[names[0]].inputs

    def init(key: Key, batch: PyTree) -> Meta:
        meta = model.init(key, inputs_of(batch))
        if not isinstance(chosen, Weighting):
            return meta
        state = chosen.init(len(names))
        return Meta(
            {**meta.params, "weighting": state.params},
            {**meta.buffers, "weighting": state.buffers},
        )

    def value_and_grad(meta: Meta, batch: PyTree, key: Key):
        inputs_of(batch)
        body, tops = _parts(meta)
        own, key = jax.random.split(key)

        def through(inputs, key):
            """Features, the backward pass to the trunk's parameters, its buffers."""

            def features(params):
                return trunk.apply(
                    body._replace(params=params), inputs, train=True, key=key
                )

            return jax.vjp(features, body.params, has_aux=True)

        def task(name, features, targets, key):
            """Loss, metrics and buffers of a head; gradients in it and its features."""

            def loss(params, features):
                outputs, buffers = heads[name].apply(
                    tops[name]._replace(params=params), features, train=True, key=key
                )
                report = metrics.summary(outputs, targets)
                return loss_of(name)(outputs, targets), (report, buffers)

            found = jax.value_and_grad(loss, (0, 1), has_aux=True)
            return found(tops[name].params, features)

        if isinstance(batch, Batch):
            features, back, running = through(batch.inputs, key)
            found = {n: task(n, features, batch.targets[n], key) for n in names}
            cotangents = _stack([found[n][1][1] for n in names])
            (jacobian,) = jax.vmap(back)(cotangents)
        else:
            found, rows, every = {}, [], []
            for n in names:
                features, back, buffers = through(batch[n].inputs, key)
                found[n] = task(n, features, batch[n].targets, key)
                rows.append(back(found[n][1][1])[0])
                every.append(buffers)
            jacobian = _stack(rows)
            running = jax.tree.map(lambda x: x.mean(0), _stack(every))

        values = jnp.stack([found[n][0][0] for n in names])
        grads = {n: found[n][1][0] for n in names}
        report = {"loss": values.mean()}
        for n in names:
            (value, (summary, _)), _ = found[n]
            report |= {f"loss/{n}": value}
            report |= {f"{metric}/{n}": x for metric, x in summary.items()}
        buffers = {
            **meta.buffers,
            "trunk": running,
            "heads": {n: found[n][0][1][1] for n in names},
        }
        if not isinstance(chosen, Weighting):
            trunk_grads = chosen(jacobian, own) if takes_key else chosen(jacobian)
            every = {"trunk": trunk_grads, "heads": grads}
            return (report.pop("loss"), Aux(report, buffers)), every

        state = Meta(meta.params["weighting"], meta.buffers["weighting"])

        def weigh(params):
            w, objective, kept = chosen.weigh(
                state._replace(params=params), values, jacobian
            )
            return objective, (w, kept)

        moves, (w, kept) = jax.grad(weigh, has_aux=True)(state.params)
        for k, n in enumerate(names):
            grads[n] = jax.tree.map(lambda g, s=w[k]: s * g, grads[n])
            report[f"weight/{n}"] = w[k]
        every = {
            "trunk": combine_tasks(w, jacobian), "heads": grads, "weighting": moves,
        }  # fmt: skip
        return (report.pop("loss"), Aux(report, {**buffers, "weighting": kept})), every

    return Objective(init, value_and_grad)


def _parts(meta: Meta) -> tuple[Meta, dict[str, Meta]]:
    """The trunk's and the heads' parts of a branched network."""
    tops = meta.params["heads"]
    kept = meta.buffers["heads"] if meta.buffers else dict.fromkeys(tops, ())
    return (
        Meta(meta.params["trunk"], meta.buffers["trunk"] if meta.buffers else ()),
        {name: Meta(params, kept[name]) for name, params in tops.items()},
    )


def _stack(trees: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def _same_tasks(found: PyTree, names: list[str]) -> None:
    got = sorted(found) if isinstance(found, Mapping) else found
    if got != names:
        raise ValueError(f"batch: got tasks {got}, wants those of the heads {names}")
