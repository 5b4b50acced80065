"""Small wave files for the tests, made here."""

import io
import wave
import zipfile

import numpy as np


def encoded(samples, *, rate=8000, width=2, channels=1) -> bytes:
    """PCM samples in [-1, 1] as the bytes of a wave file."""
    numbers = np.asarray(samples, np.float64) * (2.0 ** (8 * width - 1) - 1)
    if width == 1:
        raw = (numbers + 128).astype(np.uint8).tobytes()
    else:
        four = numbers.astype(np.int64).astype("<i8")[:, None].view(np.uint8)
        raw = four.reshape(-1, 8)[:, :width].tobytes()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return buffer.getvalue()


def tone(hertz, *, samples=1600, rate=8000, seed=0, **options) -> bytes:
    """A tone with a little noise."""
    rng = np.random.default_rng(seed)
    sound = 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)
    return encoded(sound + 0.02 * rng.normal(size=samples), rate=rate, **options)


def digits(root, *, without=None):
    """A zip file laid out as Free Spoken Digits is, in miniature sounds."""
    from jaxmeta.data.spoken_digits import SPEAKERS

    with zipfile.ZipFile(root / "spoken_digits.zip", "w") as archive:
        for digit in range(10):
            for i, who in enumerate(SPEAKERS):
                content = tone(200 + 100 * digit + 10 * i, samples=80)
                for take in range(50):
                    name = f"recordings/{digit}_{who}_{take}.wav"
                    if name != without:
                        archive.writestr(name, content)
    return root
