"""None where a tensor belongs: refused by every function and method, also inside of lists, and never a crash."""

import subprocess
import sys

CALLS = """
import littlecore as lc
from littlecore import _core
from littlecore.nn import functional as F

x = lc.ones(2, 2)
arguments = [(None,), (x, None), (None, x), (None, None, None), (x, x, None), ([None],), ([x, None],), ("i", [None])]
for of in (lc, F, lc.Tensor, _core):
    for name in dir(of):
        if name.startswith("_") or name in ("cli", "memory_fail_at"):
            continue
        f = getattr(of, name)
        for given in arguments if callable(f) else ():
            print(name, given, flush=True)
            try:
                f(*given)
            except Exception:
                pass
for f, given in ((lc.cat, ([x, None],)), (lc.mm, (x, None)), (lc.Tensor.abs, (None,)), (lc.reshape, (None, 2))):
    try:
        f(*given)
    except TypeError:
        continue
    raise AssertionError("None was taken")
"""


def test_none_is_no_tensor():
    done = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.stdout[-100:], done.stderr)
