"""A population over several devices: three virtual ones, in a process of their own."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json
import jax

jax.config.update("jax_num_cpu_devices", 3)
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import optax

import jaxmeta as jm
from jaxmeta.core import Aux, Meta
from jaxmeta.train import fit_member, fit_population, member_mesh, successive_halving


def loss(meta, batch, key):
    return jnp.mean((batch @ meta.params - 1) ** 2), Aux({})


def make(rate):
    init = lambda key, batch: Meta(jax.random.normal(key, (3,)))
    return jm.make_trainer(jm.train.from_loss(init, loss), optax.adam(rate))


def everybody(settings, seeds, mesh, calls=1):
    rates = jnp.logspace(-1, -3, settings)
    keys = jax.random.split(jax.random.key(0), seeds)

    def run(scale, rates, keys):
        # `scale` is a tracer that the mapped function closes over
        draw = lambda key: scale * jax.random.normal(key, (3,))
        states = None
        for _ in range(calls):
            states, metrics = fit_population(
                make, rates, draw, keys, steps=2, batch=2, states=states, mesh=mesh
            )
        return states, metrics

    args = (jnp.float64(2.0), rates, keys)
    program = jax.jit(run).lower(*args).compile()
    text = program.as_text()
    talk = sum(text.count(f" {name}") for name in ("all-reduce", "all-gather"))
    return program(*args), talk


def alone(rate, key, steps):
    draw = lambda key: 2.0 * jax.random.normal(key, (3,))
    return jax.jit(lambda: fit_member(make, rate, draw, key, steps=steps, batch=2))()


def gap(a, b):
    each = jax.tree.map(lambda x, y: float(jnp.max(jnp.abs(x - y))), a, b)
    return max(jax.tree.leaves(each))


found = {"devices": len(jax.devices())}
for name, (settings, seeds) in {"seeds": (2, 3), "settings": (3, 2)}.items():
    many, talk = everybody(settings, seeds, member_mesh())
    last = alone(1e-3, jax.random.split(jax.random.key(0), seeds)[-1], 2)
    found[name] = dict(
        gap=gap(everybody(settings, seeds, None)[0], many), talk=talk,
        single=gap(jax.tree.map(lambda x: x[-1, -1], many), last),
        spread=len(many[0].meta.params.sharding.device_set),
        differ=float(jnp.ptp(many[1]["loss"][..., -1])),
    )
resumed = everybody(2, 3, member_mesh(), calls=2)[0][0].meta
longer = alone(1e-3, jax.random.split(jax.random.key(0), 3)[-1], 4)[0].meta
found["resumed"] = gap(jax.tree.map(lambda x: x[-1, -1], resumed), longer)
halved = [
    jax.jit(lambda mesh=mesh: successive_halving(
        make, jnp.logspace(-1, -3, 4), lambda key: jax.random.normal(key, (3,)),
        jax.random.split(jax.random.key(0), 3), rungs=(2, 1), batch=2, mesh=mesh,
    ))()
    for mesh in (None, member_mesh())
]
found["halving"] = gap(*halved)
try:
    everybody(2, 2, member_mesh())
except ValueError as error:
    found["refusal"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("axis", ["seeds", "settings"])
def test_three_devices_train_what_one_trains(found, axis):
    assert found["devices"] == 3
    assert found[axis]["spread"] == 3
    assert found[axis]["gap"] < 1e-12
    assert found[axis]["single"] < 1e-12
    assert found[axis]["differ"] > 1e-3


@pytest.mark.parametrize("axis", ["seeds", "settings"])
def test_devices_do_not_talk(found, axis):
    assert found[axis]["talk"] == 0


def test_it_goes_on_where_it_was(found):
    assert found["resumed"] < 1e-12


def test_halving_over_devices(found):
    assert found["halving"] < 1e-12


def test_a_mesh_that_divides_neither_is_refused(found):
    assert "got 3 devices for 2 settings and 2 seeds" in found["refusal"]
