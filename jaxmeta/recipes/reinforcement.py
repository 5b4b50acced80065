"""Meta-reinforcement learning: a policy that learns a new task in a few episodes.

Finn et al. 2017, https://arxiv.org/abs/1703.03400; Duan et al. 2016, RL^2,
https://arxiv.org/abs/1611.02779.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Annotated, Literal

import jax.numpy as jnp
import optax

from jaxmeta import models, rl
from jaxmeta.core import Objective
from jaxmeta.recipes.methods import make_inner
from jaxmeta.recipes.returns import curves, judge, numbers, picture
from jaxmeta.recipes.worlds import WORLDS, World
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment, Tasks
from jaxmeta.runs.options import OneOf, use
from jaxmeta.runs.registry import recipe

Outer = tuple[Objective, optax.GradientTransformation]
"""An outer step: an objective, and what applies its gradient."""


def _outer(builder: Callable[..., Objective], make: Callable[..., Outer]):
    """An outer step whose options are those of the objective's builder."""

    @wraps(builder)
    def outer(agent: rl.MetaAgent, adam: optax.GradientTransformation, **options):
        return make(partial(builder, **options), agent, adam)

    return outer


OBJECTIVES = {
    "policy_gradient": _outer(rl.policy_gradient, lambda f, a, adam: (f(a), adam)),
    # these hand over a step, not a slope
    "ppo": _outer(rl.ppo, lambda f, a, adam: (f(a, adam), optax.sgd(1.0))),
    "trpo": _outer(rl.trpo, lambda f, a, adam: (f(a), optax.sgd(1.0))),
}
"""Every outer step by name."""


@recipe("maml-pg")
def maml_pg(
    *,
    env: Annotated[Callable[[], World], OneOf(WORLDS)] = use("point_navigation"),
    hidden: tuple[int, ...] = (32, 32),
    head_scale: float = 0.01,
    inner_rate: float = 0.002,
    inner_steps: int = 1,
    plays: int = 20,
    surrogate: Literal["dice", "lvc", "score"] = "lvc",
    discount: float = 0.99,
    normalise: bool = False,
    objective: Annotated[Callable[..., Outer], OneOf(OBJECTIVES)] = use(
        "policy_gradient"
    ),
    rate: float = 3e-3,
    max_norm: float = 1.0,
    steps: int = 200,
    batch: int = 20,
) -> Experiment:
    """MAML for policies: one policy gradient from where it starts goes far.

    Args:
      env: the tasks.
      hidden: widths of the policy's hidden layers.
      head_scale: its last layer starts so much smaller.
      inner_rate: learning rate of the inner step, plain SGD.
      inner_steps: inner steps, each on new episodes.
      plays: episodes of a task before each inner step, and after the last.
      surrogate: whose second derivative is taken: dice is right; lvc leaves out how
        actions change states, for less variance; score is as first published.
      discount: of rewards.
      normalise: scale the advantages of each sample to variance 1.
      objective: the outer step.
      rate: of Adam, which all but trpo use; it falls to 0 by a half cosine, but not
        inside a step of ppo.
      max_norm: largest norm of what Adam is given.
      steps: outer steps.
      batch: tasks in a step.

    Returns:
      An `Experiment`.
    """
    world = env()
    width = world.family.width
    network = models.mlp(width, hidden=hidden, activation=jnp.tanh)
    policy = rl.policy(network, world.family, head_scale=head_scale)

    def at(k: int) -> rl.MetaAgent:
        return rl.maml_pg(
            world.env,
            policy,
            make_inner("sgd", inner_rate),
            steps=k,
            episodes=plays,
            discount=discount,
            surrogate=getattr(rl, surrogate),
            normalise=normalise,
        )

    if inner_steps < 0:
        raise ConfigError("inner_steps", inner_steps, "an integer >= 0")
    counts = sorted({0, 1, 2, 3, inner_steps})
    outer = objective(at(inner_steps), _adam(rate, max_norm, steps))
    made = _experiment(
        world, at, inner_steps, counts, plays, outer, "MAML-PG", "inner steps"
    )
    return made._replace(steps=steps, batch=batch)


@recipe("rl2")
def rl2(
    *,
    env: Annotated[Callable[[], World], OneOf(WORLDS)] = use("bandit"),
    hidden: int = 48,
    trial: int = 1,
    plays: int = 1,
    discount: float = 1.0,
    trace: float = 0.5,
    normalise: bool = False,
    objective: Annotated[Callable[..., Outer], OneOf(OBJECTIVES)] = use(
        "policy_gradient", value_cost=0.1, entropy_bonus=0.02
    ),
    rate: float = 1e-2,
    max_norm: float = 1.0,
    steps: int = 1500,
    batch: int = 512,
) -> Experiment:
    """RL^2: a recurrent policy whose memory outlives the episodes of a task.

    Args:
      env: the tasks.
      hidden: width of the LSTM.
      trial: episodes of a task in training; all but the last are for finding out.
      plays: episodes that a test task's last one is averaged over.
      discount: of rewards, across the episodes of a trial.
      trace: lambda of the advantages.
      normalise: scale the advantages of each trial to variance 1.
      objective: the outer step.
      rate: of Adam, which all but trpo use; it falls to 0 by a half cosine, but not
        inside a step of ppo.
      max_norm: largest norm of what Adam is given.
      steps: outer steps.
      batch: tasks in a step.

    Returns:
      An `Experiment`.
    """
    if trial < 1:
        raise ConfigError("trial", trial, "an integer >= 1")
    if hidden < 1:
        raise ConfigError("hidden", hidden, "an integer >= 1")
    world = env()

    def at(k: int) -> rl.MetaAgent:
        return rl.rl2(
            world.env,
            world.family,
            hidden=hidden,
            episodes=trial,
            adapt_episodes=k,
            discount=discount,
            trace=trace,
            normalise=normalise,
        )

    counts = sorted({0, 1, trial - 1})
    outer = objective(at(trial - 1), _adam(rate, max_norm, steps))
    made = _experiment(
        world, at, trial - 1, counts, plays, outer, "RL^2", "episodes before"
    )
    return made._replace(steps=steps, batch=batch)


def _experiment(
    world: World,
    at: Callable[[int], rl.MetaAgent],
    used: int,
    counts: Sequence[int],
    plays: int,
    outer: Outer,
    name: str,
    steps: str,
) -> Experiment:
    """What both recipes have in common: how they are judged; `steps` are of adapting."""
    if plays < 1:
        raise ConfigError("plays", plays, "an integer >= 1")
    tasks, curve = world.env.tasks, curves(at, counts, plays)
    return Experiment(
        None,
        Tasks(tasks, tasks, tasks),
        outer[1],
        objective=outer[0],
        judge=judge(at(used), plays),
        pictures=(partial(picture, curve=curve, used=used, steps=steps),),
        measures=(partial(numbers, curve=curve),),
        facts={
            "learner": name,
            "env": world.name,
            "horizon": world.env.horizon,
            "adapted": used,
            "plays": plays,
        },
        title=f"{name} on {world.name}",
    )


def _adam(rate: float, max_norm: float, steps: int) -> optax.GradientTransformation:
    for name, value in (("rate", rate), ("max_norm", max_norm)):
        if not 0 < value < float("inf"):
            raise ConfigError(name, value, "a finite number > 0")
    adam = optax.adam(optax.cosine_decay_schedule(rate, steps))
    return optax.chain(optax.clip_by_global_norm(max_norm), adam)
