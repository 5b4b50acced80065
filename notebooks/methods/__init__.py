"""A picture for every method's page: what it shows, and where it is.

`python -m notebooks.methods` makes them, each by its method; what uses them imports this alone.
"""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "pictures" / "methods"

_SINE = "Left: ten points of a sine that it has not met, the network before and after. "
_RINGS = (
    "A task is three rings with two examples each (dots); what {} says of every place of the "
    "plane, untrained and after other tasks. That the angle says nothing is what it learned."
)
_EXACT = (
    "Four and fifteen points of a function that a Gaussian process draws; dashed, mean and "
    "two standard deviations of exact inference. "
)
_LEFT = (
    "What is left of five classes that came one after another, three examples each, "
)

CAPTIONS = {
    "anil": _SINE + "Right: adapting moves the head and nothing else.",
    "anml": _LEFT + "by a network whose gates say what an example may move.",
    "baseline_plus_plus": _RINGS.format("a cosine classifier, fitted to the dots,"),
    "bmaml": "Two tasks of five noisy points each, and the five particles after three steps: "
    "they part where the points leave the answer open.",
    "boil": _SINE + "Right: adapting moves all but the head.",
    "cavia": _SINE
    + "Right: the two numbers that adapt, for 200 tasks, coloured by the "
    "wave's phase; larger dots are larger amplitudes. Nobody told it of either.",
    "cnp": _EXACT
    + "Blue: its own. A mean over all points blurs what fifteen of them say.",
    "conv_cnp": _EXACT + "Blue: its own.",
    "imaml": _SINE
    + "Right: the error of new tasks against the steps of the walk; 30 (dotted) "
    "in training. A proximal term keeps a longer walk near where it began.",
    "logistic_regression": _RINGS.format("logistic regression on the features"),
    "lrd2": _RINGS.format("logistic regression by a few Newton steps"),
    "lstm_meta_learner": _SINE
    + "Right: the error of new tasks against steps of the learned "
    "optimiser; it was trained to be right after 5 (dotted), and is of little use before.",
    "maml": _SINE
    + "Right: the error of new tasks against gradient steps; one (dotted) in "
    "training, and it gains from more.",
    "maml_plus_plus": _SINE
    + "Right: the rates that it learned for every layer and step; all "
    "began at the dotted line.",
    "mann": "Sequences of 18 examples of three classes, in random order: the first example of a "
    "class can only be guessed, the later ones are remembered.",
    "matching_network": _RINGS.format("attention over the dots"),
    "meta_curvature": _SINE
    + "Right: a matrix that it learned, less the identity that it "
    "began as.",
    "meta_gan": "A task of three rings with two examples each (dots), and 80 examples that the "
    "generator makes up (crosses); green is where the adapted classifier takes a place for real.",
    "meta_sgd": _SINE
    + "Right: the rates that it learned, one a weight; all began at the "
    "dotted line, and some are negative.",
    "meta_transfer": _RINGS.format(
        "a head adapted on a frozen, scaled and shifted network"
    ),
    "metaoptnet": _RINGS.format("a support vector machine") + " Of the ring in the "
    "middle it keeps little.",
    "multi_step_weights": "The weights of the query losses after each of five inner steps, as "
    "training goes on (epochs of 100 outer steps here).",
    "np": _EXACT
    + "Blue: eight draws, each a whole function; after so short a training they "
    "are smoother, and more alike, than exact inference is.",
    "oml": _LEFT + "where the head alone learns from them.",
    "online_maml": _SINE.replace("ten", "twenty")
    + "Right: the error on the rest of the wave "
    "after each point of a stream, one gradient step a point.",
    "platipus": "Two tasks of five noisy points each, and twelve draws of the initialisation "
    "after three steps.",
    "prior_fitted": _EXACT + "Blue: the density that it gives, bar by bar.",
    "prior_fitted_network": "A table of six rows, two columns and three classes (dots): what the "
    "network that comes with the package says of every place. Nothing is trained here, and rings "
    "are none of its prior's business: two examples of each are few.",
    "proto_maml": _RINGS.format("a head of prototypes, adapted by three steps,"),
    "protonet": _RINGS.format("the nearest class mean"),
    "r2d2": _RINGS.format("ridge regression"),
    "relation_network": _RINGS.format("a network that scores pairs"),
    "reptile": _SINE
    + "Right: the error of new tasks against gradient steps; 10 (dotted) in "
    "training.",
    "simple_shot": _RINGS.format("the nearest mean of centred features of length 1"),
    "snail": _RINGS.format("attention and convolutions over the sequence of dots"),
    "tip_adapter": _RINGS.format("a cache of the dots"),
    "tnp": _EXACT + "Blue: its own.",
}
"""By the name of the method."""
