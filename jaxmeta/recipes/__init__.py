"""Recipes: functions that return experiments; their keyword arguments are options."""

from jaxmeta.recipes.few_shot import few_shot as few_shot
from jaxmeta.recipes.presets import DEFAULT as DEFAULT
from jaxmeta.recipes.regression import regression as regression
