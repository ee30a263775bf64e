"""What networks are trained on, and in which precision."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import keras
import tensorflow as tf

from transfer.core.params import Precision


@contextmanager
def training_on(precision: Precision, devices: Sequence[str] | None = None) -> Iterator[None]:
    """Have networks that are built inside be trained in a precision, on all GPUs.

    Mixed precision computes in 16 bits and keeps variables, and what is added up over a training, in 32 (P.
    Micikevicius et al., Mixed precision training, ICLR 2018, arXiv:1710.03740). With float16, Keras scales the loss, so
    that small gradients do not become 0; bfloat16 has the range of float32.

    On several devices each trains on its part of a batch, and what they find is added up before a step (TensorFlow's
    MirroredStrategy): the batch, and so the recipe, stays what it is on one. Where parts are of different sizes, in the
    last batch of an epoch, images in a smaller part weigh more.

    Args:
        precision: a name of one of Keras's dtype policies.
        devices: to train on, by TensorFlow's names; None takes all GPUs, or what TensorFlow takes without one.
    """
    names = [gpu.name for gpu in tf.config.list_logical_devices("GPU")] if devices is None else devices
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        with tf.distribute.MirroredStrategy(names).scope() if len(names) > 1 else nullcontext():
            yield
    finally:
        keras.config.set_dtype_policy(before)
