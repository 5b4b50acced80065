"""Spoken words by new speakers, and speakers by new words."""

from jaxmeta.runs.options import use
from jaxmeta.runs.registry import preset

FEW_SHOT = "jaxmeta.recipes.few_shot:few_shot"

_word = preset(
    "speech-protonet-5w1s",
    FEW_SHOT,
    "ProtoNet on spoken digits: a word said once by a stranger, --data FOLDER",
    settings={"episodes": 1000, "validate_episodes": 200},
    dataset=use("spoken_digits"),
    sampler=use("other_hands", train_queries=4),
    network=use("conv4", filters=16),
    steps=400,
    batch=4,
    schedule="cosine",
)
preset(
    "speech-protonet-speakers-6w1s",
    _word,
    "ProtoNet on spoken digits: which of six speakers it is, by another word",
    dataset=use("spoken_digits", told="speaker"),
    sampler=use("other_hands", ways=6, train_queries=4),
)
preset(
    "speech-maml-5w1s",
    _word,
    "MAML on spoken digits: second order, stride-2 conv4, one inner step",
    network=use("conv4", filters=32, downsample="stride"),
    learner=use("maml", inner_rate=0.4, inner_steps=1, eval_inner_steps=3),
    clip=10.0,
)
preset(
    "sound_folder-protonet-5w1s",
    _word,
    "ProtoNet on your own recordings: --data FOLDER with <word>/<speaker>_*.wav",
    dataset=use("sound_folder"),
    sampler=use("other_hands", queries=5),
)
