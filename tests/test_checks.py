"""One grammar: the argument, what it got, what it wants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmeta.checks import (
    all_at_least,
    at_least,
    not_negative,
    one_of,
    positive,
    refusal,
    within,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("check", "good", "bad", "wants"),
    [
        (at_least, [1, 7, np.int64(3), jnp.int32(2)], [0, -1, 1.0, True, None, "2", NAN],
         "an integer >= 1"),
        (all_at_least, [(1,), [3, np.int32(2)]], [(), (1, 0), (1.5,), 3, None],
         "one or more integers >= 1"),
        (positive, [1, 1e-30, np.float32(2), jnp.ones(())], [0, -1.0, NAN, None, "1"],
         "a positive number"),
        (not_negative, [0, 0.0, 3], [-1e-9, NAN, None], "a number >= 0"),
        ("[0, 1)", [0, 0.5], [1, -0.1, NAN, None], "a number in [0, 1)"),
        ("(0, 1]", [1, 0.5], [0, 1.1], "a number in (0, 1]"),
        (("a", "b", "c"), ["a", "c"], ["d", None, ["a"]], '"a", "b" or "c"'),
        ((1, 2), [1], [True, 3, "1"], "1 or 2"),
    ],
)  # fmt: skip
def test_what_passes_and_what_is_said(check, good, bad, wants):
    def run(value):
        if isinstance(check, str):
            return within(check, field=value)
        if isinstance(check, tuple):
            return one_of(check, field=value)
        first = (1,) if check in (at_least, all_at_least) else ()
        return check(*first, field=value)

    for value in good:
        run(value)
    for value in bad:
        with pytest.raises(ValueError) as error:
            run(value)
        shown = repr(value) if isinstance(value, str) else value
        assert str(error.value) == f"field: got {shown}, wants {wants}"
        assert isinstance(refusal("field", shown, wants), type(error.value))


def test_the_first_that_will_not_do_is_named():
    with pytest.raises(ValueError, match="shots: got 0"):
        at_least(1, low=1, shots=0, queries=0)


def test_what_is_traced_passes():
    def build(x):
        positive(rate=x)
        within("(0, 1)", rate=x)
        at_least(1, steps=x)
        return x

    assert jax.jit(build)(-1.0) == -1.0
