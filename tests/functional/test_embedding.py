"""Feature normalisation."""

import numpy as np
import pytest

from jaxmeta.functional.embedding import normalise

F = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]])


@pytest.mark.usefixtures("x64")
def test_the_three_forms():
    mean = np.array([1.0, 1.0])
    np.testing.assert_array_equal(normalise(F, "un"), F)
    np.testing.assert_allclose(normalise(F, "l2")[0], [0.6, 0.8], rtol=1e-15)
    np.testing.assert_array_equal(normalise(F, "l2")[1], 0.0)
    got = normalise(F, "cl2n", mean=mean)
    np.testing.assert_allclose(got[0], np.array([2, 3]) / np.sqrt(13), rtol=1e-15)
    np.testing.assert_array_equal(got[2], 0.0)


def test_errors_name_the_field():
    with pytest.raises(ValueError, match="normalise: got 'l3'"):
        normalise(F, "l3")
    with pytest.raises(ValueError, match="mean: got None"):
        normalise(F, "cl2n")
