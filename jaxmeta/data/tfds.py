"""Any prepared TensorFlow Datasets set, read through array_record without TensorFlow."""

import json
import os
from typing import Any

import numpy as np

from jaxmeta.data.arrays import Dataset, from_labels
from jaxmeta.data.cache import Cache, cached
from jaxmeta.data.errors import DataError
from jaxmeta.data.images import decode_all

VERSION = 1


def tfds(
    name: str,
    split: str = "train",
    *,
    label: str = "label",
    inputs: str = "image",
    size: int | tuple[int, int] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache: Cache = True,
) -> Dataset:
    """Reads one split of a data set of TensorFlow Datasets, grouped by class.

    The set must have been prepared as array_record; nothing is downloaded. Preparing a
    set usually needs TensorFlow, once, in an environment of its own:

        pip install tensorflow-datasets tensorflow-cpu
        tfds build omniglot --file_format=array_record

    Reading needs neither TensorFlow nor a network. Images are decoded by the code that
    reads all other files here, with its limits on what an image may be.

    Args:
      name: of the set, with a configuration or version if wanted ("emnist/letters").
      split: one of its splits, or a part of one: "train", "test[:50%]".
      label: the integer feature that says which class an example is of.
      inputs: the feature to learn from: an image or a tensor.
      size: height and width images are resized to; by default the size in the feature.
      data_dir: where prepared sets lie; by default `~/tensorflow_datasets`.
      cache: where the arrays are kept: a folder; True for `jaxmeta` in the user's cache
        folder; False for nowhere.

    Returns:
      A `Dataset`; images are uint8 `[n, height, width, channels]`. Classes are named as
      the set names them; those without an example in this split are left out.

    Raises:
      DataError: without tensorflow-datasets; a set that is not prepared, another file
        format, a feature it does not have, images of no common size, or a broken image.

    Example:
      >>> data = tfds("omniglot", "train", size=28)  # doctest: +SKIP
      >>> data.inputs.shape  # doctest: +SKIP
      (19280, 28, 28, 3)
    """
    try:
        import tensorflow_datasets
    except ImportError as error:  # it is large, and some take it out again
        raise DataError(
            f"tfds:{name}: wants tensorflow-datasets, and all that it needs: "
            f"pip install tensorflow-datasets ({error})"
        ) from error

    builder = _builder(tensorflow_datasets, name, data_dir)
    features = builder.info.features
    for field, feature in {"label": label, "inputs": inputs}.items():
        if feature not in features:
            known = ", ".join(features)
            raise DataError(f"{field}: got {feature!r}, wants one of {known} of {name}")
    if not isinstance(features[label], tensorflow_datasets.features.ClassLabel):
        kind = type(features[label]).__name__
        raise DataError(f"label: {label!r} of {name} is a {kind}, wants a ClassLabel")
    image = isinstance(features[inputs], tensorflow_datasets.features.Image)
    shape = features[inputs].shape
    if image:
        pixels = _size(name, shape) if size is None else size
    elif size is not None or None in shape:
        raise DataError(
            f"inputs: {inputs!r} of {name} is {shape}, wants one fixed shape"
        )

    def build() -> Dataset:
        skip = {inputs: tensorflow_datasets.decode.SkipDecoding()} if image else None
        source = _source(builder, split, skip)
        labels = np.empty(len(source), np.int64)

        def rows():
            for i in range(len(source)):
                example = source[i]
                labels[i] = example[label]
                yield f"{name}/{split}[{i}]", example[inputs]

        if image:
            mode: Any = {1: "L", 3: "RGB"}[shape[-1]]
            x = decode_all(
                rows(), count=len(source), size=pixels, mode=mode, invert=False
            )
        else:
            x = np.stack([np.asarray(row) for _, row in rows()])
        return from_labels(x, labels, names=features[label].names)

    key = [builder.info.full_name, split, label, inputs, size, _stamp(builder), VERSION]
    return cached(f"tfds-{builder.info.name}", json.dumps(key), build, cache)


def _builder(library, name: str, data_dir):
    """The builder of a set that has been prepared as array_record."""
    try:
        folder = None if data_dir is None else os.fspath(data_dir)
        builder = library.builder(name, data_dir=folder)
    except library.core.registered.DatasetNotFoundError as error:
        where, text = data_dir or "the default folder", str(error).splitlines()[0]
        raise DataError(
            f"tfds: {name!r} is no set that TFDS knows or that {where} has ({text})"
        ) from None
    if not builder.is_prepared():
        raise DataError(
            f"tfds: {name!r} is not prepared in {builder.data_path}, wants the files of "
            f"`tfds build {name} --file_format=array_record`"
        )
    found = builder.info.file_format
    if found is None or found.value != "array_record":
        kind = "none" if found is None else found.value
        raise DataError(
            f"tfds: {name!r} is stored as {kind}, wants array_record, which is read "
            "without TensorFlow"
        )
    return builder


def _source(builder, split: str, skip):
    try:
        return builder.as_data_source(split=split, decoders=skip)
    except ValueError as error:  # TFDS: unknown split, or a slice it cannot read
        known = ", ".join(builder.info.splits)
        text = str(error).splitlines()[0]
        raise DataError(
            f"split: got {split!r}, wants one of {known} or a slice ({text})"
        ) from None


def _size(name: str, shape: tuple) -> tuple[int, int]:
    """Height and width of an image feature that has them."""
    if None in shape[:2] or shape[-1] not in (1, 3):
        raise DataError(f"size: got none, wants one: images of {name} are {shape}")
    return shape[0], shape[1]


def _stamp(builder) -> list:
    """What changes if the files do: their names, sizes and times."""
    files = [os.fspath(p) for s in builder.info.splits.values() for p in s.filepaths]
    stats = [(os.path.basename(f), os.stat(f)) for f in sorted(files)]
    return [(name, s.st_size, s.st_mtime_ns) for name, s in stats]
