"""Datasets of TensorFlow Datasets (TFDS), written out as image files with their class names and splits.

TFDS is imported inside of functions: that takes seconds, and no dataset but these needs it.
"""

import difflib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import build_opener

import numpy as np
import pandas as pd
from PIL import Image

from transfer.core.errors import UserError, one_line
from transfer.core.progress import progress_bar
from transfer.dataset.labels import SPLIT_WORDS

SIGNATURES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"RIFF": ".webp",
}
"""First bytes of a file of each format, as its specification gives them."""
UNKNOWN_SUFFIX = ".bin"  # of bytes that are no image: preprocess decodes by content, and puts these into quarantine
IN_A_FOLDER = 1000  # files: a folder of many thousands is slow to list
CONNECT_SECONDS = 20.0  # for a first answer. TFDS itself waits without end, and tries each URL eleven times in 200 s
HOSTS_TRIED = 3


@dataclass(frozen=True)
class TfdsImages:
    """A dataset of TFDS, written out.

    `classes` are the names that its ClassLabel gives, in the order of the class numbers. `labels` has the columns image
    (path below the folder, with /), label (class name) and split (train, validation, test, or "" where the dataset has
    one split only, under another name). `passed_over` are its splits that are none of these, with their sizes, and
    `unlabelled` the images without a label (-1, as in a hidden test) as SPLIT/NUMBER: neither is written.
    """

    classes: tuple[str, ...]
    labels: pd.DataFrame
    passed_over: list[str]
    unlabelled: list[str]


def bring(name: str, version: str | None, data_dir: Path | None, folder: Path) -> TfdsImages:
    """Write all labelled images of a dataset as files below `folder`; it is prepared first, where it is not yet.

    Args:
        name: NAME or NAME/CONFIG, as TFDS names it.
        version: for instance 3.0.1, or 3.*.*; None takes TFDS' newest.
        data_dir: where it is, or will be, prepared (in NAME/VERSION or NAME/CONFIG/VERSION). None: TFDS' own place,
            $TFDS_DATA_DIR or ~/tensorflow_datasets.
        folder: where the images go; made if it is not there.

    Raises:
        UserError: TFDS has no such dataset, it cannot be had or is damaged, or it is not one of images with classes.
    """
    builder = find_builder(name, version, data_dir)
    prepare(builder)
    return bring_images(builder, folder)


def find_builder(name: str, version: str | None, data_dir: Path | None) -> Any:
    """Return the builder of a dataset: by TFDS' code for it, or by what is prepared in `data_dir` without any code.

    Raises:
        UserError: there is none of that name, configuration or version. The message names those that there are.
    """
    import tensorflow_datasets as tfds

    root = Path(data_dir or tfds.core.constants.get_default_data_dir()).expanduser()
    wanted = {} if version is None else {"version": version}
    with _quiet():
        try:
            return tfds.builder(name, data_dir=str(root), **wanted)
        except tfds.core.DatasetNotFoundError:
            raise UserError(_not_found(f"{name}:{version}" if version else name, root)) from None
        except Exception as error:  # TFDS and the code of its datasets raise errors of many kinds
            raise UserError(f"tfds: {name}: {one_line(error, 300)}; correct the card's source") from error


def _not_found(wanted: str, root: Path) -> str:
    """Say that there is no such dataset, and what comes close to it."""
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    for info in sorted([*root.glob("*/*/dataset_info.json"), *root.glob("*/*/*/dataset_info.json")]):
        *names, version = info.parent.relative_to(root).parts
        known.append(f"{'/'.join(names)}:{version}")
    close = difflib.get_close_matches(wanted, known, 5, 0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "correct the card's source"
    return f"tfds: TFDS {tfds.__version__} has no dataset {wanted!r}, and none is prepared in {root}; {hint}"


def prepare(builder: Any) -> None:
    """Download and prepare a dataset, where it is not prepared.

    Raises:
        UserError: it cannot be downloaded, or it has to be brought by hand. The message says what was tried.
    """
    import tensorflow_datasets as tfds

    with _quiet():
        if builder.is_prepared():
            return
        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        try:
            if not builder.MANUAL_DOWNLOAD_INSTRUCTIONS:  # the user's to download, and TFDS says what and from where
                _require_reachable(builder.url_infos or {})
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
        except Exception as error:  # the code of datasets raises errors of every kind
            dataset, version = builder.info.full_name.rsplit("/", 1)
            command = f"import tensorflow_datasets as t; t.load('{dataset}:{version}')"
            raise UserError(
                f"tfds: {dataset} {version}: expected it prepared in {builder.data_path}, or a way to prepare it, "
                f'received: {one_line(error, 300)}; prepare it where there is one (python -c "{command}") and copy '
                f"~/tensorflow_datasets/{dataset}/{version} here, or name the folder with {dataset} as data_dir"
            ) from error


def _require_reachable(urls: "dict[str, Any]") -> None:
    """Ask the first few hosts that a dataset is downloaded from for an answer; one is enough.

    Raises:
        OSError: none answers within `CONNECT_SECONDS`.
    """
    hosts = {urlsplit(url).netloc: url for url in reversed(urls)}
    tried = []
    for url in list(hosts.values())[:HOSTS_TRIED]:
        try:
            with build_opener().open(url, timeout=CONNECT_SECONDS):
                return
        except HTTPError:  # it answers; what the answer means is TFDS' to say
            return
        except OSError as error:
            tried.append(f"{url}: {getattr(error, 'reason', error)}")
    if tried:
        raise OSError("; ".join(tried))


def bring_images(builder: Any, folder: Path) -> TfdsImages:
    """Write all labelled images of a prepared dataset as files SPLIT/00000/SPLIT-000000.SUFFIX below `folder`.

    An image that TFDS keeps encoded is written byte for byte; a tensor of uint8, (height, width) or (height, width, 1,
    3 or 4), as PNG. The number is the image's place in its split, which is the same on every machine. One image at a
    time is held in memory.

    Raises:
        UserError: the dataset has not one image and one class label in an example, fewer than two classes, no split
            that can be used, or it is damaged.
    """
    image, label = _features(builder)
    classes = tuple(builder.info.features[label].names)
    if len(classes) < 2:
        raise UserError(f"tfds: {builder.info.full_name}: expected two or more classes, received {list(classes)}")
    splits, passed_over = _splits(builder)
    rows, unlabelled = [], []
    with progress_bar(sum(builder.info.splits[name].num_examples for name in splits), "write") as progress:
        for name, split in splits.items():
            for number, (content, target) in enumerate(_examples(builder, name, image, label)):
                progress.update()
                if target < 0:
                    unlabelled.append(f"{name}/{number}")
                else:
                    rows.append((_write(content, folder, name, number), classes[target], split))
    labels = pd.DataFrame(rows, columns=["image", "label", "split"])
    return TfdsImages(classes, labels, passed_over, unlabelled)


def _features(builder: Any) -> tuple[str, str]:
    """Return the names of the image and of the class label in an example."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    found = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    images = [name for name, feature in found.items() if _is_image(feature)]
    labels = [name for name, feature in found.items() if isinstance(feature, tfds.features.ClassLabel)]
    keys = builder.info.supervised_keys
    if isinstance(keys, tuple) and len(keys) == 2 and keys[0] in images and keys[1] in labels:
        return keys[0], keys[1]
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    kinds = [f"{name} ({type(feature).__name__})" for name, feature in found.items()]
    raise UserError(
        f"tfds: {builder.info.full_name}: expected an image of 8 or 16 bits and a ClassLabel, one of each or chosen by "
        f"supervised_keys, received {', '.join(kinds) or type(features).__name__}; supervised_keys: {keys}"
    )


def _is_image(feature: Any) -> bool:
    """Tell whether a feature is an encoded image, or a tensor that is one."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.Image):  # TFDS keeps floats as the bits of a PNG, which show nothing
        return np.dtype(feature.np_dtype) in {np.dtype(np.uint8), np.dtype(np.uint16)}
    if type(feature) is not tfds.features.Tensor or np.dtype(feature.np_dtype) != np.uint8:
        return False
    return len(feature.shape) == 2 or (len(feature.shape) == 3 and feature.shape[2] in (1, 3, 4))


def _splits(builder: Any) -> tuple[dict[str, str], list[str]]:
    """Return what each split of the dataset is called here, and those that are passed over, with their sizes.

    A single split of another name holds all images, and none of them has a given split.
    """
    sizes = {name: builder.info.splits[name].num_examples for name in builder.info.splits}
    exact_first = sorted(sizes, key=lambda name: (name not in SPLIT_WORDS.values(), name))
    chosen: dict[str, str] = {}
    for name in exact_first:
        if (split := SPLIT_WORDS.get(name.lower())) is not None and split not in chosen.values():
            chosen[name] = split
    if not chosen and len(sizes) == 1:
        chosen = dict.fromkeys(sizes, "")
    if not chosen:
        raise UserError(
            f"tfds: {builder.info.full_name}: expected one split, or splits named {', '.join(SPLIT_WORDS)}, "
            f"received {', '.join(sizes) or 'none'}"
        )
    return chosen, [f"split {name}: {size} examples" for name, size in sizes.items() if name not in chosen]


def _examples(builder: Any, split: str, image: str, label: str) -> Iterator[tuple[Any, int]]:
    """The (image, class number) of a split, in the order of its files: encoded bytes, or an array of uint8.

    Raises:
        UserError: a file is missing or damaged.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    encoded = [name for name, feature in builder.info.features.items() if isinstance(feature, tfds.features.Image)]
    try:
        dataset = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders={name: tfds.decode.SkipDecoding() for name in encoded},
            # One file after the other: by default the examples of 16 are interleaved, if there are as many.
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        for example in dataset.as_numpy_iterator():
            yield example[image], int(example[label])
    except (tf.errors.OpError, AssertionError, OSError) as error:
        place = builder.data_path
        raise UserError(
            f"{place}: split {split}: expected what TFDS prepared, received: {one_line(error, 300)}"
        ) from error


def _write(content: Any, folder: Path, split: str, number: int) -> str:
    """Write an image and return its path below the folder."""
    tensor = isinstance(content, np.ndarray)
    known = (suffix for signature, suffix in SIGNATURES.items() if not tensor and content.startswith(signature))
    suffix = ".png" if tensor else next(known, UNKNOWN_SUFFIX)
    image = f"{split}/{number // IN_A_FOLDER:05}/{split}-{number:06}{suffix}"
    path = folder / image
    path.parent.mkdir(parents=True, exist_ok=True)
    if tensor:
        Image.fromarray(content[..., 0] if content.ndim == 3 and content.shape[2] == 1 else content).save(path)
    else:
        path.write_bytes(content)
    return image


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what TFDS and urllib3 log of their own steps; what matters of it is in the error."""
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
