"""Show what in an image speaks for a class: python -m transfer explain IMAGE… | FOLDER… (see `evaluation.occlusion`)"""

import argparse
from contextlib import suppress
from itertools import count
from pathlib import Path

from transfer.core.errors import UserError
from transfer.dataset.decode import BadImageError
from transfer.evaluation.occlusion import occlusion_map
from transfer.export.classifiers import open_classifier
from transfer.serving.arguments import find_images, list_bad, read_image, shown


def _reserved(folder: Path, image: str) -> Path:
    """Create an empty file for the picture of an image, under a name that no file has, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = Path(image).stem
    for number in count(1):
        path = folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError  # there is always another number


def _number(name: str | None, classes: tuple[str, ...]) -> int | None:
    """Return the number of a class; a UserError says that there is none of that name."""
    if name is not None and name not in classes:
        raise UserError(f"--class: expected one of {', '.join(classes)}, received {name!r}")
    return None if name is None else classes.index(name)


def run(given: argparse.Namespace) -> int:
    """Draw what the command line asks for, and return the exit status."""
    from transfer.evaluation.pictures import (
        draw_explanation,  # matplotlib takes a second to come, and predict needs none
    )

    images = list(find_images(given.images))
    classifier = open_classifier(given.model, given.format)
    contract, bad = classifier.contract, []
    wanted = _number(given.wanted, contract.classes)
    for image in images:
        pixels = read_image(image, contract)
        if isinstance(pixels, BadImageError):
            bad.append((image, str(pixels)))
            continue
        (probabilities,) = classifier.probabilities(pixels[None])
        target = int(probabilities.argmax()) if wanted is None else wanted
        said = f"{contract.classes[target]} {probabilities[target]:.4f}"
        falls = occlusion_map(classifier.probabilities, pixels, target)
        path = _reserved(given.out, image)
        try:
            draw_explanation(pixels, falls, shown(Path(image).name), shown(said), path)
        except BaseException:
            path.unlink()
            raise
        print(f"{shown(image)}: {shown(said)}: {path}", flush=True)
    return list_bad(bad, len(images))
