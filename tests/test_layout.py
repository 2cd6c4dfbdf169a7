"""The house rules that a compiler cannot check: one name per op, pairs of kernels, drawers, sizes, no pickle."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OPS = re.findall(r"^LC_OP\((\w+),\s*(\w+),\s*(\w+)\)", (ROOT / "cpp/ops.def").read_text(), re.M)
SOURCES = (".cpp", ".h", ".cu", ".cuh", ".py")
KERNEL_LINES, OTHER_LINES = 620, 420  # about 600 and 400: a file is not split over a few lines


def files(*folders: str, suffixes: tuple[str, ...] = SOURCES) -> list[Path]:
    found = [
        p for folder in folders for p in sorted((ROOT / folder).rglob("*")) if p.suffix in suffixes and p.is_file()
    ]
    return [p for p in found if not {"build", ".venv", "results"} & set(p.relative_to(ROOT).parts)]


def code(path: Path) -> str:
    """Without comments and strings, so that a sentence about an intrinsic is not one."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"', "", path.read_text(), flags=re.S)


def offenders(pattern: str, paths: list[Path]) -> list[str]:
    return [f"{p.relative_to(ROOT)}: {m.group(0)}" for p in paths for m in re.finditer(pattern, code(p))]


# ---- one op, one name --------------------------------------------------------------------------


def test_the_list_is_well_formed():
    lines = [line for line in (ROOT / "cpp/ops.def").read_text().splitlines() if line.startswith("LC_OP")]
    assert len(OPS) == len(lines), "a line of ops.def is not LC_OP(op, family, kind)"
    names = [op for op, _, _ in OPS]
    assert len(names) == len(set(names)), "an op stands twice in ops.def"
    assert {kind for _, _, kind in OPS} <= {"kernel", "composed"}


@pytest.mark.parametrize("op, family, kind", OPS, ids=[op for op, _, _ in OPS])
def test_an_op_has_all_its_files(op: str, family: str, kind: str):
    wanted = [f"cpp/ops/{op}.h", f"cpp/ops/{op}.cpp", f"tests/reference/{op}.py", f"tests/ops/test_{op}.py"]
    wanted += [f"bench/ops/{op}.py", f"cpp/bindings/ops_{family}.cpp"]
    wanted += [f"cpp/kernels/{op}.cpp"] if kind == "kernel" else []
    missing = [name for name in wanted if not (ROOT / name).exists()]
    assert not missing, f"{op}: missing {', '.join(missing)}"


def test_no_op_file_without_its_line():
    names = {op for op, _, _ in OPS}
    stray = [
        str(p.relative_to(ROOT))
        for folder, prefix in (("cpp/ops", ""), ("cpp/kernels", ""), ("tests/ops", "test_"), ("tests/reference", ""))
        for p in files(folder, suffixes=(".cpp", ".py"))
        if (stem := p.stem.removeprefix(prefix)) not in names | {"__init__", "machine"}
        and not any(stem.startswith(op + "_") for op in names)  # a large op may have a second file: <op>_<what>
    ]
    assert not stray, f"no line in cpp/ops.def names {stray}"


# ---- forward and backward ----------------------------------------------------------------------


@pytest.mark.parametrize("op", [op for op, _, kind in OPS if kind == "kernel"])
def test_a_forward_kernel_has_its_backward(op: str):
    contract, source = (ROOT / f"cpp/ops/{op}.h").read_text(), (ROOT / f"cpp/ops/{op}.cpp").read_text()
    recorded, says_none = "record(" in source, "no_gradient(" in source
    assert recorded or says_none, f"{op}: cpp/ops/{op}.cpp neither records a backward nor calls no_gradient()"
    assert says_none or re.search(r"backward|gradient|\bdx\b", contract), (
        f"{op}: the contract in cpp/ops/{op}.h gives no formula for backward"
    )
    kernels = code(ROOT / f"cpp/kernels/{op}.cpp")
    backward = kernels + code(ROOT / f"cpp/ops/{op}.cpp")
    for stem in set(re.findall(r"\b(\w+)_forward\b", kernels)):
        paired = re.search(rf"\b{stem}_backward", backward) or re.search(r"backward|gradient|\bdx\b", contract)
        assert paired or says_none, f"{op}: {stem}_forward has no {stem}_backward"


# ---- drawers -----------------------------------------------------------------------------------


def test_intrinsics_stay_in_simd():
    outside = [p for p in files("cpp", "cuda") if not str(p.relative_to(ROOT)).startswith(("cpp/simd/", "cuda/"))]
    found = offenders(
        r"\b_mm(256|512)?_\w+|\b__m(128|256|512)\w*|<(imm|x86|arm_neon)\w*\.h>|\bv(ld|st)1q?_\w+", outside
    )
    assert not found, found


def test_ptx_stays_in_arch():
    drawers = ("cuda/arch/", "cpp/simd/", "cpp/core/parallel.cpp")  # the pool's spin hint is one instruction
    outside = [p for p in files("cpp", "cuda") if not str(p.relative_to(ROOT)).startswith(drawers)]
    found = offenders(r"\basm\b(\s+volatile)?\s*\(|\b__asm__\b", outside)
    assert not found, found


def test_cuda_kernels_keep_to_their_drawers():
    kernels = files("cuda/kernels", suffixes=(".cu", ".cuh", ".h"))
    stray = [p.name for p in kernels if not any(p.stem == op or p.stem.startswith(op + "_") for op, _, _ in OPS)]
    shared = {"strided.cuh", "row.cuh", "row_plan.h", "radix_sort.cuh", "places.cuh", "divider.h"}
    assert set(stray) == shared, f"no line in cpp/ops.def names {set(stray) - shared}"
    unbound = [
        f"{p.name}: {found[0]}"
        for p in kernels
        for found in re.finditer(r"__global__\s+(?!__launch_bounds__)(\w+)", code(p))
    ]
    assert not unbound, f"without __launch_bounds__: {unbound}"
    contracts = {op for op, _, _ in OPS if "LC_CUDA_" in (ROOT / f"cpp/ops/{op}.h").read_text()}
    missing = [op for op in contracts if not (ROOT / f"cuda/kernels/{op}.cu").exists()]
    assert not missing, f"a contract promises a CUDA kernel that is not there: {missing}"


def test_the_core_knows_no_python_and_no_op():
    core = files("cpp/core", "cpp/simd", "cpp/autograd", "cpp/kernels", "cpp/ops")
    assert not [p.name for p in core if re.search(r"#include\s*[<\"](pybind11|nanobind|Python\.h)", p.read_text())]
    below = files("cpp/core", "cpp/simd")
    upward = [p.name for p in below if re.search(r'#include\s*"cpp/(ops|kernels|bindings)/', p.read_text())]
    assert not upward, f"cpp/core includes what stands above it: {upward}"


def build_folder() -> Path | None:
    named = os.environ.get("LITTLECORE_BUILD_DIR")
    found = (
        [Path(named)]
        if named
        else [p.parent for p in ROOT.glob("build*/CMakeCache.txt")]
        + [p.parent for p in ROOT.glob("build*/*/CMakeCache.txt")]
    )
    return max(found, key=lambda p: p.stat().st_mtime, default=None)


def test_no_weak_symbol_leaks_from_an_isa_object():
    """The linker keeps one copy of a weak symbol for all ISAs, perhaps the one this machine cannot execute."""
    folder, nm = build_folder(), shutil.which("nm")
    if folder is None or nm is None:
        pytest.skip("needs binutils and a build folder: set LITTLECORE_BUILD_DIR, or build in ./build")
    objects = [p for p in folder.rglob("*.o") if re.search(r"(baseline|avx2|avx512|neon)", str(p.relative_to(folder)))]
    assert objects, f"{folder} holds no object compiled for an ISA"
    own = re.compile(r"3cpu(8baseline|4avx2|6avx512|4neon)")  # lc::cpu::avx2 in its name: no other ISA has this symbol
    leaks = []
    for p in objects:
        listing = subprocess.run([nm, str(p)], capture_output=True, text=True, check=True).stdout
        defined = [line[19:] for line in listing.splitlines() if line[17:18] in "WVu" and line[:16].strip()]
        # DW.ref: where the exception handler is, data that any copy serves
        leaks += [f"{p.name}: {name}" for name in defined if not own.search(name) and not name.startswith("DW.ref.")]
    assert not leaks, "\n".join(leaks[:20])


# ---- size and safety ---------------------------------------------------------------------------


def test_sizes():
    long = []
    total = 0
    for p in files("cpp", "cuda", "python", "tests", "bench"):
        lines = p.read_text().count("\n")
        total += lines
        if p.name == "littlecore_kernels.h":
            continue  # written by header.py; as long as the list of kernels
        cap = KERNEL_LINES if {"kernels", "simd"} & set(p.parts) else OTHER_LINES
        if lines > cap:
            long.append(f"{p.relative_to(ROOT)}: {lines} lines, at most {cap}")
    print(f"{total:,} lines")
    assert not long, "\n".join(long)


FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("path", files("python", suffixes=(".py",)), ids=lambda p: str(p.relative_to(ROOT / "python")))
def test_nothing_executes_data(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        assert not {m.split(".")[0] for m in modules} & FORBIDDEN_MODULES, f"{path}:{node.lineno} imports {modules}"
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            assert name not in FORBIDDEN_CALLS, f"{path}:{node.lineno} calls {name}()"
            allowed = [
                k.arg for k in node.keywords if k.arg == "allow_pickle" and getattr(k.value, "value", 1) is not False
            ]
            assert not allowed, f"{path}:{node.lineno} allows pickle"
