"""Check params.yaml and the dataset's card before any work: python -m transfer.check

Every stage reads params.yaml as strictly. But DVC runs no stage for a key that none declares, so a misspelt one beside
the right one would stay unseen.
"""

from pathlib import Path

from transfer.cards import read_card
from transfer.errors import run
from transfer.params import read_params
from transfer.views import count_views

PARAMS = Path("params.yaml")


def main() -> None:
    """Read both, and hold the numbers of views against the symmetry of the dataset."""
    params = read_params(PARAMS)
    card, _ = read_card(Path(params.dataset))
    for section in ("head", "finetune", "baselines"):
        count_views(getattr(params, section).views, card.symmetry, f"{section}.views")


if __name__ == "__main__":
    run(main)
