"""GGUF: the blocks are ggml's bit by bit, against llama.cpp's own Python package; the reader believes nothing."""

import re
import struct
import zlib

import numpy as np
import pytest

from littlecore.data import DataError, dequantize_blocks, quantize_blocks, read_gguf
from littlecore.data.ggml_blocks import BYTES, block_of

gguf = pytest.importorskip("gguf")
K_KINDS = ("Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K")  # which that package reads, but does not write
GGML = {"Q6_K": 0xB50C3B6D, "Q5_K": 0x1AB73DDB, "Q4_K": 0x38F543EE, "Q3_K": 0x3C697726, "Q2_K": 0xD1BBF97A}


def values(shape, seed=0):
    """Gaussian rows, and what is special: zeros, one value, ties, tiny and large ones, halves between codes."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((max(9, shape[0]), *shape[1:])).astype(np.float32)
    x[0] = 0
    x[1] = -0.75
    x[2] = np.sign(x[2])
    x[3] *= 1e-6
    x[4] *= 3e4
    x[5] = np.round(x[5] * 4) / 4
    x[6] = np.arange(x[6].size).reshape(x[6].shape) % 32 - 16
    x[7, ..., :31] = 0
    return x[: shape[0]] if shape[0] >= 9 else x


def same_bits(ours, theirs):
    assert ours.dtype == np.float32 and ours.shape == theirs.shape
    np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


@pytest.mark.parametrize("kind", [kind for kind in BYTES if kind not in K_KINDS])
def test_blocks_are_ggml_s_bit_by_bit(kind):
    theirs, block = getattr(gguf.GGMLQuantizationType, kind), block_of(kind)
    for shape in ((9, block), (1000, 5 * block), (9, 3, 2 * block)):
        x = values(shape, len(shape))
        ours = quantize_blocks(x, kind)
        np.testing.assert_array_equal(ours, gguf.quants.quantize(x, theirs))
        same_bits(dequantize_blocks(ours, kind), gguf.quants.dequantize(ours, theirs))
    assert quantize_blocks(np.zeros((0, block), np.float32), kind).shape == (0, BYTES[kind])


def numbers(rows):
    """Rows of 256, the same on every machine: even, long-tailed, of many magnitudes, mostly zeros, small integers."""
    k = np.arange(rows * 256, dtype=np.uint64)
    for shift in (31, 29, 33):
        k = (k + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        k ^= k >> np.uint64(shift)
    bits = k.reshape(rows, 256)
    x = (bits >> np.uint64(40)).astype(np.float32) / 2**23 - 1  # exact
    kind = np.arange(rows) % 5
    for _ in range(2):
        x[kind == 1] *= x[kind == 1] * x[kind == 1]
    x[kind == 2] = np.ldexp(x[kind == 2], np.repeat(bits[kind == 2, ::16] % np.uint64(40), 16, 1).astype(np.int32) - 30)
    x[kind == 3] *= bits[kind == 3] % np.uint64(19) == 0
    x[kind == 4] = np.rint(x[kind == 4] * 4)
    return x


@pytest.mark.parametrize("kind", K_KINDS)
def test_k_blocks_are_ggml_s_bit_by_bit(kind):
    """The sums are of what ggml 0.13.1, compiled from C, writes."""
    x = np.concatenate([values((9, 256)), numbers(300)])
    blocks = quantize_blocks(x.reshape(103, 3, 256).reshape(103, 768), kind)
    assert blocks.shape == (103, 3 * BYTES[kind])
    assert zlib.crc32(blocks.tobytes()) == GGML[kind]
    assert quantize_blocks(np.zeros((0, 256), np.float32), kind).shape == (0, BYTES[kind])


@pytest.mark.parametrize("kind", K_KINDS)
def test_k_blocks_of_extremes(kind):
    for extreme in (1e-38, 1e-20, 1e33):
        x = np.concatenate([values((9, 256)), np.ones((1, 256), np.float32)]) * np.float32(extreme)
        assert quantize_blocks(x, kind).shape == (10, BYTES[kind])


@pytest.mark.parametrize("kind", BYTES)
def test_blocks_lose_no_more_than_ggml_allows(kind):
    """The data and limits of its test of quantized functions: the norm of all errors, and a dot product's, by count."""
    count = 32 * 128
    x, y = (0.1 + 2 * np.cos(np.arange(count) + start) for start in (0, 1))
    back = dequantize_blocks(quantize_blocks(x.astype(np.float32), kind), kind).astype(np.float64)
    other = dequantize_blocks(quantize_blocks(y.astype(np.float32), "Q8_0"), "Q8_0").astype(np.float64)
    ternary = {"TQ2_0": 0.01, "TQ1_0": 0.01}
    assert np.linalg.norm(back - x) / count < {"Q3_K": 0.004, "Q2_K": 0.0075, **ternary}.get(kind, 0.002)
    assert abs(back @ other - x @ y) / count < {"Q2_K": 0.04, **dict.fromkeys(ternary, 0.15)}.get(kind, 0.02)


@pytest.mark.parametrize("kind", BYTES)
def test_any_bytes_are_the_values_that_ggml_reads(kind):
    """Scales that are infinite or no number among them."""
    theirs = getattr(gguf.GGMLQuantizationType, kind)
    assert gguf.GGML_QUANT_SIZES[theirs] == (block_of(kind), BYTES[kind])
    blocks = np.random.default_rng(0).integers(0, 256, (500, 3, 2 * BYTES[kind]), np.uint8)
    same_bits(dequantize_blocks(blocks, kind), gguf.quants.dequantize(blocks, theirs))
    assert dequantize_blocks(blocks[:0], kind).shape == (0, 3, 2 * block_of(kind))


def test_every_code_of_a_block():
    scales = np.array([0.5, -1.0], "<f2").view(np.uint8)
    low_high = np.arange(16, dtype=np.uint8) | (15 - np.arange(16, dtype=np.uint8)) << 4
    codes = np.concatenate([np.arange(16), 15 - np.arange(16)])
    found = dequantize_blocks(np.concatenate([scales, low_high]), "Q4_1")
    np.testing.assert_array_equal(found, codes * 0.5 - 1)
    found = dequantize_blocks(np.concatenate([scales[:2], low_high]), "Q4_0")
    np.testing.assert_array_equal(found, (codes - 8) * 0.5)
    found = dequantize_blocks(np.concatenate([scales[:2], np.arange(-16, 16).astype(np.int8).view(np.uint8)]), "Q8_0")
    np.testing.assert_array_equal(found, np.arange(-16, 16) * 0.5)


def test_blocks_refuse():
    with pytest.raises(ValueError, match=r"the last side of \(2, 33\) must be a multiple of 32"):
        quantize_blocks(np.zeros((2, 33), np.float32), "Q8_0")
    with pytest.raises(ValueError, match=r"kind must be one of Q8_0, Q5_1, .*, TQ1_0, got 'Q8_K'"):
        quantize_blocks(np.zeros(256, np.float32), "Q8_K")
    with pytest.raises(ValueError, match=r"the last side of \(3, 128\) must be a multiple of 256"):
        quantize_blocks(np.zeros((3, 128), np.float32), "Q4_K")
    with pytest.raises(ValueError, match=r"kind must be one of Q8_0, .*, TQ1_0, got 'Q7_0'"):
        dequantize_blocks(np.zeros(256, np.uint8), "Q7_0")
    with pytest.raises(ValueError, match="every value must be finite"):
        quantize_blocks(np.full(32, np.nan, np.float32), "Q4_1")
    with pytest.raises(ValueError, match="Q4_0 wants uint8 with a last side that is a multiple of 18"):
        dequantize_blocks(np.zeros(20, np.uint8), "Q4_0")


TENSORS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(4, dtype=np.float16),
    "c": np.arange(-3, 3, dtype=np.int32).reshape(1, 2, 3),
}


def blocks(kind):
    """Two rows of two blocks."""
    return np.random.default_rng(1).integers(0, 120, (2, 2 * BYTES[kind]), np.uint8)


@pytest.fixture
def path(tmp_path):
    """A file that llama.cpp's own package has written."""
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 7)
    writer.add_float32("eps", 1e-5)
    writer.add_bool("yes", True)
    writer.add_string("name", "früh")
    writer.add_array("words", ["a", "bc", ""])
    writer.add_array("numbers", [3, 1, 4])
    for name, tensor in TENSORS.items():
        writer.add_tensor(name, tensor)
    for kind in BYTES:
        writer.add_tensor(kind, blocks(kind), raw_dtype=getattr(gguf.GGMLQuantizationType, kind))
    writer.add_tensor("bf16", np.array([[1.5, -2.0]], np.float32).view(np.uint16)[:, 1::2].copy(),
                      raw_shape=(1, 2), raw_dtype=gguf.GGMLQuantizationType.BF16)  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_of_llama_cpp_s_own_package(path):
    metadata, tensors = read_gguf(path)
    assert metadata["general.architecture"] == "llama" and metadata["llama.block_count"] == 7
    assert metadata["eps"] == pytest.approx(1e-5) and metadata["yes"] is True and metadata["name"] == "früh"
    assert metadata["words"] == ["a", "bc", ""] and metadata["numbers"] == [3, 1, 4]
    assert list(tensors) == [*TENSORS, *BYTES, "bf16"]
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(tensors[name], tensor)
    for kind in BYTES:
        np.testing.assert_array_equal(tensors[kind], dequantize_blocks(blocks(kind), kind))
    np.testing.assert_array_equal(tensors["bf16"], [[1.5, -2.0]])


def test_every_truncation_is_refused(path, tmp_path):
    content, short = path.read_bytes(), tmp_path / "short"
    for length in [*range(0, 700), len(content) - 33]:
        short.write_bytes(content[:length])
        with pytest.raises(DataError, match=re.escape(f"{short}: byte ")):
            read_gguf(short)


@pytest.mark.parametrize(
    ("at", "bytes_", "words"),
    [
        (0, b"GGUX", "byte 0: no GGUF file: it starts with b'GGUX'"),
        (4, struct.pack("<I", 1), "byte 4: the version is 1"),
        (4, struct.pack(">I", 3), "byte 4: the version is 50331648"),
        (8, struct.pack("<Q", 1 << 60), "byte 8: 1152921504606846976 tensors do not fit"),
        (16, struct.pack("<Q", 1 << 60), "byte 16: 1152921504606846976 keys do not fit"),
        (24, struct.pack("<Q", 1 << 62), "byte 32: a key needs 4611686018427387904 bytes"),
        (32, b"\xff", "byte 24: a key is not UTF-8"),
    ],
)
def test_lies_are_refused(at, bytes_, words, path):
    content = bytearray(path.read_bytes())
    content[at : at + len(bytes_)] = bytes_
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(words)):
        read_gguf(path)


def test_a_tensor_s_lies_are_refused(path):
    content = path.read_bytes()
    info = content.index(b"a.weight") + 8  # rank, two sides, type, offset
    for at, bytes_, words in (
        (info, struct.pack("<I", 9), "'a.weight' has 9 sides, at most 4"),
        (info + 4, struct.pack("<Q", 1 << 40), "'a.weight' needs 8796093022208 bytes from byte"),
        (info + 20, struct.pack("<I", 16), "'a.weight' has values of type 16"),
        (info + 20, struct.pack("<I", 8), "'a.weight' has blocks of 32 and sides [2, 3]"),
        (info + 24, struct.pack("<Q", 1 << 63), "'a.weight' needs 24 bytes from byte"),
    ):
        changed = bytearray(content)
        changed[at : at + len(bytes_)] = bytes_
        path.write_bytes(changed)
        with pytest.raises(DataError, match=re.escape(words)):
            read_gguf(path)
