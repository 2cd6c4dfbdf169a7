"""Compiles the ops of littlecore.interop.torch: ``python -m littlecore.interop.build_torch``, in about a minute.

They are used from then on, by every process that imports littlecore.interop.torch with this PyTorch; without them the
same ops run in Python. The compiler is ``$CXX`` or ``c++``; what it makes is kept in ``$XDG_CACHE_HOME/littlecore`` or
``~/.cache/littlecore``.
"""

from __future__ import annotations

import os
import shlex
import sysconfig
from pathlib import Path

import torch

from littlecore.interop import _compile
from littlecore.interop._signature import SIGNATURES, Signature

__all__ = ["build", "library"]

_SOURCE = Path(__file__).with_name("torch_ops.cpp")
_TORCH = Path(torch.__file__).parent
_LAYOUTS = {"": "contiguous", "~1": "dense_last_axis", "~": "any"}


def _list(values: list[str]) -> str:
    return "{" + ", ".join(values) + "}"


def _entry(s: Signature) -> str:
    inputs = [f"{{Layout::{_LAYOUTS[a.layout]}, {str(a.in_place).lower()}}}" for a in s.inputs]
    optional = [str(a.optional).lower() for a in s.outputs]
    options = ["'2'" if o.kind == "int2" else f"'{o.kind[0]}'" for o in s.options]
    entry = [f'"{s.name}"', _list(inputs), _list(optional), _list(options)]
    if not s.name.endswith("_forward"):
        return _list([*entry, '""' if s.name.endswith("_backward") else "nullptr", "{}", "{}", "{}"])
    b = SIGNATURES[s.name.replace("_forward", "_backward")]
    known = [a.name for a in s.inputs + s.outputs]
    of = {f"d{a.name}": i for i, a in enumerate(s.inputs)}
    saved = [str(known.index(a.name)) for a in b.inputs[1:]]
    gradients = [str(of.get(a.name, -1)) for a in b.outputs]
    names = [o.name for o in s.options]
    shared = [str(names.index(o.name)) for o in b.options]
    return _list([*entry, f'"littlecore::{b.name}"', _list(saved), _list(gradients), _list(shared)])


def _table() -> str:
    return "const Kernel kKernels[] = {\n" + "".join(f"    {_entry(s)},\n" for s in SIGNATURES.values()) + "};\n"


def _command() -> list[str]:
    headers = [_TORCH / "include", _TORCH / "include/torch/csrc/api/include", sysconfig.get_paths()["include"]]
    flags = ["-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", *(f"-I{h}" for h in headers)]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    link = [f"-L{_TORCH}/lib", "-ltorch_python", "-ltorch", "-ltorch_cpu", "-lc10", "-llittlecore"]
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    return [*compiler, *flags, abi, str(_SOURCE), *_compile.USES_LITTLECORE, *link]


def library() -> Path:
    """Where the compiled ops lie once they are built."""
    return _compile.place("torch_ops", _command(), _SOURCE, _table(), torch.__version__)


def build() -> Path:
    """Compiles the ops unless that is done; the library's path."""
    made = library()
    if not made.exists():
        _compile.make(made, "littlecore.interop.torch", _command(), {"torch_table.h": _table()})
    return made


if __name__ == "__main__":
    print(build())
