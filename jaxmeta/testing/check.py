"""The door to the laws: one call on your own learner."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from jaxmeta.core import Key, MetaLearner, Task
from jaxmeta.testing.laws import CLASSIFICATION_ONLY, LAWS, MANY_EPISODES
from jaxmeta.testing.subject import TASKS, LawBroken, subject


def check_learner(
    learner: MetaLearner,
    task: Task,
    *,
    key: Key | None = None,
    laws: Sequence[str] | None = None,
    set_learner: bool = True,
    metric_learner: bool = False,
    classification: bool = True,
    transductive: bool = False,
    random_loss: bool = False,
    dropout: bool = False,
    weighs_rows: bool = True,
    train_steps: int = 60,
    episodes: int = 500,
    tx: optax.GradientTransformation | None = None,
    atol: float | None = None,
) -> dict[str, str]:
    """Checks a learner against the laws of the contract (`jaxmeta.testing.LAWS`).

    Use a tiny model and a tiny task (`jaxmeta.testing.probe`): a dozen programs are
    compiled. Under `jax.enable_x64(True)` everything runs in float64 and the tolerance is 1e-10;
    in float32 it is 1e-4, which a slightly wrong gradient can pass.

    Args:
      learner: your four functions.
      task: a `Task` with at least two queries.
      key: for everything random; a fixed one by default.
      laws: names from `LAWS`; all that apply by default.
      set_learner: the support set has no order (law 8).
      metric_learner: class columns are exchangeable (law 10).
      classification: more of the headline metric is better (law 11), and one-hot targets
        (law 12 applies).
      transductive: declares that queries are predicted together (law 13).
      random_loss: the loss draws random numbers by position, so that padding rows change
        which ones (laws 9 and 14 then look at predictions only).
      dropout: the network drops out: another key gives another loss (law 7).
      weighs_rows: the loss is a mean over rows, and an integer weight as good as copies
        (law 14); false for sequences.
      train_steps: outer steps of law 11, of 8 tasks each.
      episodes: test tasks of laws 11 and 12.
      tx: the outer optimiser of law 11; Adam with rate 0.01 by default.
      atol: tolerance of the equalities, relative to the larger of 1 and the value.

    Returns:
      Law name -> what was measured.

    Raises:
      LawBroken: an `AssertionError` that lists every broken law.
      ValueError: for an unknown law.

    >>> import jaxmeta as jm
    >>> from jaxmeta.testing import check_learner, probe
    >>> learner = jm.protonet(jm.models.mlp(None, hidden=(8,)))
    >>> check_learner(learner, probe(), laws=["outputs_have_target_shape"])
    {'outputs_have_target_shape': '(12, 3)'}
    """
    names = list(LAWS) if laws is None else list(laws)
    for name in names:
        if name not in LAWS:
            raise ValueError(f"laws: got {name!r}, wants some of {', '.join(LAWS)}")
    if laws is None:
        left_out = set()
        if not set_learner:
            left_out.add("support_order_is_irrelevant")
        if not metric_learner:
            left_out.add("classes_are_exchangeable")
        if not weighs_rows:
            left_out.add("weights_are_copies")
        if not classification:
            left_out.update(CLASSIFICATION_ONLY)
        names = [name for name in names if name not in left_out]
    key = jax.random.key(20) if key is None else key
    options = dict(
        classification=classification,
        transductive=transductive,
        random_loss=random_loss,
        dropout=dropout,
        train_steps=train_steps,
        draws=max(TASKS, episodes) if {*names} & {*MANY_EPISODES} else TASKS,
        tx=tx or optax.adam(1e-2),
        atol=atol or (1e-10 if jnp.zeros(()).dtype == jnp.float64 else 1e-4),
    )
    checked = subject(learner, task, key, options)
    found, broken = {}, []
    for name in names:
        try:
            found[name] = LAWS[name](checked)
        except LawBroken as error:
            broken.append(f"{name}: {error}")
    if broken:
        raise LawBroken("\n".join([f"{len(broken)} of {len(names)} laws:", *broken]))
    return found
