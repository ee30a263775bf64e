"""What each stage needs, derived from its source, in the form in which dvc.yaml declares it: code by whole packages.

Prints the lists for dvc.yaml: python -m tests.declared
"""

import ast
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from transfer.core.params import Params

ROOT = Path(__file__).parent.parent
PARAMS_FILE = "params.yaml"
WHERE = {"runner", "dask"}
"""Params that say where a stage computes. They change nothing that it writes (test_workers_write_the_same_bytes
of three stages), so no stage declares them, and DVC runs nothing again when they change."""
FOLLOWS = {"image_size": "backbone", "weights": "backbone"}
"""Params that may be auto, and the one that then decides: a stage that reads the one depends on the other."""
OUR_FOLDERS = ("data/", "models/", "metrics/", "plots/", "params.yaml")


@dataclass
class Needs:
    """Code that a stage imports, paths that it reads and writes, params that it reads, and what is wrong with it."""

    code: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    params: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def _module_file(module: str, root: Path) -> str | None:
    """File of one of our modules, relative to the root; None for other people's."""
    if module.split(".", maxsplit=1)[0] not in ("transfer", "stages"):
        return None
    base = root / module.replace(".", "/")
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.exists():
            return candidate.relative_to(root).as_posix()
    return None


def _imported(tree: ast.AST) -> set[str]:
    """Names of all modules that a file may import, wherever in it the import stands."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("transfer."):
            modules.add(node.value)  # python -m transfer.evaluation.prediction_cost, started as a process
    return modules


def closure(file: str, root: Path = ROOT) -> set[str]:
    """All of our files that importing `file` may import, itself and the packages' __init__.py included."""
    found: set[str] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        for module in _imported(ast.parse((root / current).read_text(encoding="utf-8"))):
            parents = [".".join(module.split(".")[:i]) for i in range(1, module.count(".") + 2)]
            waiting += [path for name in parents if (path := _module_file(name, root))]
    package = str(Path(file).parent / "__init__.py")
    return found | ({package} if (root / package).exists() else set())


def declared_as(file: str) -> str:
    """How dvc.yaml declares a file of ours: transfer/PACKAGE, or the file itself where it lies in none."""
    package, *rest = Path(file).parts[1:]
    return f"transfer/{package}" if file.startswith("transfer/") and rest else file


def _chain(node: ast.Attribute) -> list[str]:
    """The names of a.b.c, outermost last; empty where it does not begin with a name."""
    names = [node.attr]
    value: ast.AST = node.value
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    return [value.id, *reversed(names)] if isinstance(value, ast.Name) else []


def _param_key(chain: list[str]) -> str:
    """The key of params.yaml that params.a.b.c reads: what is behind a leaf is an attribute of its value."""
    keys: list[str] = []
    schema: Any = Params
    for name in chain:
        if not is_dataclass(schema):
            break
        keys.append(name)
        schema = get_type_hints(schema).get(name)
    return ".".join(keys)


def _read_params(tree: ast.AST) -> set[str]:
    """Keys of params.yaml that a stage reads: the longest attribute chains of the variable `params`, and of variables
    that are set to one."""
    aliases = {"params": ""}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
            chain = _chain(node.value)
            if chain and chain[0] == "params" and isinstance(node.targets[0], ast.Name):
                aliases[node.targets[0].id] = ".".join(chain[1:])
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    keys = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            chain = _chain(node)
            if chain and chain[0] in aliases:
                prefix = aliases[chain[0]].split(".") if aliases[chain[0]] else []
                keys.add(_param_key([*prefix, *chain[1:]]))
    used_whole = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in inner
    }
    keys |= {key for name, key in aliases.items() if key and name in used_whole}
    # Assigning a section to a variable reads nothing by itself: what is then read of the variable counts.
    assigned = {key for name, key in aliases.items() if key and name not in used_whole}
    keys -= {key for key in assigned if any(other.startswith(f"{key}.") for other in keys)}
    return {key for key in keys if not any(key.startswith(f"{other}.") for other in keys)}


def _declared_paths(tree: ast.Module, needs: Needs, file: str) -> None:
    """Collect NAME = reads("…") and NAME = writes("…"), and find fault with paths outside of them."""
    inside = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
            call, name = node.value, node.targets[0]
            if node.value.func.id in ("reads", "writes") and isinstance(call.args[0], ast.Constant):
                assert isinstance(name, ast.Name)
                inside.add(id(call.args[0]))
                path = str(call.args[0].value)
                (needs.reads if node.value.func.id == "reads" else needs.writes).add(path)
                loads = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name.id]
                if len(loads) < 2:
                    needs.faults.append(f"{file}: {name.id} is declared and not used")
    _undeclared_literals(tree, inside, needs, file)


def _undeclared_literals(tree: ast.AST, allowed: set[int], needs: Needs, file: str) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in allowed:
            continue
        if node.value.startswith(OUR_FOLDERS) and " " not in node.value:
            needs.faults.append(f"{file}:{node.lineno}: the path {node.value!r} is neither reads() nor writes()")


class _ChooseItem(ast.NodeTransformer):
    """Replace {"one": …, "two": …}[item] by what it gives for one item."""

    def __init__(self, item: str) -> None:
        self.item = item

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Dict) and isinstance(node.slice, ast.Name) and node.slice.id == "item":
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == self.item:
                    return value
        return node


def needs_of(script: str, item: str | None = None, root: Path = ROOT) -> Needs:
    """Derive what a stage's script needs; for a stage that runs for several items, what it needs for one."""
    imports = closure(script, root)
    needs = Needs(code={declared_as(file) for file in imports})
    tree = ast.parse((root / script).read_text(encoding="utf-8"))
    if item is not None:
        tree = _ChooseItem(item).visit(tree)
    _declared_paths(tree, needs, script)
    for file in sorted(imports - {script}):
        _undeclared_literals(ast.parse((root / file).read_text(encoding="utf-8")), set(), needs, file)
    needs.params = _read_params(tree) - WHERE
    needs.params |= {other for key, other in FOLLOWS.items() if key in needs.params}
    needs.reads.discard(PARAMS_FILE)
    if item is not None:
        needs.reads = {path.format(item=item) for path in needs.reads}
        needs.writes = {path.format(item=item) for path in needs.writes}
    if "dataset" in needs.params:
        needs.reads.add("${dataset}")
    return needs


def main() -> None:
    """Print deps, params and outs of every stage."""
    for script in sorted((ROOT / "stages").glob("[!_]*.py")):
        needs = needs_of(script.relative_to(ROOT).as_posix())
        lists = {"deps": sorted(needs.code) + sorted(needs.reads), "params": sorted(needs.params)}
        print(yaml.safe_dump({script.stem: {**lists, "outs": sorted(needs.writes)}}, sort_keys=False).strip())
        for fault in needs.faults:
            print(f"# {fault}")


if __name__ == "__main__":
    main()
