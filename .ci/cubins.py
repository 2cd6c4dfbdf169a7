"""What must hold of the compiled CUDA kernels, read with no GPU: python cubins.py LOG OBJECT...

From the compiler's log (-Xptxas -v): no spills, and none of the warnings that say wgmma was serialized or setmaxnreg
ignored. From the objects' machine code, where cuobjdump is found: the instructions each kernel was written for, and no
write to a register that a wgmma under way still reads or writes (assemblers before 13.3 are known to have done it).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

SERIALIZED = r"C75(08|10|11|12|19|20)"
WANTED = {  # in every instantiation of a kernel: what the machine code must show
    r"(?<!_)hopper_kernelIfLi128E": [
        r"HGMMA\.64x128x8\.F32\.TF32", r"UTMALDG\.2D\.MULTICAST ", r"UTMASTG\.2D", r"USETMAXREG",
    ],
    r"(?<!_)hopper_kernelIfLi256E": [
        r"HGMMA\.64x256x8\.F32\.TF32", r"UTMALDG\.2D\.MULTICAST ", r"UTMASTG\.2D", r"USETMAXREG",
    ],
    r"(?<!_)hopper_kernelIN.*Li128E": [
        r"HGMMA\.64x128x16\.F32", r"UTMALDG\.2D ", r"UTMALDG\.2D\.MULTICAST ",
        r"UTMASTG\.2D", r"STSM\.16", r"USETMAXREG", r"SYNCS\.PHASECHK",
    ],
    r"(?<!_)hopper_kernelIN.*Li256E": [
        r"HGMMA\.64x256x16\.F32", r"UTMALDG\.2D ", r"UTMALDG\.2D\.MULTICAST ",
        r"UTMASTG\.2D", r"STSM\.16", r"USETMAXREG", r"SYNCS\.PHASECHK",
    ],
    r"conv_hopper_kernel.*Li128E.*FeedE0E": [r"HGMMA\.64x128x16\.F32\S* R\d+, gdesc\S*\], ", r"UTMALDG\.4D\.IM2COL"],
    r"conv_hopper_kernel.*Li256E.*FeedE0E": [r"HGMMA\.64x256x16\.F32\S* R\d+, gdesc\S*\], ", r"UTMALDG\.4D\.IM2COL"],
    r"conv_hopper_kernel.*Li128E.*FeedE1E": [r"HGMMA\.64x128x16\.F32\S* R\d+, gdesc\S*tnspB"],
    r"conv_hopper_kernel.*Li256E.*FeedE1E": [r"HGMMA\.64x256x16\.F32\S* R\d+, gdesc\S*tnspB"],
    r"conv_hopper_kernel.*Li128E.*FeedE2E": [
        r"HGMMA\.64x128x16\.F32\S* R\d+, gdesc\S*tnspA\S*tnspB", r"UTMALDG\.4D\.IM2COL", r"UTMALDG\.2D ",
    ],
    r"conv_hopper_kernel.*Li128E.*FeedE3E": [r"HGMMA\.64x128x16\.F32\S* R\d+, gdesc\S*\], "],
    r"conv_hopper_kernel.*FeedE(0|1)E": [r"UTMALDG\.4D ", r"STSM\.16"],
    r"conv_hopper": [r"UTMALDG\.4D\S*\.MULTICAST", r"USETMAXREG", r"SYNCS\.PHASECHK"],
    r"channels_last_kernel": [r"STG\.E\.128"],
    r"attention_hopper_kernel.*Li64E": [
        r"HGMMA\.64x128x16\.F32\S* R\d+, gdesc", r"HGMMA\.64x64x16\.F32\S* R\d+, R\d+, gdesc\S*tnspB",
    ],
    r"attention_hopper_kernel.*Li128E": [
        r"HGMMA\.64x128x16\.F32\S* R\d+, gdesc", r"HGMMA\.64x128x16\.F32\S* R\d+, R\d+, gdesc\S*tnspB",
    ],
    r"attention_hopper_backward": [
        r"HGMMA\.64x(64|128)x16\.F32\S* R\d+, gdesc", r"HGMMA\.64x(64|128)x16\.F32\S* R\d+, R\d+, gdesc\S*tnspB",
    ],
    r"attention_hopper": [r"UTMALDG\.4D", r"UTMASTG\.4D", r"STSM\.16", r"MUFU\.EX2", r"USETMAXREG", r"SYNCS\.PHASECHK"],
    r"conv_kernel.*(bfloat16|float16)": [r"HMMA\.16816\.F32", r"LDSM\.16"],
    r"conv_kernelIf.*Lb1E": [r"HMMA\.1688\.F32\.TF32", r"LDSM\.16"],
    r"attention_tensor": [r"HMMA\.16816\.F32", r"LDGSTS", r"LDSM\.16\.MT88", r"MUFU\.EX2"],
    r"(?<!attention_)tensor_kernel.*(bfloat16|float16)": [r"HMMA\.16816\.F32", r"LDGSTS", r"LDSM\.16"],
    r"(?<!attention_)tensor_kernelIf": [r"HMMA\.1688\.F32\.TF32", r"LDGSTS"],
    r"add_parts_kernelI": [r"LDG\.E\.128"],
    r"(layer_norm|rms_norm|cross_entropy).*(forward|backward)_(kernel|rows)": [r"LDG\.E\.128"],
    r"map_packs": [r"(LDG|STG)\S*\.128|\.64"],
}  # fmt: skip


def read_log(text: str) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Complaints, and registers and spilled bytes of each kernel and architecture."""
    complaints = [line.strip() for line in text.splitlines() if re.search(SERIALIZED, line)]
    kernels: dict[str, tuple[int, int]] = {}
    name, spilled = "", 0
    for line in text.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            name, spilled = f"{found[1]} ({found[2]})", 0
        elif found := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(found[1]) + int(found[2])
        elif (found := re.search(r"Used (\d+) registers", line)) and name:
            kernels[name] = int(found[1]), spilled
            if spilled:
                complaints.append(f"{name} spills {spilled} bytes")
    return complaints, kernels


def touched_early(code: str) -> list[str]:
    """Instructions that write registers of a wgmma, or read its sums, before the wait; in the order of the text, which
    follows no branches."""
    complaints: list[str] = []
    groups: list[tuple[set[int], set[int]]] = []  # under way: sums, rows of a
    sums, rows = set[int](), set[int]()  # of the group that is being issued
    for line in code.splitlines():
        found = re.search(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z]\S*) ?([^;]*);", line)
        if not found:
            continue
        name, operands = found[1], found[2]
        if product := re.match(r"HGMMA\.64x(\d+)x\d+\S* R(\d+), (?:R(\d+), )?", f"{name} {operands}"):
            sums.update(range(int(product[2]), int(product[2]) + int(product[1]) // 2))
            rows.update(range(int(product[3]), int(product[3]) + 4) if product[3] else ())
            if "gsb0" in operands:
                groups.append((sums, rows))
                sums, rows = set(), set()
        elif name.startswith("WARPGROUP.DEPBAR") and (wait := re.match(r"gsb0, 0x(\w+)", operands)):
            groups = groups[max(0, len(groups) - int(wait[1], 16)) :]
        elif groups or sums:
            read = {int(r) for r in re.findall(r"\bR(\d+)", operands)}
            target = re.match(r"(?:U?PT?\d?, )?R(\d+)(?:, |$)", operands)
            wide = re.search(r"\.(64|128|WIDE)\b", name)
            count = {"64": 2, "WIDE": 2, "128": 4}[wide[1]] if wide else 1
            written = range(int(target[1]), int(target[1]) + count) if target and not name.startswith("ST") else ()
            if any(s & read or (s | r).intersection(written) for s, r in [*groups, (sums, rows)]):
                complaints.append(f"{found[0].strip()} touches a register of a wgmma under way")
    return complaints


def read_code(path: Path) -> tuple[list[str], int]:
    """Kernels in which an instruction is missing, and how many were looked at."""
    listing = subprocess.run(["cuobjdump", "-sass", str(path)], capture_output=True, text=True).stdout
    complaints, seen = [], 0
    for kernel in listing.split("Function : ")[1:]:
        name = kernel.split(None, 1)[0]
        for pattern, wanted in WANTED.items():
            if re.search(pattern, name):
                seen += 1
                complaints += [f"{name}: no {w} in its code" for w in wanted if not re.search(w, kernel)]
        complaints += [f"{name}: {c}" for c in touched_early(kernel)]
    return complaints, seen


def main() -> int:
    complaints, kernels = read_log(Path(sys.argv[1]).read_text())
    most = max((registers for registers, _ in kernels.values()), default=0)
    print(f"{len(kernels)} kernels compiled, at most {most} registers")
    if not kernels:
        complaints.append(f"{sys.argv[1]} reports no kernel: was everything built already?")
    if shutil.which("cuobjdump"):
        seen = 0
        for path in sys.argv[2:]:
            missing, count = read_code(Path(path))
            complaints += missing
            seen += count
        print(f"machine code of {seen} kernels holds the instructions meant")
    else:
        print("no cuobjdump: the machine code was not looked at")
    print(*complaints, sep="\n")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
