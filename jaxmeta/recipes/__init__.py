"""Recipes: functions that return experiments; their keyword arguments are options."""

from typing import TYPE_CHECKING

from jaxmeta.lazily import lazily

if TYPE_CHECKING:
    from jaxmeta.recipes.few_shot import few_shot as few_shot
    from jaxmeta.recipes.presets import DEFAULT as DEFAULT
    from jaxmeta.recipes.regression import regression as regression

__getattr__, __dir__ = lazily(__name__, __file__)
