"""Tasks over several devices: four virtual ones, in a process of their own."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json
import jax

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec as P

import jaxmeta as jm
from jaxmeta.train import task_mesh

def task(key):
    return jax.tree.map(lambda x: x.astype(jnp.float64), jm.testing.probe()(key))


def images(key):
    x = jax.random.normal(key, (3, 8, 8, 1))
    batch = jm.Batch(x, jnp.eye(3))
    return jm.Episode(batch, batch)


learner = jm.maml(jm.models.mlp(3, hidden=(4,)), optax.sgd(0.1), steps=2)
episodes = jax.vmap(task)(jax.random.split(jax.random.key(0), 4))
meta = learner.init(jax.random.key(1), jax.tree.map(lambda x: x[0], episodes))
meta = jax.tree.map(lambda x: x.astype(jnp.float64), meta)
key = jax.random.key(2)


def gap(a, b):
    each = jax.tree.map(lambda x, y: float(jnp.max(jnp.abs(x - y))), a, b)
    return max(jax.tree.leaves(each))


def collectives(text):
    names = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
    return {name: text.count(f" {name}(") + text.count(f" {name}-start(") for name in names}


def over(devices, **options):
    mesh = devices and task_mesh(jax.devices()[:devices])
    return jm.episodic(learner, mesh=mesh, **options).value_and_grad


def convolutional(devices):
    net = jm.models.conv4(3, filters=2, blocks=1)
    learner = jm.maml(net, optax.sgd(0.1), steps=1)
    some = jax.vmap(images)(jax.random.split(jax.random.key(3), 4))
    meta = learner.init(jax.random.key(1), jax.tree.map(lambda x: x[0], some))
    meta = jax.tree.map(lambda x: x.astype(jnp.float64), meta)
    objective = jm.episodic(learner, mesh=devices and task_mesh())
    return jax.jit(objective.value_and_grad)(meta, some, key)


one, four = jax.jit(over(None)), jax.jit(over(4))
want = one(meta, episodes, key)
bits = [jax.jit(over(n, exact=True))(meta, episodes, key) for n in (None, 1, 4)]

# what goes wrong where a checked shard_map differentiates replicated parameters
def natural(meta, episodes, keys):
    def one(episode, key):
        def loss(params):
            return learner.loss(meta._replace(params=params), episode, key)[0]

        return jax.grad(loss)(meta.params)

    grads = jax.vmap(one)(episodes, keys)
    return jax.tree.map(lambda g: jax.lax.pmean(g.mean(0), "tasks"), grads)

specs = (P(), P("tasks"), P("tasks"))
wrong = jax.shard_map(natural, mesh=task_mesh(), in_specs=specs, out_specs=P())
wrong = jax.jit(wrong)(meta, episodes, jax.random.split(key, 4))

trainer = jm.make_trainer(jm.episodic(learner, mesh=task_mesh()), optax.adam(1e-3))
state = trainer.init(jax.random.key(1), episodes)
state = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == "float32" else x, state)
whole = jax.jit(lambda state, key: jm.fit(trainer, task, state, key, steps=3, batch=4))
text = whole.lower(state, key).compile().as_text()
alone = jm.make_trainer(jm.episodic(learner), optax.adam(1e-3))
plain = jax.jit(lambda state, key: jm.fit(alone, task, state, key, steps=3, batch=4))

try:
    task_mesh() and over(4)(meta, jax.tree.map(lambda x: x[:3], episodes), key)
    refusal = ""
except ValueError as error:
    refusal = str(error)

print(json.dumps({
    "devices": len(jax.devices()),
    "gap": gap(want, four(meta, episodes, key)),
    "chunked_gap": gap(want, jax.jit(over(2, chunk=1))(meta, episodes, key)),
    "convolution_gap": gap(convolutional(None), convolutional(4)),
    "collectives": collectives(four.lower(meta, episodes, key).compile().as_text()),
    "fit_collectives": collectives(text),
    "fit_gap": gap(whole(state, key)[0].meta, plain(state, key)[0].meta),
    "wrong": gap(want[1], wrong),
    "exact": all(
        np.array_equal(x, y)
        for other in bits[1:]
        for x, y in zip(jax.tree.leaves(bits[0]), jax.tree.leaves(other), strict=True)
    ),
    "exact_gap": gap(want, bits[0]),
    "refusal": refusal,
}))
"""


@pytest.fixture(scope="module")
def found():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_four_devices_give_the_gradient_of_one(found):
    assert found["devices"] == 4
    assert found["gap"] < 1e-12
    assert found["chunked_gap"] < 1e-12
    assert found["convolution_gap"] < 1e-12


def test_an_outer_step_costs_one_all_reduce(found):
    one = {"all-reduce": 1, "all-gather": 0, "all-to-all": 0, "collective-permute": 0}
    assert found["collectives"] == one


def test_sampling_inside_the_loop_adds_no_traffic(found):
    one = {"all-reduce": 1, "all-gather": 0, "all-to-all": 0, "collective-permute": 0}
    assert found["fit_collectives"] == one
    assert found["fit_gap"] < 1e-12


def test_the_trap_of_the_checked_form_is_real(found):
    assert found["wrong"] > 1e-3


def test_exact_sums_do_not_depend_on_the_number_of_devices(found):
    assert found["exact"]
    assert found["exact_gap"] < 1e-12


def test_devices_that_do_not_divide_the_tasks_are_refused(found):
    assert (
        found["refusal"] == "mesh: got 4 devices for 3 tasks, wants a divisor of them"
    )


EXPLICIT = """
import json
import jax

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import optax
from jax import lax

import jaxmeta as jm
from jaxmeta.convolution import avg_pool, conv, max_pool

mesh = jax.make_mesh((2,), ("tasks",), axis_types=(jax.sharding.AxisType.Explicit,))
key = jax.random.key(0)
x = jax.random.normal(key, (2, 4, 6, 6, 3))
w = jax.random.normal(key, (2, 3, 3, 3, 2))


def plain(x, w):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def gap(a, b):
    each = jax.tree.map(lambda x, y: float(jnp.max(jnp.abs(x - y))), a, b)
    return max(jax.tree.leaves(each))


def twice(f):
    # the kernel's gradient, differentiated again: what MAML asks for
    def slope(x, w):
        return jax.grad(lambda w: jnp.sum(jnp.sin(f(x, w))))(w)

    return jax.grad(lambda x, w: jnp.sum(jnp.cos(slope(x, w))), (0, 1))


def through(f):
    net = lambda x, w: jnp.sum(max_pool(f(x, w)) ** 2 + avg_pool(f(x, w)))
    return jax.grad(net, (0, 1))


want = jax.jit(lambda: (jax.vmap(twice(plain))(x, w), through(plain)(x[0], w[0])))()
net = jm.models.conv4(3, filters=2, blocks=1)
learner = jm.maml(net, optax.sgd(0.1), steps=1)
images = jm.Batch(x[:, :3], jnp.stack([jnp.eye(3)] * 2))
episodes = jm.Episode(images, images)
meta = learner.init(key, jax.tree.map(lambda x: x[0], episodes))
meta = jax.tree.map(lambda x: x.astype(jnp.float64), meta)
alone = jax.jit(jm.episodic(learner).value_and_grad)(meta, episodes, key)
norms = {}
# with one channel, convolution and norm are one pass
for norm, channels in (("batch", 1), ("batch", 3), ("group", 1), ("layer", 1)):
    model = jm.models.conv4(None, filters=2, blocks=1, norm=norm)
    some = x[0, ..., :channels]
    held = model.init(key, some)
    norms[norm, channels] = model, held, some, jax.jit(model.apply)(held, some)[0]

over = jax.NamedSharding(mesh, jax.P("tasks"))
spread = jax.device_put((x, w), over)
rows = jax.device_put(x[0], over)
found = {"before": gap(jax.jit(jax.vmap(twice(conv)))(*spread), want[0])}  # no set_mesh
with jax.set_mesh(mesh):
    found["whole"] = gap(jax.jit(jax.vmap(twice(conv)))(x, w), want[0])
    found["tasks"] = gap(jax.jit(jax.vmap(twice(conv)))(*spread), want[0])
    found["rows"] = gap(jax.jit(through(conv))(rows, w[0]), want[1])
    found["kept"] = str(jax.typeof(conv(rows, w[0])).sharding.spec)
    for model, held, some, outputs in norms.values():
        got = jax.jit(model.apply)(held, jax.device_put(some, over))[0]
        found["norms"] = max(found.get("norms", 0.0), gap(got, outputs))
    objective = jm.episodic(learner, mesh=mesh)
    several = jax.device_put(episodes, over)
    found["episodic"] = gap(jax.jit(objective.value_and_grad)(meta, several, key), alone)
    objective = jm.episodic(learner, mesh=jm.train.task_mesh())  # the same one, Auto
    found["auto"] = gap(jax.jit(objective.value_and_grad)(meta, episodes, key), alone)
objective = jm.episodic(learner, mesh=mesh)
found["unset"] = gap(jax.jit(objective.value_and_grad)(meta, episodes, key), alone)
print(json.dumps(found))
"""


def test_explicit_axes_change_nothing():
    """`jax.make_mesh` makes Explicit axes, in which every type carries a sharding."""
    done = subprocess.run(
        [sys.executable, "-c", EXPLICIT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # images that lie apart stay apart
    assert found.pop("kept").startswith("P('tasks'")
    assert max(found.values()) < 1e-10, found
