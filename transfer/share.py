"""Keep what the stages last wrote in DVC's run cache, and share it: python -m transfer share [--push]

There DVC looks, before it runs a stage, for a run of the same command on the same inputs, whoever made it and however
long ago. By itself, DVC 3.67 keeps there only stages all of whose outputs lie in its cache or are metrics or plots
(`no_cache_outs` in dvc/stage/__init__.py); almost all stages here also write reports and tables that git keeps. And
`dvc push --run-cache` pushes that a stage was run, but not its outputs that git keeps (dvc/repo/push.py), without which
nobody can restore it. It restores all of them, once they are there.
"""

from collections.abc import Iterable
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.cache import _get_stage_hash

from transfer.core.errors import UserError


def keep(stages: Iterable[Any], cache: Any) -> tuple[list[str], list[str]]:
    """Enter stages into a run cache.

    Args:
        stages: of the class dvc.stage.Stage.
        cache: of the class dvc.stage.cache.StageCache.

    Returns:
        The keys in the cache of the stages that were entered, and the names of those that are not up to date.
    """
    kept, stale = [], []
    for stage in stages:
        if stage.changed():
            stale.append(stage.addressing)
            continue
        cache.save(stage)
        kept.append(_get_stage_hash(stage))
    return kept, stale


def push(keys: Iterable[str], repo: Any) -> int:
    """Push the run cache of a dvc.repo.Repo to its default remote, with all outputs of the entries with these keys.

    Returns the number of files and folders that were not there yet.

    Raises:
        DvcException: no remote, or it cannot be reached, or some outputs did not arrive.
    """
    wanted = set(keys)
    entries = [entry for entry in repo.stage_cache.push(None) if entry[0] in wanted]
    objects = set().union(*repo.stage_cache.get_used_objs(entries).values())
    result = repo.cloud.push(objects)
    if result.failed:
        raise DvcException(f"expected all outputs to arrive, received {len(result.failed)} that did not")
    return len(result.transferred)


def main(to_remote: bool) -> None:
    """Enter all stages that are up to date, and name the others; push, where that is wanted.

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
