"""What every stage knows: params, the dataset's card, the description of the records, errors, files, what a run costs.

In: params.yaml and cards, as YAML. Out: frozen dataclasses that were checked, and files that are whole or not there.
It imports no other package of ours, and neither TensorFlow nor Keras. Begin with `params`, then `errors`.
"""
