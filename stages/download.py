"""Bring the dataset into data/raw."""

import shutil
from pathlib import Path

from transfer.errors import run
from transfer.params import read_params
from transfer.paths import reads, writes
from transfer.sources import obtain

PARAMS = reads("params.yaml")
RAW = writes("data/raw")


def main() -> None:
    """Copy images and labels from where the card says, and check them."""
    params = read_params(PARAMS)
    shutil.rmtree(RAW, ignore_errors=True)
    card, labels, images = obtain(Path(params.dataset), RAW)
    print(f"read   {params.dataset}: {card.title}")
    print(f"wrote  {RAW}: {images} images, {len(labels)} labels")
    print("       " + ", ".join(f"{(labels['label'] == name).sum()} {name}" for name in card.classes))
    print(f"       licence: {card.licence}")


if __name__ == "__main__":
    run(main)
