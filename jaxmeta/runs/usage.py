"""The options of the commands but `train`, as signatures: what their help is made of.

Nothing here is called. JAX is not imported, so that help is shown at once.
"""

from typing import Literal

Head = Literal[
    "auto", "protonet", "ridge", "logistic", "svm", "matching", "tip_adapter"
]
"""The names of `jaxmeta.runs.heads.heads()`, and "auto"."""
Score = Literal["auto", "max_probability", "energy"]
"""The scores of `jaxmeta.functional.familiarity`, and "auto"."""

Release = Literal["vit", "deit"]
"""Of which a file of weights may be, where names and shapes are those of several."""


def evaluate_options(*, episodes: int = 10_000) -> None:
    """Test a trained run on more episodes, or on others: --ways 20 --shots 5.

    The first episodes are those of the run's own test; all runs see the same ones. Any
    option of the recipe may be another one, as long as the trained parameters fit.

    Args:
      episodes: test episodes; the interval narrows with the root of their number.
    """


def adapt_options(
    *,
    support: str,
    query: str,
    invert: bool | None = None,
    reject: bool = False,
    score: Score = "auto",
    strangers: str | None = None,
    episodes: int = 200,
    data: str | None = None,
    out: str = "adapted",
    json: bool = False,
) -> None:
    """Classify images, sounds or arrays by a few examples of each class: RUN, or --backbone FILE.

    Writes a line for each query: path, class, probability, with tabs between; and a page
    to look at. If the query files lie in folders named like the classes, or the arrays
    have labels, the accuracy follows on stderr. With --reject, a class may be "none of
    these".

    Args:
      support: folder with the examples: <class>/*.png, .jpg or .wav; or FILE.npz.
      query: folder with the files to classify, or <class>/ of them; or FILE.npz.
      invert: turn dark on light into light on dark; None: as in training, or by looking.
      reject: say "none of these" where a query looks like no class; wants the run's data.
      score: what is thresholded; auto: what tells validation's strangers better.
      strangers: folder (or FILE.npz) of what is known to be none of the classes.
      episodes: of the run's validation classes, that the threshold is from.
      data: where the run's data lie, if no longer where they were; for reject.
      out: folder for report.html and result.json.
      json: write one JSON object with all probabilities.
    """


def fit_options(
    *,
    target: str,
    predict: str | None = None,
    kind: Literal["classes", "values"] = "classes",
    out: str = "fitted",
    seed: int = 0,
) -> None:
    """Read a table whole and say what it knows of a column; predict rows of another.

    Writes report.html with scores, calibration and which columns matter, on rows that
    were held out, and predictions.csv. Nothing is trained. Wants jaxmeta[tables].

    Args:
      target: the column that is asked about.
      predict: a CSV file with the same columns, whose rows are predicted.
      kind: whether the target names classes, or is a real value.
      out: folder to write to.
      seed: decides which rows are held out for the report.
    """


def export_options(*, out: str | None = None) -> None:
    """Write a trained run as files that other programs can use.

    parameters.safetensors, predict.stablehlo (adapt and predict, by jax.export) and
    export.json, which says what the program takes.

    Args:
      out: folder to write to; None: exported/ in the run folder.
    """


def compare_options(*, episodes: int = 1000, out: str = "comparison") -> None:
    """Test runs on the same episodes; differences in pairs, with their intervals.

    The first run is the one that the others are compared with. Runs on other tasks, and
    transductive beside inductive ones, are refused.

    Args:
      episodes: test episodes.
      out: folder to write comparison.json and comparison.html to.
    """


def photograph_options(
    *,
    backbone: str,
    pictures: Release | None = None,
    support: str,
    query: str,
    head: Head = "auto",
    views: int = 1,
    skip_damaged: bool = False,
    reject: bool = False,
    score: Score = "auto",
    strangers: str | None = None,
    out: str = "adapted",
    json: bool = False,
) -> None:
    """Classify photographs by a few of each class, with a trained network and no run.

    Nothing is trained: every picture passes the network once, and a head learns from the
    features of the support in closed form, or nearly. Writes a line for each query as
    with a run, and a page to look at.

    Args:
      backbone: .safetensors file of timm, torchvision or the Hugging Face hub.
      pictures: deit, where timm's names are those of ViT as well.
      support: folder with the examples: <class>/*.png or .jpg.
      query: folder with the pictures to classify: *.jpg, or <class>/*.jpg.
      head: what learns from features; auto: the best when one picture is left out.
      views: of each support picture, itself and some that are mirrored and moved.
      skip_damaged: leave out pictures that cannot be decoded; each is named.
      reject: say "none of these" where a picture looks like no class.
      score: what is thresholded; auto: what tells left-out classes better.
      strangers: folder of pictures that are known to be none of the classes.
      out: folder for report.html and result.json.
      json: write one JSON object with all probabilities.
    """


def embed_options(
    *,
    backbone: str,
    pictures: Release | None = None,
    data: str,
    out: str,
    views: int = 1,
    skip_damaged: bool = False,
) -> None:
    """Write the features that a trained network has of photographs.

    inputs, labels and names, for NumPy and for `jaxmeta train --dataset npz --data FILE`.

    Args:
      backbone: .safetensors file of timm, torchvision or the Hugging Face hub.
      pictures: deit, where timm's names are those of ViT as well.
      data: folder with the pictures: <class>/*.png or .jpg.
      out: FILE.npz to write.
      views: of each picture, itself and some that are mirrored and moved.
      skip_damaged: leave out pictures that cannot be decoded; each is named.
    """
