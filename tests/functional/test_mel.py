"""Waves to log-mel: against a reference that is written another way, and the formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from jaxmeta import functional as F
from jaxmeta.functional import sound

RATE, SIZE, HOP = 8000, 256, 128
WAVE = np.random.default_rng(0).normal(size=1000)


def reference(wave, bands, scale, area):
    """By scipy's short-time transform and a loop over bands and bins."""
    stft = signal.ShortTimeFFT(
        signal.get_window("hann", SIZE), HOP, RATE, phase_shift=None
    )
    n = 1 + (len(wave) - SIZE) // HOP
    spectrum = np.array(
        [stft.stft_detrend(wave, None, p0=p, p1=p + 1)[:, 0] for p in _places(stft, n)]
    )
    if scale == "htk":
        mel, hertz = (
            lambda f: 1127.01048 * np.log1p(f / 700),
            lambda m: 700 * np.expm1(m / 1127.01048),
        )
    else:

        def mel(f):
            return 3 * f / 200 if f < 1000 else 15 + 27 * np.log(f / 1000) / np.log(6.4)

        def hertz(m):
            return 200 * m / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27)

    steps = np.linspace(mel(60.0), mel(4000.0), bands + 2)
    points = [hertz(m) for m in steps]
    out = np.zeros((bands, n))
    for b, (left, top, right) in enumerate(
        zip(points, points[1:], points[2:], strict=False)
    ):
        height = 2 / (right - left) if area else 1
        for k in range(SIZE // 2 + 1):
            f = k * RATE / SIZE
            weight = np.interp(f, [left, top, right], [0, height, 0], left=0, right=0)
            out[b] += weight * np.abs(spectrum[:, k]) ** 2
    return np.log(out)


def _places(stft, n):
    """scipy counts slices by their middle: ours begin at 0, half a frame before."""
    assert SIZE // 2 == HOP
    return range(1, n + 1)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("area", [False, True])
def test_log_mel_is_that_of_an_independent_one(x64, scale, area):
    options = dict(rate=RATE, size=SIZE, hop=HOP, bands=24, low=60.0)
    found = F.log_mel(jnp.asarray(WAVE), scale=scale, area=area, **options)
    np.testing.assert_allclose(found, reference(WAVE, 24, scale, area), rtol=1e-7)


def test_single_precision_is_near():
    options = dict(rate=RATE, size=SIZE, hop=HOP, bands=24, low=60.0)
    found = F.log_mel(jnp.asarray(WAVE, jnp.float32), **options)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, reference(WAVE, 24, "htk", False), atol=2e-5)


def test_a_tone_is_loudest_in_its_band():
    tone = np.sin(2 * np.pi * 1000 * np.arange(2000) / RATE)
    options = dict(bands=30, size=SIZE, rate=RATE)
    heard = F.log_mel(jnp.asarray(tone), hop=HOP, **options)
    column = F.mel_filters(**options)[:, round(1000 * SIZE / RATE)]
    assert set(np.asarray(heard.argmax(0)).tolist()) == {int(column.argmax())}


def test_the_scales_are_inverse_and_have_their_fixed_points():
    f = np.array([0.0, 300.0, 999.0, 1000.0, 3500.0])
    for scale in ("htk", "slaney"):
        back = F.mel_to_hertz(F.hertz_to_mel(f, scale=scale), scale=scale)
        np.testing.assert_allclose(back, f, atol=1e-9)
    assert F.hertz_to_mel(6400.0, scale="slaney") == pytest.approx(42)
    assert F.hertz_to_mel(1000.0) == pytest.approx(999.9855)  # as published


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: F.frames(jnp.ones(3), size=4, hop=1), "wave: got 3 samples, wants 4"),
        (
            lambda: F.mel_filters(200, size=64, rate=8000),
            "bands: got 200, wants fewer",
        ),
        (lambda: F.mel_filters(9, size=64, rate=8000, high=5000), "low, high: got"),
        (lambda: F.hertz_to_mel(1.0, scale="bark"), "scale: got 'bark'"),  # type: ignore
        (lambda: F.frames(jnp.ones(3), size=2, hop=0), "hop: got 0, wants"),
    ],
)
def test_what_cannot_be_is_said(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_levels_forget_how_loud_it_was():
    heard = jnp.log(jnp.asarray(np.random.default_rng(1).uniform(1e-3, 1, (2, 5, 7))))
    levels = F.relative_levels(heard)
    np.testing.assert_allclose(levels.max((1, 2)), 1)
    np.testing.assert_allclose(levels, F.relative_levels(heard + 3.0), atol=1e-6)


IMAGE = jnp.asarray(np.random.default_rng(2).uniform(0.5, 1, (12, 20, 1)))
KEYS = jax.random.split(jax.random.key(0), 200)


@pytest.mark.parametrize(
    ("mask", "axis"), [(sound.time_mask, 1), (sound.frequency_mask, 0)]
)
def test_a_mask_is_one_run_of_every_length_up_to_its_width(mask, axis):
    masked = np.asarray(jax.vmap(lambda k: mask(k, IMAGE, width=4))(KEYS)[..., 0] == 0)
    runs = masked.all(2 - axis)  # [keys, length]
    assert (masked.any(2 - axis) == runs).all(), "half a row is masked"
    assert set(runs.sum(1).tolist()) == {0, 1, 2, 3, 4}
    edges = np.diff(np.pad(runs.astype(int), ((0, 0), (1, 1)))) == 1
    assert edges.sum(1).max() == 1, "more than one run"
    assert runs.any(0).all(), "a place that is never masked"


def test_a_shift_moves_and_loses_only_what_leaves():
    for key in KEYS[:8]:
        moved = np.asarray(sound.time_shift(key, IMAGE, most=3))
        fits = [
            np.array_equal(moved[:, max(s, 0) : 20 + min(s, 0)],
                           IMAGE[:, max(-s, 0) : 20 - max(s, 0)])
            for s in range(-3, 4)
        ]  # fmt: skip
        assert sum(fits) == 1


def test_a_voice_moves_a_formant_by_a_share_of_its_pitch():
    image = jnp.zeros((30, 2, 1)).at[20].set(1.0)
    tops = [int(sound.other_voice(k, image, most=0.2)[:, 0, 0].argmax()) for k in KEYS]
    low, high = 20 * np.exp(-0.2), 20 * np.exp(0.2)
    assert min(tops) == round(low) and max(tops) in (round(high), round(high) - 1)


def test_pace_keeps_the_middle_and_backwards_turns_around():
    image = jnp.zeros((1, 9, 1)).at[:, 4].set(1.0)
    for key in KEYS[:5]:
        assert sound.pace(key, image, most=0.3)[0, :, 0].argmax() == 4
    turned = {float(sound.backwards(k, IMAGE)[0, 0, 0]) for k in KEYS[:20]}
    assert turned == {float(IMAGE[0, 0, 0]), float(IMAGE[0, -1, 0])}


def test_noise_and_gain_have_their_decibels():
    wave = jnp.asarray(np.sin(np.arange(4000.0)))
    rest = sound.noise(KEYS[0], wave, decibels=20.0) - wave
    ratio = 10 * np.log10(float((wave**2).mean() / (rest**2).mean()))
    assert abs(ratio - 20) < 0.3
    gains = [float(sound.gain(k, wave[1:2])[0] / wave[1]) for k in KEYS[:50]]
    assert 10 ** (-6 / 20) <= min(gains) < 0.7 and 1.4 < max(gains) <= 10 ** (6 / 20)
