"""Switches of the kernels, by PyTorch's names.

>>> import littlecore as lc
>>> lc.backends.cuda.matmul.allow_tf32
False
"""

from __future__ import annotations

from littlecore import _core


class _Matmul:
    __slots__ = ()

    @property
    def allow_tf32(self) -> bool:
        """May products of float32 run in tf32? What :func:`littlecore.set_float32_matmul_precision` says, as a bool."""
        return _core.get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, on: bool) -> None:
        _core.set_float32_matmul_precision("high" if on else "highest")


class _Cuda:
    __slots__ = ()
    matmul = _Matmul()


cuda = _Cuda()
