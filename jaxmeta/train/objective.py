"""Objectives: where the outer gradient is taken, and how tasks share the machine."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from jaxmeta import tree
from jaxmeta.checks import at_least
from jaxmeta.core import Array, Aux, Episode, Key, Meta, MetaLearner, Objective, PyTree
from jaxmeta.train.policy import in_chunks
from jaxmeta.train.sharding import exact_mean_over_mesh, mean_over_mesh


def episodic(
    learner: MetaLearner,
    *,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    exact: bool = False,
    together: bool = False,
    platform: str | None = None,
) -> Objective:
    """The mean meta-gradient over a batch of tasks.

        g = 1/B sum_b  grad_params loss(meta, episode_b, key_b)

    Each task's gradient is taken INSIDE the task axis and then averaged. The gradient of
    the mean is the same number, but per-task convolution kernels then turn into
    batch-grouped convolutions, which XLA expands into far more work on a CPU.

    Args:
      learner: the method.
      chunk: tasks that are vmapped together; the chunks follow one another in a scan
        that carries the running sum, so memory is that of one chunk. `None` chooses
        (see `jaxmeta.train.policy`).
      mesh: spreads the tasks over the devices of its axis "tasks" (`task_mesh`), with
        one reduction an outer step. Keys belong to tasks, not to devices.
      exact: one task at a time and one order of summation, so that the bits do not
        depend on the mesh; memory grows with the number of tasks. Adam's update of them
        is the same from two devices on (see `jaxmeta.runs.fingerprint`).
      together: the gradient of the mean over a chunk after all, all tasks being one
        chunk by default. For recurrent learners whose tasks share their weights at every
        step of a long sequence: backpropagation through time then sums gradients of the
        size of the parameters, not one such sum for each task.
      platform: what runs the program, as JAX names it, where that is known before it is
        lowered: then `chunk=None` traces one way to share the machine and not two. A
        mesh says it by itself.

    Returns:
      An `Objective` whose batch is an `Episode` with a leading task axis.

    Raises:
      ValueError: if `chunk` is below 1 or does not divide the number of tasks (of one
        device), or it or `together` is given with `exact`; if the mesh does not divide
        it.

    >>> import jaxmeta as jm
    >>> objective = episodic(jm.protonet(jm.models.mlp(None)))
    """
    if chunk is not None:
        at_least(1, chunk=chunk)
    if exact and chunk not in (None, 1):
        raise ValueError(f"chunk: got {chunk}, wants 1 with exact=True")
    if exact and together:
        raise ValueError("together: got True, wants False with exact=True")

    def init(key: Key, episodes: Episode) -> Meta:
        return learner.init(key, jax.tree.map(lambda x: x[0], episodes))

    def told(meta: Meta, task: tuple[Episode, Key]):
        value, aux = learner.loss(meta, *task)
        return value, aux._replace(buffers=changed(aux.buffers, meta.buffers))

    def one(meta: Meta, task: tuple[Episode, Key]):
        def loss(params):
            return told(meta._replace(params=params), task)

        return jax.value_and_grad(loss, has_aux=True)(meta.params)

    def apart(each, meta: Meta, tasks: tuple[Episode, Key]):
        each = functools.partial(each, meta)
        if jax.tree.leaves(tasks)[0].shape[0] == 1:
            # Not a vmap of one: that would make every convolution a grouped one.
            return each(jax.tree.map(lambda x: x[0], tasks))
        return jax.tree.map(lambda x: x.sum(0), jax.vmap(each)(tasks))

    def joint(meta: Meta, tasks: tuple[Episode, Key]):
        def loss(params):
            held = meta._replace(params=params)
            found = jax.vmap(lambda task: told(held, task))(tasks)
            return jax.tree.map(lambda x: x.sum(0), found)

        return jax.value_and_grad(loss, has_aux=True)(meta.params)

    def mean(meta: Meta, tasks: tuple[Episode, Key]):
        count = jax.tree.leaves(tasks)[0].shape[0]
        size = chunk or (count if together else None)
        if size and count % size:
            raise ValueError(
                f"chunk: got {size}, wants a divisor of the number of tasks {count}"
            )
        # traced once, whatever the number of chunk sizes that are tried
        each = jax.jit(lambda meta, task: one(meta, task), inline=True)

        def run(size, meta, tasks):
            some = joint if together else functools.partial(apart, each)
            return chunked_mean(functools.partial(some, meta), tasks, count, size)

        if size:
            return run(size, meta, tasks)
        where = platform if mesh is None else mesh.devices.flat[0].platform
        return in_chunks(run, tasks[0], meta, tasks, platform=where)

    if exact:
        over_tasks = exact_mean_over_mesh(one, mesh)
    else:
        over_tasks = mean if mesh is None else mean_over_mesh(mean, mesh)

    def value_and_grad(meta: Meta, episodes: Episode, key: Key):
        count = jax.tree.leaves(episodes)[0].shape[0]
        tasks = episodes, jax.random.split(key, count)
        (value, aux), grads = over_tasks(meta, tasks)
        none = functools.partial(jax.tree.structure, is_leaf=lambda x: x is None)
        # buffers of another tree are a mistake, which whoever takes the step will name
        if aux.buffers is not None and none(aux.buffers) == none(meta.buffers):
            aux = aux._replace(buffers=tree.combine(aux.buffers, meta.buffers))
        return (value, aux), grads

    return Objective(init, value_and_grad)


def changed(after: PyTree | None, before: PyTree) -> PyTree | None:
    """New buffers, with `None` for each that a loss handed back as it was.

    A frozen network is in the buffers of every task; its mean over tasks would be another
    one, by rounding, and take the room of one for each task on the way.

    >>> w = jnp.ones(2)
    >>> changed({"frozen": w, "mean": w + 1}, {"frozen": w, "mean": w})["frozen"] is None
    True
    """
    if after is None or jax.tree.structure(after) != jax.tree.structure(before):
        return after
    return jax.tree.map(lambda a, b: None if a is b else a, after, before)


def chunked_mean(
    some: Callable[[PyTree], PyTree], args: PyTree, tasks: int, size: int
) -> PyTree:
    """Mean over the tasks, `size` at a time: memory flat in their number.

    Args:
      some: the sum over a chunk of tasks.
      args: a tree with leaves `[tasks, ...]`.
      tasks: how many.
      size: of a chunk, a divisor of `tasks`.

    Returns:
      What `some` returns, over `tasks`.
    """
    if size == tasks:
        return jax.tree.map(lambda x: x / tasks, some(args))
    parts = jax.tree.map(lambda x: x.reshape(tasks // size, size, *x.shape[1:]), args)
    some = jax.jit(some, inline=True)  # traced once, for its shapes and for the scan

    def body(total, part):
        return jax.tree.map(jnp.add, total, some(part)), None

    like = jax.eval_shape(some, jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
    total, _ = lax.scan(body, zeros, parts)
    return jax.tree.map(lambda x: x / tasks, total)


def from_loss(
    init: Callable[[Key, PyTree], Meta],
    loss: Callable[[Meta, PyTree, Key], tuple[Array, Aux]],
) -> Objective:
    """An objective from a plain loss: pretraining, domain adaptation, anything.

        g = grad_params loss(meta, batch, key)

    Args:
      init: `(key, batch) -> Meta`.
      loss: `(meta, batch, key) -> (scalar, Aux)`.

    Returns:
      An `Objective`.

    >>> objective = from_loss(
    ...     lambda key, batch: Meta(jnp.zeros(())),
    ...     lambda meta, batch, key: (jnp.mean((batch - meta.params) ** 2), Aux({})),
    ... )
    >>> meta = objective.init(jax.random.key(0), jnp.ones(3))
    >>> objective.value_and_grad(meta, jnp.ones(3), jax.random.key(0))[1].item()
    -2.0
    """

    def value_and_grad(meta: Meta, batch: PyTree, key: Key):
        def of_params(params):
            return loss(meta._replace(params=params), batch, key)

        return jax.value_and_grad(of_params, has_aux=True)(meta.params)

    return Objective(init, value_and_grad)


def meta_gradient(
    learner: MetaLearner,
    meta: Meta,
    episodes: Episode,
    key: Key,
    *,
    chunk: int | None = None,
) -> tuple[PyTree, dict[str, Array]]:
    """The meta-gradient itself, averaged over tasks.

        g = 1/B sum_b  d loss(meta, episode_b, key_b) / d meta.params

    Args:
      learner: the method.
      meta: where the gradient is taken.
      episodes: an `Episode` with a leading task axis.
      key: split over the tasks.
      chunk: as in `episodic`.

    Returns:
      `(grads, metrics)`: a tree like `meta.params`, and the mean metrics with "loss".

    Raises:
      ValueError: as `episodic`.

    >>> import jaxmeta as jm
    >>> learner = jm.protonet(jm.models.mlp(None))
    >>> episodes = jax.vmap(jm.testing.probe())(jax.random.split(jax.random.key(0), 2))
    >>> meta = learner.init(jax.random.key(1), jax.tree.map(lambda x: x[0], episodes))
    >>> sorted(meta_gradient(learner, meta, episodes, jax.random.key(2))[1])
    ['accuracy', 'loss']
    """
    objective = episodic(learner, chunk=chunk)
    (loss, aux), grads = objective.value_and_grad(meta, episodes, key)
    own = {"loss": loss}
    return grads, {**own, **aux.metrics, **own}
