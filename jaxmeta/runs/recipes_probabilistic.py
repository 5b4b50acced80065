"""Recipes of the learners that say how sure they are."""

from dataclasses import replace

from jaxmeta.runs.recipe import Recipe


def recipes(omniglot: Recipe) -> tuple[Recipe, ...]:
    """The recipes of these learners, given MAML's on Omniglot."""
    ambiguous = Recipe(
        name="sine_or_line-maml",
        summary="Finn et al. 2018: 5 noisy points of a sine wave or a line; the control",
        dataset="sine_or_line", shots=5, queries=10, learner="maml", model="mlp",
        inner_rate=0.003, inner_steps=5, steps=6000, tasks=10, rate=3e-3,
        schedule="cosine", clip=10.0, episodes=1000, chunk=500,
    )  # fmt: skip
    short = replace(
        omniglot,
        filters=32,
        steps=2000,
        tasks=4,
        eval_inner_steps=None,
        queries=15,
        train_queries=5,
    )
    return (
        ambiguous,
        replace(
            ambiguous,
            name="sine_or_line-platipus",
            summary="Finn et al. 2018: draws of initialisations, by the likelihood of all",
            learner="platipus",
            objective="likelihood",
            train_samples=5,
            samples=50,  # five draws say less than MAML's single answer
            kl_weight=0.1,  # 1 over the queries: the paper's bound
            init_std=0.1,
        ),
        replace(
            ambiguous,
            name="sine_or_line-bmaml",
            summary="Yoon et al. 2018: five particles, by the likelihood of all",
            learner="bmaml",
            objective="likelihood",
            inner_rate=0.02,
        ),
        replace(
            short,
            name="omniglot-platipus-5w1s",
            summary="Finn et al. 2018: published on miniImageNet, 50.1 % (MAML 48.7)",
            learner="platipus",
            # the public code's 1e-6 lets the posterior read the answers off the
            # queries, 8,000 nats of them: then the prior, which is tested, knows little
            kl_weight=1e-3,
        ),
        replace(
            short,
            name="omniglot-bmaml-5w1s",
            summary="Yoon et al. 2018: five particles by their likelihood",
            learner="bmaml",
            objective="likelihood",
            inner_rate=1.0,
        ),
        replace(
            short,
            name="omniglot-meta_gan-5w1s",
            summary="Zhang et al. 2018: MAML against a generator; published 99.1 %",
            learner="meta_gan",
        ),
        replace(
            short,
            name="omniglot-meta_gan_relation-5w1s",
            summary="Zhang et al. 2018: a relation network against it; published 99.7 %",
            learner="meta_gan",
            base="relation",
            norm="batch_running",
            downsample="pool",
            tasks=1,
            train_queries=10,
            clip=0.5,
        ),
    )
