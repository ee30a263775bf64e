"""Copy figures from metrics/, plots/ and benchmarks/results into README.md and docs/: python -m benchmarks.readme

What a page has between <!-- NAME --> and <!-- end --> comes from a file, and a test checks that it still does.
"""

import argparse
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pandas as pd
import yaml
from pydantic import TypeAdapter

from transfer.command_line import make_parser
from transfer.core.cuts import CUTS, FACTS, KERAS
from transfer.core.files import read_json
from transfer.core.params import Format, KnownWeights, Params
from transfer.evaluation.markdown import interval, markdown_table
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
    head = f"{recipe}mean ± standard deviation of seeds {seeds}"
    rows = [
        {head: f"`{model}`", **{name: _mean_and_sd(summary[model][score]) for score, name in names.items()}}
        for model in MODELS
    ]
    return markdown_table(rows)


def _mean_and_sd(score: dict[str, float | None]) -> str:
    """One seed has no standard deviation."""
    return f"{score['mean']:.4f}" + ("" if score["sd"] is None else f" ± {score['sd']:.4f}")


def _speed(results: dict[str, Any]) -> str:
    forward, training = results["frozen_pass_images_per_second"], results["training_images_per_second"]
    rows = [
        ("frozen pass: this pipeline (OpenVINO)", forward["openvino"], 1.0),
        ("frozen pass: TensorFlow graph", forward["tensorflow"], forward["openvino"] / forward["tensorflow"]),
        ("frozen pass: Keras `predict`", forward["keras_predict"], results["frozen_pass_ratio"]),
    ]
    trained = {
        "cached_activations": "above the cut, from cached activations: this pipeline",
        "fit_frozen_below_cut": "above the cut, from records: Keras `fit`",
        "whole_network": "the whole network: this pipeline",
        "fit_whole_network": "the whole network: Keras `fit`",
    }
    faster = {
        "fit_frozen_below_cut": results["training_ratio"]["cached_activations to fit_frozen_below_cut"],
        "fit_whole_network": results["training_ratio"]["whole_network to fit_whole_network"],
    }
    rows += [(f"fine-tuning {words}", training[name], faster.get(name, 1.0)) for name, words in trained.items()]
    machine = f"at {results['image_size']} pixels, on {results['cores']} cores with {results['vector_instructions']}"
    return markdown_table(
        [
            {machine: name, "images a second": f"{rate:.1f}", "this pipeline is faster by": f"{ratio:.1f} ×"}
            for name, rate, ratio in rows
        ]
    )


def accelerator_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each device."""
    cuts = {"top": "head", "block5": "above block5", "input": "whole network"}
    rows = [
        {
            "images a second, at 224 pixels": name,
            "frozen pass, Keras": f"{found['frozen_pass_images_per_second']:,.0f}",
            **{title: _rate(found["training"].get(cut)) for cut, title in cuts.items()},
            "first epoch above block5": f"{found['training']['block5']['first_epoch_s']:.0f} s",
        }
        for name, found in results.items()
    ]
    return markdown_table(rows)


def _rate(trained: dict[str, float] | None) -> str:
    return f"{trained['images_per_second']:,.0f}" if trained else "not measured"


def _preprocess(results: dict[str, Any]) -> str:
    rates, memory = results["images_per_second"], results["memory"]
    names = {"elpv": "ELPV (PNG, 300 × 300)", "jpeg": "photographs (JPEG, about 500 × 375)"}
    rows = [
        {
            f"preprocess, to {results['image_size']} pixels": names[name],
            "images a second": f"{rate['preprocess']:.0f}",
            "of the rate of a bare loop": f"{rate['ratio']:.0%}",
        }
        for name, rate in rates.items()
    ]
    peaks = {int(count): values["peak_memory_bytes"] / 1e6 for count, values in memory.items() if count != "ratio"}
    said = " and ".join(f"{peak:.0f} MB for {count:,}" for count, peak in peaks.items())
    return f"{markdown_table(rows)}\n\nPeak memory: {said} small images ({memory['ratio']:.2f} ×)."


def _backbones(_: Path) -> str:
    from transfer.networks.backbones.registry import BACKBONES

    rows = [
        {
            "backbone": f"`{name}`",
            "trained at": f"{FACTS[name].trained_size} px",
            "weights that can be had: licence": ", ".join(
                f"`{kind}`: {source.licence}" for kind, source in BACKBONES[name].weights.items()
            ),
            "cuts (**auto**)": " ".join(f"**{cut}**" if cut == FACTS[name].default else cut for cut in cuts),
        }
        for name, cuts in CUTS.items()
    ]
    return markdown_table(rows)


def _keras_backbones(_: Path) -> str:
    from transfer.networks.backbones.registry import BACKBONES

    rows = []
    for name, facts in FACTS.items():
        if name.startswith(KERAS):
            stages = Counter(cut.split(".")[0] for cut in facts.cuts if cut not in ("stem", "top"))
            rows.append(
                {
                    "backbone": f"`{name}`",
                    "parameters": f"{facts.parameters / 1e6:.1f} million",
                    "trained at": f"{facts.trained_size} px",
                    "licence": BACKBONES[name].weights["imagenet"].licence,
                    "blocks to cut at in stage 1, 2, …": ", ".join(map(str, stages.values())) or "none",
                    "auto": f"`{facts.default}`",
                }
            )
    return markdown_table(rows)


def _choose(root: Path) -> str:
    """What `transfer choose` wrote on the solar cells."""
    rows = [
        {
            "backbone": f"`{row['backbone']}`",
            "size": f"{row['image_size']} px",
            "accuracy (95 % interval)": interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"]),
            "log loss": f"{row['log_loss']:.3f}",
            "embedding": f"{row['embed_s']:.0f} s",
            "parameters": f"{row['parameters']:,}",
            "prediction": f"{row['prediction_ms']:.1f} ms",
        }
        for row in pd.read_csv(root / "benchmarks/results/choose.csv").to_dict("records")
    ]
    return markdown_table(rows)


def matrix_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each backbone, and for each dataset its status, accuracies and seconds."""
    datasets = results["datasets"]
    names = list(dict.fromkeys(name for cells in datasets.values() for name in cells["backbones"]))
    rows = []
    for name in names:
        found = {
            f"`{dataset}`{_matrix_shared(cells)}": cells["backbones"].get(name) for dataset, cells in datasets.items()
        }
        weights = next(cell["weights"] for cell in found.values() if cell)
        shown = {title: matrix_cell(cell) if cell else "not run" for title, cell in found.items()}
        rows.append({"backbone (weights)": f"`{name}` ({WEIGHT_KINDS[weights]})", **shown})
    return markdown_table(rows)


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


def _augment(ways: dict[str, Any]) -> str:
    names = {
        "cached": "`augment: cached`",
        "none": "`augment: none`",
        "on_the_fly": "`augment: on_the_fly`",
        "input": "`augment: on_the_fly`, `cut: input`",
    }
    rows = [
        {
            "trained on": names[way],
            "epochs": str(row["epochs"]),
            "an epoch": f"{row['seconds_per_epoch']:.1f} s",
            "frozen pass": f"{row['embed_seconds']:.0f} s",
            "cache on disk": f"{row['cached_bytes'] / 1e6:,.0f} MB",
            "val. accuracy": f"{row['val_accuracy']:.3f}",
            "test accuracy": f"{row['accuracy']:.3f}",
        }
        for way, row in ways.items()
    ]
    return markdown_table(rows)


def _sweep(results: dict[str, Any]) -> str:
    parts, loop, ratio = results["seconds"], results["tutorial"], results["ratio"]
    count, cores = len(results["settings"]), f"{results['cores']} cores with {loop['vector_instructions']}"
    sweep = parts["queue"] + parts["run"] + parts["show"]
    header = [f"{count} settings, {results['epochs']} epochs each, on {cores}", "seconds", "times as fast"]
    rows = [
        ("the tutorial's loop", f"{loop['seconds']:,.0f}", "1"),
        ("this pipeline, frozen pass included", f"{sweep + parts['embed']:,.0f}", f"{ratio['with_embed']:.1f}"),
        ("this pipeline, where the frozen pass is cached", f"{sweep:,.0f}", f"{ratio['without_embed']:.1f}"),
    ]
    table = markdown_table(pd.DataFrame(rows, columns=header))
    picture = "![Validation loss and accuracy of each setting](../../benchmarks/results/sweep.png)"
    return "\n\n".join([table, f"{_estimated(loop, count)} {_best(results)}", picture])


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


def _learning_curve(results: dict[str, Any]) -> str:
    models = results["models"]
    summaries = {model: {row["images"]: row for row in curve["summary"]} for model, curve in models.items()}
    sizes = sorted({size for of_size in summaries.values() for size in of_size})
    rows = [
        {
            "training images": f"{size:,}",
            **{f"`{model}`": _mean_error(of_size.get(size)) for model, of_size in summaries.items()},
        }
        for size in sizes
    ]
    said = [f"`{model}`: {curve['conclusion']}" for model, curve in models.items()]
    picture = "![Validation error over the training-set size](../../benchmarks/results/learning_curve.png)"
    return "\n\n".join([markdown_table(rows), *said, picture])


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
    head = f"{_seed_list(seeds)}, {settings['image_size']} pixels, {machine}"
    return markdown_table([{head: _peer_title(row, seeds), **_peer_cells(row["summary"])} for row in rows])


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


def _peer_cells(summary: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Scores, seconds and megabytes."""

    def cell(name: str, form: str = ".4f", unit: str = "", scale: float = 1.0) -> str:
        if name not in summary:
            return "–" if summary else "not run"
        mean, deviation = summary[name]["mean"], summary[name]["sd"]
        more = "" if deviation is None else f" ± {deviation * scale:{form}}"
        return f"{mean * scale:{form}}{more}{unit}"

    memory = cell("peak_memory_bytes", ",.0f", " MB", 1e-6)
    scores = {title: cell(name) for name, title in TEST_SCORES.items()}
    return {**scores, "training": cell("seconds", ".0f", " s"), "peak memory": memory}


def load_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each number of images."""
    rows = []
    for row in results["rows"]:
        done = row["preprocess"]
        as_files = f"{row['status_of_files_s']:.1f} s" if "status_of_files_s" in row else "not measured"
        rows.append(
            {
                f"images ({results['cores']} cores)": f"{row['images']:,}",
                "download": f"{row['download']['seconds']:.1f} s",
                "preprocess": f"{done['seconds']:.1f} s, {row['images'] / done['seconds']:,.0f} images/s",
                "its peak memory": f"{done['peak_memory_bytes'] / 1e6:,.0f} MB",
                "split alone": f"{row['split']['seconds']:.1f} s",
                "files in data/raw/images and data/records": f"{row['raw']['files']} and {row['records']['files']}",
                "`dvc status` of both": f"{row['status_s']:.1f} s",
                "… of the images as files": as_files,
            }
        )
    return markdown_table(rows)


def dask_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each runner and stage."""
    titles = {"preprocess": "preprocess: photographs", "embed": "embed: views of solar cells"}
    rows = [
        {
            f"on {results['cores']} cores": title,
            "done by": name,
            "seconds": f"{row['seconds']:.1f}",
            "start-up": f"{row['start_s']:.1f}",
            "a second, while at work": f"{row['rate']:.0f}",
            "of local": f"{row['rate'] / results[stage]['rows']['local']['rate']:.2f}",
        }
        for stage, title in titles.items()
        for name, row in results[stage]["rows"].items()
    ]
    same = all(results[stage]["same_bytes"] for stage in titles)
    said = "All wrote the same bytes." if same else "They did **not** all write the same bytes."
    return f"{markdown_table(rows)}\n\n{said} A task that does nothing takes {results['overhead_s'] * 1e3:.1f} ms."


def killed_markdown(results: dict[str, Any]) -> str:
    """Say how often runs were killed, and what came out."""
    runs = results["runs"]
    kills = [kill for run in runs for kill in run["kills"]]
    late = sum(kill["ended"] for kill in kills)
    between = f" ({late} of them between two stages)" if late else ""
    parts = ", ".join(f"{part:.0%}" for part in dict.fromkeys(part for run in runs for part in run["parts"]))
    same = sum(run["outputs"] - len(run["differing"]) for run in runs)
    return (
        f"{len(kills)} kills{between}: in {len(runs)} clone{'s' * (len(runs) > 1)}, in every stage, when "
        f"{parts} of it was done. In the end {same} of {sum(run['outputs'] for run in runs)} outputs had the hashes of "
        "an undisturbed run."
    )


def predict_markdown(results: dict[str, Any]) -> str:
    """Say how fast files are predicted in each format, and how far from TensorFlow what comes out is."""
    rows = [
        {
            f"`{results['model']}`, {results['images']:,} image files, {results['cores']} cores": f"`{name}`",
            "images a second, start-up included": f"{way['images_per_second']:.0f}",
            "largest difference": f"{way['largest_difference']:.1e}",
            "mean": f"{way['mean_difference']:.1e}",
            "same class": f"{way['agreement']:.1%}",
        }
        for name, way in results["ways"].items()
    ]
    return markdown_table(rows)


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
    rows = [
        {
            "mean difference of a probability": f"`{name}`",
            **{f"`{kind}`": _export_cell(found[kind], kind) for kind in formats},
        }
        for name, found in backbones.items()
    ]
    return markdown_table(rows)


def _export_cell(found: dict[str, Any], kind: Format) -> str:
    """A difference, and whether the stage export would leave the format out: by the difference, or by the classes."""
    if "mean_difference" not in found:
        return f"**no**: {re.split('converter: |network: ', found['status'])[-1][:50]}…"
    tolerated = FORMATS[kind]
    bad = found["mean_difference"] > tolerated.difference or found["agreement_where_sure"] < tolerated.agreement
    return f"{found['mean_difference']:.0e}{', **too far**' if bad else ''}"


def families_markdown(results: dict[str, Any]) -> str:
    """Return a table with a row for each family of backbones: its differences, or what does not work."""
    rows = [
        {
            "family": f"`{name}`",
            "default cut, of": f"`{found['auto']}`, {len(found['cuts'])}",
            "features": _difference_cell(found["features"]),
            "OpenVINO": _difference_cell(found["openvino"]),
            "of bare OpenVINO": _bare_cell(found.get("of bare openvino")),
            "weights above the cut that one step changes": _step_cell(found.get("step")),
            "OpenVINO export": _difference_cell(found.get("openvino export")),
            "ONNX export": _difference_cell(found["onnx"]),
        }
        for name, found in results["families"].items()
        if isinstance(found, dict)
    ]
    return markdown_table(rows)


def _difference_cell(found: float | str | None) -> str:
    """A difference, or what does not work; None was not measured."""
    if found is None:
        return "—"
    return f"{found:.0e}" if isinstance(found, float) else f"**no**: {found[:60]}…"


def _bare_cell(found: dict[str, float] | str | None) -> str:
    """The rate as a fraction of bare OpenVINO's, and what a bare request takes."""
    if not isinstance(found, dict):
        return "—"  # of what OpenVINO cannot convert, too
    return f"{found['ratio']:.2f}, {found['request_ms']:.2g} ms"


def _step_cell(found: dict[str, Any] | str | None) -> str:
    """How many of the trainable variables a step changes, if all that is frozen stays and the loss is a number."""
    if not isinstance(found, dict):
        return "—" if found is None else f"**no**: {found[:60]}…"
    if found["frozen"] or not math.isfinite(found["loss"]):
        return f"**no**: loss {found['loss']:.3g}, frozen weights change by {found['frozen']:.0e}"
    return f"{found['changed']} of {found['trainable']}"


def _measured(name: str, markdown: Callable[[dict[str, Any]], str]) -> Callable[[Path], str]:
    """Return what renders a file of benchmarks/results, which may not be there yet."""

    def block(root: Path) -> str:
        path = root / f"benchmarks/results/{name}.json"
        return markdown(read_json(path)) if path.exists() else "Not measured yet."

    return block


def _stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml, by the names that they have there; what a `foreach` does is beside it."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: {**stage, **stage.get("do", {})} for name, stage in stages.items()}


def _packages(root: Path) -> str:
    """What a change in a package runs again, by dvc.yaml, and how long that took where each stage was killed once."""
    stages = _stages(root)
    (run,) = read_json(root / "benchmarks/results/killed-default.json")["runs"]
    part = run["parts"][0]  # of a stage's seconds, after which it was killed first
    seconds: dict[str, float] = {}
    for kill in reversed(run["kills"]):
        seconds[kill["stage"]] = kill["after_s"] / part
    rows = []
    for package in sorted(path.parent.name for path in root.glob("transfer/*/__init__.py")):
        declared = [name for name, stage in stages.items() if f"transfer/{package}" in stage["deps"]]
        again = round(sum(value for name, value in seconds.items() if name.split("@")[0] in declared))
        said = "all" if len(declared) == len(stages) else ", ".join(declared) or "none"
        rows.append((again, {"a change in": f"`{package}`", "runs again": said, "time of those stages": f"{again} s"}))
    return markdown_table([row for _, row in sorted(rows, key=lambda row: -row[0])])


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
    "weights": f"auto, {', '.join(get_args(KnownWeights))}, a file with its SHA-256, or a SHA-256 alone",
    "pixels": "mean and std, each of three numbers ≤ 1, or null",
    "class_weights": "auto, none, balanced, or a number above 0 for each class",
}
"""Types of params that are read by a function of their own, or may also be auto."""
WORDS = {"integer": "integer", "number": "number", "string": "text", "null": "null"}
SIGNS = {
    "exclusiveMinimum": ">", "gt": ">", "minimum": "≥", "ge": "≥",
    "exclusiveMaximum": "<", "lt": "<", "maximum": "≤", "le": "≤",
}  # fmt: skip
"""Bounds in the JSON schema of an integer, and in that of a number, which pydantic gives as they are declared."""


def _parameters(root: Path) -> str:
    """Every key of params.yaml: its type by transfer/core/params.py, its default and its comment by the file, and the
    first stage that reads it by dvc.yaml.
    """
    text = (root / "params.yaml").read_text(encoding="utf-8")
    comments, readers = comments_of(text), _first_readers(root)
    rows = [
        {
            "key": f"**`{key}`**" if is_dataclass(kind) else f"`{key}`",
            "type": "" if is_dataclass(kind) else READ_BY_HAND.get(key) or type_words(kind),
            "default": "" if is_dataclass(kind) else f"`{_yaml(default)}`",
            "first stage rerun": ""
            if is_dataclass(kind)
            else next((stage for read, stage in readers.items() if f"{key}.".startswith(f"{read}.")), "none"),
            "meaning": comments.get(key, ""),
        }
        for key, kind, default in _keys(Params, yaml.safe_load(text), "")
    ]
    return markdown_table(rows, text=tuple(rows[0]))


def _first_readers(root: Path) -> dict[str, str]:
    """Return the first stage of dvc.yaml that reads each key, or each section that is read as a whole."""
    found: dict[str, str] = {}
    for name, stage in _stages(root).items():
        for key in stage.get("params", []):
            for item in stage.get("foreach", [""]):
                found.setdefault(key.replace("${item}", item), name)
    return found


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
    return _schema_words(TypeAdapter(kind).json_schema())


def _schema_words(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return ", or ".join(map(_schema_words, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "items" in schema:
        return f"list of: {_schema_words(schema['items'])}"
    bounds = [f"{sign} {schema[key]:,}" for key, sign in SIGNS.items() if key in schema]
    return " ".join([WORDS[schema["type"]], ", ".join(bounds)]).strip()


BLOCKS: dict[str, Callable[[Path], str]] = {
    "performance": _performance,
    "run": _run,
    "parameters": _parameters,
    "command-line": _command_line,
    "seeds": _seeds,
    "speed": _measured("speed", _speed),
    "accelerator": _measured("accelerator", accelerator_markdown),
    "preprocess": _measured("preprocess", _preprocess),
    "backbones": _backbones,
    "keras-backbones": _keras_backbones,
    "choose": _choose,
    "hub-backbones": _measured("backbones", families_markdown),
    "matrix": _measured("matrix", matrix_markdown),
    "augment": _measured("augment", _augment),
    "sweep": _measured("sweep", _sweep),
    "learning-curve": _measured("learning_curve", _learning_curve),
    "peers": _measured("peers", peers_markdown),
    "killed": _measured("killed", killed_markdown),
    "killed-default": _measured("killed-default", killed_markdown),
    "load": _measured("load", load_markdown),
    "predict": _measured("predict", predict_markdown),
    "serving": _measured("serving", serving_markdown),
    "exports": _measured("exports", exports_markdown),
    "dask": _measured("dask", dask_markdown),
    "packages": _packages,
    "exported": _measured("formats", lambda found: exported_markdown(**found)),
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
