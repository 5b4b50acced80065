"""Features that a second network switches on and off, example by example.

Beaulieu et al. 2020, Learning to Continually Learn, https://arxiv.org/abs/2002.09571.
"""

import math

import jax
import jax.numpy as jnp

from jaxmeta.core import Features, Meta, Model
from jaxmeta.models.call import call, check_model
from jaxmeta.models.heads import linear_head


def gated(model: Features, gate: Features) -> Features:
    """Multiplies the features of a network by gates that another one computes.

        y = f(x) * sigmoid(W g(x) + b)

    An example moves the weights behind a feature by as much as its gate is open. W and b
    start at zero, and all gates half open.

    Args:
      model: f, a network without a head.
      gate: g, another one; its features are flattened.

    Returns:
      A `Model` of features shaped as those of f, with parameters `{"model", "gate":
      {"model", "out"}}` and buffers `{"model", "gate"}`; `with_head` makes a classifier.

    References:
      Beaulieu et al. 2020, arXiv:2002.09571, section 3: the neuromodulatory network.

    >>> from jaxmeta.models import mlp
    >>> model, x = gated(mlp(None, hidden=(4,)), mlp(None, hidden=(3,))), jnp.ones((2, 8))
    >>> meta = model.init(jax.random.key(0), x)
    >>> model.apply(meta, x)[0].shape, meta.params["gate"]["out"]["kernel"].shape
    ((2, 4), (3, 4))
    """
    check_model(model)
    check_model(gate, "gate")

    def init(key, inputs):
        f_key, g_key = jax.random.split(key)
        f, g = model.init(f_key, inputs), gate.init(g_key, inputs)
        shape = jax.eval_shape(model.apply, f, inputs)[0].shape[1:]
        seen = jax.eval_shape(gate.apply, g, inputs)[0]
        zeros = jnp.zeros(seen.shape, seen.dtype)
        out = linear_head(math.prod(shape)).init(g_key, zeros).params
        params = {"model": f.params, "gate": {"model": g.params, "out": out}}
        return Meta(params, {"model": f.buffers, "gate": g.buffers})

    def apply(meta, inputs, *, train=False, key=None, weights=None):
        keys = (None, None) if key is None else jax.random.split(key)
        said = dict(weights=weights, train=train)
        own, other = meta.params["model"], meta.params["gate"]
        f, f_buffers = call(
            model, Meta(own, meta.buffers["model"]), inputs, key=keys[0], **said
        )
        g, g_buffers = call(
            gate,
            Meta(other["model"], meta.buffers["gate"]),
            inputs,
            key=keys[1],
            **said,
        )
        opened, _ = linear_head(math.prod(f.shape[1:])).apply(Meta(other["out"]), g)
        y = f * jax.nn.sigmoid(opened).reshape(f.shape)
        return y, {"model": f_buffers, "gate": g_buffers}

    return Model(init, apply)


def is_gate(path: str) -> bool:
    """Whether a leaf of a network with `gated` features belongs to what computes gates.

    >>> is_gate("gate/out/kernel"), is_gate("model/layer1/kernel")
    (True, False)
    """
    return path.startswith("gate/")
