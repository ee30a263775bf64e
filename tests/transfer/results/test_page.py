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

from stages import compare
from tests.conftest import ROOT, SMALL
from tests.documents import Element, fetched, parse
from tests.transfer.results.test_performance import make_results, make_spec
from transfer.core.errors import UserError
from transfer.core.files import read_json
from transfer.core.spec import Spec
from transfer.dataset.labels import join_stratum
from transfer.evaluation.pictures import Mistake, draw_mistakes
from transfer.evaluation.scores import Predictions, curves
from transfer.results import page
from transfer.results.performance import MODELS
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
    """Write what the pipeline would have written before compare, of models that are made up, and compare them."""
    made = folder / "made"
    results = make_results(spec, made)
    for kind, place in (("evaluated", "metrics/evaluate"), ("trained", "metrics/train"), ("cost", "metrics/cost")):
        shutil.copytree(made / kind, folder / place)
    shutil.copytree(made / "predictions", folder / "plots/predictions")
    shutil.rmtree(made)
    for model in MODELS:
        _write_curves(folder, spec, results.predictions[model], model)
        _write_plots(folder, model, ("x.png", "one", "other"))
    _write(folder / "params.yaml", yaml.safe_dump(SMALL))
    table = {"file": "labels.csv", "image": "image", "label": "label", "stratify": ["<b>kind</b>"]}
    card = {"title": title, "licence": "CC0 <1.0>", "table": table}
    _write(folder / "data/raw/card.yaml", yaml.safe_dump(card))
    spec.write(folder / "data/records/spec.json")
    actual = results.predictions["ann"]["actual"]
    strata = [join_stratum(name, "<i>one</i>" if row == 0 else "rest") for row, name in enumerate(actual)]
    splits = pd.DataFrame({"image": results.images, "split": "test", "label": actual, "stratum": strata})
    splits.to_csv(folder / "data/splits.csv", index=False)
    counts = {split: dict.fromkeys(spec.classes, 3) for split in spec.counts}
    same = {"identical": 2, "near": 1, "sets": 1, "identical_with_several_labels": 0, "taken_out_of_given_splits": 0}
    totals = {"train": 9, "validation": 9, "test": spec.counts["test"]}
    images = sum(totals.values())
    data = {"images": images, "quarantined": 2, "splits": totals, "groups": 44, "duplicates": same, "classes": counts}
    _write(folder / "metrics/data.json", json.dumps(data))
    _write(folder / "data/quarantine.csv", "image,reason\n<u>.png,not an image\nb.png,not an image\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        compare.main()


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results that are in git and their page, with pictures of mistakes made up, as those are not there.

    Made once, as it takes seconds: no test changes it.
    """
    folder = tmp_path_factory.mktemp("committed")
    for name in ("metrics", "plots"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("mistakes"))
    _write(folder / "params.yaml", (ROOT / "params.yaml").read_text(encoding="utf-8"))
    (folder / "plots/mistakes").mkdir()
    for model in MODELS:
        draw_mistakes([], model, folder / f"plots/mistakes/{model}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        page.main()
    return folder


@pytest.fixture
def document(committed: Path, monkeypatch: pytest.MonkeyPatch) -> Element:
    """The page of the committed results, parsed; their folder is the working directory."""
    monkeypatch.chdir(committed)
    return parse(page.PAGE.read_text(encoding="utf-8"))


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


def test_the_page_says_what_the_report_says(document: Element) -> None:
    report = Path("metrics/REPORT.md").read_text(encoding="utf-8")
    exported = Path("metrics/EXPORT.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)", report, flags=re.MULTILINE)
    last = [exported.splitlines()[0].removeprefix("# ").replace("`", ""), "Parameters and versions"]
    assert [heading.text for heading in document.all("h2")] == [*headings, *last]
    rows = {row[0].split(":")[0]: row for row in document.table("Model Performance Table")[1:]}
    for model, found in read_json(Path("metrics/compare.json"))["intervals"].items():
        for column, name in ((1, "accuracy"), (2, "f1")):
            value, low, high = (f"{found[f'{name}{end}']:.3f}" for end in ("", "_low", "_high"))
            assert rows[model][column] == f"{value} ({low}–{high})"
    lines = re.findall(r"^\| .*", report, flags=re.MULTILINE)
    cells = [cell.strip() for line in lines for cell in line.split("|")[1:-1]]
    shown = {cell.text for table in document.all("table") for cell in (*table.all("th"), *table.all("td"))}
    plain = {cell.replace("`", "").replace("*", "") for cell in cells if not re.fullmatch("-+:?|[0-9]+", cell)}
    assert plain - shown == set()
    said = {item.text for item in document.all("li")}
    for line in re.findall(r"^- (.*)", report, flags=re.MULTILINE):
        assert re.sub("[`*]", "", line) in said


def test_confusion_matrices_have_shares(document: Element) -> None:
    for rank, model in (("Winner", "finetuned"), ("Runner-up", "head")):
        table = pd.read_csv(f"plots/predictions/{model}.csv")
        rows = document.table(f"Confusion matrices, {rank}: {model}")[1:]
        for name, row in zip(("intact", "defective"), rows, strict=True):
            of_class = table[table["actual"] == name]["predicted"]
            counts = [int((of_class == predicted).sum()) for predicted in ("intact", "defective")]
            assert row == [name, *(f"{count} {count / sum(counts):.0%}" for count in counts)]


def test_the_page_says_what_it_was_made_of(document: Element) -> None:
    assert "Licence: CC BY-NC-SA 4.0 (images and labels; no commercial use)." in document.text
    (parameters,) = document.all("pre")
    assert "".join(map(str, parameters.children)) == Path("params.yaml").read_text(encoding="utf-8")
    assert "Commit: none: the project is in no git repository" in document.text
    assert f"tensorflow {version('tensorflow')}" in document.text
    (picture,) = document.all("img")
    assert picture.attributes["alt"] == "The worst mistakes, with heat maps"
    assert len([chart for chart in document.all("svg") if chart.attributes.get("role") == "img"]) == 2 + 12 + 2 + 4


def test_nothing_is_fetched_and_no_script_runs(document: Element) -> None:
    assert fetched(document) == set()
    assert not list(document.all("script"))
    names = [element.attributes["id"] for element in document.all("*") if "id" in element.attributes]
    assert len(names) == len(set(names))
    targets = {str(link.attributes["href"]) for link in document.all("a")}
    assert targets <= {f"#{name}" for name in names}


def test_the_same_files_give_the_same_bytes(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(committed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    page.PAGE.unlink()
    page.main()
    assert page.PAGE.read_bytes() == (committed / page.PAGE).read_bytes()


def test_names_from_the_data_are_text(make: Make) -> None:
    document = make(HOSTILE, HOSTILE[1], 40, title="<script>alert(3)</script> & *more*")
    assert not list(document.all("script"))
    assert {image.attributes["src"][:15] for image in document.all("img")} == {"data:image/png;"}  # type: ignore[index]
    assert fetched(document) == set()
    (title,) = document.all("h1")
    assert title.text == "Model report: <script>alert(3)</script> & *more*"
    assert [row[0] for row in document.table("Data, Images by class")[1:]] == [*HOSTILE, "all 2 classes"]
    assert [row[0] for row in document.table("Confusion matrices, Winner")[1:]] == list(HOSTILE)
    assert document.table("Data, Quarantine")[1] == ["not an image", "2", "<u>.png"]
    assert f"F1 of {HOSTILE[1]} where the subgroup" in document.text
    assert document.table("Subgroups of the test split, By <b>kind</b>")[1][0] == "<i>one</i>"
    assert "CC0 <1.0>" in document.text


def test_of_many_classes_the_page_shows_what_can_be_read(make: Make) -> None:
    document = make(tuple(f"class {i}" for i in range(200)), None, 800)
    assert len(document.table("Confusion matrices, Winner")) == 21
    assert len(document.table("Scores by class")) == 21
    assert "nan" not in document.text.lower().split()


def test_a_few_classes_have_a_curve_each(make: Make) -> None:
    document = make(("NA", "7", "c"), None, 60)
    charts = {chart.attributes.get("aria-label"): chart for chart in document.all("svg")}
    lines = charts["ROC curve of each class against the rest, cnn"].all("path")
    assert len([line for line in lines if "stroke: var(--cnn)" in (line.attributes.get("style") or "")]) == 3
    assert [row[0] for row in document.table("Confusion matrices, Winner")[1:]] == ["NA", "7", "c"]


def test_what_was_exported_is_there_once_it_is(make: Make) -> None:
    document = make(("a", "b"), "b", 12)
    assert "Exported" not in document.text
    _write(Path("metrics/EXPORT.md"), "# Exported: `head`\n\n| format | size |\n| --- | ---: |\n| `onnx` | 1 MB |\n")
    page.main()
    document = parse(page.PAGE.read_text(encoding="utf-8"))
    assert document.table("Exported: head") == [["format", "size"], ["onnx", "1 MB"]]


def test_what_is_missing_is_said_with_what_to_do(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(committed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    Path("plots/mistakes/finetuned.png").unlink()
    page.main()
    assert "`dvc pull` brings the picture" in page.PAGE.read_text(encoding="utf-8")
    page.PAGE.unlink()
    shutil.rmtree("metrics")
    with pytest.raises(UserError, match=r"^metrics/REPORT\.md: no such file \(\d+ more files are missing\); run `dvc"):
        page.main()
    assert not page.PAGE.exists()


def test_before_anything_was_run_the_page_says_so(project: Path) -> None:
    with pytest.raises(UserError, match=r"^metrics/REPORT\.md: no such file.*; run `dvc repro`"):
        page.main()


def test_the_curves_are_those_that_training_writes() -> None:
    assert tuple(page.SCORES) == CURVES


def test_without_dvc_on_the_path_the_page_still_says_what_dvc_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert page.state() == "The results are those of these files: dvc repro would run nothing."
