"""scikit-learn on the features of the frozen backbone: python -m benchmarks.peers.features logistic|svm JOB

The backbone runs once over the images, by Keras's `predict`, and its activations are averaged over all places; what
learns from these features, standardised, is a logistic regression or a support vector machine with a radial kernel. Its
hyper-parameters are those with the highest accuracy on the validation split (of equals the first, that is the most
regularised), and it learns from the training images alone, as all peers do.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import transfer  # noqa: F401 (sets what TensorFlow reads when it is imported)

import keras  # isort: skip
import numpy as np
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.peers.jobs import BATCH, Array, Job, Labels, Pixels, Split, Trained, main, rgb
from transfer.networks.backbones.registry import trained_backbone
from transfer.networks.network import frozen_trunk
from transfer.networks.seeds import fix_seeds


@dataclass(frozen=True)
class Learner:
    """An estimator with a `decision_function`, and the values to choose from, the most regularised first."""

    estimator: Any
    grid: Mapping[str, Sequence[float | str]]


LEARNERS = {
    "logistic": Learner(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
        {"logisticregression__C": [float(c) for c in 10.0 ** np.arange(-5, 2.5, 0.5)]},
    ),
    "svm": Learner(
        make_pipeline(StandardScaler(), SVC()),
        {
            "svc__C": [float(c) for c in 10.0 ** np.arange(-1, 4)],
            "svc__gamma": [float(g) / 1280 for g in 10.0 ** np.arange(-2, 1, 0.5)],  # 1 / 1280: "scale" of as many
        },
    ),
}


def choose(
    learner: Learner, features: tuple[Array, Array], labels: tuple[Labels, Labels]
) -> tuple[Any, dict[str, Any]]:
    """Return the estimator that does best on the validation split, fitted to the training split, and its values.

    Args:
        learner: what to choose from.
        features: of the training and the validation split, float32 (n, channels).
        labels: of both, int64 (n,).
    """
    fold = np.repeat([-1, 0], [len(part) for part in labels])  # -1: never held out; 0: held out in the only fold
    search = GridSearchCV(learner.estimator, dict(learner.grid), cv=PredefinedSplit(fold), refit=False)
    search.fit(np.concatenate(features), np.concatenate(labels))
    best = clone(learner.estimator).set_params(**search.best_params_).fit(features[0], labels[0])
    return best, search.best_params_


def train(name: str, job: Job, images: Split, validation: Split) -> Trained:
    """Compute features, choose hyper-parameters and fit."""
    fix_seeds(job.seed)
    backbone = trained_backbone("efficientnet_lite0", images.pixels.shape[1], Path(job.weights))
    trunk: keras.Model = frozen_trunk(backbone, "efficientnet_lite0", "top")

    def features(pixels: Pixels) -> Array:
        pooled: Array = trunk.predict(rgb(pixels), batch_size=BATCH, verbose=0)
        return pooled

    print(f"  features of {len(images.labels)} and {len(validation.labels)} images", file=sys.stderr, flush=True)
    parts = features(images.pixels), features(validation.pixels)
    best, values = choose(LEARNERS[name], parts, (images.labels, validation.labels))
    print(f"  chosen: {values}", file=sys.stderr, flush=True)

    def predict(pixels: Pixels) -> Array:
        """The logistic function of the margin: of the regression its probability; of the SVM, which has none, a number
        that orders images in the same way and is 0.5 on the boundary.
        """
        positive = expit(best.decision_function(features(pixels)))
        return np.stack([1 - positive, positive], axis=1).astype(np.float32)

    return Trained(predict, {"chosen": values})


if __name__ == "__main__":
    chosen = sys.argv.pop(1)
    main(partial(train, chosen))
