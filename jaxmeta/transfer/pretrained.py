"""Pretrained parameters: from one network to another, by name."""

from collections.abc import Callable

from jaxmeta.core import Meta
from jaxmeta.models.scale_shift import graft


def not_head(path: str) -> bool:
    """Selects everything but the classifier.

    >>> not_head("head/kernel"), not_head("block1/conv/kernel")
    (False, True)
    """
    return not path.startswith("head")


def transplant(
    source: Meta, target: Meta, select: Callable[[str], bool] = not_head
) -> Meta:
    """Takes parameters and buffers over from another network, by path.

    With `within("block1", "block2")` they are those of the first layers: the transfer of
    Yosinski et al., "AnB" if they are then frozen and "AnB+" if they are not.

    Args:
      source: of the pretrained network.
      target: of the new one, freshly initialised.
      select: what is taken over; by default all but the head.

    Returns:
      `target` with the selected leaves of `source`.

    Raises:
      ValueError: if a selected leaf is missing in `source`, or has another shape.

    References:
      Yosinski et al. 2014, arXiv:1411.1792, section 3.

    >>> transplant(Meta({"a": 1.0, "head": 2.0}), Meta({"a": 0.0, "head": 0.0})).params
    {'a': 1.0, 'head': 0.0}
    """
    return Meta(*(graft(a, b, select) for a, b in zip(source, target, strict=True)))
