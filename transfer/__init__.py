"""The library behind the stages: importable and tested without DVC."""

import os

# Read by TensorFlow and Keras when they are first imported, so they have to be set before that.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
