"""Tests of transfer/check.py: what is wrong in params.yaml or the card is said before any work."""

from pathlib import Path

import pytest

from transfer.check import main
from transfer.errors import UserError


def _replace(old: str, new: str) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_projects_params_and_dataset_fit_together(project: Path) -> None:
    main()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "head:\n",
            "head:\n  droput: 0.5\n",
            r"droput: expected dropout \(is it misspelt\?\), received an unknow",
        ),
        ("dataset: pictures", "dataset: none", "dataset: there is nothing at 'none'; give the path of a folder"),
        ("views: 1", "views: 8", r"views: expected at most 1, which is what the dataset's symmetry \(none\) allows"),
    ],
)
def test_what_is_wrong_is_one_line(project: Path, old: str, new: str, message: str) -> None:
    _replace(old, new)
    with pytest.raises(UserError, match=message) as error:
        main()
    assert "\n" not in str(error.value)
