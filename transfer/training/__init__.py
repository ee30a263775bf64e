"""Train what lies above the cut, or a network from scratch.

In: batches of activations or pixels, a network and a recipe. Out: the weights of the best epoch, learning curves, the
probabilities of the validation split, and what it cost. Begin with `fit`, which the three training stages call.
"""
