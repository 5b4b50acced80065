"""Estimators with scikit-learn's interface: tables with no training, a few images.

They want `pip install jaxmeta[tables]`. `TabularClassifier` and `TabularRegressor` read a
table with a network of ours that lies in the package; `FewShotClassifier` wraps a run.
"""

from typing import TYPE_CHECKING

from jaxmeta.lazily import lazily

if TYPE_CHECKING:
    from jaxmeta.estimators.classifier import TabularClassifier as TabularClassifier
    from jaxmeta.estimators.few_shot import FewShotClassifier as FewShotClassifier
    from jaxmeta.estimators.regressor import TabularRegressor as TabularRegressor
    from jaxmeta.recipes.packed import pack as pack

__getattr__, __dir__ = lazily(__name__, __file__)
