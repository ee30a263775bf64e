"""The views of an image: the symmetries of the square, as far as they are valid for the data."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from transfer.core.errors import UserError

VALID_VIEWS = {"none": 1, "mirror": 2, "dihedral": 8}
"""Symmetry of a dataset: how many views of an image, counted from the first, are still images of the same class."""

Scalar = TypeVar("Scalar", bound=np.generic)


def apply_view(images: NDArray[Scalar], view: int) -> NDArray[Scalar]:
    """Return view 0–7 of square images (n, height, width, channels), without copying.

    View 0 is the image itself. Of the number's bits the lowest mirrors left-right, the next mirrors up-down and the
    highest swaps rows and columns, so that the first 1, 2, 4 and 8 views are each closed: a view of a view is one.
    """
    if view & 4:
        images = images.swapaxes(1, 2)
    if view & 2:
        images = images[:, ::-1]
    return images[:, :, ::-1] if view & 1 else images


def count_views(wanted: str | int, symmetry: str, key: str) -> int:
    """Return how many views a param asks for.

    Raises:
        UserError: more than the dataset's symmetry allows.
    """
    valid = VALID_VIEWS[symmetry]
    if wanted == "all":
        return valid
    count = int(wanted)
    if count > valid:
        raise UserError(
            f"params.yaml: {key}: expected at most {valid}, which is what the dataset's symmetry ({symmetry}) allows, "
            f"received {count}"
        )
    return count
