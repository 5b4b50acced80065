"""Classifiers on features, and how one is set on an extractor."""

import math

import jax
import jax.numpy as jnp

from jaxmeta.checks import at_least, positive
from jaxmeta.core import Array, Meta, Model
from jaxmeta.functional.attention import attend
from jaxmeta.functional.distances import cosine_similarity
from jaxmeta.models.call import call, check_model


def linear_head(ways: int) -> Model:
    """A linear classifier that starts at zero: every class is as likely.

        z = x W + b

    Args:
      ways: classes.

    Returns:
      A `Model` of features `[n, ...]`, which are flattened, with parameters "kernel"
      `[d, ways]` and "bias".

    Raises:
      ValueError: if `ways < 1`.

    References:
      Kolesnikov et al. 2020, Big Transfer, arXiv:1912.11370: the head at zero.

    >>> head, x = linear_head(5), jnp.ones((2, 8))
    >>> head.apply(head.init(jax.random.key(0), x), x)[0].shape
    (2, 5)
    """
    _check(ways)

    def init(key, inputs):
        del key  # nothing is drawn
        size, dtype = math.prod(inputs.shape[1:]), inputs.dtype
        return Meta(
            {"kernel": jnp.zeros((size, ways), dtype), "bias": jnp.zeros(ways, dtype)}
        )

    def outputs(params, x):
        return x.reshape(x.shape[0], -1) @ params["kernel"] + params["bias"]

    return _pure(init, outputs)


def cosine_head(ways: int, *, scale: float = 10.0) -> Model:
    """A classifier by direction: lengths of features and weights do not count.

        z_k = s x . w_k / (||x|| ||w_k||)

    Args:
      ways: classes.
      scale: s > 0, the inverse temperature.

    Returns:
      A `Model` of features `[n, ...]`, with the parameter "kernel" `[d, ways]`, drawn
      of unit variance: a cosine has no direction at zero.

    Raises:
      ValueError: if `ways < 1` or `scale` is not positive.

    References:
      Gidaris and Komodakis 2018, arXiv:1804.09458; Chen et al. 2019, arXiv:1904.04232.

    >>> head, x = cosine_head(5), jnp.ones((2, 8))
    >>> head.apply(head.init(jax.random.key(0), x), x)[0].shape
    (2, 5)
    """
    _check(ways)
    positive(scale=scale)

    def init(key, inputs):
        size = math.prod(inputs.shape[1:])
        return Meta({"kernel": jax.random.normal(key, (size, ways), inputs.dtype)})

    def outputs(params, x):
        x = x.reshape(x.shape[0], -1)
        return scale * cosine_similarity(x, params["kernel"].T)

    return _pure(init, outputs)


def attention_head(ways: int) -> Model:
    """Every class looks at the tokens of an example with a query of its own.

        r_k = sum_t softmax_t(q_k . x_t / sqrt(d)) x_t,   z_k = r_k . w_k + b_k

    Tokens are the pixels of feature maps, say of `conv4(None, flatten=False)`, or the
    elements of a sequence. Queries and weights start at zero: an average over the
    tokens, and every class as likely. A vector is a single token, and the head linear.

    Args:
      ways: classes.

    Returns:
      A `Model` of `[n, h, w, d]`, `[n, t, d]` or `[n, d]`, with parameters "query"
      `[d, ways]`, "kernel" `[d, ways]` and "bias".

    Raises:
      ValueError: if `ways < 1`.

    References:
      Lee et al. 2019, Set Transformer, arXiv:1810.00825, section 3.2: pooling by
      attention with learned queries.

    >>> head, x = attention_head(5), jnp.ones((2, 3, 3, 8))
    >>> head.apply(head.init(jax.random.key(0), x), x)[0].shape
    (2, 5)
    """
    _check(ways)

    def init(key, inputs):
        del key
        size, dtype = inputs.shape[-1], inputs.dtype
        zeros = jnp.zeros((size, ways), dtype)
        return Meta({"query": zeros, "kernel": zeros, "bias": jnp.zeros(ways, dtype)})

    def outputs(params, x):
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])  # [n, t, d]
        scores = params["query"].T @ jnp.swapaxes(tokens, 1, 2)  # [n, ways, t]
        read = jax.vmap(attend)(scores / math.sqrt(x.shape[-1]), tokens)
        return jnp.einsum("nkd,dk->nk", read, params["kernel"]) + params["bias"]

    return _pure(init, outputs)


def with_head(model: Model, head: Model) -> Model:
    """An extractor and a classifier as one network.

        y = head(model(x))

    Args:
      model: the extractor; its parameters are a dictionary without "head".
      head: the classifier, without buffers.

    Returns:
      A `Model` whose parameters are the extractor's and, under "head", the classifier's:
      the layout of `conv4(5)`, so that parts are found by path.

    Raises:
      ValueError: at `init`, for an extractor that has a head, a head with buffers.

    >>> from jaxmeta.models import mlp
    >>> model, x = with_head(mlp(None, hidden=(4,)), cosine_head(3)), jnp.ones((2, 8))
    >>> sorted(model.init(jax.random.key(0), x).params)
    ['head', 'layer1']
    """

    check_model(model)
    check_model(head, "head")

    def init(key, inputs):
        body_key, head_key = jax.random.split(key)
        body = model.init(body_key, inputs)
        if not isinstance(body.params, dict) or "head" in body.params:
            raise ValueError(
                "model: wants a dictionary of parameters without 'head' (ways=None), "
                f"got {sorted(body.params) if isinstance(body.params, dict) else body}"
            )
        features = jax.eval_shape(model.apply, body, inputs)[0]
        top = head.init(head_key, jnp.zeros(features.shape, features.dtype))
        if jax.tree.leaves(top.buffers):
            raise ValueError("head: got one with buffers, wants parameters only")
        return body._replace(params={**body.params, "head": top.params})

    def apply(meta, inputs, *, train=False, key=None, weights=None):
        body, top = split_head(meta)
        features, buffers = call(
            model, body, inputs, weights=weights, train=train, key=key
        )
        outputs, _ = call(
            head, top, features, weights=weights, train=bool(train), key=key
        )
        return outputs, buffers

    return model._replace(init=init, apply=apply)


def split_head(meta: Meta) -> tuple[Meta, Meta]:
    """The extractor's and the classifier's part of a network `with_head`.

    >>> body, head = split_head(Meta({"block1": 1.0, "head": 2.0}))
    >>> body.params, head.params
    ({'block1': 1.0}, 2.0)
    """
    body = {name: value for name, value in meta.params.items() if name != "head"}
    return meta._replace(params=body), Meta(meta.params["head"])


def _pure(init, outputs) -> Model:
    def apply(meta: Meta, inputs: Array, *, train=False, key=None, weights=None):
        del train, key, weights  # no example meets another
        return outputs(meta.params, inputs), meta.buffers

    return Model(init, apply)


def _check(ways: int) -> None:
    at_least(1, ways=ways)
