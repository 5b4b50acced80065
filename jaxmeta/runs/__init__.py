"""Whole runs: a recipe in, a folder with a result, a report and checkpoints out."""

from jaxmeta.runs.errors import ConfigError as ConfigError
from jaxmeta.runs.errors import RunError as RunError
from jaxmeta.runs.recipes import DEFAULT as DEFAULT
from jaxmeta.runs.recipes import RECIPES as RECIPES
from jaxmeta.runs.recipes import Recipe as Recipe
