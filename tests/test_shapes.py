"""Shapes in signatures are held in tests, and cost a user nothing (tests/shapes.py)."""

import ast

import jax
import jax.numpy as jnp
import pytest

import jaxmeta as jm
from jaxmeta.core import Key, Scalar
from jaxmeta.shapes import Array, Float, Int
from notebooks.site.names import rooms
from tests.shapes import checked


def test_a_call_that_does_not_fit_is_found():
    """It broadcasts, so nothing else would say so."""
    a, b = jnp.zeros((2, 4)), jnp.zeros((3, 1))
    with pytest.raises(TypeError, match=r'squared_euclidean: b: got \(3, 1\).*"c d"'):
        jm.functional.squared_euclidean(a, b)
    assert jm.functional.squared_euclidean(a, b.repeat(4, 1)).shape == (2, 3)


def test_results_keys_and_scalars_are_held_too():
    @checked
    def wrong(x: Float[Array, "n d"]) -> tuple[Float[Array, " n"], Int[Array, ""]]:
        return x.sum(0), jnp.zeros((), "int32")

    @checked
    def drawn(key: Key, weights: Float[Array, " n"] | None = None) -> Scalar:
        return jax.random.uniform(key) if weights is None else weights

    assert wrong(jnp.zeros((2, 2)))[0].shape == (2,)
    with pytest.raises(TypeError, match="wrong: return"):
        wrong(jnp.zeros((2, 3)))
    assert drawn(jax.random.key(0)).shape == ()
    with pytest.raises(TypeError, match="drawn: key: got"):
        drawn(jax.random.key_data(jax.random.key(0)), jnp.zeros(()))
    with pytest.raises(TypeError, match="drawn: return"):
        drawn(jax.random.key(0), jnp.zeros(1))


def test_what_the_library_refuses_stays_its_own_error():
    with pytest.raises(ValueError, match="weights: got shape"):
        jm.losses.weighted_mean(jnp.zeros(3), jnp.zeros(2))


FREE = ("conv_general_dilated",)  # of any layout
ROOMS = ("functional", "losses", "metrics", "criteria", "convolution", "transfer", "rl")


@pytest.mark.parametrize("room", ROOMS)
def test_public_functions_say_the_shapes_of_arrays(room):
    found = []
    for name in rooms()[room]:
        plain = name.name in FREE or name.name.startswith("check_")
        if isinstance(name.node, ast.FunctionDef) and not plain:
            given = [
                arg.annotation
                for arg in ast.walk(name.node.args)
                if isinstance(arg, ast.arg)
            ]
            if any(map(shapeless, [*given, name.node.returns])):
                found.append(name.path)
    assert not found


def shapeless(node) -> bool:
    """Whether an annotation has an array without a shape; a number stands for scalars."""
    if node is None:
        return False
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        if node.value.id in ("Float", "Int", "Bool", "Num", "Shaped", "Callable"):
            return False
    if isinstance(node, ast.BinOp) and "float" in ast.unparse(node):
        return False
    if isinstance(node, ast.Name | ast.Attribute):
        return ast.unparse(node) in ("Array", "jax.Array")
    return any(map(shapeless, ast.iter_child_nodes(node)))
