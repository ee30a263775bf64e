"""Tests of transfer/networks/backbones/legacy_pickle.py: tensors are read right, and nothing else is done."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.core.errors import UserError
from transfer.networks.backbones.legacy_pickle import MAGIC_NUMBER, PROTOCOL_VERSION, read_tensors


def _global(name: str) -> bytes:
    module, attribute = name.rsplit(".", 1)
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def _int(value: int) -> bytes:
    return b"I" + str(value).encode() + b"\n"


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def _tensor(
    key: str, elements: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0,
    storage: str = "torch.FloatStorage", rebuild: str = "torch._utils._rebuild_tensor_v2",
) -> bytes:  # fmt: skip
    """Opcodes of one tensor, as PyTorch before 1.6 wrote them."""
    place = _tuple(_text("storage"), _global(storage), _text(key), _text("cpu"), _int(elements), b"N") + b"Q"
    hooks = _global("collections.OrderedDict") + b")R"
    numbers = [_tuple(*map(_int, shape)), _tuple(*map(_int, strides))]
    return _global(rebuild) + _tuple(place, _int(offset), *numbers, b"I00\n", hooks) + b"R"


def _file(tensors: dict[str, bytes], storages: dict[str, np.ndarray], magic: int = MAGIC_NUMBER) -> bytes:
    state = b"\x80\x02" + _global("collections.OrderedDict") + b")R("
    state += b"".join(_text(name) + opcodes for name, opcodes in tensors.items()) + b"u."
    head = [magic, PROTOCOL_VERSION, {"protocol_version": PROTOCOL_VERSION, "little_endian": True}]
    content = b"".join(pickle.dumps(value, 2) for value in head) + state + pickle.dumps(list(storages), 2)
    return content + b"".join(struct.pack("<q", values.size) + values.tobytes() for values in storages.values())


def _read(folder: Path, content: bytes) -> dict[str, np.ndarray]:
    path = folder / "weights.pth"
    path.write_bytes(content)
    return read_tensors(path)


SIX = np.arange(6, dtype="<f4")
PLAIN = _file({"a": _tensor("0", 6, (2, 3), (3, 1))}, {"0": SIX})


def test_tensors_are_read_by_name_with_their_strides(tmp_path: Path) -> None:
    tensors = {
        "rows": _tensor("0", 6, (2, 3), (3, 1)),
        "turned": _tensor("0", 6, (3, 2), (1, 3)),
        "part": _tensor("0", 6, (2,), (2,), offset=1),
        "count": _tensor("1", 1, (), (), storage="torch.LongStorage"),
    }
    read = _read(tmp_path, _file(tensors, {"0": SIX, "1": np.array([7], "<i8")}))
    np.testing.assert_array_equal(read["rows"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(read["turned"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(read["part"], [1, 3])
    assert read["count"] == 7
    assert read["turned"].flags.c_contiguous


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "torch.DoubleStorage", "collections.Counter"])
def test_any_other_name_is_refused_and_not_called(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "ran"
    call = _global(name) + _tuple(_text(f"touch {marker}")) + b"R"
    with pytest.raises(UserError, match=f"it names {name}, and only collections.OrderedDict, .* are admitted"):
        _read(tmp_path, _file({"a": call}, {}))
    assert not marker.exists()


def test_a_storage_type_is_not_called(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="storage type is called"):
        _read(tmp_path, _file({"a": _global("torch.FloatStorage") + _tuple(_int(9)) + b"R"}, {}))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "exhausted before seeing STOP"),
        (b"\x80\x02Nr\xff\xff\xff\x3f.", "memo with place 1073741823"),
        (b"Np1073741823\n.", "memo with place 1073741823"),
        (PLAIN[:-1], "bytes of storage 0"),
        (_file({}, {}, magic=1), "magic number"),
        (_file({"a": _tensor("0", 6, (2, 3), (3, 2))}, {"0": SIX}), "reaches element 7 of a storage of 6"),
        (_file({"a": _tensor("0", 6, (2, 3), (3, 1), offset=1)}, {"0": SIX}), "reaches element 6"),
        (_file({"a": _tensor("0", 6, (10**6, 10**6), (0, 0))}, {"0": SIX}), "reaches element"),
        (_file({"a": _tensor("0", 6, (2, 3), (-3, 1))}, {"0": SIX}), "strides"),
        (_file({"a": _tensor("0", 2**40, (2,), (1,))}, {"0": SIX}), "a storage described as"),
        (_file({"a": _tensor("0", 7, (2,), (1,))}, {"0": SIX}), "elements of storage 0"),
        (_file({"a": _tensor("0", 6, (2,), (1,))}, {"1": SIX}), "list of storages"),
        (_file({"a": _int(3)}, {}), "a mapping of names to tensors expected"),
        (_file({"a": _tensor("0", 6, (2,), (1, 1))}, {"0": SIX}), "strides"),
    ],
)
def test_a_wrong_file_is_an_error_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        _read(tmp_path, content)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(PLAIN) - 1), st.integers(0, 255))
def test_any_damage_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int, value: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    damaged = bytearray(PLAIN)
    damaged[place] = value
    for content in (noise, bytes(damaged), PLAIN[:place], PLAIN[:place] + noise + PLAIN[place:]):
        try:
            for tensor in _read(folder, content).values():
                assert tensor.dtype in (np.float32, np.int64)
        except UserError as error:
            assert "expected a legacy PyTorch file" in str(error)
