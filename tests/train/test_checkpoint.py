"""Checkpoints survive kills and full disks, and every changed bit in them is noticed."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from littlecore.train import CheckpointError, load_checkpoint, save_checkpoint
from littlecore.train.checkpoint import previous_checkpoint
from littlecore.train.files import write_atomically

TENSORS = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "step": np.array(7, np.int64),
    "mask": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float64),
    "bytes": np.arange(5, dtype=np.uint8),
}
STATE = {"epoch": 3, "lr": 0.1 + 0.2, "best": float("inf"), "history": [{"loss": 1e-30}], "name": "é"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def test_round_trip_keeps_bits_and_state(path):
    save_checkpoint(path, TENSORS, STATE)
    tensors, state = load_checkpoint(path)
    assert state == STATE and tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype and tensors[name].shape == array.shape
        assert tensors[name].tobytes() == array.tobytes()
    assert load_file(path).keys() == TENSORS.keys()  # it is an ordinary safetensors file


def test_strided_arrays_are_saved_by_value(path):
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    save_checkpoint(path, {"t": base.T, "s": base[::2, ::-3]})
    tensors, _ = load_checkpoint(path)
    np.testing.assert_array_equal(tensors["t"], base.T)
    np.testing.assert_array_equal(tensors["s"], base[::2, ::-3])


def test_every_flipped_bit_is_noticed(path):
    save_checkpoint(path, {"w": np.array([1.5, -2], np.float32), "on": np.array([True])}, {"epoch": 3})
    content = path.read_bytes()
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: "):
                load_checkpoint(path)


def test_every_truncation_is_noticed(path):
    save_checkpoint(path, TENSORS, STATE)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_the_damaged_tensor_is_named(path):
    save_checkpoint(path, TENSORS, STATE)
    content = bytearray(path.read_bytes())
    position = content.rindex(TENSORS["weight"].tobytes())
    content[position + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="tensor weight does not have its checksum"):
        load_checkpoint(path)


def test_other_files_are_refused(path):
    save_file({"weight": TENSORS["weight"]}, path)
    with pytest.raises(CheckpointError, match="not a littlecore checkpoint"):
        load_checkpoint(path)
    path.write_bytes(b"PK\x03\x04 a pickle in a zip")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_checkpoint(path.with_name("nowhere"))


def test_the_replaced_checkpoint_is_kept_and_named(path):
    save_checkpoint(path, {"x": np.zeros(3)}, "old")
    save_checkpoint(path, {"x": np.ones(3)}, "new")
    assert load_checkpoint(path)[1] == "new" and load_checkpoint(previous_checkpoint(path))[1] == "old"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"checkpoint\.previous\.safetensors, is intact"):
        load_checkpoint(path)
    save_checkpoint(path, {"x": np.ones(3)}, "newest")
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, previous_checkpoint(path).name}


@pytest.mark.parametrize("call", ["fsync", "replace", "link"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_leaves_the_old_checkpoint(path, monkeypatch, call, error):
    save_checkpoint(path, {"x": np.zeros(3)}, "old")

    def fail(*arguments, **options):
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        if call == "link":  # a file system without hard links: the copy takes its place
            save_checkpoint(path, {"x": np.ones(3)}, "new")
        else:
            with pytest.raises(OSError, match=os.strerror(error)):
                save_checkpoint(path, {"x": np.ones(3)}, "new")
    assert load_checkpoint(path)[1] == ("new" if call == "link" else "old")
    assert not [entry for entry in path.parent.iterdir() if entry.name.endswith(".tmp")]
    if call == "link":
        assert load_checkpoint(previous_checkpoint(path))[1] == "old"


def test_a_full_disk_in_the_middle_of_the_write(path):
    """A limit on the file size makes the kernel itself cut the write."""
    save_checkpoint(path, {"x": np.zeros(3)}, "old")
    code = f"""
import resource, signal
import numpy as np
from littlecore.train import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint({str(path)!r}, {{"x": np.ones(1_000_000)}}, "new")
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == os.strerror(errno.EFBIG)
    assert load_checkpoint(path)[1] == "old" and [entry.name for entry in path.parent.iterdir()] == [path.name]


WRITER = """
import sys
import numpy as np
from littlecore.train import save_checkpoint
start = int(sys.argv[2])
for i in range(start, 10**9):
    save_checkpoint(sys.argv[1], {"x": np.full(300_000, float(i)), "i": np.array(i)}, {"i": i})
    if i == start:
        print("ready", flush=True)
"""


def test_kill_at_any_moment_leaves_a_whole_checkpoint(path):
    rng = random.Random(0)
    seen = []
    for attempt in range(12):
        arguments = [sys.executable, "-c", WRITER, str(path), str(attempt * 1000)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for file in (previous_checkpoint(path), path):
            if file.exists():
                tensors, state = load_checkpoint(file)
                assert tensors["i"] == state["i"] and (tensors["x"] == state["i"]).all()
                seen.append(state["i"])
        assert seen[-1] >= attempt * 1000  # the first save of this writer had returned
    assert len({i % 1000 for i in seen}) > 1  # the kills came at different times
    save_checkpoint(path, {"x": np.zeros(1)})
    leftovers = [entry.name for entry in path.parent.iterdir() if entry.name.endswith(".tmp")]
    assert not leftovers  # of all those killed writers


def test_write_atomically_needs_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "x", b"")
    write_atomically(tmp_path / "x", b"1")
    write_atomically(tmp_path / "x", b"2", previous=tmp_path / "y")
    assert (Path(tmp_path / "x").read_bytes(), Path(tmp_path / "y").read_bytes()) == (b"2", b"1")
