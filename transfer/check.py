"""Check params.yaml and the dataset's card before any work: python -m transfer check

Every stage reads params.yaml as strictly. But DVC runs no stage for a key that none declares, so a misspelt one beside
the right one would stay unseen. And what does not fit the dataset, or is missing on this machine, is said here by the
stages' own rules, before hours of work. It loads no network; only a huge folder, whose files it lists, takes long.
"""

import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory

from transfer.core.cards import FOLDER_CARDS, Card, read_card, read_folder_card, resolve_symmetry
from transfer.core.cuts import FACTS, known_backbone, resolve_cut
from transfer.core.errors import UserError
from transfer.core.packages import file_in, find
from transfer.core.params import Params, read_params
from transfer.core.strict import MAX_YAML_BYTES
from transfer.dataset.archives import DAMAGE
from transfer.dataset.labels import require_enough
from transfer.dataset.layouts import read_layout
from transfer.dataset.scan import images_in
from transfer.export.classifiers import require_packages
from transfer.networks.backbones.available import require_weights
from transfer.records.activations import STORED, make_plan
from transfer.records.views import count_views
from transfer.training.targets import require_class_weights, require_soft_labels
from transfer.workers.dask_runner import require_dask

PARAMS = Path("params.yaml")
BACKBONE = Path("models/backbone.json")


def check(params: Params) -> list[str]:
    """Check what params.yaml asks for against the dataset's card and against what is on this machine.

    Returns what a user should know, a line each.

    Raises:
        UserError: there is no such dataset; its card is not as it should be, or does not fit; weights or packages are
            missing.
    """
    if params.runner == "dask":
        require_dask()
    require_weights(params.backbone, params.weights)
    if (backbone := known_backbone(params.backbone, BACKBONE)) is not None:
        resolve_cut(backbone, params.finetune.cut)
    require_packages(params.export.formats)
    card, place = read_card(Path(params.dataset))
    counts = _inside(place) if card.source is None and place.is_file() else card
    if counts is None:
        return [f"{place}: what is in it is checked when download unpacks it"]
    symmetry, notes = resolve_symmetry(params.symmetry, counts)
    for section in ("head", "finetune", "baselines", "evaluate"):
        count_views(getattr(params, section).views, symmetry, f"{section}.views")
    require_soft_labels(params.labels, counts.table is not None and counts.table.soft_label is not None)
    classes = counts.classes
    if (folder := local_folder(card, place)) is not None:
        images, others = images_in(folder)
        if card.source is None or not classes:  # a package is pinned, and so what is in it and its card do fit
            classes = read_classes(card, folder, images, others)
        notes += _tight(params, symmetry, counts.channels, [folder / image for image in images])
    if isinstance(params.class_weights, dict) and classes:
        require_class_weights(params.class_weights, classes)
    return notes


def _tight(params: Params, symmetry: str, channels: int, files: list[Path]) -> list[str]:
    """Say if a first run may need more room on the disk than is free here.

    That is an upper bound: all images are taken to be trained on. It counts data/raw, the records, which stand there
    twice for a while, and the activations at the default cut; of another cut, which may be lower, those of the pixels.
    What DVC keeps is linked, and takes no room of its own. It asks for the size of every file, which in a huge folder
    takes a while, but little beside the run itself. Nothing is said of a backbone that KerasHub loads, as its
    activations are not known.
    """
    if params.backbone not in FACTS:
        return []
    sizes = [file.stat().st_size for file in files]
    tuned, size, images = params.finetune, params.image_size, min(len(sizes), params.max_images or len(sizes))
    plan = make_plan(params.backbone, tuned.cut, tuned.augment, count_views(tuned.views, symmetry, "finetune.views"))
    facts = FACTS[params.backbone]
    values = facts.values_a_pixel if tuned.cut == "auto" else facts.most_values
    cached = max(plan.cached.values()) * values * STORED().itemsize
    needed = sum(sizes) + images * size**2 * (2 * channels + cached)
    free = disk_usage(Path()).free
    if needed <= free:
        return []
    return [
        f"disk: a first run may take up to {needed / 1e9:,.1f} GB for {images:,} images, and {free / 1e9:,.1f} GB are "
        "free; free some, or set finetune.views, image_size or max_images lower"
    ]


def local_folder(card: Card, place: Path) -> Path | None:
    """Return the folder of a dataset that lies on this machine unpacked.

    Raises:
        UserError: it is that of a package, and the package is not installed.
    """
    if card.source is None:
        return place if place.is_dir() else None
    if (package := card.source.package) is None:
        return None
    return file_in(find(package.name, package.version), package.folder)


def read_classes(card: Card, folder: Path, images: list[str], others: list[str]) -> tuple[str, ...]:
    """Return the classes of a folder, of whose files these are the images and the others.

    Raises:
        UserError: they cannot be read, are not those of the card, or one has too few images for every split.
    """
    if card.table is not None:
        from transfer.dataset.tables import read_table  # pandas, which it needs, takes half a second

        classes, labels, _ = read_table(card, card.table, folder)
        counts = Counter(zip(labels["split"], labels["label"], strict=True))
    else:
        layout = read_layout(card, folder, images, others)
        classes, counts = layout.classes, Counter((row.split, row.label) for row in layout.labelled)
    require_enough(folder, counts, classes)
    return classes


def _inside(archive: Path) -> Card | None:
    """Return the card of an archive: the uppermost in it. None where only unpacking tells, as of a tar.

    Raises:
        UserError: the card is not as it should be.
    """
    try:
        with zipfile.ZipFile(archive) as entries:
            names = [name for name in entries.namelist() if name.split("/")[-1] in FOLDER_CARDS]
            names = [name for name in names if "__MACOSX" not in name.split("/")]
            if not names:
                return Card(title=archive.name)
            found = entries.getinfo(min(names, key=lambda name: name.count("/")))
            if found.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return None  # which download refuses
            with entries.open(found) as file:
                content = file.read(MAX_YAML_BYTES + 1)
    except DAMAGE:
        return None  # download says what is wrong
    with TemporaryDirectory() as folder:
        (card := Path(folder, Path(found.filename).name)).write_bytes(content)
        try:
            return read_folder_card(Path(folder))
        except UserError as error:
            raise UserError(str(error).replace(str(card), f"{archive}/{found.filename}")) from error


def main(dataset: str | None = None) -> None:
    """Check params.yaml, and what it asks for; with another dataset, as if that were given there.

    Prints what a user should know, and that all fits.

    Raises:
        UserError: see `read_params` and `check`.
    """
    params = read_params(PARAMS)
    params = params if dataset is None else replace(params, dataset=dataset)
    for line in (*check(params), f"no problems found in {PARAMS} and {params.dataset}"):
        print(f"check: {line}")
