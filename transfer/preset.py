"""Run the pipeline with a preset laid over params.yaml: python -m transfer preset presets/hour.yaml

A preset is YAML with some keys of params.yaml. It is run as an experiment of DVC, as if each key had been given to
`dvc exp run -S`; what stands behind the file on the command line (--name, --queue, a stage) goes to `dvc exp run`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transfer import run
from transfer.check import PARAMS, check
from transfer.core.errors import UserError
from transfer.core.params import Params
from transfer.core.strict import load_yaml, validate
from transfer.overrides import differences, overlaid

NAME = re.compile(r"(?!(?:inf|nan|null|true|false|on|off|yes|no)$)[a-z_][\w-]*", re.ASCII | re.IGNORECASE)
"""What Hydra takes as a key of a mapping, and as a string, and what is one to PyYAML where DVC has written it."""


def _quoted(text: str) -> str:
    """Quote a string as Hydra's grammar has it: a backslash is one, but for those before a quotation mark."""
    return '"' + re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + ("\\" + found[2] if found[2] else ""), text) + '"'


def as_override(key: str, value: Any) -> str:
    """Return KEY=VALUE in the grammar of `dvc exp run -S`, which is Hydra's.

    Raises:
        UserError: a mapping has a key that the grammar has no place for.
    """

    def text(value: Any) -> str:
        if isinstance(value, Mapping):
            for name in value:
                if not NAME.fullmatch(str(name)):
                    raise UserError(
                        f"{key}: `dvc exp run -S` cannot take the key {name!r} (only letters, digits, _ and -); "
                        f"write it into {PARAMS} instead"
                    )
            return "{" + ",".join(f"{name}:{text(inner)}" for name, inner in value.items()) + "}"
        if isinstance(value, list | tuple):
            return "[" + ",".join(text(inner) for inner in value) + "]"
        return _quoted(value) if isinstance(value, str) else json.dumps(value)

    return f"{key}={text(value)}"


def _as_read(given: Any, read: Any) -> Any:
    """Return what a YAML file holds with the numbers as they were read: 5e-4 is a string to PyYAML."""
    if isinstance(given, dict) and isinstance(read, Mapping):
        return {name: _as_read(value, read.get(str(name))) for name, value in given.items()}
    return read if isinstance(given, str) and isinstance(read, float) else given


def overrides_of(preset: Path) -> list[str]:
    """Return what of a preset differs from params.yaml, for `dvc exp run -S`; an auto stays one.

    Raises:
        UserError: the preset, or params.yaml with it, is not as it should be, or the dataset's card does not fit.
    """
    given = load_yaml(PARAMS)
    before = validate(Params, given, PARAMS)
    wanted = overlaid(given, preset, [])
    after = validate(Params, wanted, preset)
    check(after)
    old, overrides = _as_read(given, asdict(before)), []
    for key, value in differences(old, _as_read(wanted, asdict(after))).items():
        override = as_override(key, value)
        # Hydra would lay a mapping over the one that is there, key by key: so that one goes first.
        replaces = isinstance(value, Mapping) and isinstance(old.get(key), Mapping)
        overrides += [f"~{key}", f"+{override}"] if replaces else [override]
    return overrides


def main(preset: Path, options: Sequence[str]) -> int:
    """Check the preset, say what it changes, and run it; the options go to `dvc exp run`.

    Raises:
        UserError: see `run.repair` and `overrides_of`.
    """
    run.repair()
    overrides = overrides_of(preset)
    print(f"{preset}: {' '.join(overrides) or f'as {PARAMS}'}", flush=True)
    return run.dvc("exp", "run", *(part for override in overrides for part in ("-S", override)), *options)
