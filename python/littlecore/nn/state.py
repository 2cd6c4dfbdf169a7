"""load_state_dict: values into a module by name, all checked before the first one is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core import Tensor, from_dlpack, from_numpy
from ..autograd import no_grad
from .parameter import Parameter, is_floating_point, set_data

if TYPE_CHECKING:
    from .module import Module


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` left alone."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def load_state_dict(module: Module, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """See Module.load_state_dict."""
    if not isinstance(state, Mapping):
        raise TypeError(f"expected state_dict to be dict-like, got {type(state).__name__}")
    own = module.state_dict(keep_vars=True)
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    values = {key: as_tensor(key, state[key]) for key in own if key in state}

    errors = []
    if strict and unexpected:
        errors.append("Unexpected key(s) in state_dict: " + ", ".join(f'"{key}"' for key in unexpected) + ". ")
    if strict and missing:
        errors.append("Missing key(s) in state_dict: " + ", ".join(f'"{key}"' for key in missing) + ". ")
    for key, value in values.items():
        if tuple(value.shape) != tuple(own[key].shape):
            errors.append(
                f"size mismatch for {key}: copying a param with shape {tuple(value.shape)} from checkpoint, "
                f"the shape in current model is {tuple(own[key].shape)}."
            )
        elif is_floating_point(value.dtype) != is_floating_point(own[key].dtype):
            errors.append(f"dtype mismatch for {key}: {value.dtype} in checkpoint, {own[key].dtype} in current model.")
    if errors:
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(errors))

    with no_grad():
        for key, value in values.items():
            _write(module, key, own[key], value, assign)
    return IncompatibleKeys(missing, unexpected)


def as_tensor(key: str, value: Any) -> Tensor:
    """A tensor over the same memory as `value`: a littlecore tensor, a NumPy array or anything with DLPack."""
    if isinstance(value, Tensor):
        return value.detach()
    if hasattr(value, "detach"):  # a PyTorch tensor may carry history, which DLPack refuses
        value = value.detach()
    if type(value).__module__ == "numpy":
        return from_numpy(value)
    if hasattr(value, "__dlpack__"):
        return from_dlpack(value)
    raise TypeError(f"state_dict['{key}'] is a {type(value).__name__}, expected a tensor or an array")


def _write(module: Module, key: str, target: Tensor, value: Tensor, assign: bool) -> None:
    if not assign:
        target.detach().copy_(value)
    elif isinstance(target, Parameter):
        set_data(target, value)
    else:
        path, _, name = key.rpartition(".")
        setattr(module.get_submodule(path), name, value)
