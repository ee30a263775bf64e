"""Tests of benchmarks/datasets.py: the same files each time, and as hard as it says."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.datasets import GRATINGS, PERIOD, WRITERS, best_accuracy, write_gratings
from transfer.core.cards import read_card
from transfer.dataset.obtain import obtain


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets")
    for name, write in WRITERS.items():
        write(root / name)
    return root


def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _pixels(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    with Image.open(path) as image:
        return np.asarray(image)


def _shown(path: Path) -> str:
    """The class that a grating shows: the colour with the greater sum, the direction with the greatest amplitude."""
    pixels = _pixels(path).astype(float)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    amplitudes = {}
    for angle in (0, 60, 120):
        along = x * np.cos(np.deg2rad(angle)) + y * np.sin(np.deg2rad(angle))
        grey = pixels.mean(axis=2)
        amplitudes[angle] = abs(((grey - grey.mean()) * np.exp(2j * np.pi * along / PERIOD)).mean())
    colour = "amber" if pixels[..., 0].sum() > pixels[..., 2].sum() else "blue"
    return f"{colour}_{max(amplitudes, key=lambda angle: amplitudes[angle]):03}"


@pytest.mark.parametrize("name", WRITERS)
def test_the_files_are_the_same_each_time(written: Path, tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    assert _hash(tmp_path / name) == _hash(written / name)


def test_another_seed_gives_other_gratings(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_gratings(tmp_path / str(seed), each=6, redrawn=0, seed=seed)
    assert _hash(tmp_path / "1") != _hash(tmp_path / "2")


def test_a_classifier_that_sees_what_gratings_show_is_right_as_often_as_the_formula_says(written: Path) -> None:
    pairs = Counter((path.parent.name, _shown(path)) for path in (written / "gratings").rglob("*.png"))
    right = sum(count for (label, shown), count in pairs.items() if label == shown)
    assert right / pairs.total() == pytest.approx(best_accuracy(0.2, 6), abs=1e-12)
    # Each class shows itself 48 + 2 times, and each of the others 2 times: no rule from what is shown does better.
    assert pairs == {(label, shown): 50 if label == shown else 2 for label in GRATINGS for shown in GRATINGS}


@pytest.mark.parametrize(
    ("redrawn", "classes", "best"), [(0.2, 6, 5 / 6), (0.0, 6, 1.0), (1.0, 6, 1 / 6), (0.5, 2, 0.75)]
)
def test_the_formula(redrawn: float, classes: int, best: float) -> None:
    assert best_accuracy(redrawn, classes) == pytest.approx(best)


def test_the_formula_is_the_best_that_any_rule_reaches() -> None:
    random = np.random.default_rng(0)
    shown = random.integers(0, 3, 200_000)
    labels = np.where(random.random(200_000) < 0.4, random.integers(0, 3, 200_000), shown)
    rules = [[a, b, c] for a in range(3) for b in range(3) for c in range(3)]  # what to say to each that is shown
    best = max((np.array(rule)[shown] == labels).mean() for rule in rules)
    assert best == pytest.approx(best_accuracy(0.4, 3), abs=4 * np.sqrt(0.25 / 200_000))


def test_redrawn_labels_that_do_not_balance_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected 10 × 0.2 to be a multiple of 6"):
        write_gratings(tmp_path, each=10, redrawn=0.2)
    assert list(tmp_path.iterdir()) == []


def test_the_pipeline_reads_the_gratings(written: Path, tmp_path: Path) -> None:
    done = obtain(written / "gratings", tmp_path / "raw")
    assert done.card.classes == GRATINGS
    assert (done.card.symmetry, done.card.channels, done.passed_over) == ("none", 3, [])
    assert done.labels["label"].value_counts().to_dict() == dict.fromkeys(GRATINGS, 60)
    assert "best possible accuracy 0.8333" in done.card.title
    assert done.card.citation == "the best accuracy is (1 − p) + p / k, with p = 0.2 and k = 6"
    assert _pixels(written / "gratings/blue_060/0000.png").shape == (48, 48, 3)


def test_the_pipeline_reads_the_digits(written: Path, tmp_path: Path) -> None:
    done = obtain(written / "digits", tmp_path / "raw")
    counts = np.bincount(load_digits().target)
    assert counts.sum() == 1797
    assert done.labels["label"].value_counts().to_dict() == {str(digit): counts[digit] for digit in range(10)}
    card, _ = read_card(written / "digits")
    assert (card.classes, card.channels, card.symmetry) == (tuple("0123456789"), 1, "none")
    assert card.licence == "CC BY 4.0"


def test_the_digits_are_those_of_scikit_learn(written: Path) -> None:
    data = load_digits()
    for digit in range(10):
        first = data.images[data.target == digit][0]
        pixels = _pixels(written / f"digits/{digit}/0000.png")
        assert pixels.shape == (32, 32)
        assert np.array_equal(pixels[::4, ::4], np.rint(first * 255 / 16))
        assert np.array_equal(pixels, np.repeat(np.repeat(pixels[::4, ::4], 4, axis=0), 4, axis=1))
