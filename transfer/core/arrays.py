"""Types of arrays, by what they hold."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""Images, 0–255: (height, width, channels), or (n, height, width, channels)."""
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
"""Class numbers: (n,)."""
