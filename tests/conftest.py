"""What tests share: tiny images that a tiny backbone can tell apart, and a project folder to run stages in."""

import gc
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import transfer  # noqa: F401 (sets what TensorFlow reads when it is imported, which is below)

ROOT = Path(__file__).parent.parent

with warnings.catch_warnings():  # what third parties warn of while they are imported is not ours to mend
    warnings.simplefilter("ignore")
    import ai_edge_litert.interpreter  # noqa: F401
    import dvclive  # noqa: F401
    import onnxruntime  # noqa: F401
    import openvino  # noqa: F401
    import tensorflow as tf  # noqa: F401
    import tf2onnx  # noqa: F401

    from transfer.core.cuts import CUTS
    from transfer.core.strict import load_yaml
    from transfer.overrides import merged
    from transfer.records.tfrecords import Example, records_in_shard, write_shard


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> Iterator[None]:
    """Leave what was there before, millions of objects of TensorFlow, out of collections of garbage.

    What is tested collects often (statsmodels does with each correction of p-values), and would take seconds each time.
    """
    gc.freeze()
    yield
    gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left with it in the end; what runs whole pipelines, or
    measures, is slow (see pyproject.toml).
    """
    for item in items:
        if {"end_to_end", "benchmarks"} & set(item.path.relative_to(ROOT).parts):
            item.add_marker(pytest.mark.slow)
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.parent.name != "end_to_end", item.path not in long))


def colour_images(folder: Path, classes: dict[str, tuple[int, int, int]], each: int, size: int = 40) -> None:
    """Write `each` noisy PNGs of one colour into a folder for each class."""
    random = np.random.default_rng(0)
    for name, colour in classes.items():
        (folder / name).mkdir(parents=True)
        for i in range(each):
            noise = random.normal(0, 25, (size, size, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:03}.png")


SMALL = merged(
    load_yaml(ROOT / "params.yaml"),
    {
        "lr": 1e-3,
        "dataset": "pictures",
        "image_size": 32,
        "batch_size": 8,
        "max_bad_fraction": 0.2,
        "split": {"test": 0.25, "validation": 0.25},
        "labels": "hard",
        "head": {
            "pooling": "average", "units": [8], "dropout": 0.1, "epochs": 25, "lr": 1e-2, "label_smoothing": 0.0,
            "views": 1,
        },
        "finetune": {
            "cut": "block1", "epochs": 2, "warmup": 0.25, "weight_decay": 0.01, "label_smoothing": 0.0,
            "views": 1, "averaging": 0.0,
        },
        "baselines": {
            "views": 1,
            "ann": {"image_size": 8, "units": [8], "epochs": 8, "lr": 1e-2},
            "cnn": {"image_size": 8, "filters": [8], "dropout": 0.0, "epochs": 8, "lr": 1e-2},
        },
        "evaluate": {"views": 1},
        "resamples": 100,
    },
    "tests",
)  # fmt: skip
"""Params for tiny images."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and a dataset of two colours; the working directory of the test."""
    colour_images(tmp_path / "pictures", {"blue": (40, 60, 200), "red": (200, 60, 40)}, each=24)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand a backbone of a few layers in for EfficientNet-Lite0: the same names of cuts and kinds of layers,
    random weights that are scaled so that features are not 0."""
    import keras
    from keras import layers

    from transfer.networks.backbones import registry
    from transfer.networks.backbones.weights import PackagedWeights

    def build(image_size: int) -> keras.Model:
        random = keras.initializers.HeNormal
        pixels = keras.Input((image_size, image_size, 3), name="pixels")
        x = layers.Rescaling(2.0, -1.0, name="rescale")(pixels)
        x = layers.Conv2D(8, 3, 2, "same", use_bias=False, kernel_initializer=random(1), name="block1_conv")(x)
        x = layers.BatchNormalization(name="block1_bn")(x)
        x = entry = layers.ReLU(6.0, name="block1_out")(x)
        x = layers.DepthwiseConv2D(
            3, padding="same", use_bias=False, depthwise_initializer=random(2), name="block2_depthwise_conv"
        )(x)
        x = layers.BatchNormalization(name="block2_depthwise_bn")(x)
        x = layers.ReLU(6.0, name="block2_relu")(x)
        x = layers.Conv2D(8, 1, use_bias=False, kernel_initializer=random(3), name="block2_project_conv")(x)
        x = layers.BatchNormalization(name="block2_project_bn")(x)
        x = layers.Add(name="block2_out")([entry, x])
        x = layers.Conv2D(16, 1, use_bias=False, kernel_initializer=random(4), name="top_conv")(x)
        x = layers.BatchNormalization(name="top_bn")(x)
        return keras.Model(pixels, layers.ReLU(6.0, name="top_out")(x), name="tiny")

    original = registry.BACKBONES["efficientnet_lite0"]
    packaged = original.weights["packaged"]
    assert isinstance(packaged, PackagedWeights)
    layer_names = {"stem": "block1_out", "block1": "block1_out", "top": "top_out"}
    tiny = registry.Backbone(
        build=build,
        cuts={cut: layer_names.get(cut, "block2_out") for cut in CUTS["efficientnet_lite0"]},
        weights={"packaged": replace(packaged, load=lambda *_: None)},
    )
    monkeypatch.setitem(registry.BACKBONES, "efficientnet_lite0", tiny)


def write_records(examples: Iterable[Example], folder: Path, image_bytes: int) -> int:
    """Write examples as the records of one split, and return their number."""
    folder.mkdir(parents=True)
    examples, in_shard = list(examples), records_in_shard(image_bytes)
    for start in range(0, len(examples), in_shard):
        write_shard(examples[start : start + in_shard], folder / f"{start // in_shard:05}.tfrecord")
    return len(examples)


RunStage = Callable[..., None]


@pytest.fixture
def run_stage(monkeypatch: pytest.MonkeyPatch) -> RunStage:
    """Run a stage's main() with its arguments in the working directory."""
    import importlib

    def run(name: str, *arguments: str) -> None:
        monkeypatch.setattr("sys.argv", [name, *arguments])
        importlib.import_module(f"stages.{name}").main()

    return run


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
