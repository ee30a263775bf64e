"""Backbones, and the networks that are built on them: build, cut, fuse, load, save.

In: a backbone's name, a cut and a head. Out: a Keras model whose input is pixels in 0–1, its frozen trunk, or what is
trained above the cut. Begin with `network`; `backbones.registry` lists the backbones.
"""
