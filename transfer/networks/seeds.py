"""The same seed gives the same bytes."""

import keras
import tensorflow as tf


def fix_seeds(seed: int) -> None:
    """Seed Python, NumPy and the backend, and have TensorFlow use deterministic operations only."""
    keras.utils.clear_session()  # names of layers count from 0 again; they are written with the weights
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
