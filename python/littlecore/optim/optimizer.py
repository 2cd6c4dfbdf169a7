"""Optimizer: parameter groups, state, and what is done with them. The step itself is one C++ call a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from .. import _core
from .._core import Tensor
from ..autograd import enable_grad, no_grad

Params: TypeAlias = "Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]"


class Optimizer:
    """Base class. A subclass names its state tensors in `slots` and steps one group in `_step_group`.

    `param_groups`: dicts with "params" and the group's options. `state`: per parameter, its tensors by name.
    master_weights: parameters of 16 bits are stepped through a float32 copy kept in the state.
    """

    def __init__(self, params: Params, defaults: dict[str, Any], master_weights: bool = False) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor"
            )
        self.defaults = defaults
        self.master_weights = master_weights
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.param_groups: list[dict[str, Any]] = []
        self._lists: dict[int, dict[str, Any]] = {}  # per group: the state as the lists the C++ call takes
        given: list[Any] = list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(dict(group))

    # ---- what a subclass defines -------------------------------------------------------------------------------------

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Names of the state tensors a parameter of the group has, besides "step"."""
        raise NotImplementedError

    def _step_group(self, group: dict[str, Any], lists: dict[str, Any]) -> bool:
        """The C++ call; False if a parameter's state is missing. lists: "steps", "masters" and every slot."""
        raise NotImplementedError

    # ---- groups ------------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimize more parameters, with options of their own: {"params": ..., "lr": ...}."""
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        if params and isinstance(params[0], tuple):
            param_group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        seen = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if id(p) in seen:
                raise ValueError("some parameters appear more than once in the parameter groups")
            seen.add(id(p))
        group = {"params": params, **{k: v for k, v in param_group.items() if k != "params"}}
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; set_to_none=False fills them with zeros instead."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad.detach().zero_()

    # ---- stepping ----------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient. closure: evaluates the loss again, and its value is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if _core.recording():  # a replay steps with the options of that time
            _core.replayable(self._step_groups)
        else:
            self._step_groups()
        return loss

    def _step_groups(self) -> None:
        for index, group in enumerate(self.param_groups):
            lists = self._lists.get(index)
            if lists is None or not self._step_group(group, lists):
                self._step_group(group, self._make_state(index, group))

    def _make_state(self, index: int, group: dict[str, Any]) -> dict[str, Any]:
        """State for every parameter with a gradient, and the lists over it."""
        params, slots = group["params"], self.slots(group)
        steps = _core.zeros((len(params),), dtype=_core.float32)
        lists: dict[str, Any] = {"steps": steps, "masters": [], **{name: [] for name in slots}}
        with no_grad():
            for i, p in enumerate(params):
                state = self.state.get(p)
                if state is None and p.grad is not None:
                    state = self.state[p] = {}
                if state is not None:
                    self._fill(p, state, slots)
                    steps[i].copy_(state["step"])
                    state["step"] = steps[i]  # a view: the C++ call counts in place
                for name in slots:
                    lists[name].append(None if state is None else state[name])
                if self.master_weights:
                    lists["masters"].append(None if state is None else state.get("master_param"))
        self._lists[index] = lists
        return lists

    def _fill(self, p: Tensor, state: dict[str, Tensor], slots: tuple[str, ...]) -> None:
        dtype = _core.float64 if p.dtype is _core.float64 else _core.float32
        if "step" not in state:
            state["step"] = _core.zeros((), dtype=_core.float32)
        for name in slots:
            if name not in state:
                state[name] = _core.zeros(p.shape, dtype=dtype, device=p.device)
        if self.master_weights and p.dtype is not dtype and "master_param" not in state:
            state["master_param"] = p.detach().to(dtype)

    # ---- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: {name: tensor}}, "param_groups": options, with parameters as numbers}."""
        numbers = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [{**g, "params": [numbers[id(p)] for p in g["params"]]} for g in self.param_groups]
        state = {numbers[id(p)]: dict(values) for p, values in self.state.items()}
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and options of an optimizer with the same groups; the tensors are copied."""
        groups, state = state_dict["param_groups"], state_dict["state"]
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for own, loaded in zip(self.param_groups, groups, strict=True):
            if len(own["params"]) != len(loaded["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
                )

        fresh: dict[Tensor, dict[str, Tensor]] = {}
        for own, loaded in zip(self.param_groups, groups, strict=True):
            for p, number in zip(own["params"], loaded["params"], strict=True):
                values = state.get(number, state.get(str(number)))
                if values:
                    fresh[p] = {name: _owned(p, name, value) for name, value in values.items() if value is not None}
        self.state = fresh
        self._lists.clear()
        _core.structure_changed()
        for own, loaded in zip(self.param_groups, groups, strict=True):
            own.update({k: v for k, v in loaded.items() if k != "params"})

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def _owned(p: Tensor, name: str, value: Any) -> Tensor:
    """A copy of a state value in the dtype the steps keep it in, beside its parameter."""
    dtype = _core.float64 if p.dtype is _core.float64 and name != "step" else _core.float32
    if not isinstance(value, Tensor):
        value = _core.full((), float(value)) if isinstance(value, (int, float)) else _core.from_dlpack(value)
    if name != "step" and tuple(value.shape) != tuple(p.shape):
        raise ValueError(f"state '{name}' has shape {tuple(value.shape)}, its parameter {tuple(p.shape)}")
    value = value if name == "step" else value.to(p.device)
    return value.detach().to(dtype).clone().contiguous().reshape(() if name == "step" else p.shape)


def require(condition: bool, what: str, value: Any) -> None:
    """ValueError as PyTorch words it."""
    if not condition:
        raise ValueError(f"Invalid {what}: {value}")
