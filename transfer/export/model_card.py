"""The model card of what is exported, in the format of Hugging Face: Markdown behind metadata in YAML.

https://huggingface.co/docs/hub/model-cards
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from huggingface_hub import EvalResult, ModelCardData

from transfer.core.cards import Card
from transfer.core.params import Format
from transfer.core.spec import Spec
from transfer.evaluation.calibration import temper
from transfer.evaluation.markdown import interval, markdown_table, short
from transfer.export.contract import Contract

METRICS = {"accuracy": ("accuracy", "accuracy"), "f1": ("f1", "F1"), "auc": ("roc_auc", "ROC AUC")}
"""Scores that have intervals: what Hugging Face calls them, and what they are called here."""


@dataclass(frozen=True)
class CardFigures:
    """What is known of the model: `intervals` its entry of them in metrics/compare.json, `scores` its
    metrics/evaluate/MODEL.json, `data` metrics/data.json, and `subgroups` its rows of those in metrics/compare.json.
    """

    intervals: dict[str, Any]
    scores: dict[str, float]
    data: dict[str, Any]
    subgroups: list[dict[str, Any]]


def of_model(model: str, compare: dict[str, Any], scores: dict[str, float], data: dict[str, Any]) -> CardFigures:
    """Pick what belongs to a model."""
    rows = [row for row in compare["subgroups"] if row["model"] == model]
    return CardFigures(compare["intervals"][model], scores, data, rows)


def _metadata(contract: Contract, evidence: CardFigures) -> str:
    """Return the metadata in YAML."""
    known = {name: title for name, title in METRICS.items() if evidence.intervals.get(name) is not None}
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type="image-classification",
            dataset_name=contract.dataset,
            dataset_split="test",
            metric_type=kind,
            metric_name=f"test {title}",
            metric_value=evidence.intervals[name],
        )
        for name, (kind, title) in known.items()
    ]
    card = ModelCardData(
        license="other",
        license_name=contract.licence,
        library_name="openvino",
        pipeline_tag="image-classification",
        tags=["image-classification", "transfer-learning", "onnx", "openvino", "tflite", "tf-keras"],
        metrics=[kind for kind, _ in known.values()],
        model_name=contract.model,
        eval_results=results,
    )
    return str(card.to_yaml())


def _interval(row: dict[str, Any], name: str) -> str:
    return interval(row[name], row.get(f"{name}_low"), row.get(f"{name}_high"))


def _scores(contract: Contract, spec: Spec, evidence: CardFigures) -> str:
    """Return the scores on the test split, in Markdown."""
    of_f1 = f"F1 of *{spec.positive}*" if spec.positive_class is not None else "F1, mean over the classes"
    rows = [
        [of_f1 if name == "f1" else title, _interval(evidence.intervals, name)]
        for name, (_, title) in METRICS.items()
        if evidence.intervals.get(name) is not None
    ]
    scores = evidence.scores
    rows += [
        ["log loss, calibrated", f"{scores['log_loss_calibrated']:.3f}"],
        ["expected calibration error, calibrated", f"{scores['ece_calibrated']:.3f}"],
    ]
    said = ""
    if spec.positive_class is not None:
        chosen = scores["threshold"]
        calibrated = temper(np.array([[1 - chosen, chosen]]), contract.temperature)[0, 1]
        where = f"the same at the threshold {calibrated:.4f}, which has the highest F1 on the validation split"
        at_threshold = f"{scores['precision_at_threshold']:.3f}, {scores['recall_at_threshold']:.3f}"
        rows += [
            [f"precision, recall of *{spec.positive}*", f"{scores['precision']:.3f}, {scores['recall']:.3f}"],
            [where, at_threshold],
        ]
        said = "\n\nThe threshold is one of the calibrated probability, which the files give."
    return markdown_table(["score", "on the test split (95 % interval)"], rows) + said


def _limits(spec: Spec, evidence: CardFigures) -> str:
    """Say what is not known of the model, in Markdown."""
    counts, groups = spec.counts, evidence.data["groups"]
    together = (
        f"The {groups} groups that the dataset names lie whole in one split."
        if groups
        else "The dataset names no groups: images of one object, place or patient may be in two splits, which flatters."
    )
    lines = [
        f"It was judged on {counts['test']} images of the dataset that it was trained on. Of other cameras, places and "
        "times nothing is known: judge it on your own images first.",
        together,
        "It knows its classes only, and gives every image one of them, also one that shows nothing of the kind.",
        "Intervals are about other test images; another split or another seed of training gives another model.",
    ]
    worst = min(evidence.subgroups, key=lambda row: row["accuracy_high"], default=None)  # few images prove little
    if worst is not None:
        lines.append(
            f"Of the subgroups that the dataset names, it is worst where {worst['column']} is {short(worst['value'])}: "
            f"accuracy {_interval(worst, 'accuracy')} on {worst['images']} image{'s' * (worst['images'] != 1)}."
        )
    return "\n".join(f"- {line}" for line in lines)


def model_card(contract: Contract, card: Card, spec: Spec, evidence: CardFigures, formats: Mapping[Format, str]) -> str:
    """Return the card. `formats` are the places of what was exported, by format."""
    counts = ", ".join(f"{number:,} in {name}" for name, number in spec.counts.items())
    listed = "\n".join(f"- {name}: `{place}`" for name, place in formats.items())
    return f"""---
{_metadata(contract, evidence)}
---

# {contract.dataset}: `{contract.model}`

An image classifier: uint8 images (n, height, width, {contract.channels}) to calibrated probabilities of
{", ".join(f"*{name}*" for name in contract.classes)}.

## Use

{contract.preprocessing}

{listed}

Class names, input size, preprocessing and temperature are inside each file. With the pipeline that made it, from a
folder with this card in it:

```
python -m transfer predict --model FOLDER IMAGE
python -m transfer explain --model FOLDER IMAGE
```

## Data

{card.title}. Licence: {card.licence}. Images: {counts}; {evidence.data["quarantined"]} could not be used. The test
split was opened to judge the finished model, and never to choose one. Symmetry under which an image was taken to keep
its class: {spec.symmetry}.

Citation: {card.citation}

## Scores

{_scores(contract, spec, evidence)}

## Limits

{_limits(spec, evidence)}
"""
