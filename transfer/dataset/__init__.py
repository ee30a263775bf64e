"""From what a user has to records: fetch, label, pack, decode, find copies, split.

In: a card, a folder, an archive or a dataset of TensorFlow Datasets. Out: data/raw (`obtain`, the stage download), then
data/records, data/splits.csv and data/quarantine.csv (`preprocess`). Begin with these two modules.
"""
