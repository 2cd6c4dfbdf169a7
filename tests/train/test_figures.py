"""metrics.csv, TensorBoard event files, curves, means."""

import csv
import struct
import sys

import pytest

from littlecore.train import EventWriter, draw_curves, write_csv
from littlecore.train.history import Means
from littlecore.train.tensorboard import crc32c

ROWS = [
    {"epoch": 1, "step": 10, "train_loss": 0.1 + 0.2, "validation_loss": 0.5, "train_accuracy": 0.9},
    {"epoch": 2, "step": 20, "train_loss": 1e-30, "validation_loss": 0.25, "test_loss": 0.3},
]


def test_csv_keeps_every_digit_and_pads_columns(tmp_path):
    write_csv(tmp_path / "metrics.csv", ROWS)
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", "train_loss", "validation_loss", "train_accuracy", "test_loss"]
    assert [float(row["train_loss"]) for row in rows] == [0.1 + 0.2, 1e-30]
    assert rows[0]["test_loss"] == "" and rows[1]["test_loss"] == "0.3"


def test_means_are_weighted_and_resumable():
    means = Means()
    means.add({"loss": 1.0, "accuracy": 0.5}, 10)
    resumed = Means(means.state())
    for each in (means, resumed):
        each.add({"loss": 4.0, "accuracy": 1.0}, 5)
        assert each.result("train_") == {"train_loss": 2.0, "train_accuracy": 10 / 15}


def test_crc32c_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283 and crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA and crc32c(b"\xff" * 32) == 0x62A8AB43  # RFC 3720, B.4


def records(content):
    """The payloads of a TFRecord file, checksums verified by a bitwise CRC."""

    def masked(data):
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        crc ^= 0xFFFFFFFF
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert struct.unpack("<I", content[8:12])[0] == masked(content[:8])
        payload = content[12 : 12 + length]
        assert struct.unpack("<I", content[12 + length : 16 + length])[0] == masked(payload)
        yield payload
        content = content[16 + length :]


def test_event_files_parse(tmp_path):
    writer = EventWriter(tmp_path, first_step=5)
    writer.add(1000, {"loss/train": 0.25, "é": -2.0})
    writer.close()
    version, session, scalars = records(writer.path.read_bytes())
    assert version.endswith(b"brain.Event:2") and session.endswith(b"\x10\x05\x3a\x02\x08\x01")
    assert b"\x10\xe8\x07" in scalars and b"\x0a\x0aloss/train\x15" + struct.pack("<f", 0.25) in scalars
    assert "é".encode() + b"\x15" + struct.pack("<f", -2) in scalars


@pytest.mark.filterwarnings("ignore")
def test_event_files_parse_with_the_protobuf_classes(tmp_path):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    writer = EventWriter(tmp_path, first_step=5)
    writer.add(2**40, {"loss/train": 0.25, "accuracy/test": 1.0})
    writer.close()
    version, session, scalars = [event_pb2.Event.FromString(p) for p in records(writer.path.read_bytes())]
    assert version.file_version == "brain.Event:2" and version.wall_time > 1e9
    assert session.session_log.status == 1 and session.step == 5
    assert scalars.step == 2**40
    assert [(v.tag, v.simple_value) for v in scalars.summary.value] == [("loss/train", 0.25), ("accuracy/test", 1.0)]


def test_curves_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    draw_curves(tmp_path / "curves.png", ROWS, "title")
    content = (tmp_path / "curves.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 5000
    width, height = struct.unpack(">II", content[16:24])
    assert width > 1.5 * height  # two panels: loss and accuracy


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "littlecore\[plot\]"'):
        draw_curves(tmp_path / "curves.png", ROWS)
