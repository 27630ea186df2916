"""Results of a Git revision, a DVC experiment or the workspace, and running DVC for new ones."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from stages.core.errors import UserError
from stages.core.params import did_you_mean
from stages.shared.metrics import flatten

if TYPE_CHECKING:
    from dvc.repo import Repo

WORKSPACE = "workspace"
OTHER_INPUTS = ("stages/", "params.yaml")  # what stages read besides tables and one another's files

Flat = dict[str, object]


@dataclass(frozen=True)
class Result:
    """What a revision, an experiment or the workspace holds; keys are joined by dots."""

    name: str
    parameters: Flat
    metrics: Flat
    code: str  # Git's id of the tree stages/
    custom_tables: tuple[tuple[str, str | None], ...]  # path and md5

    def seeds(self) -> tuple[object, ...]:
        """Return the values of all seeds."""
        return tuple(value for key, value in sorted(self.parameters.items()) if is_seed(key))

    def config_key(self) -> tuple[object, ...]:
        """Return what repeats have in common: code, tables, and all parameters but the seeds."""
        items = ((key, repr(value)) for key, value in sorted(self.parameters.items()))
        rest = tuple(item for item in items if not is_seed(item[0]))
        return self.code, self.custom_tables, rest


def is_seed(key: str) -> bool:
    """Return whether a parameter is a seed."""
    return key.rpartition(".")[2] == "seed"


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a metric is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def repeats(result: Result, others: Iterable[Result]) -> dict[tuple[object, ...], Flat]:
    """Return the metrics by seeds of `result` and of its repeats among `others`."""
    found = {result.seeds(): result.metrics}
    for other in others:
        if other.metrics and other.config_key() == result.config_key():
            found.setdefault(other.seeds(), other.metrics)
    return found


def by_seeds(repeated: Mapping[tuple[object, ...], Flat], key: str) -> dict[object, float]:
    """Return one metric by seeds, of the repeats that have it."""
    return {
        seeds: value for seeds, metrics in repeated.items() if is_number(value := metrics.get(key))
    }


# Git and DVC --------------------------------------------------------------------------------------


def git(*arguments: str) -> str | None:
    """Return what a Git command prints, or None if it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def run_dvc(*arguments: str) -> None:
    """Run a DVC command; its errors appear on standard error."""
    command = (sys.executable, "-m", "dvc", *arguments)
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise UserError(
            f"`dvc {' '.join(arguments)}` failed, for the reason that DVC gives above; fix it, and "
            "run this again."
        )


@contextmanager
def open_repo() -> "Generator[Repo, None, None]":
    """Yield the DVC repository of the working folder.

    Raises UserError where there is no repository of Git or of DVC, and for an error of DVC's.
    """
    if git("rev-parse", "--git-dir") is None:
        raise UserError("Run this inside a Git repository; this folder is not in one.")
    from dvc.exceptions import DvcException, NotDvcRepoError  # takes 0.2 s
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            yield repo
    except NotDvcRepoError:
        raise UserError("Run this inside a DVC repository; this folder is not in one.") from None
    except DvcException as error:
        raise UserError(f"DVC reported an error: {error}") from None


def list_experiments() -> dict[str, str]:
    """Return the commit of each DVC experiment by name, the oldest first.

    Of experiments with one name, the newest counts.
    """
    listed = git(
        "for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", "refs/exps"
    )
    pattern = r"^(\w+) refs/exps/\w\w/\w{38}/(.+)$"
    return {name: commit for commit, name in re.findall(pattern, listed or "", flags=re.MULTILINE)}


def is_stale(repo: "Repo") -> bool:
    """Return whether the workspace's results are older than its parameters, code or data."""
    return bool(repo.status())


# Reading ------------------------------------------------------------------------------------------


def resolve(name: str, experiments: Mapping[str, str]) -> str | None:
    """Return the commit that `name` stands for, or None for the workspace."""
    if name == WORKSPACE:
        return None
    commit = experiments.get(name) or git("rev-parse", "-q", "--verify", f"{name}^{{commit}}")
    if not commit:
        raise UserError(
            f"A and B must be Git revisions, DVC experiments or workspace; got '{name}'."
            + did_you_mean(name, list(experiments))
        )
    return commit


def read_result(repo: "Repo", name: str, commit: str | None) -> Result:
    """Return the result at a commit, or of the workspace if that is None.

    Raises UserError if its files cannot be read.
    """
    from dvc.exceptions import DvcException

    try:
        with repo.switch(commit or WORKSPACE):
            tables = custom_tables(repo)  # first, since it reports broken pipelines by exceptions
            parameters, metrics = read_values(repo.params.show()), read_values(repo.metrics.show())
    except (DvcException, ValueError) as error:
        raise UserError(
            f"{name} must hold dvc.yaml, dvc.lock, params.yaml and metrics that can be read; DVC "
            f"reports: {error}"
        ) from None
    return Result(name, parameters, metrics, tree_of_stages(commit), tables)


def read_workspace(repo: "Repo") -> Result:
    """Return the workspace's result."""
    return read_result(repo, WORKSPACE, None)


def read_experiments(repo: "Repo", code: Collection[str]) -> Iterator[Result]:
    """Yield the results of all experiments with this code, ids of stages/, that can be read.

    Those with other code cost little time, and are never repeats.
    """
    for name, commit in list_experiments().items():
        if tree_of_stages(commit) in code:
            with suppress(UserError):
                yield read_result(repo, name, commit)


def read_values(shown: Mapping[str, Any]) -> Flat:
    """Return all values that Repo.params.show or Repo.metrics.show returned for one revision.

    Raises ValueError for a file that cannot be read; one that is missing has no values.
    """
    values: Flat = {}
    for revision in shown.values():
        if "error" in revision:
            raise ValueError(revision["error"])
        for path, file in revision["data"].items():
            error = file.get("error")
            if error and not isinstance(error, FileNotFoundError):
                raise ValueError(f"{path}: {error}")
            values |= flatten(file.get("data") or {})
    return values


def custom_tables(repo: "Repo") -> tuple[tuple[str, str | None], ...]:
    """Return path and md5, as in dvc.lock, of every table that a stage reads and none makes."""
    stages = [stage for stage in repo.index.stages if stage.cmd]
    outs = {out.def_path for stage in stages for out in stage.outs}
    made = outs | set(map(os.path.dirname, outs))  # report reads metrics/figures as a whole
    read = {dep.def_path: dep.hash_info.value for stage in stages for dep in stage.deps}
    tables = {path for path in read.keys() - made if not path.startswith(OTHER_INPUTS)}
    return tuple((path, read[path]) for path in sorted(tables))


def tree_of_stages(commit: str | None) -> str:
    """Return Git's id of stages/ at a commit, or in the workspace if that is None.

    Of the workspace it is that of a commit on no branch: like an experiment, it includes changes to
    tracked files, but no untracked ones.
    """
    if commit is None:
        commit = git("stash", "create") or "HEAD"
    return git("rev-parse", "-q", "--verify", f"{commit}:./stages") or ""
