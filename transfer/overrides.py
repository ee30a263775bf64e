"""Parameters laid over those of params.yaml."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from transfer.core.errors import UserError
from transfer.core.strict import load_yaml, unknown

FREE = ("class_weights", "weights")
"""Params whose mappings have keys of the user's own: a new mapping replaces the old one instead of being merged."""


def are_sections(name: str, *values: object) -> bool:
    """Tell whether both values are sections of params.yaml, which are merged key by key."""
    return name not in FREE and all(isinstance(value, dict) for value in values)


def merged(old: dict[str, Any], new: dict[str, Any], where: str, section: str = "") -> dict[str, Any]:
    """Return parameters with the values of `new` laid over `old`, section by section; neither is changed.

    `old` is the content of params.yaml, or of its `section`, a dotted key with a dot at its end. `where` says in
    messages where `new` is from.

    Raises:
        UserError: `new` names a parameter that `old` has not.
    """
    result = copy.deepcopy(old)
    for name, value in new.items():
        if name not in old:
            raise UserError(f"{where}: {unknown(section + name, old)}")
        both = are_sections(name, value, old[name])
        result[name] = merged(old[name], value, where, f"{section}{name}.") if both else copy.deepcopy(value)
    return result


def parse(assignment: str) -> dict[str, Any]:
    """Turn `head.lr=1e-3`, as `dvc exp run -S` takes it, into `{"head": {"lr": …}}`.

    Raises:
        UserError: there is no `=`, an empty key, or no YAML behind it.
    """
    key, equals, text = assignment.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"-S: expected KEY=VALUE, received {assignment!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"-S {key}: expected a value in YAML, received {text!r}") from error
    for name in reversed(key.split(".")):
        value = {name: value}
    result: dict[str, Any] = value
    return result


def overlaid(params: dict[str, Any], preset: Path | None, assignments: Sequence[str]) -> dict[str, Any]:
    """Return the content of params.yaml with a preset laid over it, and then each assignment, in order.

    Raises:
        UserError: the preset is no file or no mapping, or see `merged` and `parse`.
    """
    if preset is not None:
        given = load_yaml(preset)
        if not isinstance(given, dict):
            raise UserError(f"{preset}: expected keys of params.yaml with their values, received {given!r}")
        params = merged(params, given, str(preset))
    for assignment in assignments:
        params = merged(params, parse(assignment), "-S")
    return params


def differences(old: dict[str, Any], new: dict[str, Any], section: str = "") -> dict[str, Any]:
    """Return, by their dotted keys, the values of `new` that are not those of `old`, which has the same keys."""
    found: dict[str, Any] = {}
    for name, value in new.items():
        if are_sections(name, value, old[name]):
            found |= differences(old[name], value, f"{section}{name}.")
        elif value != old[name]:
            found[f"{section}{name}"] = value
    return found
