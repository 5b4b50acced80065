"""Recipe -> tasks to train on, to choose by and to test on. Nothing compiles here."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp

from jaxmeta import data, tasks
from jaxmeta.core import Batch, Episode, Task
from jaxmeta.data.splitting import RULE
from jaxmeta.runs.adaptation import REVIEWS
from jaxmeta.runs.errors import ConfigError, one_line
from jaxmeta.runs.recipes import Recipe


class Source(NamedTuple):
    """A data set of the command line.

    Attributes:
      summary: one line for `jaxmeta list`.
      load: recipe -> splits; `None` where tasks are made on the fly.
      draw: `(recipe, split, ways, shots, queries) -> Task`.
      images: whether inputs are images.
      regression: whether targets are real values.
    """

    summary: str
    load: Callable[[Recipe], data.Splits] | None
    draw: Callable[..., Task]
    images: bool = True
    regression: bool = False


class Tasks(NamedTuple):
    """Three distributions over tasks; no class of the test is in the others.

    Nor is one of `val` in `train`, but where an own folder has few classes
    (`data.split_classes`).
    """

    train: Task
    val: Task
    test: Task


def _few_shot(recipe, split, ways, shots, queries):
    return tasks.few_shot(split, ways, shots, queries, rotations=recipe.rotations)


def _omniglot(recipe: Recipe) -> data.Splits:
    root = _folder(recipe, "the folder that holds Omniglot's two zip files")
    return data.omniglot(root, recipe.size, split=recipe.split)


def _images(recipe: Recipe) -> data.Splits:
    root = _folder(
        recipe, "a folder with <class>/*.png, or train, val and test of them"
    )
    options = {"size": recipe.size, "mode": recipe.mode, "invert": recipe.invert}
    if (root / "train").is_dir():
        return data.image_folder_splits(root, **options)
    return data.split_classes(data.image_folder(root, **options))


def _benchmark(reader: Callable[..., data.Splits], *, side: int | None = None):
    """The loader of a published set of colour photographs; `side`: its only size."""

    def load(recipe: Recipe) -> data.Splits:
        if recipe.mode != "RGB":
            wants = f"RGB: {recipe.dataset} is in colour"
            raise ConfigError("mode", recipe.mode, wants)
        if side is not None and recipe.size != side:
            raise ConfigError("size", recipe.size, f"{side}, the size of the images")
        root = _folder(recipe, f"the folder with {recipe.dataset}")
        return reader(root) if side else reader(root, recipe.size)

    return load


def _folder(recipe: Recipe, wants: str) -> Path:
    if recipe.data is None:
        raise ConfigError("data", "nothing", wants)
    root = Path(recipe.data).expanduser()
    if not root.is_dir():
        raise ConfigError("data", f"{recipe.data}, which is no folder", wants)
    return root


SOURCES: dict[str, Source] = {
    "glyphs": Source(
        "characters of random strokes, drawn on the fly: no download",
        None,
        lambda recipe, split, *sizes: tasks.glyphs(*sizes, size=recipe.size),
    ),
    "sinusoid": Source(
        "sine waves of random amplitude and phase: regression",
        None,
        lambda recipe, split, ways, *sizes: tasks.sinusoid(*sizes),
        images=False,
        regression=True,
    ),
    "sine_or_line": Source(
        "sine waves or straight lines, with noise: five points do not say which",
        None,
        lambda recipe, split, ways, *sizes: tasks.sine_or_line(*sizes),
        images=False,
        regression=True,
    ),
    "omniglot": Source(
        "1,623 characters of 50 alphabets, 20 drawings each: --data FOLDER",
        _omniglot,
        _few_shot,
    ),
    "cifar_fs": Source(
        "CIFAR-100 in 64/16/20 classes, 600 photographs each: --data FOLDER",
        _benchmark(data.cifar_fs, side=32),
        _few_shot,
    ),
    "fc100": Source(
        "CIFAR-100 in 60/20/20 classes, split by superclass: --data FOLDER",
        _benchmark(data.fc100, side=32),
        _few_shot,
    ),
    "mini_imagenet": Source(
        "64/16/20 classes of ImageNet, folders or Ravi's lists: --data FOLDER",
        _benchmark(data.mini_imagenet),
        _few_shot,
    ),
    "tiered_imagenet": Source(
        "351/97/160 classes of ImageNet, 34 groups: --data FOLDER",
        _benchmark(data.tiered_imagenet),
        _few_shot,
    ),
    "cub": Source(
        "200 species of birds, 100/50/50: --data FOLDER",
        _benchmark(data.cub),
        _few_shot,
    ),
    "amazon": Source(REVIEWS, None, tasks.domain_pair, images=False),
    "folder": Source(
        "your own images, <class>/*.png or .jpg: --data FOLDER", _images, _few_shot
    ),
}
"""Every data set by name: one row each."""

_COLOUR = ("folder", "cifar_fs", "fc100", "mini_imagenet", "tiered_imagenet", "cub")


def make_tasks(recipe: Recipe) -> Tasks:
    """Builds the three task distributions of a recipe.

    Args:
      recipe: a checked recipe.

    Returns:
      `Tasks`.

    Raises:
      ConfigError: data that are missing, or too few for the tasks that are asked for.
    """
    source = SOURCES[recipe.dataset]
    if recipe.mode == "RGB" and recipe.dataset not in _COLOUR:
        raise ConfigError("mode", "RGB", f"L: {recipe.dataset} is not in colour")
    if recipe.rotations and source.load is None:
        raise ConfigError("rotations", True, f"False: {recipe.dataset} has no classes")
    splits = load(recipe) if source.load else data.Splits(None, None, None)  # type: ignore
    ways, shots, queries = train_sizes(recipe)
    sizes = (recipe.ways, recipe.shots, recipe.queries)
    train = _draw(recipe, "train", splits.train, "train_", ways, shots, queries)
    return Tasks(
        train,
        _draw(recipe, "val", splits.val, "", *sizes),
        _draw(recipe, "test", splits.test, "", *sizes),
    )


def blank_tasks(recipe: Recipe) -> Tasks:
    """Tasks of the right shapes with nothing in them: to restore a run without its data.

    Raises:
      ConfigError: a recipe whose inputs are not images.
    """
    if not SOURCES[recipe.dataset].images:
        raise ConfigError("run", f"a run on {recipe.dataset}", "a run on images")

    def blank(ways: int, shots: int, queries: int) -> Task:
        def batch(n):
            image = (recipe.size, recipe.size, 3 if recipe.mode == "RGB" else 1)
            return Batch(jnp.zeros((ways * n, *image)), jnp.zeros((ways * n, ways)))

        return lambda key: Episode(batch(shots), batch(queries))

    test = blank(recipe.ways, recipe.shots, recipe.queries)
    return Tasks(blank(*train_sizes(recipe)), test, test)


def train_sizes(recipe: Recipe) -> tuple[int, int, int]:
    """Ways, shots and queries of the training tasks."""
    return (
        recipe.train_ways or recipe.ways,
        recipe.train_shots or recipe.shots,
        recipe.train_queries or recipe.queries,
    )


def load(recipe: Recipe) -> data.Splits:
    """Reads the data of a recipe; what the reader objects to is about `data`."""
    try:
        return SOURCES[recipe.dataset].load(recipe)  # type: ignore[misc]
    except (data.DataError, OSError) as error:
        raise ConfigError(
            "data", recipe.data, f"a readable data set: {error}"
        ) from error


def _draw(recipe, name, split, prefix, ways, shots, queries) -> Task:
    if split is not None:
        _enough(recipe, name, split, prefix, ways, shots + queries)
    try:
        return SOURCES[recipe.dataset].draw(recipe, split, ways, shots, queries)
    except ValueError as error:
        raise ConfigError(
            f"{prefix}tasks", "sizes that do not fit", one_line(error)
        ) from (error)


def _enough(recipe, name, split, prefix, ways, examples) -> None:
    classes = len(split.counts) * (4 if recipe.rotations else 1)
    if getattr(recipe, f"{prefix}ways") is None:
        prefix = ""  # the value came from the other field
    if ways > classes:
        raise ConfigError(
            f"{prefix}ways",
            ways,
            f"at most {classes}, the classes of the {name} split{_split_rule(recipe)}",
        )
    short = [i for i, count in enumerate(split.counts) if count < examples]
    if short:
        i = short[0]
        raise ConfigError(
            "data",
            f"{split.counts[i]} images in class {split.names[i]!r} of the {name} split",
            f"at least {examples} = {prefix}shots + {prefix}queries",
        )


def _split_rule(recipe) -> str:
    """How a folder was split, and what to do where a split has too few classes."""
    if recipe.dataset != "folder":
        return ""
    if (Path(recipe.data).expanduser() / "train").is_dir():
        return ": add class folders to it, or lower ways"
    return (
        f" ({RULE}): add classes, lower ways or train_ways, or sort the class folders "
        "into folders train, val and test yourself"
    )
