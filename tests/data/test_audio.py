"""WAV files, their truncations and lies; resampling; the spectrogram beside a Fourier sum in float64."""

import struct
import wave

import check
import numpy as np
import pytest

from littlecore.data import DataError, log_mel, read_wav, resample

FRAMES = np.random.default_rng(0).integers(-(2**31), 2**31, (50, 2))  # of 2 channels, as 32-bit integers


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def wav(fmt, data, *others):
    content = b"WAVE" + b"".join([*others, chunk(b"fmt ", fmt), chunk(b"data", data)])
    return b"RIFF" + struct.pack("<I", len(content)) + content


def fmt(tag=1, channels=2, rate=8000, bits=16, byte_rate=None, block=None):
    block = channels * bits // 8 if block is None else block
    byte_rate = rate * block if byte_rate is None else byte_rate
    return struct.pack("<HHIIHH", tag, channels, rate, byte_rate, block, bits)


def pcm(bits):
    """FRAMES as little-endian integers of so many bits; 8 are unsigned."""
    values = FRAMES >> (32 - bits)
    if bits == 8:
        return (values + 128).astype(np.uint8).tobytes()
    return values.astype("<i4").reshape(-1, 1).view(np.uint8)[:, : bits // 8].tobytes()


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_integers(tmp_path, bits):
    """By the standard library's writer too."""
    by_hand, by_wave = tmp_path / "hand.wav", tmp_path / "wave.wav"
    by_hand.write_bytes(wav(fmt(bits=bits), pcm(bits)))
    with wave.open(str(by_wave), "wb") as file:
        file.setparams((2, bits // 8, 8000, len(FRAMES), "NONE", ""))
        file.writeframes(pcm(bits))
    for path in (by_hand, by_wave):
        samples, rate = read_wav(path)
        assert rate == 8000 and samples.dtype == np.float32 and samples.flags.c_contiguous
        wanted = (FRAMES.T >> (32 - bits)) / 2.0 ** (bits - 1)
        np.testing.assert_array_equal(samples, wanted.astype(np.float32))


@pytest.mark.parametrize("bits", [32, 64])
def test_floats(tmp_path, bits):
    values = (FRAMES / 2.0**31).astype(f"<f{bits // 8}")
    (tmp_path / "x.wav").write_bytes(wav(fmt(3, bits=bits), values.tobytes()))
    np.testing.assert_array_equal(read_wav(tmp_path / "x.wav")[0], values.T.astype(np.float32))


def test_extensible_and_other_chunks(tmp_path):
    extension = struct.pack("<HHIH", 22, 24, 3, 1) + bytes(14)
    plain = wav(fmt(bits=24), pcm(24))
    (tmp_path / "a.wav").write_bytes(plain)
    (tmp_path / "b.wav").write_bytes(wav(fmt(0xFFFE, bits=24) + extension, pcm(24), chunk(b"LIST", b"odd")))
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav")[0], read_wav(tmp_path / "b.wav")[0])


def test_every_truncation_and_every_byte_too_many(tmp_path):
    content, path = wav(fmt(), pcm(16), chunk(b"LIST", b"more")), tmp_path / "x.wav"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"x\.wav: byte \d+: (the file ends inside|RIFF size)"):
            read_wav(path)
        cut = content[:4] + struct.pack("<I", max(0, length - 8)) + content[8:length]  # the size is adjusted to it
        path.write_bytes(cut)
        with pytest.raises(DataError, match=r"x\.wav: byte \d+: "):
            read_wav(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(DataError, match=rf"byte 4: RIFF size claims a file of {len(content)} bytes"):
        read_wav(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"RIFX" + wav(fmt(), pcm(16))[4:], "byte 0: not a WAV file"),
        (wav(fmt(tag=2), pcm(16)), "byte 20: format tag 2 is not supported"),
        (wav(fmt(bits=12), pcm(16)), "byte 34: bits per sample 12"),
        (wav(fmt(3), pcm(16)), "byte 34: bits per sample 16"),
        (wav(fmt(channels=0), pcm(16)), "byte 22: channels is 0"),
        (wav(fmt(rate=0), pcm(16)), "byte 24: sample rate is 0"),
        (wav(fmt(block=3), pcm(16)), "byte 32: block align 3 contradicts 2 channels of 16 bits: 4"),
        (wav(fmt(byte_rate=8000), pcm(16)), "byte 28: byte rate 8000 contradicts 8000 Hz x 4 bytes"),
        (wav(fmt(), pcm(16)[:-2]), "byte 40: data size 198 is no multiple of block align 4"),
        (wav(fmt()[:14], pcm(16)), "byte 16: the fmt chunk has 14 bytes"),
        (wav(fmt(0xFFFE), pcm(16)), "byte 16: the extensible fmt chunk has 16 bytes"),
        (wav(fmt(), b"", chunk(b"data", b"")), "byte 12: the data chunk comes before the fmt chunk"),
    ],
)
def test_lies(tmp_path, content, words):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_wav(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize(("rate", "wanted"), [(22050, 16000), (8000, 16000), (16000, 16000)])
def test_a_tone_stays_a_tone(rate, wanted):
    def tone(at):
        return np.sin(2 * np.pi * 100 * np.arange(at // 2) / at).astype(np.float32)  # 50 whole periods

    np.testing.assert_allclose(resample(np.stack([tone(rate)] * 2), rate, wanted), [tone(wanted)] * 2, atol=1e-6)


def test_what_the_new_rate_cannot_hold_is_cut_off():
    high = np.sin(2 * np.pi * 9000 * np.arange(22050) / 22050).astype(np.float32)
    assert np.abs(resample(high, 22050, 16000)).max() < 1e-6
    with pytest.raises(ValueError, match="0 samples at 8000 Hz are 0"):
        resample(np.zeros(0, np.float32), 8000, 16000)


def hertz(mel):
    """Slaney's scale: 15 mel to 1 kHz, then 27 to the octave of 6.4."""
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def reference(samples, mels):
    """Whisper's log-mel, number by number."""
    top = 15 + 27 * np.log(8) / np.log(6.4)
    edges = [hertz(top * k / (mels + 1)) for k in range(mels + 2)]
    padded = np.pad(samples.astype(float), 200, mode="reflect")
    time = np.arange(400)
    window = np.sin(np.pi * time / 400) ** 2
    columns = []
    for t in range(len(samples) // 160):
        sound = padded[160 * t : 160 * t + 400] * window
        power = [abs(np.sum(sound * np.exp(-2j * np.pi * k * time / 400))) ** 2 for k in range(201)]
        column = []
        for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
            hat = np.interp(np.arange(201) * 40.0, [low, middle, high], [0, 2 / (high - low), 0])
            column.append(np.log10(max(hat @ power, 1e-10)))
        columns.append(column)
    spectrogram = np.array(columns).T
    return (np.maximum(spectrogram, spectrogram.max() - 8) + 4) / 4


@pytest.mark.parametrize("mels", [80, 20])
def test_log_mel(mels):
    random = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * np.linspace(200, 3000, 2000).cumsum() / 16000)
    sounds = np.stack([random.normal(0, 0.1, 2000), tone, 1e-3 * tone + (np.arange(2000) > 1000)]).astype(np.float32)
    got = log_mel(sounds, mels)
    assert got.shape == (3, mels, 12) and got.dtype == np.float32 and got.flags.c_contiguous
    for sound, spectrogram in zip(sounds, got, strict=True):
        np.testing.assert_allclose(spectrogram, reference(sound, mels), atol=1e-5)
        check.same_bits(spectrogram, log_mel(sound, mels))


def test_silence_and_sounds_too_short():
    np.testing.assert_array_equal(log_mel(np.zeros(400, np.float32)), -1.5)
    with pytest.raises(ValueError, match=r"n over 200, got \(200,\)"):
        log_mel(np.zeros(200, np.float32))
