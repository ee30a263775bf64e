"""Tests of transfer/core/params.py: params.yaml is read strictly."""

import copy
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.transfer.core.faults import FAULT
from transfer.core.cuts import FACTS
from transfer.core.errors import UserError
from transfer.core.params import Params, Pixels, WeightsFile, WeightsPin, read_params
from transfer.core.strict import load_yaml, validate
from transfer.networks.backbones.available import require_known
from transfer.overrides import overlaid

REAL = (ROOT / "params.yaml").read_text(encoding="utf-8")


def _read(folder: Path, text: str) -> Params:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return read_params(path)


def _replaced(old: str, new: str) -> str:
    assert old in REAL
    return REAL.replace(old, new, 1)


@pytest.mark.parametrize(
    ("formats", "said"),
    [
        ("[]", "export.formats: expected at least 1 item"),
        ("[onnx, openvino, onnx]", "export: expected each of formats once, received onnx, openvino, onnx"),
        (
            "[tflite]",
            "export.formats.0: expected 'openvino', 'onnx', 'saved_model', 'litert_float32', 'litert_float16'",
        ),
        ("onnx", "export.formats: expected a list, received 'onnx'"),
    ],
)
def test_formats_are_known_and_named_once(tmp_path: Path, formats: str, said: str) -> None:
    text = re.sub(r"formats:\n( *- .*\n)+", f"formats: {formats}\n", REAL)
    assert text != REAL
    with pytest.raises(UserError) as caught:
        _read(tmp_path, text)
    assert said in str(caught.value)


def test_the_projects_own_files_are_valid() -> None:
    assert read_params(ROOT / "params.yaml").finetune.cut == "auto"
    small = overlaid(load_yaml(ROOT / "params.yaml"), ROOT / ".ci/params.yaml", [])
    assert validate(Params, small, ROOT / ".ci/params.yaml").max_images == 320


@pytest.mark.parametrize(
    ("written", "value"), [("5e-4", 5e-4), ("1e-05", 1e-5), ("0.0001", 1e-4), ("1E-3", 1e-3), ("1", 1.0), ("1.", 1.0)]
)
def test_numbers_are_read_as_people_and_dvc_write_them(tmp_path: Path, written: str, value: float) -> None:
    assert _read(tmp_path, _replaced("lr: 5e-4", f"lr: {written}")).lr == value


WRONG = [
    ("lr: 5e-4", "lrr: 5e-4", ["lrr", "unknown key; did you mean lr?"]),
    ("lr: 5e-4", "lr: fast", ["lr", "number", "'fast'"]),
    ("lr: 5e-4", "lr: -1", ["lr", "more than 0", "-1"]),
    ("lr: 5e-4", "lr: 2.5", ["lr", "at most 1", "2.5"]),
    ("lr: 5e-4", "lr: .nan", ["lr", "finite", "nan"]),
    ("lr: 5e-4", "lr: .inf", ["lr", "inf"]),
    ("lr: 5e-4", "lr: true", ["lr", "number", "True"]),
    ("lr: 5e-4", "lr:", ["lr", "number", "None"]),
    ("lr: 5e-4", "lr: [1e-4]", ["lr", "number", "1e-4"]),
    ("seed: 1", "seed: 1.5", ["seed", "integer", "1.5"]),
    ("seed: 1", "seed: '1'", ["seed", "integer", "'1'"]),
    ("seed: 1", "seed: true", ["seed", "integer", "True"]),
    ("seed: 1", "seed: -1", ["seed", "at least 0", "-1"]),
    ("test: 0.25", "test: 0", ["split.test", "more than 0", "0"]),
    ("test: 0.25", "test: 0.9", ["split", "test + validation", "less than 1", "0.9"]),
    ("engine: auto", "engine: cuda", ["engine", "'auto', 'openvino' or 'tensorflow'", "'cuda'"]),
    (
        "\nweights: auto",
        "\nweights: imagnet",
        ["weights", "auto, packaged, imagenet, preset, none, {file", "or {sha256: ", "'imagnet'"],
    ),
    ("\nweights: auto", "\nweights: {file: a.h5}", ["weights", "sha256", "{'file': 'a.h5'}"]),
    ("\nweights: auto", "\nweights: {sha256: abc}", ["weights", "64 hexadecimal digits", "'abc'"]),
    ("\nweights: auto", "\nweights: {file: a.h5, sha256: abc}", ["weights", "64 hexadecimal digits", "'abc'"]),
    ("\npixels:  ", "\npixels: 0.5  ", ["pixels", "0.5"]),
    ("\npixels:  ", "\npixels: {mean: [0.5, 0.5], std: [1, 1, 1]}  ", ["pixels.mean.2: missing"]),
    ("\npixels:  ", "\npixels: {mean: [124, 116, 104], std: [1, 1, 1]}  ", ["pixels.mean.0", "at most 1", "124"]),
    ("\npixels:  ", "\npixels: {mean: [0, 0, 0], std: [1, 0, 1]}  ", ["pixels.std.1", "more than 0", "0"]),
    ("\npixels:  ", "\npixels: {mean: [0, 0, 0]}  ", ["pixels.std", "missing"]),
    (
        "\npixels:  ",
        "\npixels: {mean: [0, 0, 0], std: [1, 1, 1]}  ",
        ["pixels to be null for efficientnet_lite0, which scales them itself"],
    ),
    ("class_weights: auto", "class_weights: equal", ["class_weights", "auto, none, balanced", "'equal'"]),
    ("class_weights: auto", "class_weights: {intact: 0}", ["class_weights", "positive weight", "{'intact': 0}"]),
    ("class_weights: auto", "class_weights: {}", ["class_weights", "auto, none, balanced", "{}"]),
    ("distance: 4", "distance: 40", ["duplicates.distance", "at most 16", "40"]),
    ("correlation: 0.999", "correlation: 2", ["duplicates.correlation", "at most 1", "2"]),
    ("method: full", "method: half", ["finetune.method", "'full' or 'lora'", "'half'"]),
    ("augment: cached", "augment: always", ["finetune.augment", "'cached', 'on_the_fly' or 'none'", "'always'"]),
    ("rotation: 0.03", "rotation: 30", ["finetune.augmentation.rotation", "at most 0.5", "30"]),
    ("symmetry: auto", "symmetry: round", ["symmetry", "'auto', 'none', 'mirror' or 'dihedral'", "'round'"]),
    ("image_size: auto", "image_size: 16", ["image_size", "from 32 to 1,024", "16"]),
    ("backbone: efficientnet_lite0", "backbone: vgg61", ["backbone", "efficientnet_lite0", "'vgg61'"]),
    ("backbone: efficientnet_lite0", "backbone: keras:resnet50", ["'keras:resnet50'; did you mean keras:ResNet50?"]),
    (
        "backbone: efficientnet_lite0",
        "backbone: hub:dinov2_tiny",
        ["did you mean hub:dinov2_giant?"],
    ),
    ("backbone: efficientnet_lite0", "backbone: data/backbones/../raw", ["data/backbones/NAME, received"]),
    ("backbone: efficientnet_lite0", "backbone: hf://owner", ["hf://OWNER/NAME", "'hf://owner'"]),
    (
        "backbone: efficientnet_lite0",
        "backbone: ResNet50",
        ["keras:NAME or hub:PRESET (python -m transfer backbones lists them)"],
    ),
    ("cut: auto ", "cut: block9 ", ["finetune.cut", "auto, input, stem, block1, block2a", "'block9'"]),
    ("warmup: 0.1", "warmup: 2", ["finetune.warmup", "less than 1", "2"]),
    ("units:\n  - 128", "units: 128", ["head.units", "a list", "128"]),
    ("units:\n  - 128", "units: [0]", ["head.units.0", "at least 1", "0"]),
    ("epochs: auto", "epochs: 0", ["epochs", "expected auto or a whole number of at least 1, received 0"]),
    ("views: all", "views: 3", ["head.views", "'all', 1, 2, 4 or 8", "3"]),
    ("max_images: ", "max_images: 2 ", ["max_images", "at least 8", "2"]),
    ("seed: 1", "seed: 1\nseed: 2", ["the key 'seed' is there twice", "line 14"]),
    ("  cut: auto", "  cut: auto\n  cut: block6", ["the key 'cut' is there twice"]),
    ("lr: 5e-4", "lr: [5e-4", ["not valid YAML"]),
    ("seed: 1", "1: 2", ["1: expected keys should be strings"]),
]


@pytest.mark.parametrize(("old", "new", "named"), WRONG, ids=[row[1] for row in WRONG])
def test_what_is_wrong_is_one_line_with_key_expected_and_received(
    tmp_path: Path, old: str, new: str, named: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        _read(tmp_path, _replaced(old, new))
    first = str(error.value).splitlines()[0]
    assert first.startswith(f"{tmp_path}/params.yaml: ")
    assert FAULT.search(first)
    for part in named:
        assert part in str(error.value)


def test_a_fault_of_several_keys_does_not_print_the_whole_file(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        _read(tmp_path, _replaced("cut: auto", "cut: block9"))
    assert str(error.value).endswith("block7, top), received 'block9'")


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    text = _replaced("lr: 5e-4", "lr: 0").replace("seed: 1", "seed: x", 1)
    with pytest.raises(UserError) as error:
        _read(tmp_path, text)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["", "just text", "[1, 2]", "- lr: 1", "null"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="expected"):
        _read(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00lr")
    with pytest.raises(UserError, match="not valid YAML"):
        read_params(tmp_path / "params.yaml")


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params.yaml: No such file"):
        read_params(tmp_path / "params.yaml")


LAUGHS = "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in itertools.pairwise("abcdefghijkl"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a: &a [ha]\n{LAUGHS}lr: *l\n", "lr: expected"),
        (f"lr: {'[' * 50_000}", "not valid YAML: "),
        (f"lr: {'9' * 50_000}", "not valid YAML: "),
        ("lr: &a [*a]\n", "lr: expected"),
        ("one: &a {k: 1}\nlr:\n  <<: *a\n", "line 3: merge keys (<<) are not allowed"),
        ("? [a, b]\n: 1\n", "not valid YAML: "),
        ("lr: 2001-99-99\n", "not valid YAML: "),
        ("lr: !!python/object/apply:os.system [true]\n", "not valid YAML: could not determine a constructor"),
        ("# " + "a" * (1 << 20), "expected at most 1,048,576 bytes of YAML, received 1,048,578"),
    ],
    ids=["laughs", "deep", "digits", "itself", "merge", "list-key", "date", "object", "long"],
)
def test_hostile_yaml_is_a_short_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        _read(tmp_path, text)
    assert message in str(error.value)
    assert len(str(error.value)) < 20_000


def test_what_is_no_file_is_refused_and_not_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/dev/zero: expected a file, received a device or pipe"):
        load_yaml(Path("/dev/zero"))
    with pytest.raises(UserError, match=r"expected a file, received a folder"):
        load_yaml(tmp_path)


def _paths(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, item in value.items():
        yield (*at, key)
        if isinstance(item, dict):
            yield from _paths(item, (*at, key))


def _mutations() -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Every key removed, renamed, and its value replaced by one that no key can have."""
    for path in _paths(yaml.safe_load(REAL)):
        for name in ("removed", "renamed", "replaced"):
            values = copy.deepcopy(yaml.safe_load(REAL))
            section = values
            for key in path[:-1]:
                section = section[key]
            old = section.pop(path[-1])
            if name == "renamed":
                section[f"{path[-1]}_"] = old
            elif name == "replaced":
                section[path[-1]] = {"no": "value"}
            yield name, path, values


MUTATIONS = list(_mutations())


def test_there_are_a_hundred_mutations() -> None:
    assert len(MUTATIONS) >= 100


@pytest.mark.parametrize(
    ("name", "path", "values"), MUTATIONS, ids=[f"{name} {'.'.join(path)}" for name, path, _ in MUTATIONS]
)
def test_every_mutation_is_an_error_that_names_the_key(
    tmp_path: Path, name: str, path: tuple[str, ...], values: Any
) -> None:
    with pytest.raises(UserError) as error:
        _read(tmp_path, yaml.safe_dump(values))
    assert ".".join(path) in str(error.value), (name, str(error.value))
    assert FAULT.search(str(error.value))


def test_weights_may_be_a_file_with_its_sha256(tmp_path: Path) -> None:
    read = _read(tmp_path, _replaced("\nweights: auto", f"\nweights: {{file: own.h5, sha256: {'0a' * 32}}}"))
    assert read.weights == WeightsFile("own.h5", "0a" * 32)


def test_weights_may_be_a_sha256_alone(tmp_path: Path) -> None:
    text = REAL.replace("backbone: efficientnet_lite0", "backbone: hub:dinov2_small")
    read = _read(tmp_path, text.replace("\nweights: auto", f"\nweights: {{sha256: {'0a' * 32}}}"))
    assert read.weights == WeightsPin("0a" * 32)


def test_pixels_may_be_given_for_a_backbone_that_kerashub_loads(tmp_path: Path) -> None:
    text = REAL.replace("backbone: efficientnet_lite0", "backbone: hf://owner/name")
    read = _read(tmp_path, text.replace("\npixels:  ", "\npixels: {mean: [0, 5e-1, 1], std: [1, 0.25, 0.5]}  "))
    assert read.pixels == Pixels((0.0, 0.5, 1.0), (1.0, 0.25, 0.5))


def test_class_weights_may_be_given_by_name(tmp_path: Path) -> None:
    read = _read(tmp_path, _replaced("class_weights: auto", "class_weights: {intact: 1, 7: 1e-1}"))
    assert read.class_weights == {"intact": 1.0, "7": 0.1}


@pytest.mark.parametrize("name", FACTS)
def test_every_backbone_can_be_chosen_without_another_edit(tmp_path: Path, name: str) -> None:
    read = _read(tmp_path, _replaced("backbone: efficientnet_lite0", f"backbone: {name}"))
    assert (read.backbone, read.image_size) == (name, FACTS[name].trained_size)
    require_known(name, str(read.weights))
    assert read.weights != "none"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"backbone": "keras:Xception", "image_size": 70},
            "image_size to be at least 71 for keras:Xception, received 70",
        ),
        (
            {"backbone": "vit_base_patch16", "image_size": 230},
            "image_size to be a multiple of 16 for vit_base_patch16, received 230",
        ),
        (
            {"backbone": "keras:VGG19", "finetune": yaml.safe_load(REAL)["finetune"] | {"method": "lora"}},
            "finetune.method to be full for keras:VGG19, which has no transformer blocks, received 'lora'",
        ),
        (
            {"backbone": "keras:VGG19", "finetune": yaml.safe_load(REAL)["finetune"] | {"cut": "block4"}},
            r"finetune.cut to be a cut of keras:VGG19 \(auto, input, stage1, stage2, .*, top\), received 'block4'",
        ),
    ],
)
def test_what_a_backbone_does_not_take_is_known_without_building_it(
    tmp_path: Path, keys: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        _read(tmp_path, yaml.safe_dump(yaml.safe_load(REAL) | keys))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("hub:vit_base_patch16_384_imagenet", 384),
        ("hub:dinov2_small", 224),
        ("hf://timm/resnet18.a1_in1k", 224),
        ("kaggle://keras/vit/keras/vit_base_patch16_224_imagenet/4", 224),
        ("data/backbones/mine", 224),
    ],
)
def test_a_source_of_kerashub_can_be_chosen_with_any_cut(tmp_path: Path, name: str, size: int) -> None:
    text = _replaced("backbone: efficientnet_lite0", f"backbone: {name}").replace("cut: auto", "cut: block7")
    read = _read(tmp_path, text)
    assert (read.backbone, read.image_size, read.weights, read.finetune.cut) == (name, size, "preset", "block7")


def test_what_is_given_does_not_follow_the_backbone(tmp_path: Path) -> None:
    text = _replaced("image_size: auto", "image_size: 64").replace("\nweights: auto", "\nweights: none")
    read = _read(tmp_path, text)
    assert (read.image_size, read.weights) == (64, "none")


def test_by_default_the_backbone_is_lite0_as_it_was_trained() -> None:
    read = read_params(ROOT / "params.yaml")
    assert (read.backbone, read.image_size, read.weights) == ("efficientnet_lite0", 224, "packaged")
