"""Rule 1 of the design: what a stage declares in dvc.yaml is all that it needs, and no more."""

import ast
import re
import shutil
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from tests.declared import ROOT, WHERE, Needs, needs_of
from transfer.core.outputs import OUTPUTS
from transfer.core.params import Params
from transfer.training.checkpoints import SOURCES


@dataclass(frozen=True)
class Declared:
    """A stage as dvc.yaml declares it, after DVC has filled in its templates."""

    script: str
    item: str | None
    deps: set[str]
    params: set[str]
    outs: set[str]


def _declared_stages() -> dict[str, Declared]:
    stages = {}
    with Repo(str(ROOT)) as repo:
        for stage in repo.index.stages:
            command = re.fullmatch(r"python -m stages\.(\w+)(?: (\w+))?", stage.cmd)
            assert command is not None, stage.cmd
            of_params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
            stages[stage.addressing] = Declared(
                script=f"stages/{command[1]}.py",
                item=command[2],
                deps={dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)},
                params={key for dep in of_params for key in dep.params},
                outs={out.def_path for out in stage.outs},
            )
    return stages


STAGES = _declared_stages()
DATASET = "data/cards/elpv.yaml"


def _faults(declared: Declared, needs: Needs) -> list[str]:
    """What is declared and not needed, and what is needed and not declared."""
    needed = {
        "dep": needs.code | {DATASET if path == "${dataset}" else path for path in needs.reads},
        "param": needs.params,
        "out": needs.writes,
    }
    given = {"dep": declared.deps, "param": declared.params, "out": declared.outs}
    faults = list(needs.faults)
    for kind, names in needed.items():
        faults += [f"undeclared {kind}: {name}" for name in sorted(names - given[kind])]
        faults += [f"unused {kind}: {name}" for name in sorted(given[kind] - names)]
    return faults


def test_every_stage_script_is_in_the_pipeline() -> None:
    scripts = {f"stages/{path.name}" for path in (ROOT / "stages").glob("[!_]*.py")}
    assert {stage.script for stage in STAGES.values()} == scripts


@pytest.mark.parametrize("name", STAGES)
def test_stage_declares_all_that_it_needs_and_no_more(name: str) -> None:
    declared = STAGES[name]
    assert _faults(declared, needs_of(declared.script, declared.item)) == []


def _leaves(schema: Any, prefix: str = "") -> set[str]:
    hints = get_type_hints(schema)
    keys: set[str] = set()
    for field in fields(schema):
        hint = hints[field.name]
        keys |= _leaves(hint, f"{prefix}{field.name}.") if is_dataclass(hint) else {f"{prefix}{field.name}"}
    return keys


@pytest.mark.parametrize("script", ["train_baseline", "train_head", "finetune"])
def test_a_checkpoint_depends_on_all_that_a_training_stage_reads(script: str) -> None:
    tree = ast.parse((ROOT / f"stages/{script}.py").read_text(encoding="utf-8"))
    declared, inputs = [], None
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "reads":
                declared.append(name)
            if name == "INPUTS":
                assert isinstance(value, ast.Tuple)
                inputs = [element.id for element in value.elts if isinstance(element, ast.Name)]
    assert inputs == declared
    assert len(declared) >= 4


def test_a_checkpoint_depends_on_the_code_that_training_runs() -> None:
    declared = set().union(*(stage.deps for stage in STAGES.values() if stage.script in SOURCES))
    assert {dep for dep in declared if dep.startswith(("stages/", "transfer/"))} == set(SOURCES)


def test_every_param_is_read_by_some_stage() -> None:
    """A section that is handed on whole counts as read where an attribute of that name is used in what is imported."""
    read = set().union(*(stage.params for stage in STAGES.values()))
    attributes: set[str] = set()
    for path in [*ROOT.glob("transfer/**/*.py"), *ROOT.glob("stages/*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        attributes |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for leaf in (leaf for leaf in _leaves(Params) if leaf.split(".")[0] not in WHERE):
        parents = {".".join(leaf.split(".")[:i]) for i in range(1, leaf.count(".") + 2)}
        assert parents & read, leaf
        assert leaf in read or leaf.split(".")[-1] in attributes, leaf


def test_a_param_that_says_where_to_compute_runs_no_stage_again() -> None:
    declared = {param.split(".")[0] for stage in STAGES.values() for param in stage.params}
    assert {field.name for field in fields(Params)} >= WHERE
    assert not WHERE & declared


def test_every_output_is_where_no_dataset_may_lie() -> None:
    declared = {Path(out) for stage in STAGES.values() for out in stage.outs}
    assert [out for out in sorted(declared) if not any(out.is_relative_to(known) for known in OUTPUTS)] == []
    unused = {known for known in OUTPUTS if not any(out.is_relative_to(known) for out in declared)}
    assert unused == {Path(".checkpoints")}  # which stages write, and DVC does not know


def test_only_evaluate_reads_the_test_split() -> None:
    readers = {stage.script for stage in STAGES.values() if "data/records/test" in stage.deps}
    assert readers == {"stages/evaluate.py"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project's code, to make mistakes in."""
    for folder in ("stages", "transfer"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


SEEDED = [
    ("stages/train_head.py", "from transfer.core.errors",
     "from transfer.results.report import report\nfrom transfer.core.errors", "undeclared dep: transfer/results"),
    ("transfer/training/fit.py", "import numpy as np\n", "import numpy as np\nimport transfer.dataset.splits\n",
     "undeclared dep: transfer/dataset"),
    ("transfer/core/files.py", "    part.unlink(", "    from transfer.results import statistics\n    part.unlink(",
     "undeclared dep: transfer/results"),
    ("stages/train_head.py", "from transfer.core.errors", "import transfer.check\nfrom transfer.core.errors",
     "undeclared dep: transfer/check.py"),
    ("stages/train_head.py", 'COST = writes(', 'LOG = writes("metrics/log.txt")\nprint(LOG)\nCOST = writes(',
     "undeclared out: metrics/log.txt"),
    ("stages/train_head.py", 'SPEC = reads(', 'TEST = reads("data/records/test")\nprint(TEST)\nSPEC = reads(',
     "undeclared dep: data/records/test"),
    ("stages/train_head.py", "    head = params.head", '    print(open("data/splits.csv"))\n    head = params.head',
     "neither reads() nor writes()"),
    ("transfer/training/fit.py", "    with measured(", '    print(open("data/splits.csv"))\n    with measured(',
     "neither reads() nor writes()"),
    ("stages/train_head.py", "    head = params.head", "    print(params.lr)\n    head = params.head",
     "undeclared param: lr"),
    ("stages/train_head.py", "    head = params.head", "    print(params.finetune.cut)\n    head = params.head",
     "undeclared param: finetune.cut"),
    ("stages/train_head.py", "(head.epochs,", "(3,", "unused param: head.epochs"),
    ("stages/train_head.py", 'SPEC = reads("data/records/spec.json")', 'SPEC = reads("data/records/other.json")',
     "unused dep: data/records/spec.json"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "fault"), SEEDED)
def test_each_seeded_mistake_is_found(copy: Path, file: str, old: str, new: str, fault: str) -> None:
    _edit(copy / file, old, new)
    declared = STAGES["train_head"]
    found = _faults(declared, needs_of(declared.script, declared.item, root=copy))
    assert any(fault in line for line in found), found


def test_the_copy_without_a_mistake_has_no_fault(copy: Path) -> None:
    declared = STAGES["train_head"]
    assert _faults(declared, needs_of(declared.script, declared.item, root=copy)) == []


def test_a_declared_package_that_nothing_imports_is_found() -> None:
    declared = STAGES["train_head"]
    too_many = replace(declared, deps={*declared.deps, "transfer/serving"})
    assert _faults(too_many, needs_of(declared.script)) == ["unused dep: transfer/serving"]


def _stages_of(package: str) -> set[str]:
    return {name.split("@")[0] for name, stage in STAGES.items() if f"transfer/{package}" in stage.deps}


def test_what_a_change_runs_again_keeps_to_its_part() -> None:
    training = {"train_baseline", "train_head", "finetune"}
    for package in ("results", "export", "serving"):
        assert not training & _stages_of(package)
    assert not {"preprocess", "embed"} & _stages_of("training")
    assert _stages_of("dataset") <= {"download", "preprocess", "compare"}
    assert _stages_of("serving") == set()
