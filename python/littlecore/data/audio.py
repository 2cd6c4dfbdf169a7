"""Sound: WAV files, another sampling rate, and the logarithmic mel spectrogram that speech recognizers hear."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import DataError

SPEECH_RATE = 16_000  # Hz; what log_mel expects
_WINDOW, _HOP = 400, 160  # samples: 25 ms, every 10 ms
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_BITS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
Array = npt.NDArray[np.float32]


class _Format(NamedTuple):
    """The fields of a `fmt ` chunk."""

    tag: int
    channels: int
    rate: int
    byte_rate: int
    block: int
    bits: int


def read_wav(path: str | os.PathLike[str]) -> tuple[Array, int]:
    """Read a WAV file of 8 to 32-bit integers or of floats: (samples [channels, n], rate in Hz).

    Integers become -1..1. Raises DataError (file, byte and field) for a file that is truncated, has bytes to spare,
    or contradicts itself; FileNotFoundError where there is none. Format: Microsoft and IBM, "Multimedia Programming
    Interface and Data Specifications 1.0", 1991.
    """
    path = Path(path)
    content = path.read_bytes()
    fmt: _Format | None = None
    for name, start, size in _chunks(path, content):
        if name == b"fmt ":
            fmt = _read_format(path, content[start : start + size], start)
        elif name == b"data":
            if fmt is None:
                raise DataError(path, "the data chunk comes before the fmt chunk", start - 8)
            if size % fmt.block:
                raise DataError(path, f"data size {size} is no multiple of block align {fmt.block}", start - 4)
            values = _decode(content[start : start + size], fmt)
            return np.ascontiguousarray(values.reshape(-1, fmt.channels).T), fmt.rate
    raise DataError(path, f"no {'data' if fmt else 'fmt'} chunk", len(content))


def _chunks(path: Path, content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and size of every chunk."""
    if len(content) < 12:
        raise DataError(path, "the file ends inside the 12-byte RIFF header", len(content))
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise DataError(path, f"not a WAV file: it starts with {content[:12]!r}, not with RIFF....WAVE", 0)
    end = 8 + int.from_bytes(content[4:8], "little")
    if end != len(content):
        raise DataError(path, f"RIFF size claims a file of {end} bytes, but it has {len(content)}", 4)
    place = 12
    while place < end:
        if place + 8 > end:
            raise DataError(path, "the file ends inside the header of a chunk", place)
        name, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        if place + 8 + size > end:
            raise DataError(path, f"size of chunk {name!r} claims {size} bytes, {end - place - 8} follow", place + 4)
        yield name, place + 8, size
        place += 8 + size + size % 2  # chunks start at even bytes


def _read_format(path: Path, chunk: bytes, start: int) -> _Format:
    """The `fmt ` chunk, its fields checked against each other."""
    if len(chunk) < 16:
        raise DataError(path, f"the fmt chunk has {len(chunk)} bytes, at least 16 are needed", start - 4)
    fmt = _Format(*struct.unpack_from("<HHIIHH", chunk))
    if fmt.tag == _EXTENSIBLE:
        if len(chunk) < 40:
            raise DataError(path, f"the extensible fmt chunk has {len(chunk)} bytes, 40 are needed", start - 4)
        fmt = fmt._replace(tag=int.from_bytes(chunk[24:26], "little"))
    if fmt.tag not in _BITS:
        raise DataError(
            path, f"format tag {fmt.tag} is not supported, only {_PCM} (integers), {_FLOAT} (floats)", start
        )
    if fmt.bits not in _BITS[fmt.tag]:
        raise DataError(path, f"bits per sample {fmt.bits}, expected one of {_BITS[fmt.tag]}", start + 14)
    if not fmt.channels:
        raise DataError(path, "channels is 0", start + 2)
    if not fmt.rate:
        raise DataError(path, "sample rate is 0", start + 4)
    block = fmt.channels * fmt.bits // 8
    if fmt.block != block:
        told = f"{fmt.channels} channels of {fmt.bits} bits"
        raise DataError(path, f"block align {fmt.block} contradicts {told}: {block}", start + 12)
    if fmt.byte_rate != fmt.rate * block:
        raise DataError(path, f"byte rate {fmt.byte_rate} contradicts {fmt.rate} Hz x {block} bytes", start + 8)
    return fmt


def _decode(data: bytes, fmt: _Format) -> Array:
    if fmt.tag == _FLOAT:
        return np.frombuffer(data, f"<f{fmt.bits // 8}").astype(np.float32)
    if fmt.bits == 8:  # the only unsigned one
        return np.frombuffer(data, np.uint8) / np.float32(128) - np.float32(1)
    if fmt.bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values: npt.NDArray[Any] = wide.view("<i4")[:, 0]
    else:
        values = np.frombuffer(data, f"<i{fmt.bits // 8}")
    return (values / (np.iinfo(values.dtype).max + 1.0)).astype(np.float32)


def resample(samples: Array, rate: int, wanted: int) -> Array:
    """The same sound at another rate; what the new rate cannot hold is cut off.    [..., n] -> [..., n wanted / rate]

    By the discrete Fourier transform of the whole, so a sound that does not fade out rings a little at both ends.
    """
    n = samples.shape[-1]
    length = round(n * wanted / rate)
    if min(n, length) < 1:
        raise ValueError(f"resample: {n} samples at {rate} Hz are {length} at {wanted} Hz")
    spectrum = np.fft.rfft(samples.astype(np.float64))[..., : (min(n, length) + 1) // 2]
    return (np.fft.irfft(spectrum, length) * (length / n)).astype(np.float32)


@cache
def mel_filters(mels: int = 80) -> npt.NDArray[np.float64]:
    """Triangles of area 1, evenly spaced in mel from 0 to 8000 Hz: weights of the 201 frequencies    [mels, 201]

    The mel scale is linear below 1000 Hz and logarithmic above (M. Slaney, Auditory Toolbox, 1998).
    """
    top = 15 + 27 * np.log(SPEECH_RATE / 2 / 1000) / np.log(6.4)
    mel = np.linspace(0, top, mels + 2)
    edges = np.where(mel < 15, mel * (200 / 3), 1000 * np.exp((mel - 15) * (np.log(6.4) / 27)))[:, None]  # Hz
    hertz = np.linspace(0, SPEECH_RATE / 2, _WINDOW // 2 + 1)
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))


def log_mel(samples: Array, mels: int = 80) -> Array:
    """Whisper's spectrogram of sounds at SPEECH_RATE, a column every 10 ms.    [..., n] -> float32 [..., mels, n / 160]

    Power in `mels` bands of a Hann window of 25 ms, as log10, nothing more than 8 below the loudest, then (x + 4) / 4
    (Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, 2022, section 2.2).
    """
    *rows, n = samples.shape
    if n <= _WINDOW // 2:
        raise ValueError(f"log_mel: samples must be [..., n] with n over {_WINDOW // 2}, got {samples.shape}")
    padded = np.pad(samples.astype(np.float64), [(0, 0)] * len(rows) + [(_WINDOW // 2,) * 2], mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, -1)[..., : n // _HOP * _HOP : _HOP, :]
    hann = 0.5 - 0.5 * np.cos(np.arange(_WINDOW) * (2 * np.pi / _WINDOW))
    power = np.abs(np.fft.rfft(frames * hann)) ** 2  # [..., T, 201]
    bands = power.reshape(-1, power.shape[-1]) @ mel_filters(mels).T
    logarithm = np.log10(np.maximum(bands, 1e-10)).reshape(*rows, -1, mels)
    loud = np.maximum(logarithm, logarithm.max((-2, -1), keepdims=True) - 8)
    return np.ascontiguousarray((loud.swapaxes(-2, -1) + 4) / 4, np.float32)
