"""Tests of transfer/workers/dask_runner.py, with schedulers and workers in processes of their own."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path

import dask
import numpy as np
import pytest

from tests.conftest import ROOT, colour_images
from tests.transfer.workers.cluster import PATIENCE_S, Cluster, own_folders, wait_until
from tests.transfer.workers.tasks import SmallTrunk, Squares, environment
from transfer.core.errors import UserError
from transfer.core.params import Dask, read_params
from transfer.dataset import shards as image_shards
from transfer.dataset.obtain import obtain
from transfer.dataset.preprocess import Settings, preprocess
from transfer.evaluation.judge import Evaluator
from transfer.inference import embed as embedding
from transfer.inference.embed import EmbedRows, Place, TrunkEngine, embed
from transfer.networks.model_files import ModelFiles, save
from transfer.networks.network import Architecture, build
from transfer.networks.seeds import fix_seeds
from transfer.records.tfrecords import BATCH
from transfer.workers.dask_runner import require_dask
from transfer.workers.runners import LocalRunner, make_runner
from transfer.workers.work import Runner

MODEL = ModelFiles(*(Path(f"model.{suffix}") for suffix in ("json", "weights.h5", "validation.npy")))
SLOWING = ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables that Dask sets for its workers unless it is told not to."""


def _squares(runs: list[list[tuple[int, int]]]) -> list[int]:
    return [square for run in runs for square, _ in run]


def _processes(runs: list[list[tuple[int, int]]]) -> set[int]:
    return {process for run in runs for _, process in run}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A scheduler without workers."""
    with ExitStack() as stack:
        yield Cluster(stack)


def test_a_cluster_of_this_machine_does_each_item_once_and_results_come_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in SLOWING:
        monkeypatch.delenv(name, raising=False)
    with make_runner("dask", Dask(None, 1)) as runner:
        (seen,) = runner.run(environment, range(1), 1, "environment")
        assert [name for name in SLOWING if name in seen] == []
        runs = runner.run(Squares(), iter(range(20)), 20, "square")
        assert _squares(runs) == [number**2 for number in range(20)]
        assert len(_processes(runs) - {os.getpid()}) == 1
        assert len(list(Path().glob("tried-*"))) == 20
        runs = runner.run(Squares(), range(100), 100, "square")  # 16 tasks for the one worker, and what is left
        assert [len(run) for run in runs] == [6] * 16 + [4]
        assert _squares(runs) == [number**2 for number in range(100)]
        assert runner.run(Squares(), [], 0, "square") == []
        with pytest.raises(UserError, match=r"^1: expected another number$"):
            runner.run(Squares(wrong=1), range(3), 3, "square")
    assert list(Path().glob(".dask-*")) == []


@pytest.mark.slow
def test_workers_write_the_same_bytes(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "BATCHES", 1)
    monkeypatch.setattr(image_shards, "MIN_BYTES", 1)
    monkeypatch.setattr(image_shards, "MAX_SHARD_BYTES", 8000)
    prepare()
    local = _written(LocalRunner())
    assert len(local) == 10
    for _ in range(2):
        cluster.worker()
        with cluster.runner() as runner:
            assert _written(runner) == local


def prepare() -> None:
    """Make images and a model of them."""
    colour_images(Path("pictures"), {"blue": (40, 60, 200), "red": (200, 60, 40)}, each=40, size=16)
    obtain(Path("pictures"), Path("raw"))
    fix_seeds(0)
    network = build(Architecture("cnn", 8, ("blue", "red"), (), 0.0, inner_size=8, filters=(4,)))
    save(network, np.zeros((1, 2), np.float32), MODEL)


def digests(runner: Runner) -> dict[str, str]:
    """Return hashes of what is written (see `_written`)."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in _written(runner).items()}


def _written(runner: Runner) -> dict[str, bytes]:
    """Return the files that preprocess and embed write, and what is predicted in two views."""
    folders = {name: Path("out/records", name) for name in ("train", "validation", "test")}
    params = read_params(ROOT / "params.yaml")
    settings = Settings(params.split, 8, None, 0, params.duplicates)
    spec = preprocess(Path("raw"), folders, settings, runner, Path("out/quarantine.csv")).spec
    engine = TrunkEngine(SmallTrunk(), "auto", folders["train"], spec)
    embed(runner, EmbedRows(engine, folders["train"], (Place(Path("out/activations"), 2),)))
    written = {str(path): path.read_bytes() for path in Path("out").rglob("*.*")}
    model = Evaluator(MODEL.architecture, MODEL.weights, "auto")
    views = model.predict(runner, folders["train"], spec, 2)
    assert len(set(views[0].images)) == spec.counts["train"] > BATCH
    shutil.rmtree("out")
    arrays = {f"view {i}": map(np.asarray, astuple(view)) for i, view in enumerate(views)}
    return written | {name: b"".join(array.tobytes() for array in found) for name, found in arrays.items()}


@pytest.mark.slow
def test_a_worker_that_joins_goes_on_with_what_a_killed_one_leaves(cluster: Cluster) -> None:
    first, second = cluster.worker(), []

    def replace_it() -> None:
        first.wait()
        second.append(cluster.worker())

    threading.Thread(target=replace_it, daemon=True).start()
    with cluster.runner() as runner:
        runs = runner.run(Squares(fatal=3, deaths=1), range(12), 12, "square")
    assert _squares(runs) == [number**2 for number in range(12)]
    assert second[0].pid in _processes(runs)
    assert len(list(Path().glob("tried-3-*"))) == 2


@pytest.mark.slow
def test_an_item_that_kills_every_worker_ends_the_run_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), make_runner("dask", Dask(None, 1)) as runner:  # noqa: SIM117
        with pytest.raises(UserError, match=r"^square: 1 Dask workers died of the same task, .*: its log may say why"):
            runner.run(Squares(fatal=1, deaths=99), range(3), 3, "square")


@pytest.mark.slow
def test_a_scheduler_that_is_lost_or_not_there_is_said(cluster: Cluster) -> None:
    cluster.worker()

    def kill_it() -> None:
        wait_until(lambda: any(Path().glob("tried-*")))
        cluster.scheduler.kill()

    threading.Thread(target=kill_it, daemon=True).start()
    with (
        pytest.raises(
            UserError, match=r"^square: the connection to the Dask scheduler is lost: start .* repeat the command"
        ),
        cluster.runner() as runner,
    ):
        runner.run(Squares(seconds=0.5), range(100), 100, "square")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UserError, match=r"^no Dask scheduler answers at tcp://127.*docs/scaling.md"),
        cluster.runner(),
    ):
        pass


@pytest.mark.slow
def test_a_worker_that_differs_is_refused(cluster: Cluster, project: Path) -> None:
    (project / "elsewhere").mkdir()
    other = Path("old/pillow-1.0.dist-info")
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Name: pillow\nVersion: 1.0\n", encoding="utf-8")
    shutil.copytree(ROOT / "transfer", "copy/transfer")
    shutil.copy(ROOT / "requirements.txt", "copy")
    with Path("copy/transfer/workers/work.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    for code, folder, said in (
        (ROOT, "elsewhere", r"runs in .*elsewhere and does not see the files of this project"),
        (project / "old", ".", r"has pillow 1.0, expected \d+\..*: install the same packages there"),
        (project / "copy", ".", r"has transfer.workers \w+, expected \w+: .* restart it to load the current code"),
    ):
        worker = cluster.worker(code=code, folder=Path(folder))
        with cluster.runner() as runner, pytest.raises(UserError, match=rf"^the Dask worker at tcp://.* {said}"):
            runner.run(Squares(), range(3), 3, "square")
        worker.kill()
        worker.wait()
    cluster.worker("--nthreads", "2")
    with cluster.runner() as runner, pytest.raises(UserError, match="start it with --nthreads 1 --memory-limit 0"):
        runner.run(Squares(), range(3), 3, "square")


def test_a_worker_without_the_code_ends_the_run_with_a_line_within_seconds(cluster: Cluster) -> None:
    cluster.worker(code=None)
    begun = time.monotonic()
    with (
        pytest.raises(
            UserError,
            match=r"^square: the Dask worker at tcp://127\S+ does not find the code of this project \(No module named "
            r"'transfer'\): start it in the project's folder by `python -m dask` \(docs/scaling.md\)$",
        ),
        cluster.runner() as runner,
    ):
        runner.run(Squares(), range(3), 3, "square")
    assert time.monotonic() - begun < 30


def test_waiting_for_the_first_worker_is_said(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    said = f"{cluster.address}: no Dask worker yet; waiting for one (docs/scaling.md says how to start it)\n"
    with cluster.runner() as runner:
        assert capsys.readouterr().err == said
        cluster.worker()
        assert _squares(runner.run(Squares(), range(3), 3, "square")) == [0, 1, 4]
    with cluster.runner():
        assert said not in capsys.readouterr().err


def test_a_worker_that_gives_its_memory_back_is_said_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(SLOWING[0], raising=False)
    plain = cluster.worker()
    with cluster.runner() as runner:
        runner.run(Squares(), range(3), 3, "square")
    assert "warning" not in capsys.readouterr().err
    plain.kill()
    monkeypatch.setenv(SLOWING[0], "65536")
    cluster.worker()
    with cluster.runner() as runner:
        for _ in range(2):
            assert _squares(runner.run(Squares(), range(3), 3, "square")) == [0, 1, 4]
    (said,) = (line for line in capsys.readouterr().err.splitlines() if "warning" in line)
    assert re.search(
        r"warning: the Dask worker at tcp://127\S+ has MALLOC_TRIM_THRESHOLD_ set, which .*: set "
        r"DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON before you start workers \(docs/scaling.md\)$",
        said,
    )


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """Network namespaces, joined by a bridge in the first: 10.86.0.1, .2 and .3."""
    names = [f"transfer-{number}-{os.getpid()}" for number in (1, 2, 3)]
    first = names[0]
    if os.getuid() or not shutil.which("ip") or not _ip("netns", "add", first):
        pytest.skip("network namespaces need root and `ip`")
    try:
        _ip("-n", first, "link", "add", "bridge", "type", "bridge")
        for number, name in enumerate(names, 1):
            link, inside = f"to{number}", "bridge" if name == first else "eth0"
            if name != first:
                _ip("netns", "add", name)
                _ip("link", "add", link, "netns", first, "type", "veth", "peer", "name", inside, "netns", name)
                _ip("-n", first, "link", "set", link, "master", "bridge", "up")
            _ip("-n", name, "address", "add", f"10.86.0.{number}/24", "dev", inside)
            for device in ("lo", inside):
                _ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            _ip("netns", "delete", name)


def _ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0


CLIENT = """
import json, sys
from tests.transfer.workers.tasks import Squares, leave_files
from transfer.core.errors import UserError
from transfer.core.params import Dask
from transfer.workers.runners import make_runner
if "digests" in sys.argv[2]:
    from tests.transfer.workers.test_dask_runner import digests
with make_runner("dask", Dask(sys.argv[1], 1)) as runner:
    try:
        print(json.dumps(eval(sys.argv[2])))
    except UserError as error:
        sys.exit(f"error: {error}")
"""
SQUARES = "runner.run(Squares(seconds=0.2), range(30), 30, 'square')"


@pytest.fixture
def apart(machines: list[str]) -> Iterator[ExitStack]:
    """Ends, when the test ends, what was started on machines."""
    with ExitStack() as stack:
        yield stack


def _on(machine: str, sees: bool = True) -> tuple[str, ...]:
    """Begin a command on a machine, with folders of its own but for the working directory."""
    return ("ip", "netns", "exec", machine, *own_folders(sees))


def _client(stack: ExitStack, machine: str, address: str, call: str) -> "subprocess.Popen[str]":
    """Run Python code with a `runner`, and print what it returns or the line that it ends with."""
    client = subprocess.Popen(
        [*_on(machine), sys.executable, "-c", CLIENT, address, call],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stack.callback(client.kill)
    return client


@pytest.mark.slow
def test_a_machine_that_stops_answering_is_done_without(
    machines: list[str], apart: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "3s")
    first, second, third = machines
    cluster = Cluster(apart, "10.86.0.1", _on(first))
    one, other = cluster.worker(machine=_on(second)), cluster.worker(machine=_on(third))
    client = _client(apart, first, cluster.address, SQUARES)
    wait_until(lambda: all(len(list(Path().glob(f"tried-*-{worker.pid}"))) > 1 for worker in (one, other)))
    assert _ip("-n", first, "link", "set", "to3", "down")
    output, _ = client.communicate(timeout=PATIENCE_S)
    runs = json.loads(output)
    assert _squares(runs) == [number**2 for number in range(30)]
    assert one.pid in _processes(runs)


@pytest.mark.slow
def test_machines_that_share_one_folder_only_write_the_same_bytes(machines: list[str], apart: ExitStack) -> None:
    prepare()
    local = digests(LocalRunner())
    first, *others = machines
    cluster = Cluster(apart, "10.86.0.1", _on(first))
    for machine in others:
        cluster.worker(machine=_on(machine))
    call = "[runner.run(leave_files, range(20), 20, 'leave'), digests(runner)]"
    output, said = _client(apart, first, cluster.address, call).communicate(timeout=2 * PATIENCE_S)
    assert output, said
    left, written = json.loads(output)
    assert {home for home, _ in left} == {"/tmp/home"}
    assert left[-1][1] == [1, 1, 2]
    assert not list(Path("/tmp").glob("left-by-*"))
    assert written == local


@pytest.mark.slow
def test_a_machine_that_does_not_see_the_folder_is_named(machines: list[str], apart: ExitStack) -> None:
    first, second, _ = machines
    cluster = Cluster(apart, "10.86.0.1", _on(first))
    cluster.worker(machine=_on(second, sees=False))
    client = _client(apart, first, cluster.address, SQUARES)
    _, said = client.communicate(timeout=PATIENCE_S)
    where = rf"error: the Dask worker at tcp://10\.86\.0\.2:\d+ runs in {Path.cwd()} and does not see the files"
    assert (client.returncode, bool(re.search(where, said))) == (1, True), said


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["Read-only file system", "No space left on device"])
def test_a_folder_that_cannot_be_written_any_more_ends_the_run_with_a_line(
    fault: str, machines: list[str], apart: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if fault == "No space left on device":  # after a few files
        subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=16", "small", small], check=True)
        apart.callback(lambda: subprocess.run(["umount", "--lazy", small], check=True))
    monkeypatch.chdir(small)
    first, second, third = machines
    cluster = Cluster(apart, "10.86.0.1", _on(first))
    one, other = cluster.worker(machine=_on(second)), cluster.worker(machine=_on(third))
    client = _client(apart, first, cluster.address, SQUARES)
    wait_until(lambda: all(list(Path().glob(f"tried-*-{worker.pid}")) for worker in (one, other)))
    if fault == "Read-only file system":  # for one of the machines
        inside = ("nsenter", "--mount", f"--target={other.pid}")
        subprocess.run([*inside, "mount", "-o", "remount,bind,ro", small], check=True)
    _, said = client.communicate(timeout=PATIENCE_S)
    number = "3" if fault == "Read-only file system" else "[23]"
    where = rf"error: the Dask worker at tcp://10\.86\.0\.{number}:\d+: .*{fault}: 'tried-.*'; correct its disk"
    assert (client.returncode, bool(re.search(where, said))) == (1, True), said


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"runner: dask needs the Python package distributed.*requirements/dask.txt$"):
        require_dask()
