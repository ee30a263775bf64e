"""Keep finished stages in DVC's run cache, and share it: python -m transfer share [--push]

Before DVC runs a stage, it looks there for a run of the same command on the same inputs. On its own, DVC 3.67 keeps
only stages whose outputs are all in its cache, or metrics or plots (`no_cache_outs` in dvc/stage/__init__.py); almost
all stages here also write reports and tables that git keeps. And `dvc push --run-cache` does not push outputs that git
keeps (dvc/repo/push.py), without which a stage cannot be restored.
"""

from collections.abc import Iterable

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage
from dvc.stage.cache import StageCache, _get_stage_hash

from transfer.core.errors import UserError


def keep(stages: Iterable[Stage], cache: StageCache) -> tuple[list[str], list[str]]:
    """Enter stages into a run cache; return the keys that they have there, and the names of those not up to date."""
    kept, stale = [], []
    for stage in stages:
        if stage.changed():
            stale.append(stage.addressing)
            continue
        cache.save(stage)
        kept.append(_get_stage_hash(stage))
    return kept, stale


def push(keys: Iterable[str], repo: Repo) -> int:
    """Push a run cache to the default remote, with all outputs of the entries with these keys.

    Returns the number of files and folders that were not there yet.

    Raises:
        DvcException: no remote, or it cannot be reached, or some outputs did not arrive.
    """
    wanted = set(keys)
    entries = [entry for entry in repo.stage_cache.push(None) if entry[0] in wanted]
    objects = set().union(*repo.stage_cache.get_used_objs(entries).values())
    result = repo.cloud.push(objects)
    if result.failed:
        raise DvcException(f"{len(result.failed)} outputs could not be pushed; try again")
    return len(result.transferred)


def main(to_remote: bool) -> None:
    """Enter all stages that are up to date, name the others, and push if wanted.

    Raises:
        UserError: no repository, a damaged dvc.yaml, another DVC at work, or the remote cannot be written to.
    """
    try:
        with Repo() as repo, repo.lock:
            kept, stale = keep(repo.index.stages, repo.stage_cache)
            print(f"run cache: {len(kept)} stages kept")
            if stale:
                print(f"           not up to date, and not kept: {', '.join(stale)}")
            if to_remote:
                print(f"           {push(kept, repo)} of their outputs pushed")
    except DvcException as error:
        raise UserError(f"run cache: {error}") from error
