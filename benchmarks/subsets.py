"""How the validation error falls with the number of training images, and what it says of more of them.

Subsets of the training split are nested and stratified. A power law, error = floor + slope · (n / N)^−exponent, is
fitted through the errors: Cortes et al. 1993 (Learning curves: asymptotic values and rate of convergence, NIPS 6);
Hestness et al. 2017, arXiv:1712.00409, for deep networks. N is the largest size, so that all parameters are of the
order of an error.
"""

import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, curve_fit

from transfer.core.errors import UserError
from transfer.dataset.splits import take_stratified

Errors = NDArray[np.float64]
PARAMETERS = 3
LARGEST_EXPONENT = 2.0
GOOD_FIT = 0.9  # R² of the mean errors, below which the law is not to be relied on
WORTH_IT = 0.005  # a fall of the error that is worth twice the labels
RESAMPLES = 300


@dataclass(frozen=True)
class PowerLaw:
    """error = floor + slope · (n / largest)^−exponent; `r2` is the share of the mean errors' variance that it holds."""

    floor: float
    slope: float
    exponent: float
    largest: int
    r2: float

    def error(self, images: float) -> float:
        """Return the error that the law gives for a number of training images."""
        return float(self.floor + self.slope * (images / self.largest) ** -self.exponent)


@dataclass(frozen=True)
class Gain:
    """What the law expects of twice the images: how much lower the error is, with a 95 % interval over the repeats."""

    gain: float
    low: float
    high: float


def training_rows(splits: pd.DataFrame, classes: Sequence[str], labels: NDArray[np.int64]) -> pd.DataFrame:
    """Return the rows of data/splits.csv that are the training images, in the order of their activations.

    Args:
        splits: image, split, label and stratum of every image.
        classes: names, by class number.
        labels: class numbers of the cached activations, int64 (n,).

    Raises:
        UserError: they are not the same images.
    """
    rows = splits[splits["split"] == "train"].reset_index(drop=True)
    named = np.array(classes, object)[labels]
    if len(rows) != len(named) or (rows["label"].to_numpy() != named).any():
        raise UserError(
            f"data/splits.csv: expected the {len(named)} training images of data/activations, received {len(rows)} "
            "with other labels: dvc repro embed"
        )
    return rows


def nested_subsets(
    rows: pd.DataFrame, classes: Sequence[str], fractions: Sequence[float], seed: int
) -> list[NDArray[np.int64]]:
    """Return the row numbers of a stratified subset for each fraction, in order. Smaller ones are parts of larger ones.

    Images are taken by the hash order of `take_stratified`, one by one: groups (of a patient, a module) are not kept
    together, as they need not be inside a split.

    Raises:
        UserError: a fraction is not in (0, 1], or a subset has no image of some class.
    """
    found: dict[float, NDArray[np.int64]] = {}
    left = rows
    for fraction in sorted(set(fractions), reverse=True):
        if not 0 < fraction <= 1:
            raise UserError(f"fractions: expected numbers above 0 and up to 1, received {fraction}")
        left = take_stratified(left, max(1, round(fraction * len(rows))), seed)
        if missing := set(classes) - set(left["label"]):
            raise UserError(
                f"fraction {fraction}: expected images of every class, received none of {', '.join(sorted(missing))} "
                f"among {len(left)}"
            )
        found[fraction] = left.index.to_numpy(np.int64)
    return [found[fraction] for fraction in fractions]


def write_subset(activations: Path, rows: NDArray[np.int64], folder: Path) -> None:
    """Write cached activations of which the training images are some rows, repeated up to the number of all.

    So an epoch has as many steps as with all images, and the schedule of the learning rate, the number of epochs and of
    validations are the same: what differs is how many different images there are. Trained for the same number of
    epochs of its own instead, a twentieth of the images would have a twentieth of the steps, and be undertrained.

    Args:
        activations: folder of a cut, as embed writes it.
        rows: row numbers, int64 (n,).
        folder: to make.
    """
    (folder / "train").mkdir(parents=True)
    for path in (activations / "train").glob("*.npy"):
        values = np.load(path, mmap_mode="r")
        np.save(folder / "train" / path.name, values[np.resize(rows, len(values))])
    (folder / "validation").symlink_to((activations / "validation").resolve())
    shutil.copyfile(activations / "cached.json", folder / "cached.json")


def fit_power_law(sizes: Sequence[int], errors: Errors) -> PowerLaw | None:
    """Fit the law by least squares.

    Args:
        sizes: numbers of training images, (m,).
        errors: of each repeat at each size, float64 (repeats, m), in 0–1; NaN where there is none.

    Returns:
        The law; None where there are no more sizes than it has parameters, or the fit does not converge.
    """
    x = np.broadcast_to(np.array(sizes, np.float64) / max(sizes), errors.shape)
    known = np.isfinite(errors)
    if len(set(x[known])) <= PARAMETERS:
        return None
    start = (float(np.nanmin(errors)) / 2, float(np.nanmin(errors)) / 2 + 1e-6, 0.5)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # of the covariance, which is not used
            (floor, slope, exponent), _ = curve_fit(
                lambda n, a, b, c: a + b * n**-c,
                x[known],
                errors[known],
                p0=start,
                bounds=([0, 0, 0], [1, 1, LARGEST_EXPONENT]),
            )
    except RuntimeError:
        return None
    law = PowerLaw(float(floor), float(slope), float(exponent), max(sizes), 0.0)
    return PowerLaw(law.floor, law.slope, law.exponent, law.largest, _r2(law, sizes, errors))


def _r2(law: PowerLaw, sizes: Sequence[int], errors: Errors) -> float:
    """Return the share of the variance of the mean errors that a law holds; 0 where they do not differ."""
    means = np.array([np.mean(column[np.isfinite(column)]) for column in errors.T if np.isfinite(column).any()])
    given = [size for size, column in zip(sizes, errors.T, strict=True) if np.isfinite(column).any()]
    variance = float(np.sum((means - means.mean()) ** 2))
    left = float(np.sum((means - [law.error(size) for size in given]) ** 2))
    return 1 - left / variance if variance > 0 else 0.0


def gain_of_twice(sizes: Sequence[int], errors: Errors, law: PowerLaw) -> Gain:
    """Return what a law expects of twice the images; the interval is of refits to repeats drawn anew at each size.

    It says nothing of other validation images, nor of whether a power law holds beyond what was measured. Drawing from
    r repeats has (r − 1) / r of their variance in the mean, which is made good.

    Args:
        sizes: numbers of training images, (m,).
        errors: float64 (repeats, m), of two repeats or more.
        law: fitted to them.
    """
    random = np.random.default_rng(0)
    repeats = len(errors)
    gains = []
    for _ in range(RESAMPLES):
        drawn = np.take_along_axis(errors, random.integers(repeats, size=errors.shape), axis=0)
        if refit := fit_power_law(sizes, drawn):
            gains.append(_gain(refit))
    gain, widened = _gain(law), math.sqrt(repeats / (repeats - 1))
    low, high = np.percentile(gains, [2.5, 97.5]) if gains else (math.nan, math.nan)
    return Gain(gain, gain - widened * (gain - float(low)), gain + widened * (float(high) - gain))


def _gain(law: PowerLaw) -> float:
    return law.error(law.largest) - law.error(2 * law.largest)


def conclusion(sizes: Sequence[int], errors: Errors, law: PowerLaw | None, validation_images: int) -> str:
    """Say in words whether more labels would help, and how far that is to be trusted.

    Args:
        sizes: numbers of training images, (m,).
        errors: on the validation split, float64 (repeats, m), in 0–1; NaN where there is none.
        law: fitted through them.
        validation_images: in that split.
    """
    if law is None:
        return f"No power law could be fitted to {len(sizes)} sizes: look at the curve."
    gain = gain_of_twice(sizes, errors, law)
    expected = (
        f"A power law through the errors ({law.floor:.3f} + {law.slope:.3f} (n / {law.largest:,})^-{law.exponent:.2f}, "
        f"R² {law.r2:.2f}) expects {law.error(2 * law.largest):.1%} with twice the {law.largest:,} images, which is "
        f"{100 * gain.gain:.1f} points less than now (95 % over the repeats: {100 * gain.low:.1f} to "
        f"{100 * gain.high:.1f})"
    )
    if law.r2 < GOOD_FIT:
        return f"{expected}, but it fits poorly: whether more labels would help cannot be said from it."
    if gain.low >= WORTH_IT:
        verdict = "more labels would help"
    elif gain.high < WORTH_IT:
        verdict = "more labels of this kind would hardly help"
    else:
        verdict = "more labels may help, but these repeats do not tell"
    error = law.error(law.largest)
    noise = math.sqrt(error * (1 - error) / validation_images)
    caution = (
        f" On {validation_images} validation images an error has a standard error of {100 * noise:.1f} points, so that "
        "a gain of this size would not be seen on them."
    )
    return f"{expected}: {verdict}.{caution if gain.gain < noise else ''}"
