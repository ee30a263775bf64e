"""Complete a params.yaml that lacks keys: python -m transfer repair

DVC runs no stage without the keys that the stage declares. So that a user's file may be ten lines, the keys that it
lacks are written into it, with the values of the newest commit whose params.yaml is complete.
"""

import subprocess
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.serialize import modify_yaml, parse_yaml, parse_yaml_for_update

from transfer.check import PARAMS
from transfer.core.errors import UserError
from transfer.core.params import Params
from transfer.core.strict import load_yaml, validate
from transfer.overrides import are_sections

NEWEST = "20"
"""So many commits are looked into."""


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=False, capture_output=True, text=True).stdout


def _committed() -> Any:
    """Return the newest committed params that are complete, with their comments; {} if there are none."""
    for commit in _git("log", "-n", NEWEST, "--format=%H", "--", str(PARAMS)).split():
        text = _git("show", f"{commit}:./{PARAMS}")
        try:
            validate(Params, parse_yaml(text, PARAMS), PARAMS)
        except (UserError, DvcException):
            continue
        return parse_yaml_for_update(text, PARAMS)
    return {}


def _complete(given: Any, whole: Any, section: str = "") -> list[str]:
    """Put what `given` lacks of `whole` into it, and return the dotted keys of that."""
    added = []
    for name, value in whole.items():
        if name not in given:
            given[name] = value
            added.append(f"{section}{name}")
        elif are_sections(name, given[name], value):
            added += _complete(given[name], value, f"{section}{name}.")
    return added


def complete() -> list[str]:
    """Add the keys that params.yaml lacks, and return them; none, where no commit has them, or there is no file.

    Raises:
        UserError: the file cannot be read, or would be wrong with these keys, too. It is then left as it is.
    """
    if not PARAMS.exists():
        return []
    given, whole = load_yaml(PARAMS), _committed()
    if not isinstance(given, dict) or not _complete(given, whole):
        return []
    validate(Params, given, PARAMS)  # first, as the right key must not be added beside a misspelt one
    with modify_yaml(PARAMS) as params:
        return _complete(params, whole)


def main() -> None:
    """Complete the file, and say which keys it lacked.

    Raises:
        UserError: see `complete`.
    """
    if added := complete():
        print(f"{PARAMS}: added what was missing, with the committed values: {', '.join(added)}")
