"""`python -m littlecore` is the `littlecore` program; --cmakedir and the like tell a build where the C library is."""

import sys
from pathlib import Path

from littlecore import _core
from littlecore.cli import main

_ROOT = Path(_core.__file__).parent
_TELLS = {
    "--cmakedir": f"{_ROOT}/cmake",
    "--include": f"{_ROOT}/include",
    "--libdir": f"{_ROOT}/lib",
    "--pkgconfigdir": f"{_ROOT}/lib/pkgconfig",
    "--cflags": f"-I{_ROOT}/include",
    "--ldflags": f"-L{_ROOT}/lib -llittlecore -Wl,-rpath,{_ROOT}/lib",
}

if __name__ == "__main__":
    if len(sys.argv) > 1 and all(asked in _TELLS for asked in sys.argv[1:]):
        print(*(_TELLS[asked] for asked in sys.argv[1:]))
        sys.exit(0)
    sys.exit(main())
