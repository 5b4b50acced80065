"""Recipes: functions that return experiments; their keyword arguments are options."""

from typing import TYPE_CHECKING

from jaxmeta.lazily import lazily

if TYPE_CHECKING:
    from jaxmeta.recipes.adaptation import domains as domains
    from jaxmeta.recipes.cross_modal import grocery_cross_modal as grocery_cross_modal
    from jaxmeta.recipes.few_shot import few_shot as few_shot
    from jaxmeta.recipes.fine_tuning import fine_tune as fine_tune
    from jaxmeta.recipes.lifelong import lifelong as lifelong
    from jaxmeta.recipes.multitask import many_tasks as many_tasks
    from jaxmeta.recipes.presets import DEFAULT as DEFAULT
    from jaxmeta.recipes.pretraining import pretrain as pretrain
    from jaxmeta.recipes.recommendation import movielens as movielens
    from jaxmeta.recipes.regression import regression as regression
    from jaxmeta.recipes.reinforcement import maml_pg as maml_pg
    from jaxmeta.recipes.reinforcement import rl2 as rl2
    from jaxmeta.recipes.reviews import amazon as amazon
    from jaxmeta.recipes.tabular import tabular_pfn as tabular_pfn

__getattr__, __dir__ = lazily(__name__, __file__)
