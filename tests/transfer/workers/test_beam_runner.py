"""Tests of transfer/workers/beam_runner.py and beam_pipeline.py, with Beam's own runner and workers in processes."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.beam import beam_workers
from tests.declared import ROOT
from transfer.core.errors import UserError
from transfer.core.params import read_params
from transfer.workers.beam_runner import BeamRunner
from transfer.workers.work import Progress

ONE, TWO = beam_workers(1), beam_workers(2)


@dataclass(frozen=True)
class Squares:
    """Squares numbers and says in which process. Number `fatal` kills its worker `deaths` times, `wrong` is refused."""

    place: Path
    fatal: int = -1
    deaths: int = 0
    wrong: int = -1
    broken: int = -1
    seconds: float = 0.0

    def __call__(self, numbers: Iterable[int], progress: Progress) -> list[tuple[int, int]]:
        found = []
        for number in numbers:
            (self.place / f"{number}-{os.getpid()}").touch()
            time.sleep(self.seconds)
            if number == self.fatal and len(list(self.place.glob(f"{number}-*"))) <= self.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == self.wrong:
                raise UserError(f"{number}: expected another number")
            if number == self.broken:
                raise ValueError(f"no luck with {number}")
            progress(1)
            found.append((number**2, os.getpid()))
        return found


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, and a folder in it where work leaves its traces."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "traces").mkdir()
    return Path("traces")


def _squares(runs: list[list[tuple[int, int]]]) -> list[int]:
    return [square for run in runs for square, _ in run]


def test_two_workers_do_each_item_once_and_results_come_in_order(place: Path) -> None:
    runs = BeamRunner(TWO).run(Squares(place, seconds=0.02), iter(range(40)), 40, "square")
    assert _squares(runs) == [number**2 for number in range(40)]
    processes = {process for run in runs for _, process in run}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert len(list(place.iterdir())) == 40
    assert [path.name for path in Path(".beam").iterdir()] == ["log"]


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_what_was_done_stays(place: Path) -> None:
    runs = BeamRunner(TWO).run(Squares(place, fatal=3, deaths=1, seconds=0.1), range(12), 12, "square")
    assert _squares(runs) == [number**2 for number in range(12)]
    tries = [path.name.split("-")[0] for path in place.iterdir()]
    assert tries.count("3") == 2
    assert len(tries) <= 12 + 2  # what the two workers were at
    assert "Worker subprocess exited" in Path(".beam/log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_item_that_kills_every_worker_ends_the_run_with_a_line(place: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"expected the workers to do all 3 parts of 'square', received a pipeline that .*"
        r"status 3, when [0-2] were done: a worker was lost: Worker subprocess exited .*; .beam/log has all",
    ):
        BeamRunner(ONE).run(Squares(place, fatal=1, deaths=99), range(3), 3, "square")


def test_what_the_user_got_wrong_is_said_as_it_is_here(place: Path) -> None:
    with pytest.raises(UserError, match=r"^1: expected another number$"):
        BeamRunner(ONE).run(Squares(place, wrong=1), range(3), 3, "square")


@pytest.mark.slow
def test_a_mistake_in_the_work_is_named(place: Path) -> None:
    with pytest.raises(UserError, match=r"received a pipeline that ended, with status 1, .*no luck with 1"):
        BeamRunner(ONE).run(Squares(place, broken=1), range(2), 2, "square")


def test_no_items_give_no_results(place: Path) -> None:
    assert BeamRunner(TWO).run(Squares(place), [], 0, "square") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--runner=NoRunner"], r"Unexpected pipeline runner: NoRunner. Valid values are .*FlinkRunner"),
        (["--direct_num_workers=many"], r"argument --direct_num_workers: invalid int value: 'many'"),
        (["--direct_running_mode=magic"], r"argument --direct_running_mode: invalid choice: 'magic'"),
        (["--num_wokers=2"], r"expected options of Beam, received --num_wokers"),
    ],
)
def test_bad_options_are_an_error_of_one_line(place: Path, options: list[str], said: str) -> None:
    with pytest.raises(UserError, match=rf"^params.yaml: beam_options: .*{said}") as error:
        BeamRunner(options).run(Squares(place), range(2), 2, "square")
    assert "\n" not in str(error.value)
    assert list(place.iterdir()) == []


def test_an_option_without_dashes_is_an_error() -> None:
    with pytest.raises(UserError, match=r"beam_options: options begin with --, and 'runner=Flink' does not"):
        BeamRunner(["runner=Flink"])


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"runner: beam needs the Python package apache-beam.*requirements/beam.txt$"):
        BeamRunner([])


def test_an_option_that_beam_does_not_know_is_passed_to_a_cluster() -> None:
    from transfer.workers.beam_pipeline import _read_options

    given = ["--runner=FlinkRunner", "--flink_master=there:8081", "--object_reuse=true"]
    options = _read_options(given).get_all_options(retain_unknown_options=True)
    assert options["flink_master"] == "there:8081"
    assert options["object_reuse"] in ("true", True)
    with pytest.raises(SystemExit):
        _read_options(["--object_reuse=true"])


def test_params_take_the_options_of_the_default(tmp_path: Path) -> None:
    params = read_params(ROOT / "params.yaml")
    assert params.runner == "local"
    assert list(params.beam_options) == TWO


@pytest.fixture
def job_server() -> Iterator[str]:
    """Beam's job server, which takes pipelines as those of clusters do; its address."""
    started = "from apache_beam.runners.portability.local_job_service_main import run; import sys; run(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", started, "--port_file=port"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (Path("port").exists() and Path("port").read_text(encoding="ascii").strip()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield f"localhost:{Path('port').read_text(encoding='ascii').strip()}"
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_pipeline_can_be_given_to_a_job_server(place: Path, job_server: str) -> None:
    options = ["--runner=PortableRunner", f"--job_endpoint={job_server}", "--environment_type=LOOPBACK"]
    runs = BeamRunner(options).run(Squares(place), range(8), 8, "square")
    assert _squares(runs) == [number**2 for number in range(8)]


DRIVER = """
from pathlib import Path
from tests.transfer.workers.test_beam_runner import TWO, Squares
from transfer.workers.beam_runner import BeamRunner
BeamRunner(TWO).run(Squares(Path("traces"), seconds=60), range(4), 4, "square")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_when_the_run_is_ended_no_worker_is_left(place: Path, number: signal.Signals) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(list(place.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    below = psutil.Process(driver.pid).children(recursive=True)
    assert {int(path.name.split("-")[1]) for path in place.iterdir()} <= {process.pid for process in below}
    driver.send_signal(number)
    driver.wait()
    _, left = psutil.wait_procs(below, timeout=10)
    assert left == []
