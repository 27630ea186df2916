"""Results of a Git revision, a DVC experiment or the workspace, and running DVC for new ones."""

import math
import os
import posixpath
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
CODE = "stages/"
EXPERIMENTS = r"refs/exps/\w\w/\w{38}/"  # where Git keeps them: below the commit they start from
# In a project's path, DVC can write these neither as ASCII nor in a URL.
BREAKS_EXPERIMENTS = r"[^\x00-\x7f]|[#?]|%[0-9A-Fa-f]{2}"

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


def run_git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a Git command to its end, and return it with what it prints."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError("Git must be installed; there is no program `git` on PATH.") from None


def git(*arguments: str) -> str | None:
    """Return what a Git command prints, or None if it fails."""
    done = run_git(*arguments)
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
    done = run_git("rev-parse", "--git-dir")
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise UserError(f"Run this inside a Git repository that Git can read; it says: {reason}")
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
    pattern = rf"^(\w+) {EXPERIMENTS}(.+)$"
    return {name: commit for commit, name in re.findall(pattern, listed or "", flags=re.MULTILINE)}


def is_stale(repo: "Repo") -> bool:
    """Return whether the workspace's results are older than its parameters, code or data."""
    return bool(repo.status(targets=["dvc.yaml"]))


# Experiments --------------------------------------------------------------------------------------


def check_experiments(repo: "Repo", result: Result) -> None:
    """Raise UserError where DVC would fail to run the workspace, `result`, in a temporary folder.

    That folder is a clone, without the files that neither Git nor DVC tracks.
    """
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise UserError(
            "DVC keeps no experiments in a shallow clone, and this is one; run `git fetch "
            "--unshallow` first."
        )
    if found := re.search(BREAKS_EXPERIMENTS, repo.root_dir):
        raise UserError(
            "DVC runs experiments only where the folder's path has no letters beyond ASCII, no #, "
            f"no ? and no escape such as %41; got '{found[0]}' in {repo.root_dir}. Move the "
            "project, or clone it elsewhere."
        )
    if git("cat-file", "-e", "HEAD:./dvc.yaml") is None:
        raise UserError(
            "DVC starts experiments from the last commit, and that has no dvc.yaml; commit the "
            "project first."
        )
    for path, _ in result.custom_tables:
        source = dvc_file(repo, path)
        if not (os.path.isabs(path) or git("ls-files", source or path)):
            remedy = f"git add {os.path.relpath(source)}" if source else f"dvc add {path}"
            raise UserError(
                f"{path} must be tracked by DVC or Git, since DVC runs experiments in a folder "
                f"with tracked files only; run `{remedy}` first."
            )


def dvc_file(repo: "Repo", path: str) -> str | None:
    """Return the .dvc file that `dvc add` wrote for a table or a folder around it, if any."""
    full = os.path.abspath(path)
    for stage in repo.index.stages:
        if not stage.cmd and any(is_within(full, out.fs_path) for out in stage.outs):
            return stage.path
    return None


def run_experiment(name: str, settings: Iterable[str]) -> None:
    """Run the workspace with `settings`, such as train_classifier.seed=1, as an experiment.

    An older experiment of this name is replaced. Raises UserError if DVC fails or keeps nothing.
    """
    remove_experiments(re.escape(name))
    options = [part for setting in settings for part in ("-S", setting)]
    run_dvc("exp", "run", "--temp", "--name", name, *options)
    if name not in list_experiments():
        raise UserError(f"`dvc exp run --temp` ran {name}, and DVC kept no result of it.")


def remove_experiments(pattern: str) -> int:
    """Remove the experiments whose whole names match a regular expression; return how many."""
    refs = (git("for-each-ref", "--format=%(refname)", "refs/exps") or "").split()
    refs = [ref for ref in refs if re.fullmatch(EXPERIMENTS + pattern, ref)]
    if refs:
        run_dvc("exp", "remove", *refs)
    return len(refs)


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

    folder = project_folder(repo)
    try:
        with repo.switch(commit or WORKSPACE):
            tables = custom_tables(repo, folder)  # first: it reports broken pipelines
            parameters = read_values(repo.params.show(), folder)
            metrics = read_values(repo.metrics.show(), folder)
    except (DvcException, ValueError) as error:
        raise UserError(
            f"{name} must hold dvc.yaml, dvc.lock, params.yaml and metrics that can be read; DVC "
            f"reports: {error}"
        ) from None
    return Result(name, parameters, metrics, tree_of_stages(commit), tables)


def project_folder(repo: "Repo") -> str:
    """Return the working folder within the DVC repository, as project/; at its top, nothing.

    A larger repository may hold other pipelines, too, whose results are not this project's.
    """
    folder = os.path.relpath(os.curdir, repo.root_dir)
    return "" if folder == os.curdir else f"{folder}/"


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


def read_values(shown: Mapping[str, Any], folder: str) -> Flat:
    """Return the values below a folder that Repo.params.show or Repo.metrics.show returned.

    Raises ValueError for a file that cannot be read; one that is missing has no values.
    """
    values: Flat = {}
    for revision in shown.values():
        if "error" in revision:
            raise ValueError(revision["error"])
        for path, file in revision["data"].items():
            error = file.get("error")
            if not path.startswith(folder):
                continue
            if error and not isinstance(error, FileNotFoundError):
                raise ValueError(f"{path}: {error}")
            values |= flatten(file.get("data") or {})
    return values


def custom_tables(repo: "Repo", folder: str) -> tuple[tuple[str, str | None], ...]:
    """Return path and md5, as in dvc.lock, of every file but code that stages read and none makes.

    Raises ValueError if the folder has no stages.
    """
    all_stages = (stage for stage in repo.index.stages if stage.path_in_repo.startswith(folder))
    stages = [stage for stage in all_stages if stage.cmd]
    if not stages:
        raise ValueError(f"no stages in {folder}dvc.yaml")
    made = {out.def_path for stage in stages for out in stage.outs}
    read = {
        dep.def_path: dep.hash_info.value
        for stage in stages
        for dep in stage.deps
        if dep not in stage.params and not dep.def_path.startswith(CODE)
    }
    tables = [path for path in read if not any(is_within(out, path) for out in made)]
    return tuple((path, read[path]) for path in sorted(tables))


def is_within(path: str, folder: str) -> bool:
    """Return whether a path is a folder or in it, `./` or not."""
    return f"{posixpath.normpath(path)}/".startswith(f"{posixpath.normpath(folder)}/")


def tree_of_stages(commit: str | None) -> str:
    """Return Git's id of stages/ at a commit, or in the workspace if that is None.

    Of the workspace it is that of a commit on no branch: like an experiment, it includes changes to
    tracked files, but no untracked ones.
    """
    if commit is None:
        commit = git("stash", "create") or "HEAD"
    return git("rev-parse", "-q", "--verify", f"{commit}:./stages") or ""
