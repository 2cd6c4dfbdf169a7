"""Writes littlecore_kernels.h, the C structs of the exported kernels, from kernels.def: python cpp/c_api/header.py."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TYPES = {"double": "double", "int": "int64_t", "bool": "int64_t", "int2": "int64_t"}


def kernels() -> list[tuple[str, list[str], list[str], list[str], str]]:
    """name, inputs, outputs, options, text of every entry."""
    source = re.sub(r"^//[^\n]*", "", (HERE / "kernels.def").read_text(), flags=re.M)
    found = []
    for entry in re.findall(r"LC_KERNEL\((.*?)\)\n(?=\n|LC_KERNEL|\Z)", source, re.S):
        name, rest = entry.split(",", 1)
        inputs, outputs, options, text = [
            "".join(re.findall(r'"([^"]*)"', part)) for part in re.split(r'(?<="),', rest)
        ]
        found.append((name, inputs.split(), outputs.split(), options.split(), text))
    return found


def struct(name: str, inputs: list[str], outputs: list[str], options: list[str], text: str) -> str:
    lines = [f"// {text}", f"typedef struct lc_{name}_args {{", "    LC_CALL_FIELDS"]
    for argument in inputs + outputs:
        field, rest = argument.split(":", 1)
        plain = field.rstrip("?!")
        kind = "in/out" if "!" in field else "in" if argument in inputs else "out"
        const = "const " if kind == "in" else ""
        optional = ", or NULL" if "?" in field else ""
        lines.append(f"    {const}DLTensor* {plain};".ljust(34) + f"// {kind.ljust(6)} {rest}{optional}")
    for option in options:
        field, rest = option.split(":", 1)
        kind, _, default = rest.partition("=")
        array = "[2]" if kind == "int2" else ""
        note = (kind if kind in ("bool", "int2") else "") + (f" usually {default}" if default else "")
        lines.append((f"    {TYPES[kind]} {field}{array};".ljust(34) + f"// {note.strip()}").rstrip(" /"))
    return "\n".join([*lines, f"}} lc_{name}_args;"])


def header() -> str:
    all_kernels = kernels()
    ids = "\n".join(f"    LC_{name.upper()} = {i}," for i, (name, *_) in enumerate(all_kernels))
    calls = "\n".join(
        f"static inline lc_status lc_{name}(const lc_{name}_args* args) {{ return lc_run(LC_{name.upper()}, args); }}"
        for name, *_ in all_kernels
    )
    each = " ".join(f"X({name}, LC_{name.upper()})" for name, *_ in all_kernels)
    structs = "\n\n".join(struct(*k) for k in all_kernels)
    return f"""\
// The arguments of every kernel. Written by cpp/c_api/header.py from kernels.def, which explains the shapes; part of
// littlecore.h. New kernels and new members come at the end only.

typedef enum lc_kernel_id {{
{ids}
}} lc_kernel_id;

{structs}

{calls}

// For what is made of every kernel: littlecore.hpp's functions.
#define LC_EACH_KERNEL(X) {each}
"""


if __name__ == "__main__":
    (HERE / "littlecore_kernels.h").write_text(header())
