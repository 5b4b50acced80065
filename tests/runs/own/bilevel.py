"""Two levels: weights of training examples, some mislabelled, by what a clean set says.

min_w  L_clean(theta*(w)),   theta*(w) = theta_0 - rate * grad sum_i sigmoid(w_i) l_i
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm

N, D = 24, 3


def data():
    random = np.random.default_rng(0)
    x = random.normal(size=(N + 40, D))
    y = x @ np.arange(1.0, D + 1)
    y[: N // 3] *= -1  # the mislabelled ones
    return jnp.asarray(x, "f"), jnp.asarray(y, "f")


def fitted(weights, x, y, rate, steps=5):
    """Gradient descent on the weighted squared error, from zero."""

    def error(theta):
        return (jax.nn.sigmoid(weights) * jnp.square(x @ theta - y)).mean()

    theta = jnp.zeros(D)
    for _ in range(steps):
        theta = theta - rate * jax.grad(error)(theta)
    return theta


def weigh(*, rate: float = 0.2, clean: int = 8):
    """Which of the examples can be trusted?

    Args:
      rate: of the inner descent.
      clean: examples of the clean set that an outer step looks at.
    """
    x, y = data()
    seen, kept = (x[:N], y[:N]), (x[N:], y[N:])

    def draw(key):
        rows = jax.random.choice(key, len(kept[0]), (clean,), replace=False)
        return kept[0][rows], kept[1][rows]

    def error(meta, x, y):
        theta = fitted(meta.params, *seen, rate)
        return jnp.square(x @ theta - y).mean()

    def loss(meta, batch, key):
        value = jax.vmap(lambda x, y: error(meta, x, y))(*batch).mean()
        return value, jm.Aux({"mse": value})

    def judge(meta, task, key, episodes):
        drawn = jax.vmap(task)(jax.random.split(key, episodes))
        scores = np.asarray(jax.vmap(lambda x, y: error(meta, x, y))(*drawn))
        mean, half = jm.train.interval(scores)
        return jm.Evaluation(mean, half, scores, "mse", episodes, False)

    def trusted(run):
        rows = np.asarray(run.meta.params).argsort()[: N // 3]
        return {"found_wrong": float((rows < N // 3).mean())}

    return jm.runs.Experiment(
        None,
        jm.runs.Tasks(draw, None, draw),
        optax.adam(0.1),
        objective=jm.from_loss(lambda key, batch: jm.Meta(jnp.zeros(N), None), loss),
        judge=judge,
        measures=(trusted,),
        title="weights of examples",
    )
