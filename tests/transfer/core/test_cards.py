"""Tests of transfer/core/cards.py."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.transfer.core.faults import FAULT
from transfer.core.cards import ASSUMED, Card, Symmetry, TfdsSource, read_card, resolve_symmetry
from transfer.core.errors import UserError

VALID = "title: cells\nclasses: ['no', 'yes']\n"
PACKAGE = "source: {package: {name: p, version: '1', folder: f}}\n"
ARCHIVE = f"{{url: 'https://example.org/a.zip', size: 1, sha256: '{'00' * 32}'}}"
TABLE = "table: {file: labels.csv, image: path, label: class}\n"


def _read(folder: Path, text: str) -> Card:
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    return read_card(folder)[0]


def test_the_card_of_the_default_dataset_is_valid() -> None:
    card, _ = read_card(ROOT / "data/cards/elpv.yaml")
    assert card.classes == ("intact", "defective")
    assert card.symmetry == "dihedral"
    assert card.table is not None
    assert (card.table.threshold, card.table.alternative_threshold) == (0.5, 0.0)
    assert "CC BY-NC-SA 4.0" in card.licence


def test_a_folder_needs_no_card(tmp_path: Path) -> None:
    card, folder = read_card(tmp_path)
    assert (card.title, card.symmetry, folder) == (tmp_path.name, "auto", tmp_path)


@pytest.mark.parametrize(
    ("wanted", "of_card", "chosen", "said"),
    [
        ("auto", None, "mirror", [ASSUMED]),
        ("auto", "auto", "mirror", [ASSUMED]),
        ("auto", "none", "none", []),
        ("auto", "dihedral", "dihedral", []),
        ("none", None, "none", []),
        ("mirror", "dihedral", "mirror", []),
    ],
)
def test_the_param_goes_before_the_card_and_no_word_of_either_is_mirror(
    tmp_path: Path, wanted: Symmetry, of_card: str | None, chosen: str, said: list[str]
) -> None:
    card = _read(tmp_path, VALID + (f"symmetry: {of_card}\n" if of_card else ""))
    assert resolve_symmetry(wanted, card) == (chosen, said)


@pytest.mark.parametrize("key", ["licence", "license"])
def test_a_licence_may_be_spelt_either_way(tmp_path: Path, key: str) -> None:
    assert _read(tmp_path, VALID + f"{key}: CC0-1.0\n").licence == "CC0-1.0"


def test_no_dataset_at_its_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset: there is nothing at '.*nowhere'; give the path of a folder"):
        read_card(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel: cells\n", r"titel: unknown key; did you mean title\?"),
        ("classes: ['no', 'yes']\n", "title: missing; add this key"),
        ("title: t\nclasses: ['no']\n", "classes to be two or more different names"),
        ("title: t\nclasses: ['no', 'no']\n", "classes to be two or more different names"),
        (VALID + "positive: maybe\n", r"positive to be one of the classes \['no', 'yes'\], received 'maybe'"),
        (VALID + "symmetry: turned\n", "symmetry: expected 'auto', 'none', 'mirror' or 'dihedral', received 'turned'"),
        (VALID + "licence: a\nlicense: a\n", "expected one of licence and license, received both"),
        (VALID + "channels: 2\n", "channels: expected 1 or 3, received 2"),
        (VALID + "table: {file: a, image: b}\n", "one of label and soft_label"),
        (VALID + "table: {file: a, image: b, label: c, soft_label: d}\n", "one of label and soft_label"),
        (VALID + "table: {file: a, image: b, label: c, confidence: [[0, 1]]}\n", "together with soft_label"),
        (VALID + "table: {file: a, image: b, soft_label: d, alternative_threshold: 0}\n", "together with confidence"),
        (
            VALID + "table: {file: a, image: b, soft_label: d, confidence: [[0, 1], [1, 0]]}\n",
            "expected more than 0",
        ),
        (
            VALID + "table: {file: a, image: b, soft_label: d, confidence: [[0, 1], [1, -1]]}\n",
            "expected more than 0",
        ),
        ("title: t\nclasses: [a, b, c]\ntable: {file: a, image: b, soft_label: d}\n", "two classes, where a soft"),
        (VALID + PACKAGE, "a table, where the source is a package"),
        (VALID + TABLE + PACKAGE, "has a source, but lies beside images"),
        (VALID + "source: {}\n", "one of package, archive and tfds, received none"),
        (VALID + "source: {package: p}\n", "source.package: expected a mapping, received 'p'"),
        (VALID + "source: {package: {nam: p}}\n", r"source.package.nam: unknown key; did you mean name\?"),
        (VALID + f"source: {{tfds: a:1.0.0, archive: {ARCHIVE}}}\n", "received archive and tfds"),
        (VALID + "source: {tfds: 'a b'}\n", "source.tfds.name: expected .*, received 'a b'"),
        (VALID + "source: {tfds: 'a:new'}\n", "source.tfds.version: expected .*, received 'new'"),
        (VALID + "source: {tfds: 'tfds:'}\n", "source.tfds.name: expected"),
        (VALID + "source: {tfds: 'tfds:../a'}\n", "source.tfds.name: expected"),
        (VALID + "source: {tfds: 'tfds:a/:1.0.0'}\n", "source.tfds.name: expected"),
        (VALID + "source: {tfds: 'tfds:a:1.0'}\n", "source.tfds.version: expected"),
        (VALID + f"source: {{archive: {ARCHIVE.replace('https', 'gopher')}}}\n", "source.archive.url: .*gopher"),
        (VALID + f"source: {{archive: {ARCHIVE.replace('00', 'xy')}}}\n", "source.archive.sha256: expected .*xyxy"),
        (VALID + TABLE + "source: {tfds: a}\n", "no table, where the source is TensorFlow Datasets"),
        (VALID + "bit_depth: 7\n", "bit_depth: expected at least 8, received 7"),
        (VALID + "background: [0, 0, 256]\n", "background.2: expected at most 255, received 256"),
        (VALID + "background: green\n", "background: expected 'auto', 'white' or 'black', received 'green'"),
        (VALID + "group_pattern: '['\n", "group_pattern to be a regular expression, received '\\['"),
        (VALID + "group_pattern: a\n", "group_pattern with one group .*, received 'a' with 0"),
        (VALID + TABLE[:-2] + ", group: g}\ngroup_pattern: (a)\n", "one of group_pattern and the table's group"),
    ],
)
def test_a_wrong_card_is_an_error_that_says_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _read(tmp_path, text)


def test_a_card_file_without_a_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(VALID, encoding="utf-8")
    with pytest.raises(UserError, match="has no source; to use a folder of images, give the folder itself"):
        read_card(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [("tfds:tf_flowers:3.0.1", "tf_flowers", "3.0.1"), ("mnist", "mnist", None), ("a/b:1.*.*", "a/b", "1.*.*")],
)
def test_a_name_of_tensorflow_datasets(tmp_path: Path, text: str, name: str, version: str | None) -> None:
    (tmp_path / "own.yaml").write_text(f"title: t\nsource: {{tfds: '{text}'}}\n", encoding="utf-8")
    source = read_card(tmp_path / "own.yaml")[0].source
    assert source is not None
    assert source.tfds == TfdsSource(name, version)


def test_a_bare_name_of_tensorflow_datasets_says_how_to_give_it() -> None:
    with pytest.raises(UserError, match=r"write a card with the line `source: {tfds: tfds:tf_flowers:3.0.1}`"):
        read_card(Path("tfds:tf_flowers:3.0.1"))


def test_a_home_folder_is_to_be_written_out_as_dvc_does_not_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    with pytest.raises(UserError, match=r"^params.yaml: dataset: DVC does not know what ~ is; write '/home/u/pics'$"):
        read_card(Path("~/pics"))


@pytest.mark.parametrize("url", ["https://example.org/a.zip", "file:///tmp/a.zip"])
def test_a_url_is_to_be_written_into_a_card(url: str) -> None:
    with pytest.raises(UserError, match=rf"^params.yaml: dataset: '{url}' is a URL, not a path; write a card"):
        read_card(Path(url))


@pytest.mark.parametrize("name", ["a.rar", "a.7z", "a.tar.zst", "a.gz"])
def test_an_archive_of_another_kind_is_to_be_packed_anew(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(2 << 20))
    with pytest.raises(UserError, match=rf"{name}' is an archive of an unsupported kind; unpack it .*\.zip, \.tar"):
        read_card(tmp_path / name)


def test_what_is_no_dataset_at_all_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bytes(2 << 20))
    with pytest.raises(UserError, match=r"a.png' is neither a folder of images, nor an archive \(\.zip.*\.yaml"):
        read_card(tmp_path / "a.png")


@pytest.mark.parametrize(("name", "separator"), [("my: labels.csv", "comma"), ("labels.tsv", "tab")])
def test_a_table_is_an_error_with_the_card_to_write(tmp_path: Path, name: str, separator: str) -> None:
    (tmp_path / name).write_bytes(bytes(2 << 20))
    with pytest.raises(UserError, match=r"is a table; give the folder of the images, and write a card\.yaml") as raised:
        read_card(tmp_path / name)
    table = _read(tmp_path, str(raised.value).partition("\n")[2]).table
    assert table is not None
    assert (table.file, table.separator, table.image, table.label) == (
        name, separator, "COLUMN_OF_PATHS", "COLUMN_OF_CLASSES",
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "data/cards").glob("*.yaml")))
def test_every_card_of_the_project_is_valid(name: str) -> None:
    card, _ = read_card(ROOT / "data/cards" / name)
    assert card.source is not None
    assert card.licence != "not stated"


CARDS = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "data/cards").glob("*.yaml"))]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_card_is_read_or_is_a_mistake_that_is_said(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A card of the project with keys given other values, or with other bytes somewhere, or no card at all."""
    text = data.draw(st.sampled_from(CARDS))
    kind = data.draw(st.sampled_from(["value", "bytes", "noise"]))
    if kind == "value":
        values = yaml.safe_load(text)
        section = values
        while True:
            key = data.draw(st.sampled_from(sorted(section, key=str)))
            if not isinstance(section[key], dict) or data.draw(st.booleans()):
                break
            section = section[key]
        section[key] = data.draw(VALUES)
        content = yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "surrogatepass")
    elif kind == "bytes":
        place = data.draw(st.integers(0, len(text)))
        content = (text[:place] + data.draw(st.text(max_size=5)) + text[place + 2 :]).encode("utf-8", "surrogatepass")
    else:
        content = data.draw(st.binary(max_size=100))
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        read_card(path)
    except UserError as error:
        assert str(error).startswith(str(path))
        assert FAULT.search(str(error))
