"""Whether operations are recorded: context managers that are decorators too."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from .. import _core

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode(_core.GradMode):
    """Sets the mode for a `with` block, or for every call of a decorated function or generator."""

    mode = False

    def __call__(self, function: F) -> F:
        mode = self.mode
        if inspect.isgeneratorfunction(function):
            return _generator(function, mode)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            previous = _core.set_grad_enabled(mode)
            try:
                return function(*args, **kwargs)
            finally:
                _core.set_grad_enabled(previous)

        return wrapped  # type: ignore[return-value]


def _generator(function: Any, mode: bool) -> Any:
    """The mode holds while the generator runs, not while its consumer does."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        generator, resume = function(*args, **kwargs), None
        try:
            while True:
                previous = _core.set_grad_enabled(mode)
                try:
                    value = generator.send(resume)
                except StopIteration as stop:
                    return stop.value
                finally:
                    _core.set_grad_enabled(previous)
                resume = yield value
        finally:
            generator.close()

    return wrapped


class no_grad(_GradMode):
    """Nothing is recorded: `with no_grad():` or `@no_grad()` (or plainly `@no_grad`)."""


class enable_grad(_GradMode):
    """Operations are recorded, even inside `no_grad`."""

    mode = True


class inference_mode(_GradMode):
    """As no_grad when mode is True; there is nothing further to save."""

    def __init__(self, mode: bool = True) -> None:
        self.mode = not mode


class set_grad_enabled(_GradMode):
    """Sets the mode at once; as a context manager it puts the previous one back at the end."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.before = _core.set_grad_enabled(self.mode)

    def __enter__(self) -> None:
        _core.set_grad_enabled(self.before)  # what __exit__ puts back
        super().__enter__()

    def __call__(self, function: F) -> F:
        _core.set_grad_enabled(self.before)
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """True if operations are recorded on this thread."""
    return bool(_core.grad_enabled())
