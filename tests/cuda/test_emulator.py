"""The emulator finds planted bugs, each by name, and lets their sound twins pass (planted.cu)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(os.environ.get("LITTLECORE_EMULATED", ROOT / "build/emulated")) / "planted"

FOUND = {
    "sound_reverse": "sound",
    "sound_copies": "sound",
    "sound_product": "sound",
    "sound_registers": "sound",
    "no_barrier": "nothing wrote",
    "no_copy_barrier": "nothing wrote",
    "no_copy_wait": "a wait is missing",
    "past_the_end": "an allocation ends",
    "unwritten_input": "global memory that nothing wrote",
    "unwritten_shared": "shared memory at byte 268 that nothing wrote",
    "too_much_shared": "past the 256 bytes",
    "deadlock": "warp 0, threads 0-31: waits for a barrier",
    "diverged": "the warp diverged",
    "two_blocks": "another block wrote",
    "late_write": "race: ",
    "no_phase_wait": "wgmma reads shared memory",
    "wrong_bytes": "waits for an mbarrier",
    "no_fence": "without barrier_fence_init()",
    "no_store_fence": "without fence_async_proxy()",
    "early_use": "wrong result",
    "wrong_step": "wrong result",
    "unswizzled": "wrong result",
    "early_change": "changed registers of a before the wait",
    "sound_cluster": "sound",
    "cluster_no_begin": "initialized the mbarrier with no barrier in between",
    "cluster_no_end": "block 0 of the cluster has ended",
    "cluster_own_only": "race: TMA load",
    "sound_pixels": "sound",
    "first_outside": "the first pixel, at 2, is outside of the corners",
    "long_offset": "an offset of 256",
    "pixels_as_a_box": "the tensor map is of pixels",
    "late_error": "an allocation ends",
    "huge_grid": "planted: 4294967297 x 1 x 1 blocks of work; a launch on CUDA takes 2147483647",
}


@pytest.mark.parametrize("name", FOUND)
def test_planted(name: str):
    if not PROGRAM.exists():
        pytest.skip(f"no {PROGRAM}: build with LITTLECORE_CUDA=emulated")
    run = subprocess.run([str(PROGRAM), name], capture_output=True, text=True, timeout=60)
    assert FOUND[name] in run.stdout, run.stdout + run.stderr
    assert run.returncode == (0 if name.startswith("sound") else 1)


@pytest.mark.parametrize("sync", ["0", "1"])
def test_an_error_is_told_at_its_launch_if_asked_for(sync: str):
    if not PROGRAM.exists():
        pytest.skip(f"no {PROGRAM}: build with LITTLECORE_CUDA=emulated")
    environment = {**os.environ, "LITTLECORE_SYNC": sync}
    run = subprocess.run([str(PROGRAM), "late_error"], capture_output=True, text=True, timeout=60, env=environment)
    assert ("launched" in run.stdout) == (sync == "0") and run.returncode == 1


def test_every_case_is_asked_for():
    if not PROGRAM.exists():
        pytest.skip(f"no {PROGRAM}: build with LITTLECORE_CUDA=emulated")
    listed = subprocess.run([str(PROGRAM)], capture_output=True, text=True, check=True).stdout.split()
    assert set(listed) == set(FOUND)
