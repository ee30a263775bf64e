"""Compute a frozen network over many images, as fast as the machine can.

In: a Keras model and records. Out: its outputs, by OpenVINO or TensorFlow (`engines`), or activations on disk
(`embed`). Begin with `embed`.
"""
