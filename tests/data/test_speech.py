"""eSpeak NG: different words, voices and speeds are different sounds."""

import sys
import time

import check
import numpy as np
import pytest

from littlecore.data import VOICE_RATE as RATE
from littlecore.data import Phrase, speak

pytest.importorskip("espeakng_loader")


def test_words_voices_and_speeds():
    phrases = [
        Phrase("seven"), Phrase("seven three nine"), Phrase("seven", speed=90), Phrase("seven", pitch=99),
        Phrase("sieben", "de", "f2"), Phrase("fünf", "de", "f2"), Phrase(""),
    ]  # fmt: skip
    sounds = list(speak(phrases))
    assert all(sound.dtype == np.float32 for sound in sounds)
    one, three, slow, high, german, umlaut, silent = sounds
    assert 0.2 < len(one) / RATE < 0.8
    assert len(three) > 1.7 * len(one) and len(slow) > 1.4 * len(one)
    assert not np.abs(silent).sum()
    for sound in (one, three, slow, high, german, umlaut):
        assert 0.05 < np.abs(sound).max() <= 1 and 0.01 < sound.std() < 0.5

    def pitch(sound):
        """By the first large peak of the autocorrelation of the middle."""
        part = sound[len(sound) // 3 : 2 * len(sound) // 3]
        shifts = np.arange(RATE // 400, RATE // 60)
        return RATE / shifts[np.argmax([part[s:] @ part[:-s] / len(part[s:]) for s in shifts])]

    assert pitch(high) > 1.2 * pitch(one)


def test_the_same_bits_whatever_was_said_before_and_at_any_time():
    phrases = [Phrase("seven three", voice=voice) for voice in ("m1", "f2", "whisper")]
    first = list(speak(phrases))
    list(speak([Phrase("acht", "de", "f3")]))
    time.sleep(1.1)  # eSpeak counts seconds
    for a, b in zip(first, speak(phrases), strict=True):
        check.same_bits(a, b)


@pytest.mark.parametrize(("language", "voice"), [("en-us", "nobody"), ("xx-none", "m1")])
def test_unknown_voices_are_named(language, voice):
    with pytest.raises(ValueError, match=rf"no voice {language}\+{voice}"):
        list(speak([Phrase("one", language, voice)]))


def test_without_espeak(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ImportError, match=r"littlecore\[book\]"):
        next(speak([Phrase("one")]))
