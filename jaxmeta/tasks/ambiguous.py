"""Classification that the support set leaves open: two features, one label.

In the manner of the ambiguous attributes of Finn, Xu, Levine 2018,
https://arxiv.org/abs/1806.02817, section 6.2, from any classes.
"""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.checks import refusal
from jaxmeta.core import Array, Batch, Episode, Key, Task
from jaxmeta.tasks.inputs import unit_episode
from jaxmeta.tasks.names import as_partial
from jaxmeta.tasks.semi import check_by_class


def ambiguous(task: Task) -> Partial:
    """Pairs of examples, where either half of the pair may be what the label is about.

    Of four classes of `task` two, A and B, make left halves, and two, C and D, right
    ones. In the support set label 0 is AC and label 1 is BD: the left halves explain
    the labels, and so do the right ones. A rule, left or right, is drawn for the
    episode; its queries are AC, BD, AD and BC in equal numbers, labelled by the rule. On
    AC and BD a learner should be sure; on AD and BC no learner can be right more often
    than half of the time, and one that knows what it does not know says 1/2.

    Args:
      task: any task of four ways, class by class in equal numbers and without weights,
        as `few_shot` gives; a plain function will do. Halves are joined side by side:
        along the width of images `[n, h, w, c]`, along the features of vectors.

    Returns:
      A task of two ways, with as many shots, and query rows in the order AC, BD, AD, BC.

    Raises:
      ValueError: if `task` has not four ways, in equal numbers, when it is called.

    >>> from jaxmeta.testing import probe
    >>> episode = ambiguous(probe(4, shots=3, queries=2))(jax.random.key(0))
    >>> jax.tree.map(jnp.shape, (episode.support, episode.query.targets))
    (Batch(inputs=(6, 16), targets=(6, 2), weights=None), (8, 2))
    """
    return Partial(_paired, as_partial(task))


def _paired(task: Task, key: Key) -> Episode:
    drawing, ruling = jax.random.split(key)
    support, query = unit_episode(task(drawing))
    ways = support.targets.shape[1]
    if ways != 4:
        raise refusal("task", f"{ways} ways", "4: two left and two right halves")
    check_by_class("support", support)
    check_by_class("query", query)
    left = jax.random.bernoulli(ruling)

    def labels(left_kinds, right_kinds, each: int, dtype) -> Array:
        kinds = jnp.where(left, jnp.array(left_kinds), jnp.array(right_kinds))
        return jnp.repeat(jax.nn.one_hot(kinds, 2, dtype=dtype), each, axis=0)

    def halves(batch: Batch):
        x = batch.inputs
        return x.reshape(4, x.shape[0] // 4, *x.shape[1:])

    def join(x, pairs):
        axis = 2 if x.ndim == 5 else x.ndim - 2  # width of images, else features
        rows = [jnp.concatenate([x[a], x[b]], axis) for a, b in pairs]
        return jnp.concatenate(rows)

    known, asked = halves(support), halves(query)
    dtype = support.targets.dtype
    same, crossed = [(0, 2), (1, 3)], [(0, 3), (1, 2)]
    return Episode(
        Batch(join(known, same), labels((0, 1), (0, 1), known.shape[1], dtype)),
        Batch(
            join(asked, same + crossed),
            labels((0, 1, 0, 1), (0, 1, 1, 0), asked.shape[1], dtype),
        ),
    )
