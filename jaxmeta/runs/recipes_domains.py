"""Recipes of domain adaptation: Amazon reviews, twelve pairs of domains."""

from dataclasses import replace
from itertools import permutations

from jaxmeta.runs.recipe import Recipe

DOMAINS = ("books", "dvd", "electronics", "kitchen")

# Ganin et al. 2016, Table 1: accuracy of DANN and of the same network without it.
PUBLISHED = {
    ("books", "dvd"): (78.4, 79.0),
    ("dvd", "electronics"): (75.4, 73.2),
    ("dvd", "kitchen"): (78.3, 77.8),
    ("electronics", "kitchen"): (85.4, 85.4),
    ("kitchen", "electronics"): (84.3, 84.1),
}

_DANN = Recipe(
    name="amazon-dann-books-dvd",
    summary="",
    dataset="amazon", source_domain="books", target_domain="dvd", learner="dann",
    model="mlp", hidden=(50,), ways=2, shots=1, queries=50, steps=400, tasks=64,
    rate=1e-3, strength=0.3, episodes=200, validate_episodes=64, chunk=40,
)  # fmt: skip

_OTHERS = {
    "source_only": (
        "the network of amazon-dann-books-dvd without its discriminator",
        0.0,
    ),
    "importance_weighting": ("source reviews weighed by a domain classifier", 0.0),
    "cdan": ("Long et al. 2018: the discriminator sees the prediction", 0.3),
    "deep_coral": ("Sun and Saenko 2016: covariances of the logits", 1.0),
    "dan": ("Long et al. 2015: multi-kernel MMD of features and logits", 0.1),
}


def _summary(pair: tuple[str, str]) -> str:
    if pair not in PUBLISHED:
        return "Ganin et al. 2016: domain-adversarial, on reviews"
    dann, net = PUBLISHED[pair]
    return (
        f"Ganin et al. 2016: domain-adversarial; published {dann} % (network {net} %)"
    )


def domain_recipes() -> tuple[Recipe, ...]:
    """DANN on every pair, and every other method on books to dvd."""
    pairs = tuple(
        replace(
            _DANN,
            name=f"amazon-dann-{source}-{target}",
            summary=_summary((source, target)),
            source_domain=source,
            target_domain=target,
        )
        for source, target in permutations(DOMAINS, 2)
    )
    others = tuple(
        replace(
            _DANN,
            name=f"amazon-{learner}-books-dvd",
            summary=summary,
            learner=learner,
            strength=strength,
        )
        for learner, (summary, strength) in _OTHERS.items()
    )
    return pairs + others
