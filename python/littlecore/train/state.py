"""Nested state (state_dict of modules, optimizers, schedules) as flat NumPy arrays and a JSON skeleton, and back.

`pack` takes dicts, lists, tuples, tensors, arrays, numbers, strings, None; `unpack` gives the same tree, bit for bit,
with littlecore tensors where tensors were.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

_TENSOR, _ARRAY, _ITEMS, _TUPLE = "$tensor", "$array", "$items", "$tuple"


def pack(tree: Any, prefix: str = "") -> tuple[Arrays, Any]:
    """(arrays by dotted path, skeleton for JSON). TypeError for what cannot be kept, naming its path."""
    arrays: Arrays = {}
    return arrays, _pack(tree, prefix, arrays)


def _pack(node: Any, path: str, arrays: Arrays) -> Any:
    def child(key: Any) -> str:
        return f"{path}.{key}" if path else str(key)

    if node is None or type(node) in (bool, int, float, str):
        return node
    if isinstance(node, np.ndarray):
        arrays[path] = node
        return {_ARRAY: path}
    if hasattr(node, "numpy") and hasattr(node, "detach"):
        arrays[path] = node.detach().cpu().numpy()
        return {_TENSOR: path}
    if isinstance(node, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in node):
            return {key: _pack(value, child(key), arrays) for key, value in node.items()}
        return {_ITEMS: [[_pack(key, "", {}), _pack(value, child(key), arrays)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        items = [_pack(value, child(i), arrays) for i, value in enumerate(node)]
        return {_TUPLE: items} if isinstance(node, tuple) else items
    raise TypeError(f"pack: {path or 'the root'} is a {type(node).__name__}, which a checkpoint cannot hold")


def unpack(arrays: Arrays, skeleton: Any) -> Any:
    """The tree that `pack` took."""
    if isinstance(skeleton, list):
        return [unpack(arrays, value) for value in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    if _TENSOR in skeleton:
        from littlecore import from_numpy

        return from_numpy(arrays[skeleton[_TENSOR]].copy())
    if _ARRAY in skeleton:
        return arrays[skeleton[_ARRAY]]
    if _ITEMS in skeleton:
        return {key: unpack(arrays, value) for key, value in skeleton[_ITEMS]}
    if _TUPLE in skeleton:
        return tuple(unpack(arrays, value) for value in skeleton[_TUPLE])
    return {key: unpack(arrays, value) for key, value in skeleton.items()}
