"""How good one model is: scores, calibration, what it looks at, its worst mistakes, what a prediction costs.

In: a trained model and the test split. Out: metrics/evaluate/MODEL.json, the tables of its curves, and pictures.
Begin with `judge`.
"""
