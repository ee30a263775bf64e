"""Tests of benchmarks/seeds.py: what it keeps, what it runs again and what it makes of the scores. DVC is not run."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import seeds
from benchmarks.readme import BLOCKS
from benchmarks.seeds import Recipe, collected, kept, results_file, run_seeds, scores_of, summarise
from transfer.core.errors import UserError
from transfer.core.files import read_json, write_json
from transfer.results.performance import MODELS


def _scores(accuracy: float, **more: float) -> seeds.Scores:
    return {model: {"accuracy": accuracy, **more} for model in MODELS}


def test_all_numbers_of_a_model_are_scores_and_nothing_else_is(tmp_path: Path) -> None:
    for model in MODELS:
        written = {"accuracy": 0.5, "weighted_alternative": 0.75, "images": 8, "note": "a", "ok": True, "ece": None}
        write_json(written, tmp_path / f"metrics/evaluate/{model}.json")
    expected = {"accuracy": 0.5, "weighted_alternative": 0.75, "images": 8.0}
    assert scores_of(tmp_path) == dict.fromkeys(MODELS, expected)


def test_mean_and_standard_deviation() -> None:
    summary = summarise({"1": _scores(0.5, f1=0.25), "2": _scores(0.7), "3": _scores(0.9, f1=0.5)})
    assert summary["head"] == {"accuracy": {"mean": 0.7, "sd": 0.2}}  # f1 is not known of seed 2


def test_one_seed_has_no_standard_deviation() -> None:
    assert summarise({"1": _scores(0.5)})["ann"] == {"accuracy": {"mean": 0.5, "sd": None}}
    assert summarise({}) == {}


def test_each_recipe_has_a_file() -> None:
    assert results_file(None).name == "seeds.json"
    assert results_file("one-hour").name == "seeds-one-hour.json"
    with pytest.raises(UserError, match=r"--name: expected small letters, digits and hyphens, received '\.\./a'"):
        results_file("../a")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The params of each seed that was run. Accuracy is a tenth of the seed, and seed 4 fails."""
    calls: list[dict[str, Any]] = []

    def run_seed(params: list[dict[str, Any]], folder: Path) -> list[seeds.Scores]:
        calls.extend(params)
        if params[0]["seed"] == 4:
            raise UserError("seed 4: dvc repro ended with status 1")
        return [_scores(values["seed"] / 10) for values in params]

    monkeypatch.setattr(seeds, "run_seed", run_seed)
    monkeypatch.setattr(seeds, "committed", lambda: "abc")
    monkeypatch.setattr(seeds, "SCRATCH", tmp_path)
    return calls


def test_results_are_written_after_each_seed_and_a_failed_one_is_left_out(
    ran: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "seeds.json"
    assert run_seeds([3, 4, 5], [Recipe({"seed": 1, "lr": 0.5}, {"lr": 0.5}, path)], resume=False) == 1
    assert ran == [{"seed": 3, "lr": 0.5}, {"seed": 4, "lr": 0.5}, {"seed": 5, "lr": 0.5}]
    assert read_json(path) == {
        "commit": "abc",
        "overrides": {"lr": 0.5},
        "seeds": [3, 5],
        "summary": {model: {"accuracy": {"mean": 0.4, "sd": 0.1414}} for model in MODELS},
        "scores": {"3": _scores(0.3), "5": _scores(0.5)},
    }


def test_what_was_measured_stays_where_a_later_seed_breaks_off(
    ran: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = seeds.run_seed

    def broken_off(params: list[dict[str, Any]], folder: Path) -> list[seeds.Scores]:
        if params[0]["seed"] == 2:
            raise KeyboardInterrupt
        return original(params, folder)

    monkeypatch.setattr(seeds, "run_seed", broken_off)
    with pytest.raises(KeyboardInterrupt):
        run_seeds([1, 2, 3], [Recipe({}, {}, tmp_path / "seeds.json")], resume=False)
    assert read_json(tmp_path / "seeds.json")["seeds"] == [1]


def test_resuming_runs_what_is_missing(ran: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "seeds.json"
    write_json(collected("abc", {}, {"1": _scores(0.8)}), path)
    assert run_seeds([1, 2], [Recipe({}, {}, path)], resume=True) == 0
    assert [params["seed"] for params in ran] == [2]
    assert read_json(path)["scores"] == {"1": _scores(0.8), "2": _scores(0.2)}


def test_without_resuming_all_seeds_run(ran: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "seeds.json"
    write_json(collected("abc", {}, {"1": _scores(0.8)}), path)
    run_seeds([1, 1], [Recipe({}, {}, path)], resume=False)
    assert [params["seed"] for params in ran] == [1]
    assert read_json(path)["scores"] == {"1": _scores(0.1)}


def test_recipes_that_run_together_have_a_file_each_and_a_seed_that_one_of_them_lacks_is_run(
    ran: list[dict[str, Any]], tmp_path: Path
) -> None:
    default, views = tmp_path / "seeds.json", tmp_path / "seeds-views.json"
    write_json(collected("abc", {}, {"1": _scores(0.8), "2": _scores(0.7)}), default)
    write_json(collected("abc", {"views": 8}, {"2": _scores(0.6)}), views)
    recipes = [Recipe({"views": 1}, {}, default), Recipe({"views": 8}, {"views": 8}, views)]
    assert run_seeds([1, 2], recipes, resume=True) == 0
    assert ran == [{"views": 1, "seed": 1}, {"views": 8, "seed": 1}]
    assert read_json(default)["scores"] == {"1": _scores(0.1), "2": _scores(0.7)}
    assert read_json(views)["scores"] == {"1": _scores(0.1), "2": _scores(0.6)}
    assert read_json(views)["overrides"] == {"views": 8}


def test_seeds_of_another_commit_or_of_other_params_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "seeds.json"
    assert kept(path, "abc", {}) == {}
    write_json(collected("abc", {"lr": 0.5}, {"1": _scores(0.8)}), path)
    assert kept(path, "abc", {"lr": 0.5}) == {"1": _scores(0.8)}
    assert kept(path, "def", {"lr": 0.5}) == {}
    assert kept(path, "abc", {}) == {}


def test_readme_shows_every_recipe(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks/results"
    write_json(collected("abc", {}, {"1": _scores(0.5, f1=0.25), "2": _scores(0.7, f1=0.75)}), folder / "seeds.json")
    alone = BLOCKS["seeds"](tmp_path).splitlines()
    assert alone[0] == "| mean ± standard deviation of seeds 1, 2 | test accuracy | F1 |"
    assert alone[2] == "| `ann` | 0.6000 ± 0.1414 | 0.5000 ± 0.3536 |"
    write_json(collected("abc", {"lr": 0.5}, {"7": _scores(0.875)}), folder / "seeds-slow.json")
    both = BLOCKS["seeds"](tmp_path).splitlines()
    assert both[: len(alone)] == alone
    assert both[len(alone) + 1].startswith("| `slow`, mean ± standard deviation of seeds 7 |")
    assert both[len(alone) + 3] == "| `ann` | 0.8750 |"
    assert both[-1] == "`slow` is params.yaml with `lr=0.5`."
