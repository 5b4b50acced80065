"""Meta-reinforcement learning: point navigation, bandits, environment steps a second.

    python -m benchmarks.meta_rl navigation   # MAML against pretraining, the same goals
    python -m benchmarks.meta_rl bandit       # RL^2 against Thompson sampling and Gittins
    python -m benchmarks.meta_rl speed        # against gymnasium's vectorised loop
    python -m benchmarks.meta_rl --table      # README.md here, from the results

The first two take ten minutes of one core at most. `speed` needs `pip install gymnasium`.
All add to results/meta_rl.json.
"""

import argparse
import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from benchmarks.common import machine, median, write_between
from jaxmeta import rl

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "meta_rl.json"

NAVIGATION = {
    "horizon": 30,
    "reward": "squared",
    "hidden": [32, 32],
    "std": 0.1,  # of an action to begin with
    "head_scale": 0.01,  # every seed begins with a walk that goes nowhere
    "inner_rate": 0.002,
    "episodes": 20,  # before and after the inner step
    "tasks": 20,  # goals an outer step
    "outer": "adam",
    "outer_rate": 3e-3,
    "steps": 200,
    "discount": 0.99,
    "surrogate": "lvc",
    "seed": 0,
    "more_seeds": [1, 2],  # of MAML's training, on the same test goals
}
BANDIT = {
    "arms": 5,
    "pulls": 10,
    "hidden": 48,
    "tasks": 512,
    "steps": 1500,
    "rate": 1e-2,
    "entropy_bonus": 0.02,
    "value_cost": 0.1,
    "trace": 0.5,
    "seed": 0,
}


def trained(objective, tx, env, row, name):
    """Outer steps in ten compiled pieces: `(meta, times)`, compilation included.

    Wall time on a shared machine includes waiting; the processor's time does not.
    """
    trainer, root = jm.make_trainer(objective, tx), jax.random.key(row["seed"])
    starting, running = jax.random.split(root)
    some = jm.train.sample_batch(env.tasks, starting, 2)
    state = jax.jit(trainer.init)(starting, some)

    @jax.jit
    def piece(state, key):
        steps = max(row["steps"] // 10, 1)
        return jm.fit(trainer, env.tasks, state, key, steps=steps, batch=row["tasks"])

    begin, working = time.perf_counter(), time.process_time()
    while int(state.step) < row["steps"]:
        state, metrics = piece(state, running)
        shown = {k: round(float(v.mean()), 3) for k, v in metrics.items()}
        spent = round(time.perf_counter() - begin, 1)
        print(name, int(state.step), spent, shown, flush=True)
    spent = {
        "train_seconds": round(time.perf_counter() - begin, 1),
        "train_cpu_seconds": round(time.process_time() - working, 1),
    }
    return state.meta, spent


def paired(a: np.ndarray, b: np.ndarray) -> dict:
    """Mean and 95 % t-interval of a - b over the same tasks."""
    difference, half = jm.train.interval(np.asarray(a) - np.asarray(b))
    return {"difference": difference, "ci95": half}


def navigation_parts(row: dict):
    """The environment, and `agent(k)` of k inner steps."""
    env = rl.point_navigation(
        horizon=row["horizon"], reward=row["reward"], reached=None
    )
    model = jm.models.mlp(2, hidden=tuple(row["hidden"]), activation=jnp.tanh)
    policy = rl.policy(
        model, rl.gaussian(2, std=row["std"]), head_scale=row["head_scale"]
    )

    def agent(k: int, episodes: int = row["episodes"]) -> rl.MetaAgent:
        return rl.maml_pg(
            env,
            policy,
            optax.sgd(row["inner_rate"]),
            steps=k,
            episodes=episodes,
            discount=row["discount"],
            surrogate=getattr(rl, row["surrogate"]),
            normalise=False,  # a small slope is near the goal: its size says so
        )

    return env, agent


def outer(agent, row: dict):
    """The outer step by its name: an objective and what applies it."""
    if row["outer"] == "trpo":
        return rl.trpo(agent), optax.sgd(1.0)
    if row["outer"] == "ppo":
        return rl.ppo(agent, optax.adam(row["outer_rate"])), optax.sgd(1.0)
    rate = optax.cosine_decay_schedule(row["outer_rate"], row["steps"])
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    return rl.policy_gradient(agent), adam


def to_go(trajectory, goal):
    """Distance left at the end of the episodes."""
    return jnp.linalg.norm(trajectory.last - goal, axis=-1).mean()


def navigation(row: dict, count: int) -> dict:
    """MAML, and a policy pretrained over the same goals; 200 new goals for both."""
    env, agent = navigation_parts(row)
    key, found = jax.random.key(1_000_000), {}
    for name, k in (("maml", 1), ("pretrained", 0)):
        meta, spent = trained(*outer(agent(k), row), env, row, name)
        curve = functools.partial(
            rl.adaptation_curve,
            meta=meta,
            tasks=env.tasks,
            key=key,
            count=count,
            episodes=row["episodes"],
        )
        returns, left = curve(at=agent), curve(at=agent, measure=to_go, steps=(0, 1))
        found[name] = {"returns": returns, "left": left, "spent": spent}
        if name == "maml":  # one gradient step on so few episodes
            few = curve(at=lambda k: agent(1, k), steps=(1, 2, 3))
        print(name, returns.mean, returns.ci95, left.mean, left.ci95, flush=True)
    maml, plain = found["maml"], found["pretrained"]
    seeds = []
    for seed in row["more_seeds"]:
        meta, _ = trained(*outer(agent(1), row), env, row | {"seed": seed}, "maml")
        measured = functools.partial(
            rl.adaptation_curve, agent, meta, env.tasks, key,
            steps=(0, 1), count=count, episodes=row["episodes"],
        )  # fmt: skip
        left = measured(measure=to_go)
        gain = paired(measured().scores[1], plain["returns"].scores[1])
        seeds.append(
            {
                "seed": seed,
                "distance": left.mean.tolist(),
                "distance_ratio": float(left.mean[1] / left.mean[0]),
                "return_maml_1_minus_pretrained_1": gain,
            }
        )
        print(json.dumps(seeds[-1]), flush=True)
    return {
        "settings": row,
        "goals": count,
        "more_seeds": seeds,
        "gradient_steps": list(maml["returns"].steps),
        **{
            name: {
                "return": part["returns"].mean.tolist(),
                "return_ci95": part["returns"].ci95.tolist(),
                "distance": part["left"].mean.tolist(),
                "distance_ci95": part["left"].ci95.tolist(),
                **part["spent"],
            }
            for name, part in found.items()
        },
        "episodes": list(few.steps),
        "maml_return_by_episodes": few.mean.tolist(),
        "maml_return_by_episodes_ci95": few.ci95.tolist(),
        "distance_ratio": float(maml["left"].mean[1] / maml["left"].mean[0]),
        "paired_return_maml_1_minus": {
            "maml_0": paired(maml["returns"].scores[1], maml["returns"].scores[0]),
            "pretrained_0": paired(
                maml["returns"].scores[1], plain["returns"].scores[0]
            ),
            "pretrained_1": paired(
                maml["returns"].scores[1], plain["returns"].scores[1]
            ),
        },
    }


def bandit(row: dict, count: int) -> dict:
    """Regret of RL^2, Thompson sampling and Gittins' index on the same bandits."""
    env = rl.bandit(row["arms"], pulls=row["pulls"])
    agent = rl.rl2(
        env,
        rl.categorical(row["arms"]),
        hidden=row["hidden"],
        episodes=1,
        discount=1.0,
        trace=row["trace"],
        normalise=False,
    )
    objective = rl.policy_gradient(
        agent, entropy_bonus=row["entropy_bonus"], value_cost=row["value_cost"]
    )
    rate = optax.cosine_decay_schedule(row["rate"], row["steps"])
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    meta, spent = trained(objective, tx, env, row, "rl2")
    index = rl.gittins(rl.gittins_indices(row["pulls"]))

    @jax.jit
    def regrets(meta, key):
        def one(t):
            drawing, playing = jax.random.split(jax.random.fold_in(key, t))
            task = env.tasks(drawing)
            memory = agent.adapt(meta, task, playing)
            pulled = {
                "rl2": agent.play(meta, memory, task, playing, 1).actions[0],
                "gittins": rl.pull(index, task, playing, pulls=row["pulls"]),
                "thompson": rl.pull(rl.thompson, task, playing, pulls=row["pulls"]),
                "random": jnp.arange(row["pulls"]) % row["arms"],
            }
            return jax.tree.map(lambda arms: rl.regret(task, arms), pulled)

        return jax.lax.map(one, jnp.arange(count), batch_size=500)

    found = jax.tree.map(
        np.asarray, regrets(meta, jax.random.key(1_000_000 + row["seed"]))
    )
    rows = {}
    for name, scores in found.items():
        mean, half = jm.train.interval(scores)
        rows[name] = {"regret": mean, "ci95": half}
    return {
        "settings": row,
        "bandits": count,
        **rows,
        **spent,
        "rl2_over_gittins": rows["rl2"]["regret"] / rows["gittins"]["regret"],
        "rl2_over_thompson": rows["rl2"]["regret"] / rows["thompson"]["regret"],
        "paired_rl2_minus_gittins": paired(found["rl2"], found["gittins"]),
        "paired_rl2_minus_thompson": paired(found["rl2"], found["thompson"]),
    }


def gymnasium_point(horizon: int):
    """The same task as a gymnasium environment, in NumPy, written as one would."""
    import gymnasium

    class Point(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        action_space = gymnasium.spaces.Box(-0.1, 0.1, (2,), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.goal = self.np_random.uniform(-0.5, 0.5, 2).astype(np.float32)
            self.position, self.steps = np.zeros(2, np.float32), 0
            return self.position, {}

        def step(self, action):
            self.position = self.position + np.clip(action, -0.1, 0.1)
            self.steps += 1
            x, y = self.position - self.goal
            reward = -((x * x + y * y) ** 0.5)
            return self.position, reward, False, self.steps >= horizon, {}

    return Point


def speed(envs: int, sizes: list[int], repeats: int, horizon: int) -> dict:
    """Steps a second with uniform actions: ours in one program, theirs in a loop."""
    import gymnasium

    env = rl.point_navigation(horizon=horizon, reward="distance", reached=None)

    @jax.jit
    def ours(key):
        def act(seen, key):
            return jax.random.uniform(key, seen.shape, minval=-0.1, maxval=0.1)

        def one(key):
            return rl.rollout(env, act, env.tasks(key), key, episodes=1).returns.sum()

        return jax.vmap(one)(jax.random.split(key, envs)).sum()

    point = gymnasium_point(horizon)
    check_same(env, point(), horizon)
    loops = {n: gymnasium.vector.SyncVectorEnv([point] * n) for n in sizes}
    rng = np.random.default_rng(0)

    def theirs(n):
        loop = loops[n]
        loop.reset(seed=0)
        for _ in range(horizon):
            loop.step(rng.uniform(-0.1, 0.1, (n, 2)).astype(np.float32))
        return n * horizon

    begin = time.perf_counter()
    ours(jax.random.key(0)).block_until_ready()
    compiling = time.perf_counter() - begin
    times = {"jaxmeta": [], **{str(n): [] for n in sizes}}
    for i in range(repeats):  # in turn: whatever else the machine does hits all alike
        begin = time.perf_counter()
        ours(jax.random.key(i + 1)).block_until_ready()
        times["jaxmeta"].append((time.perf_counter() - begin) / (envs * horizon))
        for n in sizes:
            begin = time.perf_counter()
            done = theirs(n)
            times[str(n)].append((time.perf_counter() - begin) / done)
    rate = {name: 1 / median(found) for name, found in times.items()}
    fastest = max(sizes, key=lambda n: rate[str(n)])
    return {
        "envs": envs,
        "horizon": horizon,
        "repeats": repeats,
        "compile_seconds": round(compiling, 2),
        "jaxmeta_steps_per_second": rate["jaxmeta"],
        "gymnasium_steps_per_second": {str(n): rate[str(n)] for n in sizes},
        "gymnasium_fastest_envs": fastest,
        "gymnasium": gymnasium.__version__,
        "ratio": rate["jaxmeta"] / rate[str(fastest)],
    }


def check_same(env, other, horizon: int) -> None:
    """Both play the same game: equal actions, equal rewards."""
    other.reset(seed=0)
    goal = jnp.asarray(other.goal)
    _, state = env.reset(jax.random.key(0), goal)
    rng = np.random.default_rng(1)
    for _ in range(min(horizon, 20)):
        action = rng.uniform(-0.2, 0.2, 2).astype(np.float32)
        _, reward, *_ = other.step(action)
        _, state, mine, _ = env.step(jax.random.key(0), state, action, goal)
        np.testing.assert_allclose(mine, reward, rtol=1e-4)


def times(part: dict) -> str:
    """How long training took."""
    text = f"{part['train_seconds']:.0f} s"
    if "train_cpu_seconds" in part:
        text += f" ({part['train_cpu_seconds']:.0f} s of processor time)"
    return text


def table(results: dict) -> str:
    """The section of README.md."""
    lines = []
    if "navigation" in results:
        found = results["navigation"]
        row = found["settings"]
        paid = {"squared": "squared distance", "distance": "distance"}[row["reward"]]
        lines += [
            f"Point navigation, {row['horizon']} steps, reward: minus the "
            f"{paid}; {found['goals']} new goals, {row['episodes']} episodes a "
            f"gradient step; 95 % t-intervals over goals. Outer step: {row['outer']}, "
            f"{row['steps']} x {row['tasks']} goals, both policies over the same ones.",
            "",
            "| gradient steps | MAML: return | distance left | pretrained: return "
            "| distance left |",
            "|---|---|---|---|---|",
        ]
        for i, k in enumerate(found["gradient_steps"]):
            cells = [
                "-"
                if i >= len(part[name])
                else f"{part[name][i]:.3f} ± {part[name + '_ci95'][i]:.3f}"
                for part in (found["maml"], found["pretrained"])
                for name in ("return", "distance")
            ]
            lines.append(f"| {k} | " + " | ".join(cells) + " |")
        by_episodes = ", ".join(
            f"{k}: {mean:.3f} ± {half:.3f}"
            for k, mean, half in zip(
                found["episodes"],
                found["maml_return_by_episodes"],
                found["maml_return_by_episodes_ci95"],
                strict=True,
            )
        )
        gap = found["paired_return_maml_1_minus"]
        for part in found.get("more_seeds", []):
            ratio = f"{part['distance_ratio']:.2f}"
            by_episodes += f". Seed {part['seed']}: {ratio} of the distance left"
        lines += [
            "",
            f"Return after a single step on so many episodes: {by_episodes}.",
            "",
            f"After one step MAML has {found['distance_ratio']:.2f} of its own distance "
            "left. Return of MAML after one step, minus that of the pretrained policy, "
            "the same goals: "
            f"{gap['pretrained_0']['difference']:.3f} ± "
            f"{gap['pretrained_0']['ci95']:.3f} (as it is), "
            f"{gap['pretrained_1']['difference']:.3f} ± "
            f"{gap['pretrained_1']['ci95']:.3f} (after a step of its own). "
            f"MAML trained for {times(found['maml'])}, compilation included, on "
            f"{found['machine']['cores']} core(s).",
            "",
        ]
    if "bandit" in results:
        found = results["bandit"]
        row = found["settings"]
        lines += [
            f"Bernoulli bandits, {row['arms']} arms, {row['pulls']} pulls, "
            f"{found['bandits']} of them; regret in expected reward:",
            "",
            "| | regret |",
            "|---|---|",
        ]
        names = {"rl2": "RL²", "gittins": "Gittins' index, finite horizon",
                 "thompson": "Thompson sampling", "random": "each arm in turn"}  # fmt: skip
        for name, text in names.items():
            part = found[name]
            lines.append(f"| {text} | {part['regret']:.3f} ± {part['ci95']:.3f} |")
        lines += [
            "",
            f"RL² has {found['rl2_over_gittins']:.3f} times the regret of Gittins' "
            f"index, {found['rl2_over_thompson']:.3f} times Thompson sampling's; "
            f"training took {times(found)}.",
            "",
        ]
    if "speed" in results:
        found = results["speed"]
        fastest = found["gymnasium_fastest_envs"]
        theirs = found["gymnasium_steps_per_second"][str(fastest)]
        lines += [
            f"Environment steps a second: {found['jaxmeta_steps_per_second']:,.0f} here "
            f"({found['envs']:,} tasks side by side), {theirs:,.0f} with gymnasium "
            f"{found['gymnasium']}'s `SyncVectorEnv` ({fastest} environments, the "
            f"fastest of {', '.join(found['gymnasium_steps_per_second'])}): "
            f"{found['ratio']:.0f} times. Median of {found['repeats']} rounds in turn, "
            f"{found['machine']['cores']} core(s).",
        ]
    return "\n".join(lines).strip()


def write_table() -> None:
    begin, end = "<!-- meta_rl: begin -->", "<!-- meta_rl: end -->"
    text = table(json.loads(RESULTS.read_text()))
    write_between(HERE / "README.md", begin, end, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=("navigation", "bandit", "speed"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON")
    parser.add_argument("--count", type=int, help="goals or bandits of the evaluation")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    changed = {}
    for item in args.set:
        name, _, value = item.partition("=")
        if name not in NAVIGATION | BANDIT:
            parser.error(f"--set: got {name}, wants one of {[*NAVIGATION, *BANDIT]}")
        try:
            changed[name] = json.loads(value)
        except json.JSONDecodeError:
            changed[name] = value
    if args.part:
        where = machine()
        if args.part == "navigation":
            row = navigation(NAVIGATION | changed, args.count or 200)
        elif args.part == "bandit":
            row = bandit(BANDIT | changed, args.count or 10_000)
        else:
            row = speed(8192, [16, 64, 256], 7, 100)
        results = json.loads(args.out.read_text()) if args.out.exists() else {}
        results[args.part] = {**row, "machine": where}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=2) + "\n")
        print(json.dumps(results[args.part], indent=2))
    if args.table:
        write_table()


if __name__ == "__main__":
    main()
