"""Check params.yaml and the dataset's card before any work: python -m transfer.check

Every stage reads params.yaml as strictly. But DVC runs no stage for a key that none declares, so a misspelt one beside
the right one would stay unseen.
"""

from pathlib import Path

from transfer.cards import read_card
from transfer.errors import run
from transfer.params import Params, read_params
from transfer.views import count_views

PARAMS = Path("params.yaml")


def check(params: Params) -> None:
    """Read the dataset's card, and hold the numbers of views against its symmetry.

    Raises:
        UserError: there is no such dataset, its card is not as it should be, or allows fewer views.
    """
    card, _ = read_card(Path(params.dataset))
    for section in ("head", "finetune", "baselines", "evaluate"):
        count_views(getattr(params, section).views, card.symmetry, f"{section}.views")


def main() -> None:
    """Check both.

    Raises:
        UserError: see `read_params` and `check`.
    """
    check(read_params(PARAMS))


if __name__ == "__main__":
    run(main)
