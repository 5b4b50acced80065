"""Several views of each image at test time, each query alone."""

import jax
import jax.numpy as jnp

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Batch, MetaLearner
from jaxmeta.functional.augment import Augment


def several_views(
    learner: MetaLearner, augment: Augment, *, views: int = 8, seed: int = 0
) -> MetaLearner:
    """Adapts to several views of each support image, and averages over views of a query.

        S' = {(T_v x, y)},   f(x) = 1/V sum_v g(T_v x; S'),   v = 1 ... V,  T_1 x = x

    The same V - 1 changes are drawn once, from `seed`, and made to every image: what is
    said of a query depends on that query and the support alone. Training is what it was.

    Args:
      learner: any, of images `[n, h, w, c]` in [0, 1].
      augment: `(key, image) -> image`, small enough that a class stays what it is.
      views: V >= 1; 1 is the learner itself. The time of a test grows by V.
      seed: of the changes.

    Returns:
      A `MetaLearner` with the same `Meta` and outputs `[n, ...]`: the mean of logits.

    Raises:
      ValueError: if `views < 1`.

    References:
      Krizhevsky et al. 2012, section 4.1: the average over ten crops of an image.

    >>> import jaxmeta as jm
    >>> from jaxmeta.functional.augment import affine
    >>> learner = several_views(jm.protonet(jm.models.conv4(None)), affine, views=4)
    """
    at_least(1, views=views)

    def seen(inputs: Array) -> Array:
        """`[V n, h, w, c]`, view by view."""
        keys = jax.random.split(jax.random.key(seed), views - 1)
        change = jax.vmap(jax.vmap(augment, (None, 0)), (0, None))
        changed = change(keys, inputs) if views > 1 else inputs[None][:0]
        return jnp.concatenate([inputs[None], changed]).reshape(-1, *inputs.shape[1:])

    def tiled(x: Array | None) -> Array | None:
        return None if x is None else jnp.concatenate([x] * views)

    def adapt(meta, support, key):
        targets = jnp.concatenate([support.targets] * views)
        whole = Batch(seen(support.inputs), targets, tiled(support.weights))
        return learner.adapt(meta, whole, key)

    def predict(meta, fast, inputs, weights=None):
        found = learner.predict(meta, fast, seen(inputs), weights=tiled(weights))
        return jax.tree.map(lambda y: y.reshape(views, -1, *y.shape[1:]).mean(0), found)

    return learner._replace(adapt=adapt, predict=predict)
