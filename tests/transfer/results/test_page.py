"""Tests of transfer/results/page.py: the page of results that are made up, and of those that are committed."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT, SMALL
from tests.documents import Element, fetched, parse
from tests.transfer.results.test_performance import make_findings, make_results, make_spec
from transfer.core.errors import UserError
from transfer.core.files import read_json
from transfer.core.spec import Spec
from transfer.evaluation.pictures import Mistake, draw_mistakes
from transfer.evaluation.scores import Predictions, curves
from transfer.results import page
from transfer.results.performance import MODELS, figures
from transfer.training.callbacks import CURVES

HOSTILE = ("</style><script>alert(1)</script>", '"><img src=http://example.invalid/x onerror=alert(2)>')
"""Names of classes that would be markup, if nothing escaped them."""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_curves(folder: Path, spec: Spec, predictions: pd.DataFrame, model: str) -> None:
    """Write what evaluate draws of a model's predictions."""
    labels = np.array([spec.classes.index(name) for name in predictions["actual"]])
    probabilities = predictions[[f"p_{name}" for name in spec.classes]].to_numpy(np.float32)
    test = Predictions(list(predictions["image"]), labels, probabilities[:, 0], probabilities[:, 0], probabilities)
    roc, precision_recall = curves(test, spec.classes, spec.positive_class)
    for name, table in (("roc", roc), ("precision_recall", precision_recall)):
        _write(folder / f"plots/{name}/{model}.csv", table.to_csv(index=False))


def _write_plots(folder: Path, model: str, words: tuple[str, str, str]) -> None:
    """Write a reliability diagram, learning curves and the picture of one mistake."""
    bins = pd.DataFrame({"confidence": [0.5, 0.9]})
    for when in ("before", "after"):
        bins[f"images_{when}"], bins[f"mean_confidence_{when}"] = [0, 4], [np.nan, 0.9]
        bins[f"accuracy_{when}"] = [np.nan, 0.75]
    _write(folder / f"plots/reliability/{model}.csv", bins.to_csv(index=False, na_rep="nan"))
    for split in ("train", "validation"):
        for score in CURVES:
            text = f"step\t{score}\n" + "".join(f"{i}\t{0.5 + 0.01 * i}\n" for i in range(9))
            _write(folder / f"plots/history/{model}/plots/metrics/{split}/{score}.tsv", text)
    mistake = Mistake(words[0], np.zeros((8, 8, 3), np.uint8), words[1], words[2], 0.9, np.zeros((8, 8), np.float32))
    draw_mistakes([mistake], model, folder / f"plots/mistakes/{model}.png")


def make_project(folder: Path, spec: Spec, title: str = "Colours") -> None:
    """Write all that the pipeline would have written, of models that are made up."""
    made = folder / "made"
    results = make_results(spec, made)
    for kind, place in (("evaluated", "metrics/evaluate"), ("trained", "metrics/train"), ("cost", "metrics/cost")):
        shutil.copytree(made / kind, folder / place)
    shutil.copytree(made / "predictions", folder / "plots/predictions")
    shutil.rmtree(made)
    strata = pd.DataFrame({"<b>kind</b>": ["<i>one</i>"] + ["rest"] * (spec.counts["test"] - 1)})
    findings = make_findings(spec, results, strata)
    _write(folder / "metrics/compare.json", json.dumps(figures(results, findings)))
    findings.table.to_csv(folder / "plots/performance_table.csv", index=False)
    for model in MODELS:
        _write_curves(folder, spec, results.predictions[model], model)
        _write_plots(folder, model, ("x.png", "one", "other"))
    _write(folder / "params.yaml", yaml.safe_dump(SMALL))
    _write(folder / "data/raw/card.yaml", yaml.safe_dump({"title": title, "licence": "CC0 <1.0>"}))
    spec.write(folder / "data/records/spec.json")
    counts = {split: dict.fromkeys(spec.classes, 3) for split in spec.counts}
    same = {"identical": 2, "near": 1, "sets": 1, "identical_with_several_labels": 0, "taken_out_of_given_splits": 0}
    splits = {"train": 9, "validation": 9, "test": spec.counts["test"]}
    images = sum(splits.values())
    data = {"images": images, "quarantined": 2, "splits": splits, "groups": 44, "duplicates": same, "classes": counts}
    _write(folder / "metrics/data.json", json.dumps(data))
    _write(folder / "data/quarantine.csv", "image,reason\n<u>.png,not an image\nb.png,not an image\n")
    _write(folder / "data/duplicates.csv", "same,identical,image,label,split\n0,0,c.png,x,train\n0,1,d.png,x,train\n")


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results that are in git, with what of them is not there made up: the records' description and pictures."""
    for name in ("metrics", "plots"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("mistakes"))
    for name in ("params.yaml", "data/quarantine.csv", "data/duplicates.csv"):
        _write(tmp_path / name, (ROOT / name).read_text(encoding="utf-8"))
    _write(tmp_path / "data/raw/card.yaml", (ROOT / "data/cards/elpv.yaml").read_text(encoding="utf-8"))
    splits = read_json(ROOT / "metrics/data.json")["splits"]
    Spec(("intact", "defective"), "defective", "dihedral", 224, 1, splits).write(tmp_path / "data/records/spec.json")
    for model in MODELS:
        (tmp_path / "plots/mistakes").mkdir(exist_ok=True)
        draw_mistakes([], model, tmp_path / f"plots/mistakes/{model}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


Make = Callable[..., Element]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Write a project of made-up results and its page, and return that, parsed."""
    monkeypatch.chdir(tmp_path)

    def made(classes: tuple[str, ...], positive: str | None, images: int, title: str = "Colours") -> Element:
        make_project(tmp_path, make_spec(classes, positive, images), title)
        page.main()
        return parse(page.PAGE.read_text(encoding="utf-8"))

    return made


def test_the_figures_are_those_of_the_files(committed: Path) -> None:
    page.main()
    document = parse(page.PAGE.read_text(encoding="utf-8"))
    intervals = read_json(Path("metrics/compare.json"))["intervals"]
    rows = {row[0].split()[0]: row for row in document.table("Model Performance Table")[1:]}
    assert list(rows) == list(MODELS)
    for model, found in intervals.items():
        for column, name in ((1, "accuracy"), (2, "f1")):
            value, low, high = (f"{found[f'{name}{end}']:.3f}" for end in ("", "_low", "_high"))
            assert rows[model][column] == f"{value} {low} to {high}"
        scores = read_json(Path(f"metrics/evaluate/{model}.json"))
        of_model = {row[0]: row for row in document.table("Test scores at 0.5")[1:]}[model]
        assert of_model[1] == f"{scores['threshold']:.4f}"
        assert of_model[4] == f"{scores['recall']:.3f} → {scores['recall_at_threshold']:.3f}"
        of_model = {row[0]: row for row in document.table("Calibration on")[1:]}[model]
        assert of_model[2] == f"{scores['ece']:.3f} → {scores['ece_calibrated']:.3f}"
    for pair, row in zip(
        read_json(Path("metrics/compare.json"))["pairs"], document.table("Every pair")[1:], strict=True
    ):
        assert row[0] == f"{pair['second']} − {pair['first']}"
        assert row[2] == f"{pair['only_second']} / {pair['only_first']}"
        assert row[3] == f"{pair['p_holm']:.2g}"
    report = " ".join(re.sub("[`*]", "", Path("metrics/REPORT.md").read_text(encoding="utf-8")).split())
    said = [item.text.replace("\N{NO-BREAK SPACE}", " ") for item in next(document.all("section")).all("li")]
    assert len(said) == 11
    assert [line for line in said if line not in report] == []


def test_confusion_matrices_count_the_predictions(committed: Path) -> None:
    page.main()
    document = parse(page.PAGE.read_text(encoding="utf-8"))
    for model in MODELS:
        table = pd.read_csv(f"plots/predictions/{model}.csv")
        rows = document.table(f"{model} ")[1:] if model != "head" else document.table("head frozen")[1:]
        for name, row in zip(("intact", "defective"), rows, strict=True):
            of_class = table[table["actual"] == name]["predicted"]
            counts = [int((of_class == predicted).sum()) for predicted in ("intact", "defective")]
            assert row == [f"actual {name}", *(f"{count} {count / sum(counts):.0%}" for count in counts)]
        wrong = table[table["actual"] != table["predicted"]]
        surest = wrong.iloc[int(wrong[["p_intact", "p_defective"]].max(axis=1).to_numpy().argmax())]
        first = document.table(f"The worst mistakes of {model}")[1]
        assert first[:3] == [surest["image"], surest["actual"], surest["predicted"]]


def test_the_page_says_what_it_was_made_of(committed: Path) -> None:
    page.main()
    text = page.PAGE.read_text(encoding="utf-8")
    document = parse(text)
    assert "Licence of the dataset: CC BY-NC-SA 4.0 (images and labels; no commercial use)." in document.text
    counts = read_json(Path("metrics/data.json"))
    shown = {row[0]: row[1:] for row in document.table("Images by class and split")[1:]}
    for name in ("intact", "defective"):
        assert shown[name][:3] == [f"{counts['classes'][split][name]:,}" for split in counts["splits"]]
    assert shown["all classes"] == ["1,640", "328", "656", "2,624"]
    (parameters,) = document.all("pre")
    assert "".join(map(str, parameters.children)) == Path("params.yaml").read_text(encoding="utf-8")
    assert "Commit: none: the project is in no git repository" in document.text
    assert f"tensorflow {version('tensorflow')}" in document.text
    pictures = [image for image in document.all("img") if "paper" not in (image.attributes.get("class") or "")]
    assert len(pictures) == 4
    assert all(image.attributes["alt"] for image in pictures)
    assert len([chart for chart in document.all("svg") if chart.attributes.get("role") == "img"]) == 2 + 12 + 2 + 4


def test_nothing_is_fetched_and_no_script_runs(committed: Path) -> None:
    page.main()
    document = parse(page.PAGE.read_text(encoding="utf-8"))
    assert fetched(document) == set()
    assert not list(document.all("script"))
    names = [element.attributes["id"] for element in document.all("*") if "id" in element.attributes]
    assert len(names) == len(set(names))
    targets = {str(link.attributes["href"]) for link in document.all("a")}
    assert targets <= {f"#{name}" for name in names}


def test_the_same_files_give_the_same_bytes(committed: Path) -> None:
    written = []
    for _ in range(2):
        page.main()
        written.append(page.PAGE.read_bytes())
    assert written[0] == written[1]


def test_names_from_the_data_are_text(make: Make) -> None:
    document = make(HOSTILE, HOSTILE[1], 40, title="<script>alert(3)</script> & *more*")
    assert not list(document.all("script"))
    assert {image.attributes["src"][:15] for image in document.all("img")} == {"data:image/png;"}  # type: ignore[index]
    assert fetched(document) == set()
    (title,) = document.all("h1")
    assert title.text == "<script>alert(3)</script> & *more*"
    assert {row[0] for row in document.table("Images by class")[1:]} == {*HOSTILE, "all classes"}
    assert [row[0] for row in document.table("ann ANN")[1:]] == [f"actual {name}" for name in HOSTILE]
    assert document.table("Images in quarantine")[1][0] == "<u>.png"
    assert "F1 of " + HOSTILE[1] in "".join(caption.text for caption in document.all("caption"))
    assert document.table("Accuracy by <b>kind</b>")[1][0] == "<i>one</i>"
    assert "CC0 <1.0>" in document.text


def test_models_that_are_right_about_the_same_images_are_shown(make: Make) -> None:
    make(("a", "b"), "b", 12)
    compare = read_json(Path("metrics/compare.json"))
    pair = next(pair for pair in compare["pairs"] if {pair["first"], pair["second"]} == {"head", "finetuned"})
    pair.update(only_first=0, only_second=0, difference=0.0)
    _write(Path("metrics/compare.json"), json.dumps(compare))
    page.main()
    said = parse(page.PAGE.read_text(encoding="utf-8")).text
    assert "finetuned and head cannot be told apart by accuracy: both are right about the same test images" in said


def test_the_data_sheet_counts_what_was_left_out_and_what_belongs_together(make: Make) -> None:
    document = make(("a", "b"), "b", 12)
    assert document.table("Reasons for quarantine")[1:] == [["not an image", "2"]]
    assert [row[0] for row in document.table("Images in quarantine")[1:]] == ["<u>.png", "b.png"]
    assert document.table("Images that belong together")[1] == ["images identical to another", "2"]
    assert document.table("Images that belong together")[-1][1] == "44"
    assert document.table("Sets of the same image")[1:] == [
        ["c.png", "0", "0", "x", "train"],
        ["d.png", "0", "1", "x", "train"],
    ]


def test_of_many_classes_the_page_shows_what_can_be_read(make: Make) -> None:
    classes = tuple(f"class {i}" for i in range(200))
    document = make(classes, None, 800)
    captions = [caption.text for caption in document.all("caption")]
    assert not [caption for caption in captions if caption.startswith("ann ")]
    predictions = pd.read_csv("plots/predictions/ann.csv")
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    pairs = wrong.groupby(["actual", "predicted"]).size()
    shown = document.table("Most frequent confusions of ann")
    assert len(shown) == 21
    assert int(shown[1][2]) == pairs.max()
    assert f"Most frequent confusions of ann; 20 of {len(pairs)} pairs" in captions
    hardest = document.table("Classes that ann recognises worst; 20 of 200 classes")
    of_class = predictions[predictions["actual"] == hardest[1][0]]
    right = int((of_class["predicted"] == hardest[1][0]).sum())
    assert hardest[1][1:] == [f"{right / 4:.3f}", f"{right} of 4"]
    recalls = (predictions["actual"] == predictions["predicted"]).groupby(predictions["actual"]).mean()
    assert [row[1] for row in hardest[1:]] == [f"{recall:.3f}" for recall in recalls.sort_values()[:20]]
    assert len(document.table("Images by class and split")) == 202
    assert "No threshold is chosen, as there are more than two classes" in document.text
    assert "one curve over the decisions on all classes" in document.text
    assert "Areas under the ROC curve are not compared" in document.text
    assert "nan" not in document.text.lower().split()


def test_a_few_classes_have_a_curve_each(make: Make) -> None:
    document = make(("NA", "7", "c"), None, 60)
    charts = {chart.attributes.get("aria-label"): chart for chart in document.all("svg")}
    lines = charts["ROC curve of each class against the rest, cnn"].all("path")
    assert len([line for line in lines if "stroke: var(--cnn)" in (line.attributes.get("style") or "")]) == 3
    assert len(document.table("cnn CNN")) == 4
    assert "of each class against the rest." in document.text


def test_a_table_of_exports_is_there_once_there_are_exports(make: Make) -> None:
    document = make(("a", "b"), "b", 12)
    assert "Exported models" not in document.text
    left_out = {"litert_int8": {"reason": "it is <far> off"}}
    figures = {"tolerance": 0.01, "formats": {"onnx": {"bytes": 12345}}, "not_written": left_out}
    _write(Path("metrics/export.json"), json.dumps(figures))
    _write(Path("metrics/export-cost.json"), json.dumps({"seconds": 3.0, "onnx": {"latency_ms": 1.25}}))
    page.main()
    document = parse(page.PAGE.read_text(encoding="utf-8"))
    assert document.table("Exported models") == [["format", "bytes", "latency ms"], ["onnx", "12,345", "1.25"]]
    assert document.table("Formats that were not written")[1] == ["litert_int8", "it is <far> off"]


def test_what_is_missing_is_said_with_what_to_do(committed: Path) -> None:
    Path("plots/mistakes/cnn.png").unlink()
    with pytest.raises(
        UserError, match=r"^plots/mistakes/cnn\.png: expected .* received no such file: run `dvc repro`"
    ):
        page.main()
    shutil.rmtree("metrics")
    with pytest.raises(
        UserError, match=r"^metrics/data\.json: expected .* no such file \(nor \d+ others\): run `dvc rep"
    ):
        page.main()
    assert not page.PAGE.exists()


def test_before_anything_was_run_the_page_says_so(project: Path) -> None:
    with pytest.raises(UserError, match=r"^data/raw/card\.yaml: expected what the pipeline writes, .* run `dvc repro`"):
        page.main()


def test_the_curves_are_those_that_training_writes() -> None:
    assert tuple(page.SCORES) == CURVES


def test_prose_marks_code_and_emphasis_and_escapes_the_rest() -> None:
    assert page.prose("`ann` is\n*not* <b>") == "<code>ann</code> is <em>not</em> &lt;b&gt;"


def test_without_dvc_on_the_path_the_page_still_says_what_dvc_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert page.state() == "The results are those of these files: dvc repro would run nothing."
