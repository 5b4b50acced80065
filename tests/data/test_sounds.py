"""Wave files: what they become, what is refused and named; who says what to whom."""

import numpy as np
import pytest

from jaxmeta.data import (
    DataError,
    load_waves,
    sound_classes,
    sound_folder,
    speaker_splits,
    spoken_digits,
    word_splits,
)

from .sounds import digits, encoded, tone

SAMPLES = np.linspace(-0.9, 0.9, 8)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_every_width_are_read(tmp_path, width, channels):
    said = np.repeat(SAMPLES, channels)
    path = write(tmp_path / "a.wav", encoded(said, width=width, channels=channels))
    found = load_waves([path], rate=8000, seconds=0.001)
    np.testing.assert_allclose(found[0], SAMPLES, atol=2.0 ** (2 - 8 * min(width, 3)))


def test_the_loudest_part_is_kept_and_a_short_one_lies_in_the_middle(tmp_path):
    long = np.zeros(40)
    long[20:28] = SAMPLES
    paths = [
        write(tmp_path / "long.wav", encoded(long)),
        write(tmp_path / "short.wav", encoded(SAMPLES[:4])),
    ]
    found = load_waves(paths, rate=8000, seconds=0.001)
    np.testing.assert_allclose(found[0], SAMPLES, atol=1e-4)
    np.testing.assert_allclose(found[1, 2:6], SAMPLES[:4], atol=1e-4)
    assert not found[1, :2].any() and not found[1, 6:].any()


WHOLE = tone(400)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is broken"),
        (b"RIFF", "is broken"),
        (WHOLE[:20], "is broken"),
        (WHOLE[: len(WHOLE) // 2], "has .* of 1600 samples"),
        (b"MThd" + WHOLE[4:], "is broken"),
        (WHOLE[:20] + b"\x55\x00" + WHOLE[22:], "is broken .unknown format: 85"),
        (tone(400, rate=16000), "has 16000 samples a second, wants 8000"),
        (encoded(np.zeros(9)), "is silent"),
        (encoded(np.zeros(0)), "has 0 of 0 samples"),
    ],
)
def test_what_is_no_whole_wave_is_refused_by_name(tmp_path, content, says):
    path = write(tmp_path / "odd.wav", content)
    with pytest.raises(DataError, match=rf"odd\.wav: {says}") as error:
        load_waves([path], rate=8000)
    assert "\n" not in str(error.value)


def test_every_cut_of_a_file_is_refused(tmp_path):
    small = tone(400, samples=20)
    for end in range(len(small)):
        path = write(tmp_path / "cut.wav", small[:end])
        with pytest.raises(DataError, match=r"cut\.wav"):
            load_waves([path], rate=8000)


def test_a_folder_of_words(tmp_path):
    for word, hertz in (("no", 300), ("yes", 600)):
        for i, who in enumerate(("ann", "bob")):
            write(tmp_path / word / f"{who}_{i}.wav", tone(hertz + i))
    found = sound_folder(tmp_path, rate=8000, seconds=0.1)
    assert found.word_names == ("no", "yes") and found.speaker_names == ("ann", "bob")
    assert found.words.tolist() == [0, 0, 1, 1]
    assert found.speakers.tolist() == [0, 1, 0, 1]
    assert sound_classes(tmp_path, rate=8000).counts.tolist() == [2, 2]
    write(tmp_path / "no" / "eve.mp3", b"x")
    with pytest.raises(DataError, match=r"eve\.mp3: is \.mp3, wants WAV"):
        sound_folder(tmp_path, rate=8000)
    (tmp_path / "no" / "eve.mp3").unlink()
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="class 'none': no recordings in"):
        sound_folder(tmp_path, rate=8000)
    with pytest.raises(DataError, match=r"is missing, wants .*<class>/\*.wav"):
        sound_folder(tmp_path / "nowhere", rate=8000)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """All 3,000 of them, in miniature."""
    return spoken_digits(digits(tmp_path_factory.mktemp("digits")), seconds=0.01)


def test_all_recordings_are_read_in_order(recordings):
    assert recordings.inputs.shape == (3000, 80)
    assert (recordings.words == np.repeat(np.arange(10), 300)).all()
    assert (recordings.speakers == np.tile(np.repeat(np.arange(6), 50), 10)).all()


def said(part):
    """(class, hand) pairs of a part."""
    labels = np.repeat(part.data.names, part.data.counts)
    return set(zip(labels.tolist(), part.hands.tolist(), strict=True))


@pytest.mark.parametrize("fold", range(6))
def test_test_words_and_speakers_are_new(recordings, fold):
    parts = word_splits(recordings, fold=fold)
    words, speakers = zip(
        *(map(set, zip(*said(part), strict=True)) for part in parts), strict=True
    )
    assert words[0] == words[1] and not words[0] & words[2]
    assert [len(w) for w in words] == [5] * 3 and [len(s) for s in speakers] == [2] * 3
    assert len(set.union(*speakers)) == 6
    last = word_splits(recordings, fold=fold, validate=False)
    assert said(last.test) == said(parts.test)
    assert said(last.train) == said(parts.train) | said(parts.val)


def test_folds_test_every_speaker_with_every_word(recordings):
    tested = [said(word_splits(recordings, fold=f).test) for f in range(6)]
    assert sum(map(len, tested)) == len(set.union(*tested)) == 60


def test_speakers_are_tested_by_words_they_were_not_heard_with(recordings):
    for fold in range(6):
        parts = speaker_splits(recordings, fold=fold)
        words = [{hand for _, hand in said(part)} for part in parts]
        assert [len(w) for w in words] == [4, 2, 4] and len(set.union(*words)) == 10
        assert len({part.data.names for part in parts}) == 1
    with pytest.raises(DataError, match="fold: got 6, wants 0 to 5"):
        speaker_splits(recordings, fold=6)


def test_damage_to_the_archive_is_named(tmp_path):
    with pytest.raises(DataError, match=r"has neither spoken_digits\.zip nor"):
        spoken_digits(tmp_path)
    digits(tmp_path, without="recordings/3_theo_7.wav")
    with pytest.raises(DataError, match=r"2999 recordings, lacks 3_theo_7\.wav"):
        spoken_digits(tmp_path)
    whole = digits(tmp_path) / "spoken_digits.zip"
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"spoken_digits\.zip is damaged") as error:
        spoken_digits(tmp_path)
    assert "\n" not in str(error.value)
    damaged = bytearray(content)
    damaged[2000:2100] = bytes(100)
    whole.write_bytes(damaged)
    with pytest.raises(DataError, match=r"spoken_digits\.zip"):
        spoken_digits(tmp_path)


def test_the_published_set(real_data):
    found = spoken_digits(real_data)
    assert found.inputs.shape == (3000, 8000)
    assert np.abs(found.inputs).max() <= 1 and (found.inputs.std(1) > 0).all()
