"""The winner as files that other programs run, and the classes that run them.

In: a trained model, its temperature and the dataset's card. Out: models/export, with each format held against Keras
(`parity`) and a model card. Begin with `write`; `contract` says what every file promises.
"""
