"""An exported classifier in use: predict, explain, serve.

In: models/export, and images from files or over HTTP. Out: calibrated probabilities of the classes, or pictures of what
speaks for them. No stage imports it. Begin with `predict`; `app` is the HTTP side.
"""
