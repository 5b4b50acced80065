"""Persistent evolution sees past a window whose own slope has the wrong sign."""

import numpy as np

from benchmarks import truncation as t


def test_a_window_sees_the_wrong_sign_and_persistent_evolution_the_right_one():
    problem = t.balance()
    table = t.ways(problem)
    exact, _, _ = t.bias(table["exact"], problem.hypers, 2)
    short, _, _ = t.bias(table["truncated"], problem.hypers, 2)
    got, error, _ = t.bias(table["persistent evolution"], problem.hypers, 100)
    assert exact[0] > 0 > short[0]
    assert abs(got[0] - exact[0]) < 5 * error[0] < abs(got[0] - short[0])


def test_the_system_settles_where_it_was_said_to():
    """s_1 = 2 theta (10 - 13), so that theta = -1/6 loses nothing once it has settled."""
    lost = []
    for steps in (200, 400):
        loss = t.mean_loss(t.balance(steps=steps), t.unrolled(), steps)
        lost.append(float(loss(np.array([-1 / 6]), t.jax.random.key(0))) * steps)
    np.testing.assert_allclose(*lost, rtol=1e-3)
