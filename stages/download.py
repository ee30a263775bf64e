"""Fetch the dataset into data/raw."""

from pathlib import Path

from transfer.core.declared import reads, writes
from transfer.core.errors import run
from transfer.core.params import read_params
from transfer.dataset.obtain import obtain

PARAMS = reads("params.yaml")
RAW = writes("data/raw")


def main() -> None:
    """Copy images and labels from the source in the card, and check them."""
    params = read_params(PARAMS)
    done = obtain(Path(params.dataset), RAW)
    print(f"read   {params.dataset}: {done.card.title}")
    print(f"wrote  {RAW}: {done.images} images, {len(done.labels)} labels")
    print(*(f"       {line}" for line in (done.classes(), *done.divisions(), *done.notes)), sep="\n")
    if done.passed_over:
        shown = ", ".join(done.passed_over[:5]) + (", …" if len(done.passed_over) > 5 else "")
        print(f"       skipped {len(done.passed_over)} files that are not images ({shown})")
    if done.unlabelled:
        print(f"       skipped {len(done.unlabelled)} images without labels ({done.unlabelled[0]}, …)")
    print(f"       licence: {done.card.licence}")


if __name__ == "__main__":
    run(main)
