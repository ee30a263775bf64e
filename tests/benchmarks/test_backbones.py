"""Tests of benchmarks/backbones.py."""

import keras

from benchmarks.backbones import names
from benchmarks.hub_families import FAMILIES
from transfer.core.cuts import KERAS
from transfer.networks.backbones.applications import family


def test_there_is_one_of_each_family_and_the_smallest_of_those_of_keras() -> None:
    of_keras = [name.removeprefix(KERAS) for name in names() if name.startswith(KERAS)]
    modules = {family(getattr(keras.applications, name)) for name in dir(keras.applications) if name[0].isupper()}
    assert sorted(family(getattr(keras.applications, name)) for name in of_keras) == sorted(modules)
    assert {"ResNet50", "MobileNetV3Small", "NASNetMobile", "DenseNet121"} <= set(of_keras)
    assert set(FAMILIES) <= set(names())
    assert len(names()) == len(set(names())) >= 25
