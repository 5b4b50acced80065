"""Full-context embeddings: an example in the light of its support set.

Vinyals et al. 2016, https://arxiv.org/abs/1606.04080, section 2.1.2 and appendix A.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import Model
from jaxmeta.functional.attention import attend
from jaxmeta.functional.recurrent import Carry, lstm_step
from jaxmeta.models.adapter import from_nnx_for


class _Weights(nnx.Module):
    """Kernel and bias of one LSTM."""

    def __init__(self, features, hidden, *, rngs):
        shape = (features + hidden, 4 * hidden)
        self.kernel = nnx.Param(
            jax.nn.initializers.glorot_uniform()(rngs.params(), shape)
        )
        self.bias = nnx.Param(jnp.zeros(4 * hidden))


class _Support(nnx.Module):
    def __init__(self, features, *, rngs):
        self.forward = _Weights(features, features, rngs=rngs)
        self.backward = _Weights(features, features, rngs=rngs)

    def __call__(self, inputs):
        features, mask = inputs  # [n, d], [n]

        def read(weights, reverse):
            kernel, bias = weights.kernel[...], weights.bias[...]

            def step(carry, row):
                x, real = row
                new = lstm_step(kernel, bias, carry, x, forget_bias=1.0)
                # padding is passed by, not read
                new = jax.tree.map(lambda a, b: jnp.where(real > 0, a, b), new, carry)
                return new, new.hidden

            zeros = jnp.zeros_like(features[0])
            rows = (features, mask)
            return lax.scan(step, Carry(zeros, zeros), rows, reverse=reverse)[1]

        return features + read(self.forward, False) + read(self.backward, True)


class _Query(nnx.Module):
    def __init__(self, features, steps, *, rngs):
        self.steps = steps
        self.lstm = _Weights(2 * features, features, rngs=rngs)

    def __call__(self, inputs):
        f, g, mask = inputs  # [m, d], [n, d], [n]
        kernel, bias = self.lstm.kernel[...], self.lstm.bias[...]
        read = attend(jnp.zeros((f.shape[0], g.shape[0]), f.dtype), g, mask)
        h, carry = f, Carry(jnp.zeros_like(f), jnp.zeros_like(f))
        for _ in range(self.steps):
            x = jnp.concatenate([f, read], -1)
            carry = lstm_step(kernel, bias, carry, x, forget_bias=1.0)  # (eq. 3)
            h = carry.hidden + f  # (eq. 4)
            carry = carry._replace(hidden=h)
            read = attend(h @ g.T, g, mask)  # (eqs. 5, 6)
        return h


def support_context() -> Model:
    """Embeds a support set as a whole, with a bidirectional LSTM over its rows.

        g(x_i, S) = g'(x_i) + forward h_i + backward h_i

    Returns:
      A `Model` for `(features [n, d], mask [n])`, giving `[n, d]`; rows whose mask is 0
      are passed by. The order of the rows matters.

    References:
      Vinyals et al. 2016, arXiv:1606.04080, appendix A.2.

    >>> model, inputs = support_context(), (jnp.ones((5, 8)), jnp.ones(5))
    >>> meta = model.init(jax.random.key(0), inputs)
    >>> model.apply(meta, inputs)[0].shape
    (5, 8)
    """
    return from_nnx_for(lambda rngs, inputs: _Support(inputs[0].shape[-1], rngs=rngs))


def query_context(*, steps: int) -> Model:
    """Embeds queries by attending to the support set, `steps` times.

        h^_k, c_k = LSTM([f'(x), r_{k-1}], h_{k-1}, c_{k-1}),   h_k = h^_k + f'(x)
        r_k = sum_i softmax_i(h_k . g_i) g_i,   r_0 = mean_i g_i,   f(x, S) = h_K

    The paper leaves r_0 open. Each query is embedded alone.

    Args:
      steps: K >= 0; with 0 steps f = f'.

    Returns:
      A `Model` for `(features [m, d], support [n, d], mask [n])`, giving `[m, d]`.

    Raises:
      ValueError: for negative `steps`.

    References:
      Vinyals et al. 2016, arXiv:1606.04080, eqs. (3)-(6).

    >>> model, inputs = query_context(steps=2), (jnp.ones((3, 8)), jnp.ones((5, 8)), jnp.ones(5))
    >>> model.apply(model.init(jax.random.key(0), inputs), inputs)[0].shape
    (3, 8)
    """
    at_least(0, steps=steps)
    return from_nnx_for(
        lambda rngs, inputs: _Query(inputs[0].shape[-1], steps, rngs=rngs)
    )
