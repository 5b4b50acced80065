"""`jaxmeta export`: a trained run as two files that need no jaxmeta to be used.

`parameters.safetensors` holds the parameters and buffers by name, `predict.stablehlo` the
program that adapts and predicts (`jax.export`). Both want `pip install jaxmeta[export]`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from jaxmeta import criteria, tree
from jaxmeta.core import Array, Batch, Meta, MetaLearner
from jaxmeta.criteria import as_criterion
from jaxmeta.runs import keys
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.experiment import tested
from jaxmeta.runs.files import write_json
from jaxmeta.runs.run import Run

PARAMETERS, PROGRAM, ABOUT = (
    "parameters.safetensors",
    "predict.stablehlo",
    "export.json",
)
PLATFORMS = ("cpu", "cuda", "tpu")


class Exported(NamedTuple):
    """What was written.

    Attributes:
      parameters: the file of parameters and buffers.
      program: the file of the program.
      symbolic: the dimensions that a caller may choose: "n" support examples, "m"
        queries.
    """

    parameters: Path
    program: Path
    symbolic: tuple[str, ...]


def export(
    run: Run, out: Path | None = None, *, say: Callable[[str], None] = print
) -> Exported:
    """Writes a run's parameters and its adapt-and-predict program.

    The program is a function of `(parameters, support inputs [n, ...], support targets
    [n, c], query inputs [m, ...])` and returns probabilities `[m, c]` (predictions in
    regression). `n` and `m` are free where the learner allows it. What was learned beside
    the weights of a network (LoRA, linear adapters, scales and shifts) is merged into
    them, where the learner does not itself move it in each task.

        from jax import export
        from safetensors.numpy import load_file

        program = export.deserialize(open("predict.stablehlo", "rb").read())
        program.call(load_file("parameters.safetensors"), x, y, queries)

    Args:
      run: from `load`; the data it was trained on are not needed.
      out: where to write; `exported/` in the run folder by default.
      say: takes a line for the user.

    Returns:
      `Exported`.

    Raises:
      ConfigError: an experiment without a learner.
      RunError: a run without a whole checkpoint, or the extra is not installed.
    """
    safetensors = _library()
    if run.job.tester is None:
        raise ConfigError("run", run.path, "a run of a learner: this one has none")
    learner, meta = _merged(run, say)
    task = tested(run.experiment.tasks)
    out = run.path / "exported" if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    flat = flatten(meta)
    safetensors.save_file(
        {name: np.asarray(x) for name, x in flat.items()}, out / PARAMETERS
    )
    example = jax.eval_shape(task, keys.drawing())
    classify = as_criterion(learner.criterion) is criteria.classification
    function = predictor(learner, meta, classify=classify)
    program, symbolic = lower(function, flat, example.support, example.query.inputs)
    (out / PROGRAM).write_bytes(program.serialize())
    about = {
        "recipe": run.name,
        **{k: run.experiment.facts.get(k) for k in ("learner", "ways")},
        "step": run.step,
        "symbolic": list(symbolic),
        "inputs": [str(aval) for aval in program.in_avals[len(flat) :]],
        "outputs": [str(aval) for aval in program.out_avals],
        "jax": jax.__version__,
        "platforms": list(program.platforms),
    }
    write_json(out / ABOUT, about)
    free = " and ".join(symbolic)
    say(f"{out / PARAMETERS}: {len(flat)} arrays")
    say(f"{out / PROGRAM}: (parameters, x [n], y [n, c], queries [m]), free: {free}")
    return Exported(out / PARAMETERS, out / PROGRAM, symbolic)


def _merged(run: Run, say: Callable[[str], None]) -> tuple[MetaLearner, Meta]:
    """The tester and its parameters; what was learned beside kernels is in these."""
    merge = run.experiment.merge
    if merge is None:
        return run.learner, run.meta
    try:
        found = merge(run.meta)
    except TypeError as error:
        say(f"what moves the network stays beside it: {error}")
        return run.learner, run.meta
    say("what was learned beside the network's weights is merged into them")
    return found


def flatten(meta: Meta) -> dict[str, Array]:
    """Name -> array: `params/block1/conv/kernel`, `buffers/...`."""
    named = {"params": meta.params, "buffers": meta.buffers}
    names, arrays = tree.leaves(tree.paths(named)), tree.leaves(named)
    return dict(zip(names, arrays, strict=True))


def load_parameters(file: Path, like: Meta) -> Meta:
    """Reads a `Meta` back.

    Args:
      file: what `export` wrote.
      like: a `Meta` of the same learner: its tree and shapes; values are not read.

    Returns:
      The `Meta`.

    Raises:
      ConfigError: a file with other names or shapes.
    """
    found = _library().load_file(file)
    want = flatten(like)
    for name, leaf in want.items():
        got = found[name].shape if name in found else "nothing"
        if got != leaf.shape:
            raise ConfigError(name, got, f"{leaf.shape}, as the learner has it")
    if extra := sorted(set(found) - set(want)):
        raise ConfigError(extra[0], "a parameter", "nothing: the learner has no such")
    return restore(found, like)


def restore(flat: Mapping[str, Array | np.ndarray], like: Meta) -> Meta:
    """`flatten` backwards."""
    named = {"params": like.params, "buffers": like.buffers}
    names = tree.leaves(tree.paths(named))
    leaves = [jnp.asarray(flat[name]) for name in names]
    named = jax.tree.unflatten(jax.tree.structure(named), leaves)
    return Meta(named["params"], named["buffers"])


def predictor(learner: MetaLearner, like: Meta, *, classify: bool):
    """`(flat parameters, x, y, queries) -> outputs`, a pure function."""
    shapes = jax.eval_shape(lambda: like)

    def run(flat, x, y, queries):
        meta = restore(flat, shapes)
        seen = Batch(x, y)
        fast = learner.adapt(meta, seen, keys.drawing())
        outputs = learner.predict(meta, fast, queries)
        if not classify:
            return outputs
        return jax.nn.softmax(as_criterion(learner.criterion).prepare(outputs, seen))

    return run


def lower(run, flat: dict, support: Batch, queries):
    """Exports with free numbers of examples, or of queries alone where shapes decide.

    Returns:
      The program, and the names of the free dimensions.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), flat)
    jitted = jax.jit(run)
    error: Exception | None = None
    for free in (("n", "m"), ("m",), ()):
        n, m = support.targets.shape[0], queries.shape[0]
        if free:
            dims = dict(
                zip(free, jax_export.symbolic_shape(",".join(free)), strict=True)
            )
            n, m = dims.get("n", n), dims["m"]
        args = (
            jax.ShapeDtypeStruct((n, *support.inputs.shape[1:]), support.inputs.dtype),
            jax.ShapeDtypeStruct(
                (n, *support.targets.shape[1:]), support.targets.dtype
            ),
            jax.ShapeDtypeStruct((m, *queries.shape[1:]), queries.dtype),
        )
        try:
            return jax_export.export(jitted, platforms=PLATFORMS)(shapes, *args), free
        except Exception as failed:
            # A learner may compute with its shapes in any way; what cannot be done with
            # an unknown one raises whatever that computation raises.
            error = failed
    raise RunError(f"export: the learner cannot be exported: {error}")


def _library():
    """safetensors, after a check that flatbuffers, which jax.export needs, is there."""
    try:
        import flatbuffers  # noqa: F401
        import safetensors.numpy
    except ImportError as error:
        wants = "pip install jaxmeta[export]"
        raise RunError(f"export: {error.name} is not installed; {wants}") from error
    return safetensors.numpy
