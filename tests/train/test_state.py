"""Nested state goes through arrays and JSON without losing a bit or a type."""

import json

import numpy as np
import pytest

import littlecore as lc
from littlecore.train import pack, unpack


def test_round_trip_through_json():
    tree = {
        "model": {"layer.weight": lc.tensor([[1.5, -2.0]]), "count": lc.tensor(3)},
        "optimizer": {
            "state": {0: {"step": lc.tensor(2.0)}, 1: {}},
            "param_groups": [{"betas": (0.9, 0.99), "lr": 0.1}],
        },
        "array": np.arange(3, dtype=np.uint8),
        "plain": [None, True, 1, 0.1 + 0.2, float("-inf"), "text", (), []],
        "$odd": {"$tensor": "not a tensor"},
    }
    arrays, skeleton = pack(tree)
    assert set(arrays) == {"model.layer.weight", "model.count", "optimizer.state.0.step", "array"}
    back = unpack(arrays, json.loads(json.dumps(skeleton)))
    assert back["plain"] == tree["plain"] and back["$odd"] == tree["$odd"]
    assert back["optimizer"]["param_groups"] == tree["optimizer"]["param_groups"]
    assert isinstance(back["optimizer"]["param_groups"][0]["betas"], tuple)
    assert list(back["optimizer"]["state"]) == [0, 1] and back["optimizer"]["state"][1] == {}
    weight = back["model"]["layer.weight"]
    assert isinstance(weight, lc.Tensor) and weight.tolist() == [[1.5, -2.0]]
    assert back["model"]["count"].dtype == lc.int64 and back["model"]["count"].item() == 3
    assert isinstance(back["array"], np.ndarray) and back["array"].dtype == np.uint8


def test_unpacked_tensors_own_their_memory():
    arrays, skeleton = pack({"x": lc.tensor([1.0])})
    unpack(arrays, skeleton)["x"].add_(1)
    assert arrays["x"].tolist() == [1.0]


def test_what_cannot_be_kept_is_named():
    with pytest.raises(TypeError, match=r"a\.1 is a set"):
        pack({"a": [1, {2}]})
