"""List the backbones that params.yaml can name: python -m transfer backbones [PATTERN]"""

from fnmatch import fnmatchcase

from transfer.core.cuts import FACTS
from transfer.core.errors import UserError
from transfer.networks.backbones.available import at_hand


def main(pattern: str = "") -> None:
    """Print a line for each backbone with the pattern in its name: parameters, size trained at, weights.

    Raises:
        UserError: there is none.
    """
    found = {name: facts for name, facts in FACTS.items() if fnmatchcase(name.lower(), f"*{pattern.lower()}*")}
    if not found:
        raise UserError(f"no backbone has {pattern!r} in its name; python -m transfer backbones lists all of them")
    width = max(len(name) for name in ("backbone", *found))
    print(f"{'backbone':{width}}   parameters  trained at  weights")
    for name, facts in found.items():
        print(f"{name:{width}}  {facts.parameters:11,}  {facts.trained_size:7} px  {at_hand(name)}")
