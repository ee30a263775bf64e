"""List the backbones that params.yaml can name: python -m transfer backbones [PATTERN]"""

from fnmatch import fnmatchcase

from transfer.core.cuts import FACTS, HUB, read_hub_presets, source_size
from transfer.core.errors import UserError
from transfer.networks.backbones.available import at_hand, folders_here


def main(pattern: str = "") -> None:
    """Print a line for each backbone with the pattern in its name: parameters, size trained at, weights.

    KerasHub's presets are many, and listed where a pattern asks for them.

    Raises:
        UserError: there is none.
    """
    known = {name: (f"{facts.parameters:,}", facts.trained_size) for name, facts in FACTS.items()}
    known |= {name: ("", source_size(name)) for name in folders_here()}  # only loading tells their parameters
    listed = read_hub_presets().items()
    presets = {name: (f"{int(row['parameters']):,}", int(row["trained_size"])) for name, row in listed}
    if pattern:
        known |= presets
    found = {name: facts for name, facts in known.items() if fnmatchcase(name.lower(), f"*{pattern.lower()}*")}
    if not found:
        raise UserError(f"no backbone has {pattern!r} in its name; python -m transfer backbones lists all of them")
    width = max(len(name) for name in ("backbone", *found))
    print(f"{'backbone':{width}}  {'parameters':>13}  trained at  weights")
    for name, (parameters, size) in found.items():
        print(f"{name:{width}}  {parameters:>13}  {size:7} px  {at_hand(name)}")
    if not pattern:
        print(f"and {len(presets)} presets of KerasHub: python -m transfer backbones {HUB}")
