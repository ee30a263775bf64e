"""Images of two colours that any peer can tell apart."""

import numpy as np

from benchmarks.peers.jobs import Split


def two_colours(count: int, seed: int, size: int = 32) -> Split:
    """Noisy images, `count` of them, dark ones of class 0 and light ones of class 1 in turn."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    shades = np.where(labels, 190, 60)[:, None, None, None]
    noise = random.normal(0, 20, (count, size, size, 1))
    return Split(np.clip(shades + noise, 0, 255).astype(np.uint8), labels)
