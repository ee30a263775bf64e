"""The pre-trained networks that can be chosen by name."""
