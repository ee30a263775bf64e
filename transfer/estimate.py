"""Estimate what a run will cost on this machine: seconds, bytes on disk and peak memory of each stage.

A few batches of everything that takes long are measured: decoding a sample of the images, a pass of the backbone, some
training steps of each network, all at their real sizes but with random weights. `costs` multiplies these by the numbers
of images, views and epochs. Only stages that `dvc repro` would run count; if there are none, nothing is measured.
"""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np
from dvc.exceptions import NotDvcRepoError
from dvc.repo import Repo
from dvc.stage import Stage

from transfer.check import BACKBONE, PARAMS, local_folder, read_classes
from transfer.core.cards import Card, read_card, resolve_symmetry
from transfer.core.cost import peak_memory
from transfer.core.cuts import Named, known_backbone
from transfer.core.params import Params, Split, read_params
from transfer.core.spec import Conversion
from transfer.dataset.decode import BadImageError, decode
from transfer.dataset.scan import images_in
from transfer.evaluation import prediction_cost
from transfer.evaluation.occlusion import OVERLAP, WINDOWS
from transfer.evaluation.scores import MOST_MISTAKES
from transfer.export import cost as export_cost
from transfer.inference.engines import make_engine
from transfer.networks.lora import add_updates
from transfer.networks.network import Architecture, Network, baseline_architecture, build, from_pixels
from transfer.records.activations import STORED, Plan, make_plan
from transfer.records.views import count_views
from transfer.training.batches import ViewBatches
from transfer.training.budget import NOT_COUNTED, PROBED, StepClock
from transfer.training.loop import compiled
from transfer.training.memory import keep_freed_memory
from transfer.training.recipe import Recipe, planned_epochs
from transfer.training.strategy import training_on
from transfer.workers.threads import in_order

SAMPLE = 32  # images that are decoded, that the backbone computes, and in a measured training step at most
FORWARD = 1 / 3  # of a training step is its forward pass: the backward pass computes about twice as much
FLOAT = 4  # bytes
TIMED = sum(batch * (prediction_cost.WARM_UP + count) for batch, count in prediction_cost.REPEATS.items())
DRAWN = MOST_MISTAKES * (OVERLAP * (WINDOWS - 1) + 1) ** 2
"""Images that evaluate predicts besides those of the splits: to time prediction, and to draw the worst mistakes."""
TIMED_EXPORT = sum(batch * (export_cost.WARM_UP[batch] + count) for batch, count in export_cost.REPEATS.items())
LONG = 3600
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says how many bytes of memory a container may use: cgroup v2, which has "max" for all of them, and v1."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Training:
    """Of a network's training: seconds until it begins, seconds per image, peak memory and weights in bytes."""

    begin: float
    image: float
    memory: int
    weights: int


@dataclass(frozen=True)
class Rates:
    """What was measured here.

    Seconds: `start` of a process with TensorFlow; `build` of the backbone and its engine; `read`, `decode` and
    `forward` (the whole backbone) of an image. Bytes: `file`, the mean of an image file; `memory` of a process with
    TensorFlow, and with the backbone; `activations` of a view at the cuts `head` and `finetune`.
    """

    start: float
    build: float
    read: float
    decode: float
    forward: float
    file: float
    memory: tuple[int, int]
    activations: Mapping[str, int]
    trainings: Mapping[str, Training]


@dataclass(frozen=True)
class Cost:
    """Of a stage: seconds, bytes that its outputs take on disk, and bytes of memory at its peak."""

    seconds: float
    disk: float = 0
    memory: float = 0


def costs(images: int, params: Params, card: Card, rates: Rates) -> dict[str, Cost]:
    """Estimate what each stage of dvc.yaml costs with so many images of the card's dataset."""
    counts = _Counts.of(images, params.split)
    base, backbone = rates.memory
    size = {name: training.weights for name, training in rates.trainings.items()}
    formats, winner = len(params.export.formats), max(size["finetuned"], size["ann"])
    exported = formats * (2 * rates.start + (counts.validation + TIMED_EXPORT) * rates.forward)
    record = params.image_size**2 * card.channels
    return {
        "download": Cost(rates.start + 2 * images * rates.read, images * rates.file, base),
        "weights": Cost(rates.start + rates.build, size["finetuned"], base),
        "preprocess": Cost(rates.start + images * (rates.read + rates.decode), images * record, base),
        "embed": _embedded(counts, params, card, rates),
        **_trained(counts, params, rates),
        **{f"evaluate@{name}": _judged(images, params, card, rates, name) for name in rates.trainings},
        "compare": Cost(rates.start, 0, base),
        "export": Cost(rates.start + rates.build + exported, formats * winner, 2 * backbone),
    }


@dataclass(frozen=True)
class _Counts:
    """Images of each split."""

    train: int
    validation: int

    @classmethod
    def of(cls, images: int, split: Split) -> "_Counts":
        test, validation = (round(images * part) for part in (split.test, split.validation))
        return cls(images - test - validation, validation)


def _trained(counts: _Counts, params: Params, rates: Rates) -> dict[str, Cost]:
    """The stages that train. `held` is what stays in memory of an image: while they are read, those of a baseline are
    there twice.
    """

    def cost(name: str, epochs: int, held: int = 0) -> Cost:
        of = rates.trainings[name]
        seen = epochs * (counts.train + counts.validation * FORWARD)
        seconds = of.begin + seen * of.image
        seconds = min(seconds, params.time_budget_s or seconds)
        return Cost(rates.start + seconds, of.weights, of.memory + (counts.train + counts.validation) * held)

    baselines = {"ann": params.baselines.ann, "cnn": params.baselines.cnn}
    return {
        **{
            f"train_baseline@{name}": cost(name, of.epochs, 2 * 3 * FLOAT * of.image_size**2)
            for name, of in baselines.items()
        },
        "train_head": cost("head", planned_epochs(params.head.epochs, "head", counts.train)),
        "finetune": cost("finetuned", planned_epochs(params.finetune.epochs, "finetuned", counts.train)),
    }


def _embedded(counts: _Counts, params: Params, card: Card, rates: Rates) -> Cost:
    """The cuts share a pass, unless that of fine-tuning wants more views."""
    cached = {"head": {"train": _views(params, card, "head"), "validation": 1}, "finetune": _plan(params, card).cached}
    views = {cut: counts.train * of["train"] + counts.validation * of["validation"] for cut, of in cached.items()}
    passes = views["head"] + (views["finetune"] if views["finetune"] > views["head"] else 0)
    disk = sum(views[cut] * rates.activations[cut] for cut in views)
    return Cost(rates.start + rates.build + passes * rates.forward, disk, rates.memory[1])


def _judged(images: int, params: Params, card: Card, rates: Rates, name: str) -> Cost:
    forward = rates.trainings[name].image * FORWARD if name in ("ann", "cnn") else rates.forward
    predicted = (images + TIMED) * _views(params, card, "evaluate") + DRAWN
    return Cost(2 * rates.start + rates.build + predicted * forward, 0, rates.memory[1])


def _views(params: Params, card: Card, section: str) -> int:
    symmetry, _ = resolve_symmetry(params.symmetry, card)
    return count_views(getattr(params, section).views, symmetry, f"{section}.views")


def _backbone(params: Params) -> Named:
    backbone = known_backbone(params.backbone, BACKBONE)
    assert backbone is not None, "main ends before, where it is not known"
    return backbone


def _plan(params: Params, card: Card) -> Plan:
    tuned = params.finetune
    return make_plan(_backbone(params), tuned.cut, tuned.augment, _views(params, card, "finetune"))


def measure(params: Params, card: Card, classes: tuple[str, ...], files: Sequence[Path]) -> Rates:
    """Measure on some of the images, and with random weights."""
    keep_freed_memory()
    start, base = time.process_time(), peak_memory()  # all that this process has done is to start
    sample = files[:: max(1, len(files) // SAMPLE)][:SAMPLE]
    read, contents = _timed(lambda: [file.read_bytes() for file in sample])
    decoding, _ = _timed(lambda: list(in_order(lambda data: _decoded(data, params, card), contents, SAMPLE)))
    with training_on(params.precision):
        trainings = {}
        for name, baseline in (("ann", params.baselines.ann), ("cnn", params.baselines.cnn)):
            small = build(baseline_architecture(baseline, params.image_size, classes))
            trainings[name] = _train(small.top, small, params.batch_size)
        building, network = _timed(lambda: _network(params, card, classes))
        converting, engine = _timed(lambda: make_engine(network.whole, params.engine))
        pixels = np.random.default_rng(0).random((SAMPLE, *network.whole.input_shape[1:]), np.float32)
        list(engine.run([pixels[:2]]))
        forward, _ = _timed(lambda: list(engine.run([pixels])))
        backbone, above = peak_memory(), network.whole.get_layer("head")
        trainings["head"] = _train(above, network, params.batch_size)
        if params.finetune.method == "lora":
            add_updates(network)
        trained = from_pixels(network) if _plan(params, card).from_pixels else network.top
        trainings["finetuned"] = _train(trained, network, params.batch_size, params.finetune.averaging)
    return Rates(
        start=start,
        build=building + converting,
        read=read / len(sample),
        decode=decoding / len(sample),
        forward=forward / SAMPLE,
        file=sum(file.stat().st_size for file in files) / len(files),
        memory=(base, backbone),
        activations={"head": _bytes(above.input_shape), "finetune": _bytes(network.trunk.output_shape)},
        trainings=trainings,
    )


def _network(params: Params, card: Card, classes: tuple[str, ...]) -> Network:
    head = params.head
    architecture = Architecture(
        "transfer", params.image_size, classes, head.units, head.dropout, _backbone(params), head.pooling
    )
    return build(architecture, _plan(params, card).cut)


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the seconds that some work takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _decoded(data: bytes, params: Params, card: Card) -> None:
    with suppress(BadImageError):
        decode(data, params.image_size, card.channels, Conversion())


def _bytes(shape: tuple[int, ...]) -> int:
    """Return the size of the activations (n, …) of an image, as they are stored."""
    return math.prod(shape[1:]) * np.dtype(STORED).itemsize


def _train(trained: keras.Model, network: Network, batch_size: int, averaging: float = 0.0) -> Training:
    """Train a part of a network for a few steps. For batches larger than `SAMPLE`, its memory is scaled up."""
    began, before, batch = time.perf_counter(), peak_memory(), min(batch_size, SAMPLE)
    images = np.broadcast_to(np.full((), 0.5, STORED), (PROBED * batch, *trained.input_shape[1:]))
    targets = np.eye(trained.output_shape[-1], dtype=np.float32)[np.zeros(len(images), np.int64)]
    compiled(trained, Recipe(1, 1e-3, averaging=averaging), PROBED)
    clock = StepClock()
    batches = ViewBatches([images], targets, batch, 0)
    trained.fit(batches.feed(), steps_per_epoch=PROBED, callbacks=[clock], shuffle=False, verbose=0)
    step = clock.seconds_per_step(NOT_COUNTED)
    begin = max(0.0, time.perf_counter() - began - PROBED * step)
    memory = before + (peak_memory() - before) * batch_size // batch
    return Training(begin, step / batch, memory, network.whole.count_params() * FLOAT)


def table(estimated: Mapping[str, Cost]) -> list[str]:
    """Return the lines of a table of stages, and of the whole."""
    each = estimated.values()
    total = Cost(sum(of.seconds for of in each), sum(of.disk for of in each), max(of.memory for of in each))
    lines = [f"{'stage':20}{'minutes':>8}{'disk':>11}{'memory':>11}"]
    for name, of in {**estimated, "all": total}.items():
        lines.append(f"{name:20}{of.seconds / 60:8.1f}{of.disk / 1e6:8,.0f} MB{of.memory / 1e6:8,.0f} MB")
    return lines


def warnings(estimated: Mapping[str, Cost], memory: float) -> list[str]:
    """Say which stages need more than so many bytes of memory, or take long, and which keys help."""
    lines = []
    for name, of in estimated.items():
        if of.memory > memory:
            keys = "baselines.*.image_size" if "baseline" in name else "batch_size, image_size"
            lines.append(
                f"memory: {name} needs about {of.memory / 1e9:,.1f} GB, and this machine has {memory / 1e9:,.1f} GB; "
                f"set {keys} or max_images lower"
            )
    if estimated.get("finetune", Cost(0)).seconds > LONG:
        lines.append(
            "time: fine-tuning takes more than an hour; time_budget_s limits it, and fewer finetune.epochs, a higher "
            "finetune.cut, a smaller image_size or max_images shorten it"
        )
    return lines


def memory_here() -> int:
    """Return the bytes of memory that this machine has, or those of them that the container may use."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # there is no such file, or no limit
            found.append(int(path.read_text(encoding="ascii")))
    return min(found)


def stale_stages() -> set[str] | None:
    """Return the stages that `dvc repro` would run: what has changed, and what depends on it. None without DVC."""
    try:
        repo = Repo()
    except NotDvcRepoError:
        return None
    with repo:
        changed, graph = set(repo.status()), repo.index.graph

        def stale(stage: Stage) -> bool:
            return stage.addressing in changed or any(stale(above) for above in graph.successors(stage))

        return {stage.addressing for stage in graph if stale(stage)}


def main(dataset: str | None = None) -> None:
    """Print the estimate; with another dataset, as if that were given in params.yaml."""
    params = read_params(PARAMS)
    stale = stale_stages() if dataset is None else None
    if stale == set():
        print("check: all stages are up to date")
        return
    if known_backbone(params.backbone, BACKBONE) is None:
        print("check: time, disk and memory cannot be estimated before the stage weights has loaded the backbone")
        return
    card, place = read_card(Path(dataset or params.dataset))
    if (folder := local_folder(card, place)) is None:
        print("check: time, disk and memory cannot be estimated before the images have been downloaded and unpacked")
        return
    found = images_in(folder)
    files = [folder / image for image in found[0]]
    classes = read_classes(card, folder, *found)
    images = min(len(files), params.max_images or len(files))
    rates = measure(params, card, classes, files)
    estimated = costs(images, params, card, rates)
    estimated = {name: of for name, of in estimated.items() if stale is None or name in stale}
    print(f"check: estimate for {images:,} images on this machine; half or twice as long if other work shares it")
    print(*(f"       {line}" for line in table(estimated)), sep="\n")
    for line in warnings(estimated, memory_here()):
        print(f"check: {line}")
