"""Small runs that the checks share: networks and tasks that compile quickly."""

from collections.abc import Iterator

from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.job import Job, build
from jaxmeta.runs.making import Made, make, options_of
from jaxmeta.runs.registry import known
from jaxmeta.runs.settings import Settings

GLYPHS, SINUSOID = "glyphs-protonet-5w1s", "sinusoid-maml"

WORDS = (
    f"{SINUSOID} --hidden 8 --batch 2 --queries 5 --shots 5 --chunk 1 "
    "--episodes 4 --validate-episodes 4"
).split()
"""A run whose steps take no time."""

_TASKS = {
    GLYPHS: {"size": 8, "ways": 3, "shots": 2, "queries": 4, "train_ways": None},
    SINUSOID: {"shots": 2, "queries": 4},
}
_STEPS = {"inner_steps": 2, "inner_rate": 0.01}


def made(recipe: str, **options: object) -> Made:
    """A recipe of the package with some options."""
    return make(known()[recipe], options)


def job(learner: str, recipe: str = GLYPHS) -> Job:
    """A learner with a dense layer of eight, on two tasks a step.

    Raises:
      ConfigError: of the field "learner": one that is not for these tasks.
    """
    network = {"network": "mlp", "hidden": (8,), "learner": learner}
    wanted = {**_TASKS[recipe], **network, **_STEPS, "batch": 2}
    there = options_of(known()[recipe], wanted, None).options
    of_it = {name: value for name, value in wanted.items() if name in there}
    return build(made(recipe, **of_it), Settings(episodes=4))


def jobs(
    learners: list[str] | None = None, recipe: str = GLYPHS
) -> Iterator[tuple[str, Job]]:
    """Every learner of the command line, or some, but those that the tasks are not for."""
    from jaxmeta.recipes.methods import table

    # MeLU is for networks that embed who rates and what; these have no such part
    for name in learners or (name for name in table() if name != "melu"):
        try:
            yield name, job(name, recipe)
        except ConfigError as error:
            if error.field != "learner":
                raise
