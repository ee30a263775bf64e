"""Read the tensors of a PyTorch file of the time before 1.6, without PyTorch and without running anything in it.

Such a file is a sequence of pickles: a magic number, a protocol number, a description of the writing system, the
state (an ordered mapping of names to tensors) and the list of storage keys; after these, for each key in that order,
an int64 element count and the raw values. A pickle can name any importable function and have it called. So this
reader admits the four names that a file of weights needs, gives each a meaning of its own here, and refuses every
other. (The fourth, torch.LongStorage, holds the counters that PyTorch keeps in its batch normalisation.)
"""

import math
import pickle
import pickletools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TypeGuard

import numpy as np
from numpy.typing import NDArray

from transfer.core.errors import UserError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
MAX_ELEMENTS = 2**31  # of one storage: larger than any backbone offered here
MAX_MEMO = 10**6  # objects of a pickle, a few for each tensor

Tensor = NDArray[Any]  # float32 or int64


@dataclass(frozen=True)
class _Storage:
    """A block of values of one type, named in the pickle and stored behind it."""

    key: str
    elements: int
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _TensorView:
    """Where one tensor lies in its storage: offset, shape and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _StorageType:
    """Stands for torch.FloatStorage and its like, which the pickle passes on as a type and never calls."""

    dtype: np.dtype[Any]

    def __call__(self, *_: object) -> object:
        raise pickle.UnpicklingError("a storage type is called, and only its name is expected")


def _rebuild_tensor(
    storage: object, offset: object, shape: object, strides: object, _requires_grad: object, _hooks: object
) -> _TensorView:
    """Stand for torch._utils._rebuild_tensor_v2; the last two arguments matter to training in PyTorch alone."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    if not (_is_count(offset) and _are_counts(shape) and _are_counts(strides) and len(shape) == len(strides)):
        raise pickle.UnpicklingError(f"a tensor with offset {offset!r}, shape {shape!r}, strides {strides!r}")
    return _TensorView(storage, offset, shape, strides)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ELEMENTS


def _are_counts(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and all(_is_count(item) for item in value)


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows four names."""

    ADMITTED: ClassVar[dict[tuple[str, str], Callable[..., object]]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch", "FloatStorage"): _StorageType(np.dtype("<f4")),
        ("torch", "LongStorage"): _StorageType(np.dtype("<i8")),
    }

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        try:
            return self.ADMITTED[module, name]
        except KeyError:
            admitted = ", ".join(".".join(pair) for pair in self.ADMITTED)
            raise pickle.UnpicklingError(f"it names {module}.{name}, and only {admitted} are admitted") from None

    def persistent_load(self, pid: object) -> _Storage:
        match pid:
            case ("storage", _StorageType(dtype), str() as key, str(), int() as elements, None):
                if 0 <= elements <= MAX_ELEMENTS:
                    return _Storage(key, elements, dtype)
        raise pickle.UnpicklingError(f"a storage described as {pid!r}")


def _require_small_memo(file: BinaryIO) -> None:
    """Check the next pickle: 5 bytes can have Python allocate 64 GB for the list of what the pickle refers back to."""
    start = file.tell()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of escapes in damaged text
        for operation, argument, _ in pickletools.genops(file):
            if operation.name.endswith("PUT") and (argument or 0) > MAX_MEMO:
                raise pickle.UnpicklingError(f"a memo with place {argument}, and {MAX_MEMO} are allowed")
    file.seek(start)


def _expect(received: object, expected: object, what: str) -> None:
    if received != expected:
        raise pickle.UnpicklingError(f"{what}: {expected!r} expected, {received!r} received")


def _read_storages(file: BinaryIO, keys: object, named: dict[str, _Storage]) -> dict[str, Tensor]:
    """Read the raw values behind the pickles: for each key an int64 count and that many little-endian values."""
    if not isinstance(keys, list) or sorted(map(repr, keys)) != sorted(map(repr, named)):
        raise pickle.UnpicklingError("the list of storages differs from those that the tensors name")
    storages: dict[str, Tensor] = {}
    for key in keys:
        _expect(int.from_bytes(file.read(8), "little", signed=True), named[key].elements, f"elements of storage {key}")
        size = named[key].elements * named[key].dtype.itemsize
        raw = file.read(size)
        _expect(len(raw), size, f"bytes of storage {key}")
        storages[key] = np.frombuffer(raw, named[key].dtype)
    return storages


def _gather(view: _TensorView, storage: Tensor) -> Tensor:
    """Copy a tensor out of its storage. The strides count: PyTorch does not store every tensor row by row."""
    if math.prod(view.shape) == 0:
        return np.empty(view.shape, storage.dtype)
    last = view.offset + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    if last >= storage.size or math.prod(view.shape) > storage.size:
        raise pickle.UnpicklingError(f"a tensor reaches element {last} of a storage of {storage.size}")
    byte_strides = tuple(stride * storage.itemsize for stride in view.strides)
    strided = np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, byte_strides, writeable=False)
    return np.array(strided, order="C")


def _read_tensors(file: BinaryIO) -> dict[str, Tensor]:
    def load() -> Any:
        _require_small_memo(file)
        return _Unpickler(file, encoding="utf-8").load()

    _expect(load(), MAGIC_NUMBER, "magic number")
    _expect(load(), PROTOCOL_VERSION, "protocol")
    system = load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise pickle.UnpicklingError(f"a little-endian writer expected, {system!r} received")
    state = load()
    if not isinstance(state, OrderedDict) or not all(
        isinstance(name, str) and isinstance(view, _TensorView) for name, view in state.items()
    ):
        raise pickle.UnpicklingError("a mapping of names to tensors expected")
    named = {view.storage.key: view.storage for view in state.values()}
    storages = _read_storages(file, load(), named)
    return {name: _gather(view, storages[view.storage.key]) for name, view in state.items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a legacy PyTorch file by name, each a contiguous float32 or int64 array.

    Raises:
        UserError: the file is not such a file, is truncated, or its pickle names anything but the four admitted
            names (collections.OrderedDict, torch._utils._rebuild_tensor_v2, torch.FloatStorage, torch.LongStorage).
    """
    try:
        with path.open("rb") as file:
            return _read_tensors(file)
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: expected a legacy PyTorch file of weights, received: {error}") from error
    except (OverflowError, MemoryError, RecursionError) as error:
        raise UserError(f"{path}: expected a legacy PyTorch file, received one that cannot be read: {error}") from error
