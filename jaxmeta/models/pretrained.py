"""Trained weights in a network, and the pictures that they want."""

import jax.numpy as jnp

from jaxmeta.core import Array, Meta, Model, Pictures
from jaxmeta.models.call import check_model
from jaxmeta.models.moved import by_path
from jaxmeta.models.scale_shift import graft

IMAGENET = Pictures(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What networks of torchvision and most of timm are trained with."""


def standardised(x: Array, pictures: Pictures | None) -> Array:
    """Pictures in [0, 1] as a network was trained to see them; the first thing it does.

    >>> standardised(jnp.ones((1, 1, 1, 3)), Pictures(1, (0.5,) * 3, (0.5,) * 3)).tolist()
    [[[[1.0, 1.0, 1.0]]]]
    """
    if pictures is None:
        return x
    if x.shape[-1] != len(pictures.mean):
        raise ValueError(
            f"inputs: got pictures of {x.shape[-1]} channels, wants "
            f"{len(pictures.mean)}, as the network was trained with"
        )
    mean, std = (jnp.asarray(v, x.dtype) for v in (pictures.mean, pictures.std))
    return (x - mean) / std


def check_images(inputs) -> None:
    """Refuses what is no batch of images."""
    if len(inputs.shape) != 4:
        raise ValueError(
            f"inputs: wants images [n, height, width, channels], got shape {inputs.shape}"
        )


def pretrained(model: Model, meta: Meta) -> Model:
    """A network that starts from trained weights: its `init` returns them, by path.

    What `meta` has no leaf for is new: a head for other classes, adapters. What the
    network has no leaf for is left out: the head it was trained with.

    Args:
      model: any network, also one with a head or an adapter on it.
      meta: trained parameters and buffers, of a run, a file or `load`.

    Returns:
      A `Model` with the same `apply`.

    Raises:
      ValueError: at `init`, if a leaf has another shape than in `meta`, or none has its
        path there.

    References:
      Yosinski et al. 2014, How transferable are features, arXiv:1411.1792.

    >>> import jax, jaxmeta as jm
    >>> x = jnp.ones((1, 3))
    >>> old = jm.models.mlp(None, hidden=(4,)).init(jax.random.key(0), x)
    >>> new = pretrained(jm.models.mlp(2, hidden=(4,)), old).init(jax.random.key(1), x)
    >>> bool((new.params["layer1"]["kernel"] == old.params["layer1"]["kernel"]).all())
    True
    """
    check_model(model)

    def init(key, inputs):
        fresh = model.init(key, inputs)
        known = [set(by_path(half)) for half in meta]
        if not known[0] & set(by_path(fresh.params)):
            raise ValueError(
                f"meta: got {sorted(known[0])[:4]}, wants leaves of this network, as "
                f"{sorted(by_path(fresh.params))[:4]}"
            )
        halves = zip(meta, fresh, known, strict=True)
        return Meta(*(graft(a, b, select=k.__contains__) for a, b, k in halves))

    return model._replace(init=init)
