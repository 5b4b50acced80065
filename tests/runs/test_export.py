"""Two files out, the same numbers back: parameters, and the program that uses them."""

import jax
import numpy as np
import pytest
from jax import export as jax_export

from jaxmeta.runs import ConfigError, load
from jaxmeta.runs.export import export, flatten, load_parameters

from .conftest import tiny

safetensors = pytest.importorskip("safetensors.numpy")
pytest.importorskip("flatbuffers")


def test_both_files_give_the_numbers_of_the_run(finished, tmp_path):
    run = load(finished[0], data=False)
    written = export(run, tmp_path, say=str)
    learner, meta = run.learner, run.meta
    back = load_parameters(written.parameters, meta)
    jax.tree.map(np.testing.assert_array_equal, back, meta)

    program = jax_export.deserialize(bytearray(written.program.read_bytes()))
    assert written.symbolic == ("n", "m")
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}
    parameters = safetensors.load_file(written.parameters)
    episode = run.experiment.tasks.test(jax.random.key(3))
    for n, m in ((2, 6), (1, 1)):  # any number of examples and queries
        support = jax.tree.map(lambda x, n=n: x[:n], episode.support)
        queries = episode.query.inputs[:m]
        fast = learner.adapt(meta, support, jax.random.key(0))
        outputs = learner.predict(meta, fast, queries)
        if n == 1:  # the class without an example is not predicted
            outputs = outputs.at[:, 1].set(-np.inf)
        want = jax.nn.softmax(outputs)
        got = program.call(parameters, *support[:2], queries)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_an_inner_loop_is_exported_too(tmp_path):
    out = tiny(
        tmp_path / "run", learner="maml", inner_steps=2, steps=1,
        settings={"validate_every": 0, "episodes": 2},
    )  # fmt: skip
    run = load(out)
    written = export(run, say=str)
    program = jax_export.deserialize(bytearray(written.program.read_bytes()))
    episode = run.experiment.tasks.test(jax.random.key(3))
    fast = run.learner.adapt(run.meta, episode.support, jax.random.key(0))
    want = jax.nn.softmax(run.learner.predict(run.meta, fast, episode.query.inputs))
    parameters = safetensors.load_file(written.parameters)
    got = program.call(parameters, *episode.support[:2], episode.query.inputs)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_other_parameters_are_refused(finished, tmp_path):
    meta = load(finished[0], data=False).meta
    flat = {name: np.asarray(x) for name, x in flatten(meta).items()}
    name = sorted(flat)[0]
    for change, message in [
        ({name: flat[name][:1]}, rf"{name}: got .*, wants .*, as the learner has it"),
        ({"params/more": np.zeros(1)}, "params/more: got a parameter, wants nothing"),
    ]:
        safetensors.save_file({**flat, **change}, tmp_path / "x.safetensors")
        with pytest.raises(ConfigError, match=message):
            load_parameters(tmp_path / "x.safetensors", meta)
