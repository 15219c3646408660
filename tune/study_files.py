"""The files of a study: its own, its space's and the modules that it names; copied so that a cluster keeps them.

They travel with a job into the cluster, and are kept in the run folder, where every node and `resume` find them.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from results.files import inside, refuse_links
from results.run_folder import LONGEST_NAME, STUDY_FILES
from tune.errors import StudyError
from tune.study import Study


def study_files(study: Study) -> dict[str, bytes]:
    """Return what lies beside a study file and is used by it, and the file itself, by the path below its folder.

    A module that lies elsewhere is taken for installed; of a package all Python files are taken.

    Raises:
        StudyError: The space file lies elsewhere, data or a model is named by a relative path, a module would not reach
            other machines, or a file cannot be read.
    """
    home, files = study.home.resolve(), {f"{study.study.name}.toml": study.source.encode()}
    space = str(study.study.space)
    places = {"[data] path": study.data.path, "[study] init_from": study.study.init_from}
    places |= {"[fixed] vgg16.weights": str(study.fixed["vgg16.weights"])} if "vgg16.weights" in study.fixed else {}
    for key, value in places.items():
        if value is not None and not posixpath.isabs(value):
            raise StudyError(
                f"{key} = {value!r}: does not travel; copy it to where the cluster sees it and give its absolute path "
                "there"
            )
    beside = [home / space] if space.endswith(".toml") else []
    if beside and (posixpath.isabs(space) or not beside[0].resolve().is_relative_to(home)):
        raise StudyError(
            f"[study] space = {space!r}: lies outside the folder of the study file or is named by its absolute path, "
            "and would not be found from a copy; put it beside the study file and name it so"
        )
    names = study.own_names() if study.is_network else (study.study.trainable,)
    modules = list(own_modules(home, names))
    if modules and study.storage.uri is not None:
        raise StudyError(
            f"[storage] uri: {modules[0].name} beside the study file would be copied to one machine alone; install it "
            "on every node instead"
        )
    for file in [*beside, *modules]:
        try:
            files[file.relative_to(home).as_posix()] = file.read_bytes()
        except OSError as error:
            raise StudyError(f"{file}: cannot be read ({error.strerror}); the study uses it") from error
    return files


def write_study(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write the files of a study below a folder; return the path of the study file, which comes first."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / next(iter(files))


def keep_study(study: Study, run: Path) -> Path:
    """Copy the files of a study into its run folder; return the path of the study file there.

    Copies are never written over: other files get another folder, as trials so far may depend on the former ones.

    Raises:
        StudyError: The run folder cannot be written or holds such files of somebody else, or as `study_files`.
        RecordError: A link leads out of the run folder.
    """
    refuse_links(run)
    files = study_files(study)
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
    folder = run.absolute() / STUDY_FILES / digest.hexdigest()[:12]
    if folder.exists():
        _require_same(folder, files)
    else:
        scratch = None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            write_study(files, scratch)
            scratch.chmod(0o755)
            with contextlib.suppress(FileExistsError):  # another process was faster, with the same files
                scratch.rename(folder)
        except OSError as error:
            if not folder.exists():
                raise StudyError(
                    f"{folder}: cannot be written ({error.strerror}); --run names another run folder"
                ) from error
        finally:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder / next(iter(files))


def _require_same(folder: Path, files: Mapping[str, bytes]) -> None:
    """Refuse a folder that holds something else than what it is named after: another user may have put it there."""
    for name, content in files.items():
        path = inside(folder, name)
        if not path.is_file() or path.read_bytes() != content:
            raise StudyError(f"{path}: is not what its folder is named after; remove {folder} and start again")
    owner = folder.stat().st_uid
    if owner != os.geteuid() or any(path.lstat().st_uid != owner for path in folder.rglob("*")):
        raise StudyError(f"{folder}: holds files of another user, which would be run; remove it and start again")


def own_modules(home: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files of the modules beside a study file that `names` begin with, and of those that they import."""
    seen, waiting = set(), [name.partition(":")[0] for name in names if is_folder(home)]
    while waiting:
        top = waiting.pop().partition(".")[0]
        if top in seen or not is_module_name(top):  # a path, for instance
            continue
        seen.add(top)
        package = home / top
        for file in sorted(package.rglob("*.py")) if package.is_dir() else [home / f"{top}.py"]:
            if file.is_file():
                waiting += _imported(file)
                yield file


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; one whose name is too long is not."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises


def is_module_name(name: str) -> bool:
    """Return whether a text can be the name of a module beside a study file."""
    return name.isidentifier() and len(name.encode()) <= LONGEST_NAME


def _imported(file: Path) -> list[str]:
    """Return the modules that a file imports; what is wrong with it is said by who imports it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
    return found
