"""Features of a frozen network, once: episodes of them then cost next to nothing."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Key, Meta, Model
from jaxmeta.data.arrays import Dataset, from_counts, unit_range
from jaxmeta.data.cache import Cache, cached
from jaxmeta.data.errors import DataError
from jaxmeta.data.photographs import Progress
from jaxmeta.functional.augment import Augment

VERSION = 1  # of the way from pictures to features; a new one makes old caches useless


def embed(
    model: Model,
    meta: Meta,
    data: Dataset,
    *,
    size: int | None = None,
    views: int = 1,
    augment: Augment | None = None,
    key: Key | None = None,
    batch: int = 32,
    cache: Cache = True,
    progress: Progress | None = None,
) -> Dataset:
    """The features of every example, in the order and the classes of the data set.

        z_i = f(x_i),   or   z_iv = f(augment_v(x_i)) with views, where z_i0 = f(x_i)

    `tasks.few_shot` makes episodes of what it returns, for any learner on
    `models.flat()`: thousands in the time of one through the network. The network is
    run as it is at inference, in batches of one compiled shape. Features are kept on
    disk under a hash of the program, the parameters and the examples, so that another
    network, other weights or other pictures are never taken for these; a damaged file
    is made anew.

    Args:
      model: the network, without a head: `[n, ...] -> [n, d]`.
      meta: its parameters and buffers.
      data: the examples; uint8 becomes float32 in [0, 1].
      size: pixels a side that images `[n, h, w, c]` are resized to, bicubically; `None`:
        as they are.
      views: v >= 1, features of each example: of itself, and of v - 1 augmented ones.
      augment: makes another of an example: `(key, example) -> example`, as those of
        `jaxmeta.functional.augment`; wanted where `views` is more than 1.
      key: for the augmentation; a fixed one by default.
      batch: examples at a time; those that lack at the end are made up.
      cache: where features are kept: a folder; True for `jaxmeta` in the user's cache
        folder; False for nowhere.
      progress: called with how many are done and how many there are, as `bar` is.

    Returns:
      A `Dataset` with float inputs `[n, d]`, or `[n, v, d]` with views.

    Raises:
      ValueError: numbers out of range; views without an `augment`.
      DataError: features that are not finite, as of a network that did not load.

    >>> from jaxmeta.data import from_counts
    >>> half = Model(lambda key, x: Meta({}), lambda meta, x, **_: (x / 2, ()))
    >>> letters = from_counts(np.float32([[2], [4], [6]]), [1, 2], ("a", "b"))
    >>> embed(half, Meta({}), letters, cache=False).inputs.tolist()
    [[1.0], [2.0], [3.0]]
    """
    at_least(1, views=views, batch=batch, size=1 if size is None else size)
    if views > 1 and augment is None:
        raise ValueError(f"augment: got None, wants a function, for {views} views")
    key = jax.random.key(0) if key is None else key
    n = len(data.inputs)

    def run(meta: Meta, x: Array, rows: Array, key: Key) -> Array:
        x = unit_range(x)
        if size is not None:
            x = resized(x, size)
        plain = model.apply(meta, x, train=False)[0]
        if augment is None or views == 1:
            return plain

        change = augment  # known to be there, inside too

        def view(v: Array) -> Array:
            keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(key, i), v))
            return model.apply(meta, jax.vmap(change)(keys(rows), x), train=False)[0]

        # one view at a time: the network's maps are held once, whatever the number
        more = jax.lax.map(view, jnp.arange(1, views))
        return jnp.concatenate([plain[None], more]).swapaxes(0, 1)

    first = jax.ShapeDtypeStruct((batch, *data.inputs.shape[1:]), data.inputs.dtype)
    rows = jax.ShapeDtypeStruct((batch,), jnp.int32)
    lowered = jax.jit(run).lower(meta, first, rows, key)

    def build() -> Dataset:
        compiled = lowered.compile()
        parts = []
        for start in range(0, n, batch):
            at = np.minimum(np.arange(start, start + batch, dtype=np.int32), n - 1)
            found = np.asarray(compiled(meta, data.inputs[at], at, key))
            parts.append(found[: n - start])
            if progress is not None:
                progress(min(start + batch, n), n)
        features = np.concatenate(parts)
        bad = ~np.isfinite(features.reshape(n, -1)).all(1)
        if bad.any():
            raise DataError(
                f"features: got NaN or infinity of {bad.sum()} of {n} examples, wants "
                "finite numbers"
            )
        return from_counts(features, data.counts, data.names)

    if cache is False:
        return build()
    name = _key(lowered.as_text(), (meta, jax.random.key_data(key)), data)
    return cached("features", name, build, cache)


def resized(images: Array, size: int) -> Array:
    """Images `[n, h, w, c]` in [0, 1] at another size, antialiased; none overshoots."""
    shape = (images.shape[0], size, size, images.shape[3])
    if images.shape == shape:
        return images
    return jnp.clip(jax.image.resize(images, shape, "cubic"), 0.0, 1.0)


def _key(program: str, values: object, data: Dataset) -> str:
    """What the features depend on: the program, every parameter, every example."""
    digest = hashlib.sha256(program.encode())
    leaves, tree = jax.tree.flatten(values)
    digest.update(str(tree).encode())
    for array in (*map(np.asarray, leaves), data.inputs, data.counts):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return json.dumps(["features", VERSION, digest.hexdigest(), list(data.names)])
