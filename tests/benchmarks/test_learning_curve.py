"""Tests of benchmarks/learning_curve.py, on tiny images: a point is what the training stages make of a subset."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks import learning_curve
from benchmarks.learning_curve import draw_all, error_table, require_cached, run_curve, run_point, summarise
from benchmarks.readme import BLOCKS
from tests.conftest import RunStage
from transfer.core.errors import UserError
from transfer.core.files import read_json, write_json

STAGES = ("download", "weights", "preprocess", "embed")


@pytest.fixture
def embedded(
    project: Path,
    tiny_backbone: None,
    run_stage: RunStage,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The project with cached activations, and little training; made once and copied from then on."""
    kept = tmp_path_factory.getbasetemp() / "embedded"
    if not kept.exists():
        params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
        params["head"] |= {"epochs": 6}
        (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        for name in STAGES:
            run_stage(name)
        shutil.copytree(project, kept)
    shutil.copytree(kept, project, dirs_exist_ok=True)
    monkeypatch.setattr(learning_curve, "SCRATCH", project / "scratch")
    return project


def test_all_images_are_trained_on_as_the_pipeline_does(embedded: Path, run_stage: RunStage) -> None:
    run_stage("train_head")
    run_stage("finetune")
    for model in ("head", "finetuned"):
        expected = read_json(Path(f"metrics/train/{model}.json"))
        point = run_point(embedded, model, np.arange(24), seed=1)
        assert point == {
            "images": 24,
            "seed": 1,
            "status": "ok",
            "best_epoch": expected["best_epoch"],
            "error": round(1 - expected["validation"]["accuracy"], 6),
            "loss": expected["validation"]["loss"],
        }
    assert list((embedded / "scratch").iterdir()) == []


def test_a_curve_has_each_size_and_seed_and_leaves_the_project_as_it_was(embedded: Path) -> None:
    before = {path: path.read_bytes() for path in embedded.rglob("*") if path.is_file()}
    points = run_curve(embedded, "head", [0.5, 1.0], repeats=2)
    assert [(point["images"], point["seed"]) for point in points] == [(12, 1), (24, 1), (12, 2), (24, 2)]
    assert len({point["loss"] for point in points}) == 4
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not (embedded / "models/head.weights.h5").exists()


def test_a_subset_does_not_see_the_other_images(embedded: Path) -> None:
    """With the images outside of the subset spoilt, training comes to the same."""
    rows = np.arange(0, 24, 2)
    first = run_point(embedded, "head", rows, seed=1)
    view = embedded / "data/activations/head/train/view-0.npy"
    values = np.load(view)
    values[1::2] = 100
    np.save(view, values)
    assert run_point(embedded, "head", rows, seed=1) == first
    assert run_point(embedded, "head", np.arange(12), seed=1) != first


def test_a_point_that_fails_says_why(embedded: Path) -> None:
    params = yaml.safe_load((embedded / "params.yaml").read_text(encoding="utf-8"))
    params["head"] |= {"epochs": 1, "lr": 1e-7}
    (embedded / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    collapsed = run_point(embedded, "head", np.arange(24), seed=1)
    assert "no better than chance" in collapsed["status"]
    assert 0 < collapsed["error"] <= 1
    (embedded / "data/activations/head/train/view-0.npy").unlink()
    failed = run_point(embedded, "head", np.arange(24), seed=1)
    assert "no activations" in failed["status"]
    assert (failed["error"], failed["loss"], failed["best_epoch"]) == (None, None, None)


def test_one_repeat_is_an_error(embedded: Path) -> None:
    with pytest.raises(UserError, match="--repeats: expected two at least, to see a spread, received 1"):
        run_curve(embedded, "head", [1.0], repeats=1)


@pytest.mark.parametrize("changed", [{"augment": "on_the_fly"}, {"cut": "input"}])
def test_fine_tuning_from_pixels_has_no_curve(project: Path, changed: dict[str, str]) -> None:
    require_cached(project, "finetuned")
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    params["finetune"] |= changed
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    require_cached(project, "head")
    with pytest.raises(
        UserError, match=f"expected augment cached or none, .* received .*{next(iter(changed.values()))}"
    ):
        require_cached(project, "finetuned")


def _points() -> list[dict[str, object]]:
    """Errors of the law 0.1 + 0.1 (n / 400)^-0.5, an image more or less of 1000 in each repeat; one is missing."""
    means = {25: 0.5, 100: 0.3, 200: 0.2414, 400: 0.2}
    points: list[dict[str, object]] = [
        {"images": images, "seed": seed, "status": "ok", "error": error + 0.001 * sign, "loss": 0.5, "best_epoch": 1}
        for images, error in means.items()
        for seed, sign in ((1, -1), (2, 1))
    ]
    points[-1] |= {"error": None, "status": "diverged"}
    return points


def test_the_table_has_a_row_for_each_repeat() -> None:
    sizes, errors = error_table(_points())
    assert sizes == [25, 100, 200, 400]
    np.testing.assert_allclose(errors, [[0.499, 0.299, 0.2404, 0.199], [0.501, 0.301, 0.2424, np.nan]])


def test_the_summary_counts_what_was_trained() -> None:
    curve = summarise(_points(), 5000)
    assert curve["summary"][0] == {"images": 25, "mean": 0.5, "sd": 0.0014, "trained": 2}
    assert curve["summary"][3] == {"images": 400, "mean": 0.199, "sd": None, "trained": 1}
    assert curve["law"]["exponent"] == pytest.approx(0.5, abs=0.05)
    assert curve["conclusion"].endswith("more labels would help.")


def test_results_are_drawn_and_shown_in_the_readme(tmp_path: Path) -> None:
    assert BLOCKS["learning-curve"](tmp_path) == "Not measured yet."
    curve = {"validation_images": 5000, **summarise(_points(), 5000)}
    flat = {**curve, "law": None, "conclusion": "No power law could be fitted."}
    results = {"models": {"head": curve, "finetuned": flat}}
    write_json(results, tmp_path / "benchmarks/results/learning_curve.json")
    draw_all(results, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    lines = BLOCKS["learning-curve"](tmp_path).splitlines()
    assert lines[0] == "| training images | `head` | `finetuned` |"
    assert lines[2] == "| 25 | 50.0 % ± 0.1 | 50.0 % ± 0.1 |"
    assert lines[5] == "| 400 | 19.9 % (1 trained) | 19.9 % (1 trained) |"
    assert lines[7].startswith("`head`: A power law through the errors")
    assert lines[9] == "`finetuned`: No power law could be fitted."
    assert lines[-1] == "![Validation error over the training-set size](../../benchmarks/results/learning_curve.png)"
