"""YAML read strictly into frozen dataclasses.

An unknown key, a missing key, a wrong type and an impossible value are errors that name the key and say how to fix it.
"""

import difflib
import re
import reprlib
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from transfer.core.errors import UserError, one_line

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
AN_INSTANCE = re.compile(r"a dictionary or an instance of \w+")  # what pydantic calls a section
WORDS = {
    "Input should be a valid integer": "expected an integer",
    "Input should be a valid tuple": "expected a list",
    "Input should be a valid": "expected a",
    "Input should be": "expected",
    "Tuple should have": "expected",
    " after validation, not 0": "",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
}
"""Pydantic's words, and ours."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
MAX_YAML_BYTES = 1 << 20  # a thousand times what params.yaml has
MERGE_TAG = "tag:yaml.org,2002:merge"
SHORT = reprlib.Repr()
"""Shows a value in a message: aliases let a few lines of YAML stand for more than any memory holds."""
SHORT.maxstring = SHORT.maxother = SHORT.maxlong = 200
SHORT.maxdict = SHORT.maxlist = SHORT.maxtuple = 20
SHORT.maxlevel = 3


def number(value: Any) -> Any:
    """Turn 5e-4 and 1e-05 into floats: to YAML 1.1, and so to PyYAML, these are strings; to DVC they are numbers."""
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


Int = Annotated[int, Strict()]
Byte = Annotated[Int, Field(ge=0, le=255)]
Str = Annotated[str, Strict()]
Sha256 = Annotated[Str, Field(pattern="^[0-9a-f]{64}$")]
Float = Annotated[float, Strict(), BeforeValidator(number)]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key given twice is an error: PyYAML would keep the last and lose the first.

    So is `<<`: a few lines of merged mappings can stand for more than any memory holds.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # which the safe loader refuses
            line = key_node.start_mark.line + 1
            if key_node.tag == MERGE_TAG:
                raise yaml.YAMLError(f"line {line}: merge keys (<<) are not allowed; write the keys out")
            if key_node.value in seen:
                raise yaml.YAMLError(f"line {line}: the key {key_node.value!r} is there twice; remove one")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> Any:
    """Read one YAML document.

    Raises:
        UserError: no such file, one that is too large, no YAML, or a key given twice.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: expected a file, received {'a folder' if path.is_dir() else 'a device or pipe'}")
        if (size := path.stat().st_size) > MAX_YAML_BYTES:
            raise UserError(f"{path}: expected at most {MAX_YAML_BYTES:,} bytes of YAML, received {size:,}")
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a subclass of SafeLoader)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML: {one_line(error)}") from error


def _section(schema: Any, keys: tuple[str | int, ...]) -> Any:
    """Return the dataclass at the end of a path of keys, or None where there is none."""
    for key in keys:
        schema = get_type_hints(schema).get(str(key)) if is_dataclass(schema) else None
        schema = next((part for part in get_args(schema) if is_dataclass(part)), schema)  # SECTION | None
    return schema if is_dataclass(schema) else None


def unknown(key: str, known: Iterable[str]) -> str:
    """Return the message that a key is unknown, with the known one that is meant, or else all of them."""
    names = list(known)
    close = difflib.get_close_matches(key.rsplit(".", maxsplit=1)[-1], names, n=1)
    if close:
        return f"{key}: unknown key; did you mean {close[0]}?"
    return f"{key}: unknown key; use one of {', '.join(names)}"


def _describe(error: ErrorDetails, schema: Any) -> str:
    """Say in one line where a value is wrong, what was expected and what was received."""
    keys = error["loc"]
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = [field.name for field in fields(section)] if (section := _section(schema, keys[:-1])) else []
        return unknown(".".join(map(str, keys)), known)
    where = ".".join(str(key) for key in keys if isinstance(key, int) or key.isidentifier())
    if error["type"] in ("missing", "missing_argument"):
        return f"{where}: missing; add this key"
    message = error["msg"].removeprefix("Value error, ")
    for theirs, ours in WORDS.items():
        message = message.replace(theirs, ours)
    message = AN_INSTANCE.sub("a mapping", message)
    message = message if message.startswith("expected") else f"expected {message[0].lower()}{message[1:]}"
    if error["type"] != "value_error":  # a message of our own says what was received
        message += f", received {SHORT.repr(error['input'])}"
    return f"{where}: {message}" if where else message


def validate(schema: type[T], value: Any, path: Path) -> T:
    """Turn what a YAML file held into the dataclass `schema`.

    Raises:
        UserError: one line for each thing that is wrong, with its key, what was expected and what was received.
    """
    try:
        return TypeAdapter(schema).validate_python(value)
    except ValidationError as error:
        lines = dict.fromkeys(f"{path}: {_describe(detail, schema)}" for detail in error.errors())
        raise UserError("\n       ".join(lines)) from error
