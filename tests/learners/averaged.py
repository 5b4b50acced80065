"""A layer with batch statistics and running averages, written out: what weights do to it
is plain to see."""

import jax
import jax.numpy as jnp

import jaxmeta as jm


def averaged(outputs: int = 3) -> jm.Model:
    """`tanh(norm(x W)) V`: statistics of the batch in training, averages at inference."""

    def init(key, inputs):
        first, second = jax.random.split(key)
        d = inputs.reshape(inputs.shape[0], -1).shape[-1]
        params = {
            "w": jax.random.normal(first, (d, 4), inputs.dtype) / 2,
            "v": jax.random.normal(second, (4, outputs), inputs.dtype) / 2,
        }
        zeros = jnp.zeros(4, inputs.dtype)
        return jm.Meta(params, {"mean": zeros, "var": zeros + 1})

    def apply(meta, inputs, *, train=False, key=None, weights=None):
        h = inputs.reshape(inputs.shape[0], -1) @ meta.params["w"]
        now = meta.buffers
        if train:
            w = jnp.ones(len(h), h.dtype) if weights is None else weights
            w = w / jnp.maximum(w.sum(), 1e-30)
            mean = w @ h
            now = {"mean": mean, "var": w @ jnp.square(h - mean)}
        y = jnp.tanh((h - now["mean"]) / jnp.sqrt(now["var"] + 1e-3))
        kept = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, meta.buffers, now)
        return y @ meta.params["v"], kept if train else meta.buffers

    return jm.Model(init, apply)
