"""What is compiled on the user's machine, against the headers of the framework found there, and kept."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from littlecore import _core

_PACKAGE = Path(_core.__file__).parent
USES_LITTLECORE = [f"-I{_PACKAGE}/include", f"-L{_PACKAGE}/lib", f"-Wl,-rpath,{_PACKAGE}/lib"]


def place(name: str, command: list[str], *seen: str | bytes | Path) -> Path:
    """Where the library of this command lies, or would; another one when one of the texts and files seen changes."""
    texts = [_PACKAGE / "include/littlecore.h", *seen]
    bits = [t.read_bytes() if isinstance(t, Path) else t.encode() if isinstance(t, str) else t for t in texts]
    key = hashlib.sha256(b"\0".join([" ".join(command).encode(), *bits])).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "littlecore"
    return folder / f"{name}-{key[:16]}.so"


def make(library: Path, who: str, command: list[str], files: dict[str, str] | None = None) -> None:
    """Runs the compiler; files are headers to be found by name."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:  # who starts meanwhile does not see half a file
        for name, text in (files or {}).items():
            (Path(scratch) / name).write_text(text)
        made = Path(scratch) / library.name
        try:
            subprocess.run([*command, f"-I{scratch}", "-o", str(made)], check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise ImportError(f"{who} needs a compiler: there is no {command[0]}; set CC or CXX") from None
        except subprocess.CalledProcessError as error:
            raise ImportError(f"{who}: {shlex.join(command)} failed:\n{error.stderr}") from None
        made.replace(library)
