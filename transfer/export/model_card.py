"""The model card of what is exported, in the format of Hugging Face: Markdown behind metadata in YAML.

https://huggingface.co/docs/hub/model-cards
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData

from transfer.core.cards import Card
from transfer.core.params import AnyWeights, Format
from transfer.core.spec import Spec
from transfer.evaluation.markdown import interval, markdown_table, plain, short
from transfer.export.contract import Contract

METRICS = {"accuracy": ("accuracy", "accuracy"), "f1": ("f1", "F1"), "auc": ("roc_auc", "ROC AUC")}
"""Scores that have intervals: what Hugging Face calls them, and what they are called here."""
LICENCES = (
    "apache-2.0", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
    "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "mit", "odbl", "odc-by", "pddl",
)  # fmt: skip
"""Identifiers of Hugging Face of licences that images have: https://huggingface.co/docs/hub/repositories-licenses."""
BASE_MODELS = {f"efficientnet_lite{number}": f"timm/tf_efficientnet_lite{number}.in1k" for number in range(3)}
"""Models on Hugging Face with the packaged weights of a backbone. Both are ports of the checkpoints that the authors of
the network published; they were not compared."""
PROGRAM = """With ONNX Runtime, NumPy and Pillow, for an 8-bit image without transparency:

```python
import json
from functools import partial

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
contract = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}

image = ImageOps.exif_transpose(Image.open("image.png")).convert("L" if contract["channels"] == 1 else "RGB")
square = {"squash": Image.Image.resize, "crop": ImageOps.fit, "pad": partial(ImageOps.pad, color="gray")}
image = square[contract["resize"]](image, (contract["image_size"],) * 2, Image.Resampling.BILINEAR)
pixels = np.asarray(image).reshape(1, image.height, image.width, contract["channels"])
(probabilities,) = session.run(["probabilities"], {"pixels": pixels})
for name, probability in zip(contract["classes"], probabilities[0]):
    print(f"{name}: {probability:.4f}")
```

"""


@dataclass(frozen=True)
class CardFigures:
    """What is known of the winner: `compare` is metrics/compare.json, `scores` its metrics/evaluate/MODEL.json, `data`
    metrics/data.json. `base` is what it was fine-tuned from, on Hugging Face, if that is there.
    """

    compare: dict[str, Any]
    scores: dict[str, float]
    data: dict[str, Any]
    base: str | None

    @property
    def intervals(self) -> dict[str, Any]:
        """Its test scores, with the ends of their intervals."""
        found: dict[str, Any] = self.compare["intervals"][self.compare["winner"]]
        return found


def base_model(backbone: str, weights: AnyWeights) -> str | None:
    """Return the identifier on Hugging Face of the weights that training began with; None where none is known."""
    return BASE_MODELS.get(backbone) if weights == "packaged" else None


def licence_metadata(licence: str) -> dict[str, Any]:
    """Return the keys of a licence in words: its identifier, if the words are one of `LICENCES`, brackets aside.

    Of another licence, its name in the form of an identifier, and the link that the words have.
    """
    bare = re.sub(r"\([^)]*\)|\b(international|unported|licen[cs]e)\b|[.,\s]+$", " ", licence.lower())
    words = re.sub(r"[\s-]+", "-", bare.strip(" .,-"))
    known = [name for name in LICENCES if words.removesuffix("-1.0") == name or words == name]
    if known or licence == "not stated":
        return {"license": max(known, key=len, default="unknown")}
    link = re.search(r"https?://[^\s)>,]+", licence)
    name = re.sub(r"(https?:\S+|[^a-z0-9.])+", "-", licence.lower()).strip("-")
    return {"license": "other", "license_name": name or "custom", **({"license_link": link.group()} if link else {})}


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
        **licence_metadata(contract.licence),
        base_model=evidence.base,
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


def _scores(spec: Spec, evidence: CardFigures) -> str:
    """Return the scores on the test split, in Markdown."""
    scores, positive = evidence.scores, plain(spec.positive or "")
    titles = {name: title for name, (_, title) in METRICS.items() if evidence.intervals.get(name) is not None}
    titles["f1"] = "F1, mean over the classes" if spec.positive_class is None else f"F1 of *{positive}*"
    rows = {title: _interval(evidence.intervals, name) for name, title in titles.items()}
    rows["log loss, calibrated"] = f"{scores['log_loss_calibrated']:.3f}"
    rows["expected calibration error, calibrated"] = f"{scores['ece_calibrated']:.3f}"
    said = ""
    if spec.positive_class is not None:
        where = f"the same at the threshold {scores['threshold']:.4f}, which has the highest F1 on the validation split"
        rows[f"precision, recall of *{positive}*"] = f"{scores['precision']:.3f}, {scores['recall']:.3f}"
        rows[where] = f"{scores['precision_at_threshold']:.3f}, {scores['recall_at_threshold']:.3f}"
        said = "\n\nThe threshold applies to the calibrated probabilities that the files return."
    table = pd.DataFrame(rows.items(), columns=["score", "on the test split (95 % interval)"])
    return markdown_table(table) + said


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
    found = [row for row in evidence.compare["subgroups"] if row["model"] == evidence.compare["winner"]]
    worst = min(found, key=lambda row: row["accuracy_high"], default=None)  # few images prove little
    if worst is not None:
        lines.append(
            f"Of the subgroups that the dataset names, it is worst where {plain(worst['column'])} is "
            f"{plain(short(worst['value']))}: "
            f"accuracy {_interval(worst, 'accuracy')} on {worst['images']} image{'s' * (worst['images'] != 1)}."
        )
    return "\n".join(f"- {line}" for line in lines)


def _use(contract: Contract, formats: Mapping[Format, str]) -> str:
    """Say how the files are used, in Markdown."""
    listed = "\n".join(f"- {name}: `{place}`" for name, place in formats.items())
    threshold = " and threshold" if contract.threshold is not None else ""
    return f"""{contract.preprocessing}

{listed}

{PROGRAM if "onnx" in formats else ""}Class names, input size, preprocessing, temperature{threshold} are inside each
file. With the pipeline that made it, from a folder with this card in it:

```
python -m transfer predict --model FOLDER IMAGE
python -m transfer explain --model FOLDER IMAGE
```"""


def model_card(contract: Contract, card: Card, spec: Spec, evidence: CardFigures, formats: Mapping[Format, str]) -> str:
    """Return the card. `formats` are the places of what was exported, by format."""
    counts = ", ".join(f"{number:,} in {name}" for name, number in spec.counts.items())
    return f"""---
{_metadata(contract, evidence)}
---

# {plain(contract.dataset)}: `{contract.model}`

An image classifier: uint8 images (n, height, width, {contract.channels}) to calibrated probabilities of
{", ".join(f"*{plain(name)}*" for name in contract.classes)}.

## Use

{_use(contract, formats)}

## Data

Dataset: {plain(card.title)}. Licence: {plain(card.licence)}. Images: {counts};
{evidence.data["quarantined"]} were left out. The test split was opened to judge the finished model, and never to choose
one. Symmetry under which an image was taken to keep its class: {spec.symmetry}.

Citation: {plain(card.citation)}

## Scores

{_scores(spec, evidence)}

## Limits

{_limits(spec, evidence)}
"""
