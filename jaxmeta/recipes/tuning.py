"""Ways to fine-tune: what of a trained network learns, and how far it may go.

Howard and Ruder 2018, https://arxiv.org/abs/1801.06146; Li et al. 2018,
https://arxiv.org/abs/1802.01483; Hu et al. 2022, https://arxiv.org/abs/2106.09685.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import optax

from jaxmeta import models, transfer
from jaxmeta.core import Meta, Model, Objective
from jaxmeta.runs.errors import ConfigError


class Bench(NamedTuple):
    """What a method works with.

    Attributes:
      body: the network without its head; its `init` gives what it was trained to.
      head: the new classifier.
      start: the trained body; `None` where there is none.
      some: an example of its inputs.
      steps: outer steps.
      rate: the learning rate.
      optimiser: rate or schedule -> the optimiser of what learns.
      tx: the optimiser under the recipe's schedule.
    """

    body: Model
    head: Model
    start: Meta | None
    some: Any
    steps: int
    rate: float
    optimiser: Callable[..., optax.GradientTransformation]
    tx: optax.GradientTransformation


class Plan(NamedTuple):
    """The network that learns, without its head; what is minimised, and by what."""

    body: Model
    objective: Objective
    outer: optax.GradientTransformation


def frozen(bench: Bench) -> Plan:
    """Only the new head learns; the network is a constant."""
    return _plain(bench, models.frozen(bench.body))


def full(bench: Bench, *, statistics: Literal["batch", "kept"] = "batch") -> Plan:
    """Everything learns.

    Args:
      statistics: of norms: of the batch, or kept from the pretraining.
    """
    kept = statistics == "kept"
    return _plain(bench, transfer.inference_mode(bench.body) if kept else bench.body)


def layer_wise(
    bench: Bench,
    *,
    layers: tuple[str, ...] | None = None,
    factor: float = 2.6,
    every: int | None = None,
    cut: float = 0.1,
    ratio: float = 32.0,
) -> Plan:
    """Earlier layers learn later and more slowly, under a slanted triangular rate.

    Args:
      layers: parts of the network from the input on, without the head; None: all, in
        the order in which it uses them.
      factor: each layer's rate is the next one's divided by it.
      every: steps until the next layer wakes; None: all are awake halfway; 0: all at once.
      cut: share of the steps in which the rate rises.
      ratio: of the largest rate to the smallest.
    """
    parts = transfer.parts_in_order(bench.body, bench.some)
    layers = parts if layers is None else layers
    if set(layers) != set(parts) or len(layers) != len(parts):
        wants = f"all parts of the network, input first: {', '.join(parts)}"
        raise ConfigError("layers", ", ".join(layers), wants)
    if every is not None and every < 0:
        raise ConfigError("every", every, "an integer >= 0")
    names = (*layers, "head")
    rate = transfer.slanted_triangular(bench.rate, bench.steps, cut=cut, ratio=ratio)
    tx = transfer.discriminative(bench.optimiser(rate), names, factor=factor)
    if every is None:
        every = max(bench.steps // (2 * len(layers)), 1)
    if every:
        tx = transfer.gradual_unfreezing(tx, names, every=every)
    return _plain(bench, bench.body)._replace(outer=tx)


def l2_sp(bench: Bench, *, lam: float = 0.01, head_decay: float = 0.0) -> Plan:
    """Everything learns, and is drawn back to where it started.

    Args:
      lam: how hard.
      head_decay: weight decay of the head, as a multiple of that.
    """
    start = _started(bench, "l2_sp")
    term = transfer.l2_sp(start.params, head=head_decay)
    return _remembering(bench, bench.body, lam, term)


def distillation(bench: Bench, *, lam: float = 0.01) -> Plan:
    """Everything learns, and features stay near those of the network before.

    Args:
      lam: weight of their distance.
    """
    start = _started(bench, "distillation")
    term = transfer.distillation(bench.body, start)
    body = transfer.inference_mode(bench.body)  # as the old features are made
    return _remembering(bench, body, lam, term)


def lora(bench: Bench, *, rank: int = 8, alpha: float = 16.0) -> Plan:
    """Two thin matrices beside each kernel learn; the network is a constant.

    Args:
      rank: of the change of a kernel.
      alpha: the change is multiplied by alpha / rank.
    """
    return _plain(bench, models.lora(bench.body, rank, alpha=alpha))


def adapter(bench: Bench, *, bottleneck: int = 8) -> Plan:
    """A bottleneck beside each layer learns; the network is a constant.

    Args:
      bottleneck: its width.
    """
    return _plain(bench, models.adapter(bench.body, bottleneck))


def scale_shift(bench: Bench, *, scale: Literal["output", "pair"] = "output") -> Plan:
    """Scales of kernels and shifts of biases learn; the network is a constant.

    Args:
      scale: one for each output channel, or for each pair of input and output.
    """
    return _plain(bench, models.scale_shift(bench.body, scale=scale))


def bias_only(bench: Bench) -> Plan:
    """The biases learn; the rest of the network is a constant."""
    return _plain(bench, models.bias_only(bench.body))


METHODS = {
    f.__name__: f
    for f in (
        *(frozen, full, layer_wise, l2_sp, distillation),
        *(lora, adapter, scale_shift, bias_only),
    )
}
"""Every method by name."""


def _plain(bench: Bench, body: Model) -> Plan:
    return Plan(body, transfer.fine_tune(body, bench.head), bench.tx)


def _remembering(bench: Bench, body: Model, lam: float, term: Any) -> Plan:
    objective = transfer.fine_tune(body, bench.head, lam=lam, feature_loss=term)
    return Plan(body, objective, bench.tx)


def _started(bench: Bench, method: str) -> Meta:
    if bench.start is None:
        wants = f"a file: {method} stays near a network that was trained"
        raise ConfigError("pretrained", "nothing", wants)
    return bench.start
