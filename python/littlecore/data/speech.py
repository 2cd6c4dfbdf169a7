"""Speech synthesised by eSpeak NG (extra `book`), in as many voices and languages as it knows."""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

VOICE_RATE = 22_050  # Hz
_SYNCHRONOUS, _UTF8 = 2, 1
_SPEED, _PITCH = 1, 3  # numbers of espeak_SetParameter
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Phrase(NamedTuple):
    """What to say, and how."""

    text: str
    language: str = "en-us"
    voice: str = "m1"  # a variant of eSpeak NG's
    speed: int = 175  # words per minute
    pitch: int = 50  # 0 to 99


def speak(phrases: Iterable[Phrase]) -> Iterator[npt.NDArray[np.float32]]:
    """The sound of each phrase, float32 [n] of -1..1 at VOICE_RATE; the same bits for the same phrases in this order.

    ValueError for an unknown language or voice, ImportError without eSpeak NG.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise ImportError('speech needs eSpeak NG: pip install "littlecore[book]"') from None
    folder = Path(espeakng_loader.get_data_path())
    # What it has said changes how it goes on, even when started anew: only a copy of the library has not said anything.
    with tempfile.TemporaryDirectory() as place:
        library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), place))
    if library.espeak_Initialize(_SYNCHRONOUS, 0, str(folder).encode(), 0) != VOICE_RATE:
        raise RuntimeError(f"eSpeak NG does not start with the data in {folder}")
    # Voices waver by random numbers: C's, and eSpeak's own, which it has just seeded with the time.
    ctypes.CDLL(None).srand(1)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    pieces: list[npt.NDArray[np.int16]] = []

    @_CALLBACK
    def take(samples: Any, count: int, _: Any) -> int:
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(take)
    try:
        for text, language, voice, speed, pitch in phrases:
            known = (folder / "voices" / "!v" / voice).is_file()
            if not known or library.espeak_SetVoiceByName(f"{language}+{voice}".encode()):
                raise ValueError(f"speak: eSpeak NG has no voice {language}+{voice}")
            library.espeak_SetParameter(_SPEED, speed, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            pieces.clear()
            spoken = text.encode() + b"\0"
            if library.espeak_Synth(spoken, ctypes.c_size_t(len(spoken)), 0, 1, 0, _UTF8, None, None):
                raise RuntimeError(f"eSpeak NG could not say {text!r}")
            sound = np.concatenate([np.zeros(0, np.int16), *pieces])
            yield sound.astype(np.float32) / np.float32(32768)
    finally:
        library.espeak_Terminate()
