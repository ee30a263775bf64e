"""Say which backbone suits the images: python -m transfer choose [NAME…]

Each is judged as `dvc exp run -S backbone=NAME` would use it, frozen, by a linear probe on the training split (see
`linear_probe`). The test split stays unseen, so that what the report says of the chosen one is not too good.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from transfer.core.cuts import FACTS
from transfer.core.errors import UserError
from transfer.core.files import write_csv
from transfer.core.params import Params, read_params
from transfer.core.strict import load_yaml, validate
from transfer.evaluation.markdown import interval, p_value
from transfer.evaluation.pictures import save
from transfer.linear_probe import Features, TrainingImages, cached_features, cross_validate, read_training_images
from transfer.networks.backbones.available import at_hand, folders_here
from transfer.overrides import differences, merged
from transfer.results.performance import SIGNIFICANCE
from transfer.results.statistics import Comparison, compare_pairs, mean_interval

PARAMS = Path("params.yaml")
RAW, SPEC = Path("data/raw"), Path("data/records/spec.json")
SPLITS, DUPLICATES = Path("data/splits.csv"), Path("data/duplicates.csv")
CACHE = Path(".dvc/tmp/choose")
TABLE, PICTURE = Path("plots/choose.csv"), Path("plots/choose.png")
BLUE, GREY = "#3b6ea5", "#999999"
CHEAPER = 0.9  # of the best one's cost, at most: timings differ by some percent
WIDE = 10  # times the least cost: where a picture of costs is logarithmic
HERE = ("packaged, installed", "imagenet, downloaded")
"""What `at_hand` says of weights that are on this machine."""


@dataclass(frozen=True)
class Judged:
    """A backbone, whether its regression has each training image right (n,), and the log loss of its probabilities."""

    params: Params
    features: Features
    right: NDArray[np.bool_]
    log_loss: float


def names_here() -> list[str]:
    """Return the backbones whose weights are on this machine, folders too; of two names for one network, the first.

    Raises:
        UserError: there is none.
    """
    listed = {FACTS[name].url or name: name for name in reversed(FACTS) if at_hand(name) in HERE}
    names = [*reversed(listed.values()), *folders_here()]
    if not names:
        raise UserError("no backbone has its weights on this machine; name some, which will be downloaded")
    return names


def with_backbone(given: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the content of params.yaml with another backbone, without what was meant for the old one: its weights, if
    these are not random ones, its cut, and how its pixels are scaled.
    """
    new: dict[str, Any] = {"backbone": name}
    if name != given["backbone"]:
        new |= {"pixels": None} | ({} if given["weights"] == "none" else {"weights": "auto"})
        new |= {} if given["finetune"]["cut"] == "input" else {"finetune": {"cut": "auto"}}
    return merged(given, new, "choose")


def read_candidates(names: list[str]) -> dict[str, Params]:
    """Read params.yaml with each of the backbones that are named, or of those at hand that it suits.

    Raises:
        UserError: an unknown name, or a backbone that does not take the image size; see `read_params`.
    """
    read_params(PARAMS)
    given, candidates = load_yaml(PARAMS), {}
    for name in names or names_here():
        try:
            candidates[name] = validate(Params, with_backbone(given, name), Path(f"{PARAMS} with backbone={name}"))
        except UserError as error:
            if names:
                raise
            _leave_out(name, error)
    return candidates


def _leave_out(name: str, error: UserError) -> None:
    print(f"warning: {name} is left out: {error}", file=sys.stderr)


def judge(candidates: dict[str, Params], images: TrainingImages) -> dict[str, Judged]:
    """Judge the backbones whose weights can be had, and return them by name, the most accurate first.

    Raises:
        UserError: there is none.
    """
    judged: dict[str, Judged] = {}
    for name, params in candidates.items():
        try:
            features, cached = cached_features(params, images, CACHE)
        except UserError as error:
            _leave_out(name, error)
            continue
        said = "from an earlier call" if cached else f"{features.seconds:.1f} s with {features.engine}"
        print(f"embed  {name}: {features.values.shape[1]:,} features at {params.image_size} px, {said}")
        judged[name] = score(params, features, images)
    if not judged:
        raise UserError("no backbone is left; name others: python -m transfer backbones lists them")
    return dict(sorted(judged.items(), key=lambda item: (-item[1].right.mean(), item[1].log_loss)))


def score(params: Params, features: Features, images: TrainingImages) -> Judged:
    """Cross-validate a logistic regression on the features."""
    probabilities = cross_validate(features.values, images, params.seed)
    loss = log_loss(images.labels, probabilities, labels=range(len(images.spec.classes)))
    return Judged(params, features, probabilities.argmax(axis=1) == images.labels, float(loss))


def tabulate(judged: dict[str, Judged]) -> pd.DataFrame:
    """Return a row for each: backbone, image_size, accuracy with the ends of its 95 % bootstrap interval (_low, _high),
    log_loss, embed_s, parameters, prediction_ms (an image in a batch) and engine.
    """
    rows = []
    for name, of in judged.items():
        ends = mean_interval(of.right.astype(np.float64), of.params.resamples, of.params.seed)
        rows.append(
            {
                "backbone": name,
                "image_size": of.params.image_size,
                "accuracy": round(float(of.right.mean()), 4),
                "accuracy_low": round(ends.low, 4),
                "accuracy_high": round(ends.high, 4),
                "log_loss": round(of.log_loss, 4),
                "embed_s": round(of.features.seconds, 1),
                "parameters": of.features.parameters,
                "prediction_ms": round(1e3 * of.features.image_seconds, 2),
                "engine": of.features.engine,
            }
        )
    return pd.DataFrame(rows)


def lines(table: pd.DataFrame) -> list[str]:
    """Write the table for a terminal."""
    width = max(len(name) for name in ("backbone", *table["backbone"]))
    head = f"{'backbone':{width}}  {'size':>6}  accuracy (95 % interval)  log loss  embedding  parameters  prediction"
    return [
        head,
        *(
            f"{row['backbone']:{width}}  {row['image_size']:3} px  "
            f"{interval(row['accuracy'], row['accuracy_low'], row['accuracy_high']):>24}  {row['log_loss']:8.3f}  "
            f"{row['embed_s']:7.1f} s  {row['parameters']:10,}  {row['prediction_ms']:7.2f} ms"
            for row in table.to_dict("records")
        ),
    ]


def compare_best(judged: dict[str, Judged]) -> list[Comparison]:
    """Compare the best with each of the others, the next best first: see `statistics.compare_pairs`.

    p is corrected for all pairs, as the best is found by looking at all.
    """
    best, *others = judged
    if not others:
        return []
    params = judged[best].params
    right = {name: judged[name].right for name in reversed(judged)}  # so that the better one is the second of a pair
    pairs = {pair.first: pair for pair in compare_pairs(right, params.resamples, params.seed) if pair.second == best}
    return [pairs[name] for name in others]


def verdict(pair: Comparison) -> str:
    """Say whether the better of two is shown to be better."""
    if pair.only_first == pair.only_second == 0:
        return f"{pair.second} and {pair.first} cannot be told apart: both are right about the same images"
    shown = "is better than" if pair.p_holm < SIGNIFICANCE else "is not shown to be better than"
    points = interval(100 * pair.difference, 100 * pair.low, 100 * pair.high, "+.1f")
    return f"{pair.second} {shown} {pair.first}: {points} points of accuracy, p {p_value(pair.p_holm)}"


def advice(judged: dict[str, Judged], pairs: list[Comparison]) -> list[str]:
    """Say how to go on: with the best, or with a cheaper one that is not shown to be worse, if there is any."""
    best = next(iter(judged))
    said = [f"to go on with the best: {_command(best)}"]
    costs = {name: of.features.image_seconds for name, of in judged.items()}
    equal = [pair.first for pair in pairs if pair.p_holm >= SIGNIFICANCE and costs[pair.first] < CHEAPER * costs[best]]
    if equal:
        said.append(f"cheaper, and not shown to be worse: {_command(min(equal, key=lambda name: costs[name]))}")
    return said


def _command(name: str) -> str:
    given = load_yaml(PARAMS)
    changes = {"backbone": name, **differences(given, with_backbone(given, name))}
    return "dvc exp run" + "".join(f" -S {key}={value}" for key, value in changes.items())


def draw(table: pd.DataFrame, worse: set[str], path: Path) -> None:
    """Draw accuracy with its interval over the cost of a prediction; those shown to be worse than the best are grey."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    costs = table["prediction_ms"]
    for row in table.to_dict("records"):
        cost, accuracy, colour = row["prediction_ms"], row["accuracy"], GREY if row["backbone"] in worse else BLUE
        ends = [[accuracy - row["accuracy_low"]], [row["accuracy_high"] - accuracy]]
        axis.errorbar(cost, accuracy, ends, fmt="o", color=colour, capsize=3)
        side, offset = ("right", -6) if cost > costs.mean() else ("left", 6)
        axis.annotate(row["backbone"], (cost, accuracy), (offset, 3), textcoords="offset points", ha=side, fontsize=9)
    if costs.max() > WIDE * costs.min():
        axis.set_xscale("log")
    axis.margins(x=0.15)
    axis.set_xlabel("prediction, ms per image")
    axis.set_ylabel("cross-validated accuracy, 95 % interval")
    axis.set_title("Frozen backbones on the training split" + ("; grey: worse than the best" if worse else ""))
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def main(names: list[str]) -> None:
    """Judge the backbones that are named, or those at hand; print a table, what is shown by it and how to go on; write
    the table and a picture.

    Raises:
        UserError: see `read_candidates`, `read_training_images` and `judge`.
    """
    candidates = read_candidates(names)
    images = read_training_images(RAW, SPEC, SPLITS, DUPLICATES)
    print(f"read   {RAW}: {len(images.labels):,} training images of {SPLITS}")
    judged = judge(candidates, images)
    table, pairs = tabulate(judged), compare_best(judged)
    write_csv(table, TABLE)
    draw(table, {pair.first for pair in pairs if pair.p_holm < SIGNIFICANCE}, PICTURE)
    print(f"wrote  {TABLE}, {PICTURE}\n")
    print(*lines(table), "", *map(verdict, pairs), *advice(judged, pairs), sep="\n")
