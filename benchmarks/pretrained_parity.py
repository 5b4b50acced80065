"""Networks read from files against torchvision, timm and transformers, weight for weight.

    python -m benchmarks.pretrained_torch /tmp/parity      # where PyTorch is
    python -m benchmarks.pretrained_parity /tmp/parity [NAME ...]   # where jaxmeta is

Relative differences, of the norm of all entries: features and logits in float32, gradients
of a random projection of the features, by the picture and by the first kernel, in float64.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxmeta as jm

RELEASES = {"timm-vit-small-160": "vit", "timm-deit-tiny-160": "deit"}
"""Which is which is in no name of these files."""
LIMITS = {"features": 1e-4, "logits": 1e-4, "by_picture": 1e-8, "by_first": 1e-8}
RESULT = Path(__file__).parent / "results" / "pretrained_parity.json"


def away(got, wanted):
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def first_kernel(params):
    """The first kernel as PyTorch lays it out: `[out, in, h, w]`."""
    if "stem" in params:
        return np.asarray(params["stem"]["kernel"]).transpose(3, 2, 0, 1)
    kernel = np.asarray(params["embed"]["kernel"])
    patch = int((kernel.shape[0] // 3) ** 0.5)
    return kernel.reshape(patch, patch, 3, -1).transpose(3, 2, 0, 1)


def compared(path):
    known = np.load(path.with_suffix(".npz"))
    found, release = {"parameters": 0}, RELEASES.get(path.stem)
    for head in (False, True):
        what = "logits" if head else "features"
        if what not in known:
            continue
        model, meta = jm.models.load(path, head=head, pictures=release)
        got, _ = jax.jit(model.apply)(meta, jnp.asarray(known["pictures"]))
        found[what] = away(got, known[what])
        found["parameters"] = sum(p.size for p in jax.tree.leaves(meta.params))
    model, meta = jm.models.load(path, pictures=release)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, "float64"), meta)
        side = known["by_picture"].shape[1]
        x = jnp.asarray(known["pictures"][:1, :side, :side], "float64")

        def value(params, x):
            features, _ = model.apply(wide._replace(params=params), x)
            return (features * known["projection"]).sum()

        by_params, by_picture = jax.jit(jax.grad(value, (0, 1)))(wide.params, x)
        found["by_picture"] = away(by_picture, known["by_picture"])
        found["by_first"] = away(first_kernel(by_params), known["by_first"])
    return found


def main(folder, *names):
    known = json.loads(RESULT.read_text())["networks"] if names else {}
    results = dict(known)  # some anew, the others as they are
    for path in sorted(Path(folder).glob("*.safetensors")):
        if names and path.stem not in names:
            continue
        results[path.stem] = found = compared(path)
        bad = [k for k, most in LIMITS.items() if found.get(k, 0) > most]
        print(path.stem, found, "TOO FAR: " + ", ".join(bad) if bad else "", flush=True)
        kept = {"limits": LIMITS, "networks": dict(sorted(results.items()))}
        RESULT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
