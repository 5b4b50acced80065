"""The toy problem of the `adapt` library (make_classification_da), drawn anew here."""

import numpy as np
from sklearn.datasets import make_classification
from sklearn.utils import check_random_state


def toy(seed=2):
    """Two clusters a domain, apart differently: `(x_s, y_s, x_t, y_t)`, 100 each.

    Features are scaled to [0, 1] in each domain; the target's first half is class 1.
    """
    random = check_random_state(seed)

    def draw():
        return make_classification(
            100, 2, n_informative=2, n_redundant=0, n_clusters_per_class=1,
            shuffle=False, random_state=random,
        )  # fmt: skip

    (x_s, y_s), (x_t, _) = draw(), draw()
    x_s, x_t = ((x - x.min(0)) / (x.max(0) - x.min(0)) for x in (x_s, x_t))
    return x_s, y_s, x_t, np.repeat([1, 0], 50)
