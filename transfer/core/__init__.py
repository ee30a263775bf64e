"""What every stage knows: params, the dataset's card, the description of the records, errors, files, costs.

In: params.yaml and cards, as YAML. Out: checked, frozen dataclasses, and files written whole or not at all.
Imports no other package of ours, nor TensorFlow or Keras. Start with `params`, then `errors`.
"""
