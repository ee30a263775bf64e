"""Copy figures from metrics/, plots/ and benchmarks/results into README.md and docs/: python -m benchmarks.readme

What a page has between <!-- NAME --> and <!-- end --> comes from a file, and a test checks that it still does.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types
import pandas as pd
import yaml

from transfer.command_line import make_parser
from transfer.core.cuts import CUTS, DEFAULT_CUTS, TRAINED_SIZES
from transfer.core.files import read_json
from transfer.core.params import WEIGHTS, Format, Params
from transfer.evaluation.markdown import markdown_table
from transfer.export.formats import FORMATS
from transfer.export.table import exported_markdown
from transfer.results.performance import MODELS
from transfer.results.tables import performance

WEIGHT_KINDS = {"packaged": "ImageNet", "none": "random"}  # as params.yaml names them, and as the table does
BLOCK = re.compile(r"(<!-- ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

TEST_SCORES = {"accuracy": "test accuracy", "weighted": "weighted accuracy", "f1": "F1", "auc": "ROC AUC"}
"""Of the tables over seeds, and what they are called."""


def _performance(root: Path) -> str:
    return performance(pd.read_csv(root / "plots/performance_table.csv"))


def _seeds(root: Path) -> str:
    """The default recipe, and below it those that have a name."""
    folder = root / "benchmarks/results"
    tables = [_seeds_table(read_json(folder / "seeds.json"), "")]
    for path in sorted(folder.glob("seeds-*.json")):
        results = read_json(path)
        tables.append(_seeds_table(results, f"`{path.stem.removeprefix('seeds-')}`, "))
        changes = ", ".join(f"`{key}={value}`" for key, value in results["overrides"].items())
        tables.append(f"`{path.stem.removeprefix('seeds-')}` is params.yaml with {changes or 'no change'}.")
    return "\n\n".join(tables)


def _seeds_table(results: dict[str, Any], recipe: str) -> str:
    """Return a row for each model and a column for each score that there is: not every dataset has all."""
    summary = results["summary"]
    known = {**TEST_SCORES, "auc_weighted": "weighted ROC AUC"}
    names = {score: name for score, name in known.items() if score in summary[next(iter(MODELS))]}
    seeds = ", ".join(map(str, results["seeds"]))
    header = [f"{recipe}mean ± standard deviation of seeds {seeds}", *names.values()]
    rows = [[f"`{model}`", *(_mean_and_sd(summary[model][name]) for name in names)] for model in MODELS]
    return markdown_table(header, rows)


def _mean_and_sd(score: dict[str, float | None]) -> str:
    """One seed has no standard deviation."""
    return f"{score['mean']:.4f}" + ("" if score["sd"] is None else f" ± {score['sd']:.4f}")


def _speed(root: Path) -> str:
    results = read_json(root / "benchmarks/results/speed.json")
    forward, training = results["frozen_pass_images_per_second"], results["training_images_per_second"]
    rows = [
        ["frozen pass: this pipeline (OpenVINO)", forward["openvino"], 1.0],
        ["frozen pass: TensorFlow graph", forward["tensorflow"], forward["openvino"] / forward["tensorflow"]],
        ["frozen pass: Keras `predict`", forward["keras_predict"], results["frozen_pass_ratio"]],
        ["fine-tuning: this pipeline (cached activations)", training["cached_activations"], 1.0],
        [
            "fine-tuning: `fit` from records with augmentation, frozen below the same cut",
            training["fit_frozen_below_cut"],
            results["training_ratio"]["fit_frozen_below_cut"],
        ],
        [
            "fine-tuning: `fit` of the whole network from records with augmentation",
            training["fit_whole_network"],
            results["training_ratio"]["fit_whole_network"],
        ],
    ]
    machine = f"{results['cores']} cores with {results['vector_instructions']}"
    header = [f"at {results['image_size']} pixels, on {machine}", "images a second", "this pipeline is faster by"]
    return markdown_table(header, [[str(name), f"{rate:.1f}", f"{ratio:.1f} ×"] for name, rate, ratio in rows])


def accelerator_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each device."""
    cuts = {"top": "head", "block5": "above block5", "input": "whole network"}
    header = ["images a second, at 224 pixels", "frozen pass, Keras", *cuts.values(), "first epoch above block5"]
    rows = []
    for name, found in results.items():
        trained = found["training"]
        rates = [f"{trained[cut]['images_per_second']:,.0f}" if cut in trained else "not measured" for cut in cuts]
        frozen, first = found["frozen_pass_images_per_second"], trained["block5"]["first_epoch_s"]
        rows.append([name, f"{frozen:,.0f}", *rates, f"{first:.0f} s"])
    return markdown_table(header, rows)


def _preprocess(root: Path) -> str:
    results = read_json(root / "benchmarks/results/preprocess.json")
    rates, memory = results["images_per_second"], results["memory"]
    names = {"elpv": "ELPV (PNG, 300 × 300)", "jpeg": "photographs (JPEG, about 500 × 375)"}
    header = [f"preprocess, to {results['image_size']} pixels", "images a second", "of the rate of a bare loop"]
    rows = [[names[name], f"{rate['preprocess']:.0f}", f"{rate['ratio']:.0%}"] for name, rate in rates.items()]
    peaks = {int(count): values["peak_memory_bytes"] / 1e6 for count, values in memory.items() if count != "ratio"}
    said = " and ".join(f"{peak:.0f} MB for {count:,}" for count, peak in peaks.items())
    return f"{markdown_table(header, rows)}\n\nPeak memory: {said} small images ({memory['ratio']:.2f} ×)."


def _backbones(_: Path) -> str:
    from transfer.networks.backbones.registry import BACKBONES

    header = ["backbone", "trained at", "weights that can be had: licence", "cuts (**auto**)"]
    rows = []
    for name, backbone in BACKBONES.items():
        weights = ", ".join(f"`{kind}`: {source.licence}" for kind, source in backbone.weights.items())
        cuts = ["**" + cut + "**" if cut == DEFAULT_CUTS[name] else cut for cut in CUTS[name]]
        rows.append([f"`{name}`", f"{TRAINED_SIZES[name]} px", weights, " ".join(cuts)])
    return markdown_table(header, rows)


def matrix_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each backbone, and for each dataset its status, accuracies and seconds."""
    datasets = results["datasets"]
    names = list(dict.fromkeys(name for cells in datasets.values() for name in cells["backbones"]))
    header = ["backbone (weights)", *(f"`{name}`{_matrix_shared(cells)}" for name, cells in datasets.items())]
    rows = []
    for name in names:
        found = [cells["backbones"].get(name) for cells in datasets.values()]
        weights = next(cell["weights"] for cell in found if cell)
        rows.append(
            [f"`{name}` ({WEIGHT_KINDS[weights]})", *(matrix_cell(cell) if cell else "not run" for cell in found)]
        )
    return markdown_table(header, rows)


def _matrix_shared(cells: dict[str, Any]) -> str:
    """What stands in the header beside a dataset's name."""
    if cells["chance"] is None:
        return ""
    return f": chance {cells['chance']:.3f}; stages that all share {cells['shared']['seconds']:.0f} s"


def matrix_cell(cell: dict[str, Any]) -> str:
    """Status, test accuracy of the head → of the fine-tuned network, seconds."""
    if cell["status"] != "ok":
        return cell["status"] if len(cell["status"]) <= 80 else f"{cell['status'][:79]}…"
    return f"ok: {cell['head']:.3f} → {cell['finetuned']:.3f}, {cell['seconds']:.0f} s"


def _matrix(root: Path) -> str:
    return matrix_markdown(read_json(root / "benchmarks/results/matrix.json"))


def _augment(root: Path) -> str:
    ways = read_json(root / "benchmarks/results/augment.json")
    names = {
        "cached": "`augment: cached`",
        "none": "`augment: none`",
        "on_the_fly": "`augment: on_the_fly`",
        "input": "`augment: on_the_fly`, `cut: input`",
    }
    header = ["trained on", "epochs", "an epoch", "frozen pass", "cache on disk", "val. accuracy", "test accuracy"]
    rows = [
        [
            names[way],
            str(row["epochs"]),
            f"{row['seconds_per_epoch']:.1f} s",
            f"{row['embed_seconds']:.0f} s",
            f"{row['cached_bytes'] / 1e6:,.0f} MB",
            f"{row['val_accuracy']:.3f}",
            f"{row['accuracy']:.3f}",
        ]
        for way, row in ways.items()
    ]
    return markdown_table(header, rows)


def _sweep(root: Path) -> str:
    path = root / "benchmarks/results/sweep.json"
    if not path.exists():
        return "Not measured yet: `make bench NAME=sweep`."
    results = read_json(path)
    parts, loop, ratio = results["seconds"], results["tutorial"], results["ratio"]
    count, cores = len(results["settings"]), f"{results['cores']} cores with {loop['vector_instructions']}"
    sweep = parts["queue"] + parts["run"] + parts["show"]
    header = [f"{count} settings, {results['epochs']} epochs each, on {cores}", "seconds", "times as fast"]
    rows = [
        ["the tutorial's loop", f"{loop['seconds']:,.0f}", "1"],
        ["this pipeline, frozen pass included", f"{sweep + parts['embed']:,.0f}", f"{ratio['with_embed']:.1f}"],
        ["this pipeline, where the frozen pass is cached", f"{sweep:,.0f}", f"{ratio['without_embed']:.1f}"],
    ]
    picture = "![Validation loss and accuracy of each setting](../../benchmarks/results/sweep.png)"
    return "\n\n".join([markdown_table(header, rows), f"{_estimated(loop, count)} {_best(results)}", picture])


def _estimated(loop: dict[str, Any], settings: int) -> str:
    if not loop["estimated"]:
        return "The tutorial's loop was run whole."
    return (
        f"The tutorial's loop was not run whole: its seconds are estimated from the median of {loop['measured_steps']} "
        f"training steps and of all validation steps in each of {loop['measured_settings']} of the {settings} settings."
    )


def _best(results: dict[str, Any]) -> str:
    """Name the setting that was chosen, and how many failed."""
    best = results["settings"][0]
    if best["status"] != "ok":
        return "No setting was better than chance."
    values = ", ".join(f"`{key}={value}`" for key, value in best["changed"].items())
    wrong = sum(setting["status"] != "ok" for setting in results["settings"])
    said = f"Chosen: {values}, with a validation loss of {best['loss']:.3f} and accuracy of {best['accuracy']:.3f}."
    return said + (f" {wrong} settings failed or collapsed." if wrong else "")


def _learning_curve(root: Path) -> str:
    path = root / "benchmarks/results/learning_curve.json"
    if not path.exists():
        return "Not measured yet: `make bench NAME=learning_curve`."
    models = read_json(path)["models"]
    summaries = {model: {row["images"]: row for row in curve["summary"]} for model, curve in models.items()}
    sizes = sorted({size for of_size in summaries.values() for size in of_size})
    rows = [[f"{size:,}", *(_mean_error(of_size.get(size)) for of_size in summaries.values())] for size in sizes]
    table = markdown_table(["training images", *(f"`{model}`" for model in models)], rows)
    said = [f"`{model}`: {curve['conclusion']}" for model, curve in models.items()]
    picture = "![Validation error over the training-set size](../../benchmarks/results/learning_curve.png)"
    return "\n\n".join([table, *said, picture])


def _mean_error(row: dict[str, Any] | None) -> str:
    """Mean ± standard deviation of the validation error, in per cent and points."""
    if row is None or row["mean"] is None:
        return "–"
    spread = f"({row['trained']} trained)" if row["sd"] is None else f"± {100 * row['sd']:.1f}"
    return f"{100 * row['mean']:.1f} % {spread}"


def peers_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each peer and for each model of the pipeline, means ± standard deviations."""
    rows = results["rows"].values()
    seeds = {seed for row in rows for seed, run in row["runs"].items() if run["status"] == "ok"}
    settings = results["settings"]
    machine = f"{results['cores']} cores with {results['vector_instructions']}"
    header = [
        f"{_seed_list(seeds)}, {settings['image_size']} pixels, {machine}",
        *TEST_SCORES.values(),
        "training",
        "peak memory",
    ]
    return markdown_table(header, [[_peer_title(row, seeds), *_peer_cells(row["summary"])] for row in rows])


def _seed_list(seeds: set[str]) -> str:
    """Name seeds, in order."""
    return f"seeds {', '.join(sorted(seeds, key=int))}" if len(seeds) != 1 else f"seed {min(seeds)}"


def _peer_title(row: dict[str, Any], seeds: set[str]) -> str:
    """What a row is called; where seeds are missing, with those that it has, how recipes were shortened, on
    what else than this machine they were trained, and with which seeds alone their time was taken.
    """
    done = {seed: run for seed, run in row["runs"].items() if run["status"] == "ok"}
    notes = [] if set(done) in (seeds, set()) else [_seed_list(set(done))]
    scales = {run["epochs_scale"] for run in done.values()} - {1.0}
    notes += [f"{scale:g} of the epochs" for scale in sorted(scales)]
    devices = sorted({run["device"] for run in done.values() if "device" in run})
    for device in devices:
        elsewhere = {seed for seed, run in done.items() if run.get("device") == device}
        notes.append(f"{_seed_list(elsewhere)} on an {device}" if elsewhere != set(done) else f"on an {device}")
    timed = {seed for seed, run in done.items() if "seconds" in run}
    if timed and any("device" not in run for seed, run in done.items() if seed not in timed):
        notes.append(f"training time of {_seed_list(timed)}")
    return f"{row['title']} ({', '.join(notes)})" if notes else str(row["title"])


def _peer_cells(summary: dict[str, dict[str, float | None]]) -> list[str]:
    """Scores, seconds and megabytes."""
    if not summary:
        return ["not run"] * (len(TEST_SCORES) + 2)
    spread = {name: value["sd"] for name, value in summary.items()}

    def cell(name: str, form: str, unit: str = "", scale: float = 1.0) -> str:
        if name not in summary:
            return "–"
        mean, deviation = summary[name]["mean"], spread[name]
        assert mean is not None
        more = "" if deviation is None else f" ± {deviation * scale:{form}}"
        return f"{mean * scale:{form}}{more}{unit}"

    scores = [cell(name, ".4f") for name in TEST_SCORES]
    return [*scores, cell("seconds", ".0f", " s"), cell("peak_memory_bytes", ",.0f", " MB", 1e-6)]


def load_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each number of images."""
    header = [
        f"images ({results['cores']} cores)", "download", "preprocess", "its peak memory", "split alone",
        "files in data/raw/images and data/records", "`dvc status` of both", "… of the images as files",
    ]  # fmt: skip
    rows = []
    for row in results["rows"]:
        done = row["preprocess"]
        as_files = f"{row['status_of_files_s']:.1f} s" if "status_of_files_s" in row else "not measured"
        rows.append([
            f"{row['images']:,}",
            f"{row['download']['seconds']:.1f} s",
            f"{done['seconds']:.1f} s, {row['images'] / done['seconds']:,.0f} images/s",
            f"{done['peak_memory_bytes'] / 1e6:,.0f} MB",
            f"{row['split']['seconds']:.1f} s",
            f"{row['raw']['files']} and {row['records']['files']}",
            f"{row['status_s']:.1f} s",
            as_files,
        ])  # fmt: skip
    return markdown_table(header, rows)


def dask_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each runner and stage."""
    titles = {"preprocess": "preprocess: photographs", "embed": "embed: views of solar cells"}
    header = [f"on {results['cores']} cores", "done by", "seconds", "start-up", "a second, while at work", "of local"]
    rows = []
    for stage, title in titles.items():
        measured = results[stage]["rows"]
        rows += [
            [
                title,
                name,
                *(f"{row[key]:.1f}" for key in ("seconds", "start_s")),
                f"{row['rate']:.0f}",
                f"{row['rate'] / measured['local']['rate']:.2f}",
            ]
            for name, row in measured.items()
        ]
    same = all(results[stage]["same_bytes"] for stage in titles)
    said = "All wrote the same bytes." if same else "They did **not** all write the same bytes."
    return (
        f"{markdown_table(header, rows)}\n\n{said} A task that does nothing takes {results['overhead_s'] * 1e3:.1f} ms."
    )


def killed_markdown(results: dict[str, Any]) -> str:
    """Say how often runs were killed, and what came out."""
    runs = results["runs"]
    kills = [kill for run in runs for kill in run["kills"]]
    late = sum(kill["ended"] for kill in kills)
    between = f" ({late} of them between two stages)" if late else ""
    parts = ", ".join(f"{part:.0%}" for part in dict.fromkeys(part for run in runs for part in run["parts"]))
    stages = len({kill["stage"] for kill in kills})
    same = sum(run["outputs"] - len(run["differing"]) for run in runs)
    return (
        f"{len(kills)} kills{between}: in {len(runs)} clone{'s' * (len(runs) > 1)}, in each of {stages} stages, when "
        f"{parts} of it was done. In the end {same} of {sum(run['outputs'] for run in runs)} outputs had the hashes of "
        "an undisturbed run."
    )


def predict_markdown(results: dict[str, Any]) -> str:
    """Say how fast files are predicted in each format, and how far from TensorFlow what comes out is."""
    header = [
        f"`{results['model']}`, {results['images']:,} image files, {results['cores']} cores",
        "images a second, start-up included",
        "largest difference",
        "mean",
        "same class",
    ]
    rows = [
        [
            f"`{name}`",
            f"{way['images_per_second']:.0f}",
            f"{way['largest_difference']:.1e}",
            f"{way['mean_difference']:.1e}",
            f"{way['agreement']:.1%}",
        ]
        for name, way in results["ways"].items()
    ]
    return markdown_table(header, rows)


def serving_markdown(results: dict[str, Any]) -> str:
    """Say what HTTP costs."""
    bare, by_clients = results["bare_one_at_a_time"], results["http_by_clients"]
    one, alone = (f"{found['p50_ms']} ms (p95 {found['p95_ms']} ms)" for found in (by_clients["1"], bare))
    many = [
        f"{clients} clients: {found['images_per_second']:.0f} images/s, p50 {found['p50_ms']:.0f} ms"
        for clients, found in by_clients.items()
        if clients != "1"
    ]
    return (
        f"One client waits {one}, {results['one_client_p50_ratio']} times as long as the bare classifier takes, "
        f"{alone}. {'; '.join(many)}; the bare classifier: {results['bare_many_images_per_second']:.0f} images/s."
    )


def exports_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each backbone: by format, the mean difference from Keras, or what went wrong."""
    backbones = results["backbones"]
    formats = list(dict.fromkeys(name for found in backbones.values() for name in found))
    rows = [[f"`{name}`", *(_export_cell(found[kind], kind) for kind in formats)] for name, found in backbones.items()]
    return markdown_table(["mean difference of a probability", *(f"`{kind}`" for kind in formats)], rows)


def _export_cell(found: dict[str, Any], kind: Format) -> str:
    """A difference, and whether the stage export would leave the format out: by the difference, or by the classes."""
    if "mean_difference" not in found:
        return f"**no**: {re.split('converter: |network: ', found['status'])[-1][:50]}…"
    tolerated = FORMATS[kind]
    bad = found["mean_difference"] > tolerated.difference or found["agreement_where_sure"] < tolerated.agreement
    return f"{found['mean_difference']:.0e}{', **too far**' if bad else ''}"


def _exported(root: Path) -> str:
    figures, cost = (read_json(root / f"metrics/{name}.json") for name in ("export", "export-cost"))
    return exported_markdown(figures, cost)


def _if_measured(name: str, markdown: Callable[[dict[str, Any]], str]) -> Callable[[Path], str]:
    """Return what renders a file of benchmarks/results that may not be there yet."""

    def block(root: Path) -> str:
        path = root / f"benchmarks/results/{name}.json"
        return markdown(read_json(path)) if path.exists() else "Not measured yet."

    return block


def _packages(root: Path) -> str:
    """What a change in a package runs again, by dvc.yaml, and how long that took where each stage was killed once."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    (run,) = read_json(root / "benchmarks/results/killed-default.json")["runs"]
    part = run["parts"][0]  # of a stage's seconds, after which it was killed first
    seconds: dict[str, float] = {}
    for kill in reversed(run["kills"]):
        seconds[kill["stage"]] = kill["after_s"] / part
    rows = []
    for package in sorted(path.parent.name for path in root.glob("transfer/*/__init__.py")):
        declared = [name for name, stage in stages.items() if f"transfer/{package}" in stage.get("do", stage)["deps"]]
        again = round(sum(value for name, value in seconds.items() if name.split("@")[0] in declared))
        said = "all" if len(declared) == len(stages) else ", ".join(declared) or "none"
        rows.append([f"`{package}`", said, f"{again} s" if declared else "0 s"])
    header = ["a change in", "runs again", "time of those stages"]
    return markdown_table(header, sorted(rows, key=lambda row: -int(row[2].split()[0])))


def _run(root: Path) -> str:
    """What the committed run took: the stages that measure themselves, and what DVC keeps of all."""
    spent = sum(read_json(path)["seconds"] for path in root.glob("metrics/cost/*.json"))
    stages = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    sizes = {out["path"]: out["size"] for stage in stages.values() for out in stage["outs"]}
    cached = sum(size for path, size in sizes.items() if path.startswith("data/activations/"))
    return (
        f"In the committed run, embedding, training and evaluation took {spent / 60:.0f} minutes, and all outputs take "
        f"{sum(sizes.values()) / 1e9:.1f} GB on disk, {cached / 1e9:.1f} GB of it cached activations."
    )


WIDTH = 100
"""Of the help in the documentation, in characters."""


def _command_line(_root: Path) -> str:
    """The help of the command line and of each command, as every version of Python lays it out."""
    parser, commands = make_parser()
    shown = []
    for title, one in [("All commands", parser), *commands.items()]:
        narrow = 14 if one is parser else 24  # 3.13 would indent the list of commands by two more
        one.formatter_class = partial(argparse.HelpFormatter, max_help_position=narrow, width=WIDTH)
        shown.append(f"## {title}\n\n```text\n{one.format_help()}```")
    return "\n\n".join(shown)


PARAMETER = re.compile(r"^( *)(?:([a-z_]+):|(- )).*?(?:#\s*(.*))?$")
"""A line of params.yaml: indentation, key or dash, comment."""
READ_BY_HAND = {
    "image_size": "auto, or integer ≥ 32, ≤ 1,024",
    "weights": f"auto, {', '.join(WEIGHTS)}, or a file with its SHA-256",
    "class_weights": "auto, none, balanced, or a number above 0 for each class",
}
"""Types of params that are read by a function of their own, or may also be auto."""
WORDS = {int: "integer", float: "number", str: "text"}
SIGNS = {annotated_types.Gt: (">", "gt"), annotated_types.Ge: ("≥", "ge"), annotated_types.Lt: ("<", "lt"),
         annotated_types.Le: ("≤", "le")}  # fmt: skip


def _parameters(root: Path) -> str:
    """Every key of params.yaml: its type by transfer/core/params.py, its default and its comment by the file."""
    text = (root / "params.yaml").read_text(encoding="utf-8")
    comments = comments_of(text)
    rows = []
    for key, kind, default in _keys(Params, yaml.safe_load(text), ""):
        shown = "" if is_dataclass(kind) else f"`{_yaml(default)}`"
        said = "" if is_dataclass(kind) else READ_BY_HAND.get(key) or type_words(kind)
        rows.append([f"**`{key}`**" if is_dataclass(kind) else f"`{key}`", said, shown, comments.get(key, "")])
    lines = [["key", "type", "default", "what it is"], ["---"] * 4, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _keys(schema: Any, values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Every key in the file's order with its type and value; a section comes before its keys."""
    hints = get_type_hints(schema, include_extras=True)
    assert {field.name for field in fields(schema)} == set(values)
    for name, value in values.items():
        yield f"{prefix}{name}", hints[name], value
        if is_dataclass(hints[name]):
            yield from _keys(hints[name], value, f"{prefix}{name}.")


def _yaml(value: Any) -> str:
    """Write a value on one line, as params.yaml would."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return "null" if value is None else str(value)


def comments_of(text: str) -> dict[str, str]:
    """Return the comment of each key that has one: behind it, or else on the line above it."""
    found: dict[str, str] = {}
    path: list[str] = []
    above = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            above = line.lstrip("# ")
        elif match := PARAMETER.match(line):
            indentation, name, _, comment = match.groups()
            if name:
                path = [*path[: len(indentation) // 2], name]
                if said := comment or above:
                    found[".".join(path)] = said
            above = ""
    return found


def type_words(kind: Any) -> str:
    """Say what values a type of params.py takes."""
    origin, inside = get_origin(kind), get_args(kind)
    if kind in WORDS:
        return WORDS[kind]
    if origin is Annotated:
        bounds = [bound for part in inside[1:] for bound in _bounds(part)]
        return " ".join([type_words(inside[0]), ", ".join(bounds)]).strip()
    if origin is Literal:
        return ", ".join(str(value) for value in inside)
    if origin is tuple:
        return f"list of: {type_words(inside[0])}"
    assert origin in (Union, UnionType), kind
    return ", or ".join("null" if part is NoneType else type_words(part) for part in inside)


def _bounds(part: Any) -> list[str]:
    """Return what a part of an annotation says of a number's size."""
    parts = getattr(part, "metadata", [part])
    return [
        f"{sign} {getattr(bound, name):,}"
        for bound in parts
        for kind, (sign, name) in SIGNS.items()
        if isinstance(bound, kind)
    ]


BLOCKS: dict[str, Callable[[Path], str]] = {
    "performance": _performance,
    "run": _run,
    "parameters": _parameters,
    "command-line": _command_line,
    "seeds": _seeds,
    "speed": _speed,
    "accelerator": _if_measured("accelerator", accelerator_markdown),
    "preprocess": _preprocess,
    "backbones": _backbones,
    "matrix": _matrix,
    "augment": _augment,
    "sweep": _sweep,
    "learning-curve": _learning_curve,
    "peers": _if_measured("peers", peers_markdown),
    "killed": _if_measured("killed", killed_markdown),
    "killed-default": _if_measured("killed-default", killed_markdown),
    "load": _if_measured("load", load_markdown),
    "predict": _if_measured("predict", predict_markdown),
    "serving": _if_measured("serving", serving_markdown),
    "exports": _if_measured("exports", exports_markdown),
    "dask": _if_measured("dask", dask_markdown),
    "packages": _packages,
    "exported": _exported,
}


def pages(root: Path) -> list[Path]:
    """Return the pages with blocks: README.md and those of the documentation."""
    return [root / "README.md", *sorted(root.glob("docs/**/*.md"))]


def render(text: str, root: Path) -> str:
    """Return a page's text with the figures that the files below `root` hold now."""
    return BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]](root)}\n{match[3]}", text)


if __name__ == "__main__":
    for page in pages(Path()):
        page.write_text(render(page.read_text(encoding="utf-8"), Path()), encoding="utf-8")
