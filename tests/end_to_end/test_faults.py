"""What can happen to a run that is left alone overnight."""

import contextlib
import datetime
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.end_to_end.clones import Clone
from tests.end_to_end.conftest import AFTER_ANN, change_ann
from tests.end_to_end.kills import kill, mend
from tests.end_to_end.servers import Proxy, Remote, s3_remote


def _may_mount() -> bool:
    """Say whether this process may mount a file system: not everybody may, nor root in every container."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command, check=False, capture_output=True).returncode == 0


MOUNTS = pytest.mark.skipif(
    not _may_mount(), reason="may not mount a file system here: run as root, by a kernel that allows it"
)


FIRST_EPOCH = "plots/history/ann/plots/metrics/lr.tsv"


@pytest.mark.parametrize(
    ("stage", "after_s", "written"),
    [("train_baseline@ann", 3, "dvc.yaml"), ("train_baseline@ann", 0, FIRST_EPOCH)],
    ids=["it starts", "it trains"],
)
def test_a_killed_run_is_made_good_by_the_next_one(
    stage: str,
    after_s: float,
    written: str,
    original: Clone,
    undisturbed: dict[str, str],
    warm: dict[str, str],
    tmp_path: Path,
) -> None:
    """`make bench NAME=kills` does so at more points, from the first stage on; test_lock_file.py, within DVC."""
    clone = change_ann(original, tmp_path / "clone")
    assert not kill(clone, stage, after_s, written=written).ended
    mend(clone)
    assert stage in clone.having(warm).dvc("repro").stages
    assert clone.hashes() == undisturbed


def test_two_runs_at_once_do_not_get_in_each_others_way(
    original: Clone, undisturbed: dict[str, str], warm: dict[str, str], tmp_path: Path
) -> None:
    """One of them may wait for the other, do a part of the work, or end with an error that names the other."""
    clone = change_ann(original, tmp_path / "clone").having(warm)
    processes = []
    for _ in range(2):
        process = subprocess.Popen(
            ["dvc", "repro"],
            cwd=clone.folder,
            env=clone.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        time.sleep(1)
    ends = [(process.communicate()[0], process.returncode) for process in processes]
    assert 0 in [status for _, status in ends]
    for output, status in ends:
        assert status == 0 or "is busy, it is being blocked by" in output or "Unable to acquire lock" in output, output
        assert "Traceback" not in output
    clone.dvc("repro")
    assert clone.hashes() == undisturbed


@contextlib.contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _change(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@MOUNTS
def test_a_full_disk_is_an_error_and_the_next_run_makes_it_good(
    original: Clone, undisturbed: dict[str, str], warm: dict[str, str], tmp_path: Path
) -> None:
    """There is less room than the weights of the baseline take up."""
    disk = tmp_path / "disk"
    with _small_disk(disk, "800m"):
        clone = change_ann(original, disk / "clone").having(warm)
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - 8_000_000))
        ran = clone.dvc("repro", status=None)
        assert ran.status != 0
        assert "No space left on device" in ran.output, ran.output[-2000:]
        assert "Traceback" not in ran.output, ran.output[-3000:]
        filler.unlink()
        assert "train_baseline@ann" in clone.dvc("repro").stages
        assert clone.hashes() == undisturbed
        assert clone.dvc("status").output.strip() == "Data and pipelines are up to date."


@MOUNTS
def test_a_read_only_disk_is_an_error(original: Clone, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with _small_disk(disk, "1g"):
        clone = original.clone(disk / "clone")
        _change(disk, "ro")
        ran = clone.dvc("repro", status=None)
        _change(disk, "rw")
    assert ran.status != 0
    assert "Read-only file system" in ran.output
    assert "Traceback" not in ran.output


def _as_anybody(*command: str) -> tuple[str, ...]:
    """A command without root's privilege to write where permissions say that nobody may."""
    return command if os.getuid() else ("setpriv", "--bounding-set=-dac_override", *command)


def test_no_permission_is_an_error_and_the_next_run_makes_it_good(
    original: Clone, undisturbed: dict[str, str], warm: dict[str, str], tmp_path: Path
) -> None:
    clone = change_ann(original, tmp_path / "clone")
    place = clone.folder / "metrics/train"
    place.chmod(0o555)
    ran = clone.run(*_as_anybody("dvc", "repro"), status=None)
    place.chmod(0o755)
    assert ran.status != 0
    assert "Permission denied" in ran.output, ran.output[-2000:]
    assert "Traceback" not in ran.output, ran.output[-3000:]
    assert "train_baseline@ann" in clone.having(warm).dvc("repro").stages
    assert clone.hashes() == undisturbed


@MOUNTS
def test_a_full_shared_memory_disturbs_nothing(original: Clone, undisturbed: dict[str, str], tmp_path: Path) -> None:
    """In a mount namespace of its own, in which /dev/shm has no room."""
    clone = change_ann(original, tmp_path / "clone")
    full = "mount -t tmpfs -o size=4k full /dev/shm; head -c 4096 /dev/zero > /dev/shm/filler; exec dvc repro"
    ran = clone.run("unshare", "--mount", "sh", "-c", full)
    assert ran.stages == AFTER_ANN
    assert clone.hashes() == undisturbed


def _wait_for(name: str, below: psutil.Process) -> psutil.Process:
    """Wait until a process, started by that one, runs a stage, and return it."""
    while below.is_running() and below.status() != psutil.STATUS_ZOMBIE:
        for process in below.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[-2:] == ["-m", f"stages.{name}"]:
                    return process
        time.sleep(0.01)
    raise AssertionError(f"{name} was not run")


def test_a_stage_that_the_system_ends_is_an_error_that_says_so(original: Clone, tmp_path: Path) -> None:
    """As for want of memory: by SIGKILL, which no process can answer."""
    clone = original.copy(tmp_path / "clone")
    clone.set_params(max_bad_fraction=0.3)
    command = ["dvc", "repro", "preprocess"]
    environment = clone.environment()
    with subprocess.Popen(
        command, cwd=clone.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        stage = _wait_for("preprocess", psutil.Process(process.pid))
        time.sleep(1)
        stage.kill()
        output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    # The shell that runs the stage becomes it (bash: -9) or waits for it (dash: 128 + 9).
    ended = r"failed to reproduce 'preprocess': failed to run: python -m stages\.preprocess, exited with (-9|137)\n"
    assert re.search(ended, output), output
    assert clone.dvc("repro").stages == ["preprocess"]
    assert clone.hashes() == original.hashes()


def _taken(path: Path) -> bytes:
    """Return what is in a file, and remove it, so that it is written as a file of its own."""
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize("year", [1980, 2100])
def test_a_clock_that_jumps_makes_nothing_run_again(year: int, original: Clone, tmp_path: Path) -> None:
    """Every file is then from the past or the future: what counts is what is in it."""
    clone = original.copy(tmp_path / "clone")
    then = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC).timestamp()
    for path in clone.folder.rglob("*"):
        if ".git" not in path.parts and ".dvc" not in path.parts:
            if path.is_file():  # outputs are links to the cache, which clones of other tests share
                path.write_bytes(_taken(path))
            os.utime(path, (then, then))
    assert clone.dvc("repro").stages == []
    assert clone.hashes() == original.hashes()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with s3_remote(tmp_path_factory.mktemp("s3")) as remote:
        yield remote


def _try_twice(clone: Clone, command: str, remote: Remote) -> str:
    """Run a command of DVC while its remote breaks off in the middle, then with a whole one; return what that said."""
    port = urlsplit(remote.options["endpointurl"]).port
    assert port is not None
    proxy = Proxy(port, limit=1_000_000)
    variables = {**remote.variables, "AWS_MAX_ATTEMPTS": "1"}  # else minutes go by in trying again
    through = Remote(f"{remote.url}/broken", {"endpointurl": f"http://127.0.0.1:{proxy.port}"}, variables)
    through.add_to(clone)
    broken = clone.dvc(command, status=None)
    assert broken.status != 0
    assert proxy.broken
    proxy.mend()
    output = clone.dvc(command).output
    proxy.close()
    return output


def test_a_remote_that_vanishes_is_an_error_and_the_next_try_makes_it_good(
    original: Clone, s3: Remote, tmp_path: Path
) -> None:
    """In the middle of a push, and of a pull."""
    assert "pushed" in _try_twice(original.copy(tmp_path / "source"), "push", s3)
    target = original.clone(tmp_path / "target")
    _try_twice(target, "pull", s3)
    ran = target.dvc("repro")
    assert ran.stages == []
    assert target.hashes() == original.hashes()
    assert "Data and pipelines are up to date." in target.dvc("status").output


def test_a_damaged_cache_is_noticed_and_not_used(original: Clone, tmp_path: Path) -> None:
    """A byte that changed on the disk, in a file that the next stage would read."""
    remote = Remote(str(tmp_path / "remote"), {"verify": "true"}, {})
    source, clone = original.copy(tmp_path / "source"), original.clone(tmp_path / "clone")
    remote.add_to(source)
    remote.add_to(clone)
    source.dvc("push")
    (largest,) = sorted((tmp_path / "remote").rglob("*"), key=lambda path: -path.stat().st_size)[:1]
    largest.chmod(0o644)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    ran = clone.dvc("pull", status=None)
    assert ran.status != 0
