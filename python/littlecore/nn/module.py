"""Module: parameters, buffers and children in a tree, with PyTorch's names for everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .. import _core
from .._core import Tensor, float32, float64
from .._core import device as Device
from .._core import dtype as DType
from ..autograd import no_grad
from . import hooks
from .parameter import Parameter, is_floating_point, set_data
from .state import IncompatibleKeys, load_state_dict

T = TypeVar("T", bound="Module")


class Module(_core.CallsForward):
    """Base class of all layers and models. Assigning a Parameter or a Module to an attribute registers it.

    A registered value also stands in the instance's `__dict__`, so that reading `self.weight` is an ordinary attribute
    access. Register by assignment or `register_*`; the dicts `_parameters`, `_buffers`, `_modules` are for reading.
    """

    training: bool
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _hooked = False  # an instance with hooks shadows it with True: a call without hooks costs one look-up

    def __init__(self) -> None:
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _modules={}, _non_persistent_buffers_set=set())

    if TYPE_CHECKING:  # what is registered is known at run time only

        def __getattr__(self, name: str) -> Any: ...

    # ---- registration ------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' (Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif name in own.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' (Module or None expected)"
                )
            self.add_module(name, None)
        elif name in own.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign '{type(value).__name__}' as buffer '{name}' (Tensor or None expected)")
            own["_buffers"][name] = value
            own[name] = value
            _core.structure_changed()
        else:
            object.__setattr__(self, name, value)
            _core.structure_changed()

    def __delattr__(self, name: str) -> None:
        for registry in ("_parameters", "_buffers", "_modules"):
            self.__dict__[registry].pop(name, None)
        self._non_persistent_buffers_set.discard(name)
        object.__delattr__(self, name)
        _core.structure_changed()

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; None keeps the name without a value (a layer without bias)."""
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' as parameter '{name}' (Parameter or None expected)"
            )
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add state that is not trained. persistent=False leaves it out of `state_dict`."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{type(tensor).__name__}' as buffer '{name}' (Tensor or None expected)")
        self._register("_buffers", name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under `name`."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._register("_modules", name, module)

    register_module = add_module

    def _register(self, registry: str, name: str, value: Any) -> None:
        own = self.__dict__
        if registry not in own:
            raise AttributeError(f"cannot assign '{name}' before Module.__init__() call")
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"a module's attribute must be a non-empty string without '.', not {name!r}")
        if hasattr(type(self), name):
            raise KeyError(f"attribute '{name}' already exists in {type(self).__name__}")
        for other in ("_parameters", "_buffers", "_modules"):
            if other != registry:
                own[other].pop(name, None)
        own[registry][name] = value
        own[name] = value
        _core.structure_changed()

    # ---- calling -----------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"Module [{type(self).__name__}] is missing the required 'forward' function")

    if TYPE_CHECKING:  # CallsForward does it

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def _call_hooked(self, *args: Any, **kwargs: Any) -> Any:
        return hooks.call(self, args, kwargs)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> hooks.RemovableHandle:
        """hook(module, args) before `forward`; what it returns replaces args."""
        return hooks.register(self, "forward_pre", hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> hooks.RemovableHandle:
        """hook(module, args, output) after `forward`; what it returns replaces the output."""
        return hooks.register(self, "forward", hook, prepend, with_kwargs)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> hooks.RemovableHandle:
        """hook(module, grad_output) when the gradients of the outputs are known; may replace them."""
        return hooks.register(self, "backward_pre", hook, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> hooks.RemovableHandle:
        """hook(module, grad_input, grad_output) when the gradients of the inputs are known; may replace grad_input."""
        return hooks.register(self, "backward", hook, prepend)

    # ---- the tree ----------------------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, depth first, each once."""
        memo = set() if memo is None else memo
        if remove_duplicate and id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct children, each once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly below this one."""
        return (m for _, m in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) pairs; a tied parameter appears under its first name."""
        yield from self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module, and with recurse of those below it, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(name, buffer) of this module and those below it; names begin with prefix."""
        yield from self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and those below it, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def _named(self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in getattr(module, registry).items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield _join(path, name), value

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; "" is this one."""
        module: Module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                raise AttributeError(f"{type(module).__name__} has no submodule '{name}' (looking for '{target}')")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name; AttributeError where there is none."""
        path, _, name = target.rpartition(".")
        value = self.get_submodule(path)._parameters.get(name)
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no parameter '{target}'")
        return value

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name; AttributeError where there is none."""
        path, _, name = target.rpartition(".")
        value = self.get_submodule(path)._buffers.get(name)
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no buffer '{target}'")
        return value

    def apply(self: T, fn: Callable[[Module], Any]) -> T:
        """Call fn on every module below, children first, then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ---- modes, types, gradients -------------------------------------------------------------------------------------

    def train(self: T, mode: bool = True) -> T:
        """Training mode: dropout drops, batch_norm uses the batch's statistics."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        if self.training is not mode:
            self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: T) -> T:
        """Leaves training mode: the same as train(False). Returns the module."""
        return self.train(False)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        """Says of every parameter whether it gets a gradient. Returns the module."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters; without set_to_none they become zeros."""
        for p in self.parameters():
            if p.grad is None:
                continue
            if set_to_none:
                p.grad = None
            else:
                p.grad = p.grad.detach().zero_()

    def to(self: T, *args: Any, device: Any = None, dtype: Any = None) -> T:
        """Change device and floating-point dtype, in place: to(dtype), to(device), to(device, dtype), to(tensor)."""
        for arg in args:
            if isinstance(arg, DType):
                dtype = arg
            elif isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, (str, Device)):
                device = arg
            elif arg is not None:
                raise TypeError(f"to: expected a device, a dtype or a tensor, got {type(arg).__name__}")
        if dtype is not None and not is_floating_point(dtype):
            raise TypeError(f"to: only floating-point dtypes are accepted, got {dtype}")

        def convert(x: Tensor) -> Tensor:
            if device is not None:
                x = x.to(device)
            return x.to(dtype) if dtype is not None and is_floating_point(x.dtype) else x

        return self._apply(convert)

    def float(self: T) -> T:
        """Converts floating-point parameters and buffers to float32. Returns the module."""
        return self.to(float32)

    def double(self: T) -> T:
        """Converts floating-point parameters and buffers to float64. Returns the module."""
        return self.to(float64)

    def cpu(self: T) -> T:
        """Moves parameters and buffers to the CPU. Returns the module."""
        return self.to("cpu")

    def cuda(self: T, device: Any = None) -> T:
        """Moves parameters and buffers to a GPU. Returns the module."""
        return self.to("cuda" if device is None else device)

    def _apply(self: T, fn: Callable[[Tensor], Tensor]) -> T:
        # Parameters keep their identity (optimizers and tied layers hold them); only what they hold changes.
        with no_grad():
            for p in self.parameters():
                grad = p.grad
                set_data(p, fn(p.detach()))
                if grad is not None:
                    p.grad = fn(grad)
            for module in self.modules():
                for name, buffer in module._buffers.items():
                    if buffer is not None:
                        setattr(module, name, fn(buffer))
        return self

    # ---- state -------------------------------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted name, detached; they share memory with the module."""
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules(prefix=prefix.rstrip("."), remove_duplicate=False):
            persistent = (b for b in module._buffers.items() if b[0] not in module._non_persistent_buffers_set)
            for name, value in (*module._parameters.items(), *persistent):
                if value is not None:
                    state[_join(path, name)] = value if keep_vars else value.detach()
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values in by name. Values may be tensors, NumPy arrays or anything with DLPack.

        strict: missing or unexpected keys are an error. Shapes must always agree. Nothing is changed on an error.
        assign: take the given tensors instead of copying into the present ones (keeps their dtype).
        """
        return load_state_dict(self, state_dict, strict, assign)

    # ---- printing ----------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The arguments to show in `repr`; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [f"({name}): {_indent(repr(child))}" for name, child in self._modules.items()]
        if len(extra) == 1 and not children:
            return f"{type(self).__name__}({extra[0]})"
        lines = extra + children
        return f"{type(self).__name__}(" + ("\n  " + "\n  ".join(lines) + "\n" if lines else "") + ")"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def summary(self, *example: Any, verbose: bool = True) -> Any:
        """Table of shapes, parameters and FLOPs. `example`: input shapes (tuples) or tensors. See `nn.summary`."""
        from .summary import summary

        return summary(self, *example, verbose=verbose)

    def draw(self, *example: Any) -> Any:
        """The model as a flow of data, text or SVG. `example`: input shapes (tuples) or tensors. See `nn.draw`."""
        from .draw import draw

        return draw(self, *example)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
