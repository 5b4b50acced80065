"""Names of recipes that are not few-shot classification. Imports nothing heavy."""

from itertools import permutations

from jaxmeta.runs.options import use
from jaxmeta.runs.registry import preset

AMAZON = "jaxmeta.recipes.reviews:amazon"
DOMAINS = ("books", "dvd", "electronics", "kitchen")

# Ganin et al. 2016, Table 1: accuracy of DANN and of the same network without it.
PUBLISHED = {
    ("books", "dvd"): (78.4, 79.0),
    ("dvd", "electronics"): (75.4, 73.2),
    ("dvd", "kitchen"): (78.3, 77.8),
    ("electronics", "kitchen"): (85.4, 85.4),
    ("kitchen", "electronics"): (84.3, 84.1),
}

for _name, _where, _text in (
    ("domains", "adaptation:domains", "images with labels to images of another kind"),
    ("pretrain", "pretraining:pretrain", "all classes at once, judged by new ones"),
    ("fine-tune", "fine_tuning:fine_tune", "a trained network learns your own classes"),
    (
        "lifelong",
        "lifelong:lifelong",
        "new classes for life: what is left of the first",
    ),
    ("multitask", "multitask:many_tasks", "one network with a head for each task"),
    ("maml-pg", "reinforcement:maml_pg", "MAML for policies, on point navigation"),
    ("tabular-pfn", "tabular:tabular_pfn", "a network that reads tables whole"),
    ("rl2", "reinforcement:rl2", "RL^2: a policy with a memory, on bandits"),
):
    preset(_name, f"jaxmeta.recipes.{_where}", _text)


preset(
    "grocery-cross_modal",
    "jaxmeta.recipes.cross_modal:grocery_cross_modal",
    "new products by description and photographs: --data DIR --backbone FILE",
)
preset(
    "folder-fine_tune",
    "jaxmeta.recipes.fine_tuning:fine_tune",
    "a trained network learns your photographs: --backbone FILE --data DIR",
    dataset=use("photographs"),
    rate=3e-4,
)


_films = preset(
    "movielens",
    "jaxmeta.recipes.recommendation:movielens",
    "stars that a new user will give: --learner, --cell, --data FOLDER",
)
for _learner, _text in (
    (use("melu", inner_rate=0.02), "Lee et al. 2019: MAML above the embeddings"),
    (use("maml", inner_rate=0.02), "Finn et al. 2017: all of the network adapts"),
    (use("anil", inner_rate=0.05), "Raghu et al. 2020: the last layer adapts"),
    (
        use("cavia", inner_rate=0.3, inner_steps=2, context=8),
        "Zintgraf et al. 2019: 8 numbers a user",
    ),
    (use("cnp", min_std=0.1), "Garnelo et al. 2018: a user is a mean of his ratings"),
):
    preset(
        f"movielens-{_learner.name}",
        _films,
        f"{_text}; MovieLens 100k",
        learner=_learner,
    )


def _summary(pair: tuple[str, str]) -> str:
    if pair not in PUBLISHED:
        return "Ganin et al. 2016: domain-adversarial, on reviews"
    dann, net = PUBLISHED[pair]
    return (
        f"Ganin et al. 2016: domain-adversarial; published {dann} % (network {net} %)"
    )


for _pair in permutations(DOMAINS, 2):
    preset(
        f"amazon-dann-{_pair[0]}-{_pair[1]}",
        AMAZON,
        _summary(_pair),
        source=_pair[0],
        target=_pair[1],
    )
for _name, _text in {
    "source_only": "the network of amazon-dann-books-dvd without its discriminator",
    "importance_weighting": "source reviews weighed by a domain classifier",
    "cdan": "Long et al. 2018: the discriminator sees the prediction",
    "deep_coral": "Sun and Saenko 2016: covariances of the logits",
    "dan": "Long et al. 2015: multi-kernel MMD of features and logits",
}.items():
    preset(f"amazon-{_name}-books-dvd", AMAZON, _text, method=use(_name))
