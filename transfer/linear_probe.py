"""Judge frozen backbones by linear probes: logistic regressions on their features, cross-validated.

Only training images are read: no other is decoded, and neither are the records of the other splits.
"""

import hashlib
import re
import time
import timeit
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from transfer.core.arrays import Floats, Labels, Pixels
from transfer.core.cuts import FOLDERS
from transfer.core.errors import UserError
from transfer.core.files import sha256_of, written_whole
from transfer.core.params import Params
from transfer.core.progress import progress_bar
from transfer.core.spec import Conversion, Spec
from transfer.dataset.decode import BadImageError, decode_pixels
from transfer.dataset.groups import merged_groups
from transfer.dataset.pool import AHEAD, ShardImages
from transfer.dataset.preprocess import read_raw
from transfer.dataset.shards import open_shard, read_image
from transfer.inference.engines import check_agreement, choose_engine, make_engine
from transfer.networks.backbones.available import PACKAGED
from transfer.networks.backbones.registry import fetch, frozen_output
from transfer.networks.seeds import fix_seeds
from transfer.records.tfrecords import BATCH, normalise
from transfer.workers.threads import in_order

FOLDS = 5
PRIOR = 10.0
"""Variance of a logit that the penalty on the weights stands for, whatever the number of features. On the solar
cells it gives the least log loss of 0.1 to 2,560 for each EfficientNet-Lite; a third or three times of it changes no
order."""
REPEATS = 10  # batches that are timed
RUN = "dvc repro preprocess"


@dataclass(frozen=True)
class TrainingImages:
    """The images that are trained on, in the order of data/raw, with their labels (n,).

    `groups` (n,) has the same name for images that belong together: copies of each other, or one group of the dataset.
    """

    shards: list[ShardImages]
    labels: Labels
    groups: NDArray[np.str_]
    spec: Spec

    def batches(self, size: int) -> Iterator[Floats]:
        """Decode them at a size, as preprocess does, to what networks take: (n, size, size, 3).

        Raises:
            UserError: data/raw is damaged, or not what it was.
        """
        pixels = (pixels for shard in self.shards for pixels in self._decoded(shard, size))
        while batch := list(islice(pixels, BATCH)):
            yield normalise(np.stack(batch))

    def _decoded(self, images: ShardImages, size: int) -> Iterator[Pixels]:
        spec = self.spec
        how = Conversion(spec.bit_depth, spec.background, spec.resize)
        with open_shard(images.shard) as shard:

            def decoded(name: str) -> Pixels:
                try:
                    return decode_pixels(read_image(shard, name), size, spec.channels, how)
                except BadImageError as error:
                    raise UserError(f"{images.shard}: {name}: {error}; it was read before: {RUN}") from error

            yield from in_order(decoded, images.images, AHEAD)

    def digest(self) -> str:
        """Return a hash of what the pixels depend on at any size: the files' names and checksums, and how they are
        read.
        """
        spec = self.spec
        found = hashlib.sha256(repr((spec.channels, spec.bit_depth, spec.background, spec.resize)).encode())
        for path, names in self.shards:
            with open_shard(path) as shard:
                for name in names:
                    found.update(f"{name!r} {shard.getinfo(name).CRC}\n".encode())
        return found.hexdigest()


def read_training_images(raw_folder: Path, spec_file: Path, splits: Path, duplicates: Path) -> TrainingImages:
    """Read which images are trained on, from what the stages download and preprocess wrote.

    Raises:
        UserError: something is missing, or not of the same run.
    """
    for needed in (raw_folder, spec_file, splits, duplicates):
        if not needed.exists():
            raise UserError(f"{needed} is missing; make it: {RUN}")
    spec, raw = Spec.read(spec_file), read_raw(raw_folder)
    table, copies = (
        pd.read_csv(path, dtype=str, keep_default_na=False, lineterminator="\n") for path in (splits, duplicates)
    )
    train = table[table["split"] == "train"].merge(raw.labels[["image", "group"]], on="image")
    if len(train) != spec.counts["train"] or not set(train["label"]) <= set(spec.classes):
        raise UserError(f"{raw_folder}, {spec_file} and {splits} are not of the same run; make them again: {RUN}")
    train = train.assign(same=train["image"].replace(dict(zip(copies["image"], copies["same"], strict=True))))
    train = train.assign(group=merged_groups(train)).set_index("image")
    shards = [ShardImages(path, [name for name in names if name in train.index]) for path, names in raw.shards]
    train = train.loc[[name for _, names in shards for name in names]]
    labels = train["label"].map({name: number for number, name in enumerate(spec.classes)})
    groups = train["group"].where(train["group"] != "", train.index)
    return TrainingImages(shards, np.array(labels, np.int64), np.array(groups, np.str_), spec)


@dataclass(frozen=True)
class Features:
    """What a frozen backbone makes of the training images: `values` (n, channels), pooled.

    `seconds` is how long the pass over them took, and `image_seconds` how long an image takes in a batch that is in
    memory, at best: other programs may run beside. `parameters` are those of the backbone, and `engine` computed them.
    """

    values: Floats
    seconds: float
    image_seconds: float
    parameters: int
    engine: str

    def write(self, path: Path) -> None:
        """Write to a file, *.npz."""
        with written_whole(path) as part:
            np.savez(part, **vars(self))

    @classmethod
    def read(cls, path: Path) -> "Features":
        """Read what `write` wrote."""
        with np.load(path) as held:
            return cls(**{name: value if value.ndim else value.item() for name, value in held.items()})


def compute_features(params: Params, images: TrainingImages) -> Features:
    """Run the backbone of params.yaml, with its weights, image size, pooling and engine, over the images as they are.

    Raises:
        UserError: the weights cannot be had, or the engine does not agree with TensorFlow.
    """
    fix_seeds(params.seed)
    folders = Path(FOLDERS)
    backbone, model, _ = fetch(params.backbone, params.weights, params.image_size, params.seed, folders, params.pixels)
    trunk = keras.Model(model.input, frozen_output(model, backbone, "top", params.head.pooling))
    engine = make_engine(trunk, params.engine)
    first = next(images.batches(params.image_size))
    check_agreement(engine, trunk, first)
    start, parts = time.perf_counter(), []
    with progress_bar(len(images.labels), f"embed {params.backbone}") as progress:
        for part in engine.run(images.batches(params.image_size)):
            parts.append(part)
            progress.update(len(part))
    seconds = time.perf_counter() - start
    fastest = min(timeit.repeat(lambda: list(engine.run([first])), number=1, repeat=REPEATS))
    return Features(np.concatenate(parts), seconds, fastest / len(first), model.count_params(), engine.name)


def _weights(params: Params) -> tuple[object, ...]:
    """Return what names the weights of a backbone. Those of a hub go by its name for them."""
    packaged = PACKAGED.get(params.backbone) if params.weights == "packaged" else None
    in_folder = sorted(Path(params.backbone).rglob("*")) if params.backbone.startswith(FOLDERS) else []
    held = [(file.name, sha256_of(file)) for file in in_folder if file.is_file()]
    seed = params.seed if params.weights == "none" else None
    return params.weights, packaged and packaged.sha256, seed, held, params.pixels


def cached_features(params: Params, images: TrainingImages, folder: Path) -> tuple[Features, bool]:
    """Return the features, and whether they are from a file in `folder`; if not, they are written to one.

    Its name is a hash of all that they depend on but the code.

    Raises:
        UserError: see `compute_features`.
    """
    depends = (_weights(params), params.image_size, params.head.pooling, choose_engine(params.engine), images.digest())
    key = hashlib.sha256(repr((params.backbone, depends)).encode()).hexdigest()[:16]
    path = folder / f"{re.sub('[:/]+', '-', params.backbone)}-{key}.npz"
    if path.exists():
        return Features.read(path), True
    features = compute_features(params, images)
    features.write(path)
    return features, False


def cross_validate(values: Floats, images: TrainingImages, seed: int) -> NDArray[np.float64]:
    """Return class probabilities (n, classes), those of each image from a regression that was not fitted to it.

    The folds have the proportions of the classes, and a group is whole in one.

    Raises:
        UserError: the images of a class all belong to one group, so that there are no folds.
    """
    groups_of = {name: images.groups[images.labels == number] for number, name in enumerate(images.spec.classes)}
    rarest = min(groups_of, key=lambda name: len(set(groups_of[name])))
    if (folds := min(FOLDS, len(set(groups_of[rarest])))) < 2:
        raise UserError(
            f"class {rarest!r}: expected at least 2 training images that are no copies of each other and not of one "
            "group, received 1; add images"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PRIOR / values.shape[1], max_iter=1000))
    cv = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    predict = partial(cross_val_predict, groups=images.groups, cv=cv, method="predict_proba")
    return np.asarray(predict(model, values.astype(np.float64), images.labels), np.float64)
