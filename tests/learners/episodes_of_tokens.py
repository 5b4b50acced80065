"""A child process of test_xla_crash: runs learners on tokens, one line before each.

    python -m tests.learners.episodes_of_tokens LEARNER ENCODER TASKS WIDTH LENGTH [...]

The process dies where XLA does, so the last line tells what it died of.
"""

import sys

import jax
import jax.numpy as jnp
import optax

import jaxmeta as jm

WORDS, WAYS, ROWS = 200, 5, 25


def encoder(kind: str, width: int) -> jm.Model:
    """Features of token numbers `[n, l]` (0 is padding), or of counts `[n, l]`."""

    def init(key, tokens):
        words = tokens.shape[1] if kind == "counts" else WORDS
        table, scorer = jax.random.split(key)
        return jm.Meta(
            {
                "table": {"kernel": 0.3 * jax.random.normal(table, (words, width))},
                "scorer": {"kernel": jax.random.normal(scorer, (width, 1))},
            }
        )

    def apply(meta, tokens, *, train=False, key=None):
        table, scorer = (meta.params[name]["kernel"] for name in ("table", "scorer"))
        if kind == "counts":
            return (tokens[..., None] * table).sum(1), meta.buffers
        words, real = table[tokens], tokens > 0
        mask = real[..., None]
        match kind:
            case "sum":
                found = (words * mask).sum(1)
            case "mean":
                found = (words * mask).sum(1) / jnp.maximum(real.sum(1), 1)[:, None]
            case "where":
                found = jnp.where(mask, words, 0).sum(1)
            case "attention":
                scores = jnp.where(mask, jnp.tanh(words) @ scorer, -1e9)
                found = (words * jax.nn.softmax(scores, 1)).sum(1)
            case "frozen":  # the table stays, how much each word counts is learned
                weight = jax.nn.softmax(words @ scorer, 1)
                found = (jax.lax.stop_gradient(words) * weight).sum(1)
        return found, meta.buffers

    return jm.Model(init, apply)


def mlp(outputs):
    return jm.models.mlp(outputs, hidden=(8,))


def gan(net, length):
    return jm.meta_gan(
        net,
        base="relation",
        relation=jm.models.relation(norm=None),
        generator=mlp(length),
        encoder=mlp(8),
        latent=3,
        fakes=4,
    )


LEARNERS = {
    "protonet": lambda net: jm.protonet(net),
    "protonet l2": lambda net: jm.protonet(net, normalise="l2"),
    "simple_shot": lambda net: jm.simple_shot(net),
    "matching_network": lambda net: jm.matching_network(net),
    "relation_network": lambda net: jm.relation_network(net),
    "r2d2": lambda net: jm.r2d2(net),
    "metaoptnet": lambda net: jm.metaoptnet(net),
    "baseline_plus_plus": lambda net: jm.baseline_plus_plus(net, steps=2),
    "proto_maml": lambda net: jm.proto_maml(net, optax.sgd(0.05), steps=1),
    "meta_transfer": lambda net: jm.meta_transfer(net, optax.sgd(0.3), steps=1),
    "snail": lambda net: jm.snail(net, filters=8, attention=((8, 8),)),
    "mann": lambda net: jm.mann(net, hidden=16, slots=12, width=8, heads=1),
    "cnp": lambda net: jm.cnp(net, mlp(2 * WAYS), min_std=0.01),
    "meta_gan": gan,
}
"""Those that encode support and query at once and compare them."""


def episodes(kind: str, tasks: int, length: int) -> jm.Episode:
    shape = (tasks, 2 * ROWS, length)
    tokens = jax.random.randint(jax.random.key(3), shape, 0, WORDS)
    inputs = tokens / WORDS if kind == "counts" else tokens
    labels = jnp.tile(jnp.repeat(jnp.eye(WAYS), ROWS // WAYS, axis=0), (tasks, 1, 1))
    return jm.Episode(
        jm.Batch(inputs[:, :ROWS], labels), jm.Batch(inputs[:, ROWS:], labels)
    )


def suspect(program: str) -> list[str]:
    """Names of the fusions with a product and padding: what it takes to die."""
    return [
        part.split()[0]
        for part in program.split("\n\n")
        if " dot(" in part and " pad(" in part and not part.startswith("ENTRY")
    ]


def run(name: str, kind: str, tasks: int, width: int, length: int) -> None:
    net = encoder(kind, width)
    learner = gan(net, length) if name == "meta_gan" else LEARNERS[name](net)
    drawn = episodes(kind, tasks, length)
    first = jax.tree.map(lambda x: x[0], drawn)
    key = jax.random.key(0)
    meta = learner.init(key, first)

    def loss(params, episode, k):
        return learner.loss(meta._replace(params=params), episode, k)[0]

    ways = {
        "vmap": (
            jax.vmap(jax.value_and_grad(loss), (None, 0, 0)),
            (meta.params, drawn, jax.random.split(key, tasks)),
        ),
        "episodic": (
            jm.episodic(learner, chunk=tasks).value_and_grad,
            (meta, drawn, key),
        ),
    }
    for way, (function, given) in ways.items():
        program = jax.jit(function).lower(*given).compile()
        print("\n", name, kind, tasks, width, length, way, end=" ", flush=True)
        found = program(*given)
        jax.block_until_ready(found)
        finite = all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(found))
        fused = suspect(program.as_text())
        print("lived" if finite else "not finite", *fused, end="", flush=True)


if __name__ == "__main__":
    for at in range(1, len(sys.argv), 5):
        name, kind, *sizes = sys.argv[at : at + 5]
        run(name, kind, *map(int, sizes))
    print("\nend")
