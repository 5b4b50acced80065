"""A recipe: everything that decides a run, one commented line a knob."""

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Suppress

Schedule = Literal["constant", "cosine", "linear", "halving"]


@dataclass(frozen=True)
class Recipe:
    """One run: the tasks, the learner, the outer loop, the test."""

    name: Suppress[str]
    """What the recipe is called; the run folder is named after it."""
    summary: Suppress[str]
    """One line: what it reproduces and what to expect."""

    # The tasks.
    dataset: Literal[
        "glyphs",
        "sinusoid",
        "sine_or_line",
        "omniglot",
        "cifar_fs",
        "fc100",
        "mini_imagenet",
        "tiered_imagenet",
        "cub",
        "amazon",
        "folder",
    ] = "glyphs"
    """Where tasks come from. The first three are made on the fly."""
    data: str | None = None
    """Folder with the data: Omniglot's zips (or their content), or <class>/*.png."""
    split: Literal["vinyals", "official"] = "vinyals"
    """Omniglot's classes: Vinyals' 1028/172/423, or background/evaluation."""
    size: int = 28
    """Side of the images in pixels; every image is resized to it."""
    mode: Literal["L", "RGB"] = "L"
    """Grey or colour images, where dataset is folder; photographs are RGB."""
    invert: bool = False
    """Turn dark on light into light on dark, where dataset is folder."""
    rotations: bool = False
    """Make four classes of each one by quarter turns (all splits, as published)."""
    ways: int = 5
    """Classes in a task."""
    shots: int = 1
    """Support examples of a class (in all, for sinusoid)."""
    queries: int = 15
    """Query examples of a class (in all, for sinusoid)."""
    train_ways: int | None = None
    """Ways of the training tasks; None: as ways."""
    train_shots: int | None = None
    """Shots of the training tasks; None: as shots."""
    train_queries: int | None = None
    """Queries of the training tasks; None: as queries."""

    source_domain: str = "books"
    """The domain with labels, where dataset is amazon: dvd, electronics, kitchen too."""
    target_domain: str = "dvd"
    """The domain without labels, which the run is tested on."""
    words: int = 5000
    """Words that are kept, by the number of training reviews they are in."""

    # The learner.
    learner: str = "protonet"
    """The method; `jaxmeta list` shows them."""
    model: Literal["conv4", "mlp"] = "conv4"
    """The network."""
    filters: int = 64
    """Channels of each layer of conv4."""
    norm: Literal[
        "batch", "batch_running", "batch_renorm", "group", "layer", "none"
    ] = "batch_running"
    """Normalisation in conv4. batch: of the batch at hand, at test time too, which lets
    queries see one another; batch_running: with running averages at test time;
    batch_renorm: with running averages at all times."""
    downsample: Literal["pool", "stride"] = "pool"
    """How conv4 shrinks: 2x2 max-pooling, or convolutions of stride 2."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in. Parameters, fast weights and statistics are float32."""
    hidden: tuple[int, ...] = (40, 40)
    """Widths of the hidden layers of mlp."""
    inner: Literal["sgd", "adam"] = "sgd"
    """Optimiser of the inner loop. adam has beta1 = 0, as in Reptile."""
    inner_rate: float = 0.4
    """Its learning rate."""
    inner_steps: int = 1
    """Inner steps on a training task."""
    inner_batch: int | None = None
    """Support examples an inner step draws (reptile); None: all of them."""
    order: Literal["second", "first"] = "second"
    """Differentiate through the inner gradient, or hold it constant."""
    lam: float = 2.0
    """Strength of imaml's proximal term."""
    damping: float = 0.0
    """Added to lam where imaml solves for its gradient; 0 is exact."""
    context: int = 5
    """Length of cavia's context vector."""
    attention: Literal["none", "dot", "multihead"] = "none"
    """How cnp reads its context: the mean of all of it, or by attention."""
    learn_temperature: bool = False
    """matching_network learns the temperature of its attention, from 0.1."""
    sharpness: float | None = None
    """Where mann's heads start to learn how sharply they read; None: 1, as published."""
    noise: float = 0.5
    """Where platipus and bmaml start to learn the noise of real-valued targets."""
    samples: int = 10
    """Initialisations that platipus draws for a test task."""
    train_samples: int = 1
    """Initialisations that platipus draws for a training task."""
    init_std: float = 0.02
    """Standard deviation that platipus starts its weights with."""
    kl_weight: float = 1e-6
    """Weight of platipus's divergence between posterior and prior."""
    particles: int = 5
    """Networks of bmaml."""
    repulsion: float = 0.1
    """How strongly they keep apart."""
    objective: Literal["paper", "likelihood"] = "paper"
    """platipus and bmaml learn as published (from a mean over draws, from a leader), or
    by the likelihood of the mixture that they predict."""
    base: Literal["maml", "relation"] = "maml"
    """What meta_gan adds a generator to."""
    lam_gan: float = 1.0
    """Weight of meta_gan's game; 0 is its base alone, with the same episodes."""
    strength: float = 0.3
    """What domains are drawn together by: dann's reversal in the end, or a weight."""
    generator_rate: float = 1e-3
    """Outer learning rate of meta_gan's generator; rate is the classifier's."""

    # The outer loop.
    steps: int = 1000
    """Outer steps."""
    tasks: int = 16
    """Tasks an outer step averages over (the meta-batch)."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """Optimiser of the outer loop."""
    rate: float = 1e-3
    """Its learning rate."""
    schedule: Schedule = "constant"
    """How the rate falls: not, by a half cosine to 0, linearly to 0, or by halves."""
    halve_every: int = 1000
    """Outer steps between halvings, where schedule is halving."""
    clip: float | None = None
    """Largest global norm of the outer gradient; None: not clipped."""

    # The test, and the choice of parameters.
    episodes: int = 600
    """Test episodes."""
    eval_inner_steps: int | None = None
    """Inner steps on a validation or test task; None: as inner_steps."""
    validate_every: int | None = None
    """Outer steps between validations; None: a tenth of the run; 0: never."""
    validate_episodes: int = 200
    """Validation episodes; no test episode ever chooses anything."""
    keep: Literal["best", "last"] = "best"
    """Parameters to test: the best by validation, or those of the last step."""

    # The run.
    seed: int = 0
    """Everything random follows from it."""
    out: str | None = None
    """Run folder; None: runs/<recipe>-<n>. An unfinished run in it is continued."""
    chunk: int = 25
    """Outer steps in one compiled call, and between two lines of metrics."""
    task_chunk: int | None = None
    """Tasks computed side by side; None: chosen for the machine. Trades memory, speed."""
    devices: int = 1
    """Devices the tasks of an outer step are spread over; on a CPU, one for each core."""
    checkpoint_every: int | None = None
    """Outer steps between checkpoints; None: a tenth of the run."""
    fork: str | None = None
    """Run folder to start from: its newest checkpoint, under these settings."""
    strict: bool = False
    """Refuse to continue a run where its fingerprint differs, instead of a warning."""
    exact: bool = False
    """One task at a time, summed in order: bits that no device count changes. Slower."""
    on_nonfinite: Literal["raise", "skip_task", "rollback"] = "raise"
    """What a NaN does: ends the run before the update; leaves its task out of the mean;
    or goes back to the last checkpoint and on with the next tasks."""
    inner_alarm: float | None = None
    """Warn when an inner loop makes its loss, or moves a leaf by, this many times what it
    was, looked at before the first step and at every validation; None: never."""
    track: Literal["none", "tensorboard", "wandb"] = "none"
    """Metrics go to metrics.jsonl and metrics.csv; and to an extra's files in the run."""
