"""Wave files to float32 arrays; every file is untrusted."""

import io
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jaxmeta.data.errors import DataError

MAX_BYTES = 2**26
"""No file is larger: 64 MiB, an hour of 8 kHz and 16 bits."""

WANTS = "a whole WAV file of PCM samples"


def load_waves(
    paths: Sequence[str | Path], *, rate: int, seconds: float = 1.0
) -> np.ndarray:
    """Reads wave files into one array, each cut or filled up to the same length.

    Channels are averaged. Of a longer recording the loudest part is kept, so that silence
    around a word does not push it out; a shorter one lies in the middle of silence.

    Args:
      paths: `.wav` files of 8, 16, 24 or 32 bit PCM.
      rate: samples in a second; files of another rate are refused, none is resampled.
      seconds: the length of what is kept.

    Returns:
      float32 `[n, round(rate seconds)]` in [-1, 1].

    Raises:
      DataError: a file that is missing, broken, silent, of another kind or rate.

    Example:
      >>> load_waves([], rate=8000).shape
      (0, 8000)
    """
    files = ((str(path), Path(path)) for path in paths)
    return decode_waves(files, count=len(paths), rate=rate, seconds=seconds)


def decode_waves(
    files: Iterable[tuple[str, Path | bytes]], *, count: int, rate: int, seconds: float
) -> np.ndarray:
    """Decodes `count` pairs: a name for errors, and a path or the bytes of a file."""
    if rate < 1:
        raise DataError(f"rate: got {rate}, wants samples a second, 1 or more")
    samples = round(rate * seconds) if 0 < seconds <= 60 else 0
    if samples < 1:
        raise DataError(f"seconds: got {seconds:g}, wants more than 0, at most 60")
    out = np.zeros((count, samples), np.float32)
    for i, (name, file) in enumerate(files):
        out[i] = fitted(decode_wave(name, file, rate), samples)
    return out


def decode_wave(name: str, file: Path | bytes, rate: int) -> np.ndarray:
    """One recording, float32 `[samples]` in [-1, 1], or a `DataError` which names it."""
    try:
        content = file if isinstance(file, bytes) else _content(file)
        with wave.open(io.BytesIO(content)) as opened:
            channels, width, found = opened.getparams()[:3]
            said = opened.getnframes()
            raw = opened.readframes(said)
    except FileNotFoundError:
        raise DataError(f"wave {name}: is missing, wants {WANTS}") from None
    except Exception as error:
        # Damaged bytes raise wave.Error, EOFError, struct.error, OSError...: all of them
        # mean the same here.
        reason = str(error).splitlines()[0] if str(error) else "it ends early"
        raise DataError(f"wave {name}: is broken ({reason}), wants {WANTS}") from None
    if found != rate:
        raise DataError(
            f"wave {name}: has {found} samples a second, wants {rate}; "
            f"`ffmpeg -i IN.wav -ar {rate} OUT.wav` makes it so"
        )
    if len(raw) != said * channels * width or not raw:
        got = len(raw) // (channels * width)
        raise DataError(f"wave {name}: has {got} of {said} samples, wants {WANTS}")
    numbers = _numbers(name, raw, width).reshape(-1, channels).mean(1)
    if not np.ptp(numbers):
        raise DataError(f"wave {name}: is silent, wants a sound")
    return numbers.astype(np.float32)


def fitted(sound: np.ndarray, samples: int) -> np.ndarray:
    """The loudest `samples` of a recording, or all of it in the middle of silence.

    >>> fitted(np.array([0.0, 0.0, 1.0, 1.0, 0.0]), 2).tolist()
    [1.0, 1.0]
    >>> fitted(np.array([1.0]), 4).tolist()
    [0.0, 1.0, 0.0, 0.0]
    """
    spare = samples - len(sound)
    if spare >= 0:
        return np.pad(sound, (spare // 2, spare - spare // 2))
    power = np.cumsum(np.square(sound, dtype=np.float64))
    power = np.concatenate([[0.0], power])
    start = int(np.argmax(power[samples:] - power[:-samples]))
    return sound[start : start + samples]


def _content(path: Path) -> bytes:
    """The bytes of a file, if it is not too large to be one of these."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return path.read_bytes()


def _numbers(name: str, raw: bytes, width: int) -> np.ndarray:
    """PCM samples as float64 in [-1, 1]: bytes are unsigned, wider ones are signed."""
    if width == 1:
        return np.frombuffer(raw, np.uint8) / 128 - 1
    if width == 3:  # as the upper three bytes of four
        four = np.zeros((len(raw) // 3, 4), np.uint8)
        four[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        raw, width = four.tobytes(), 4
    if width not in (2, 4):
        raise DataError(f"wave {name}: has {8 * width} bits, wants 8, 16, 24 or 32")
    return np.frombuffer(raw, f"<i{width}") / 2.0 ** (8 * width - 1)
