"""Named arrays in an `.npz` file, written one by one and without pickle, with a digest of their content."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


def digest_arrays(arrays: Iterable[tuple[str, Array]]) -> str:
    """Return the SHA-256, hex, over names, types, shapes and bytes, in the order given."""
    sha = hashlib.sha256()
    for name, array in arrays:
        _add(sha, name, array)
    return sha.hexdigest()


def write_arrays(path: Path, arrays: Iterable[tuple[str, Array]]) -> str:
    """Write a new `.npz` file; return what `digest_arrays` would.

    Raises:
        OSError: No space, no permission, or the file exists.
    """
    sha = hashlib.sha256()
    with path.open("xb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays:
            _add(sha, name, array)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return sha.hexdigest()


def read_arrays(path: Path) -> tuple[dict[str, Array], str]:
    """Return the arrays by name, in the order written, and their digest.

    Raises:
        OSError, ValueError, EOFError, zipfile.BadZipFile: Absent or damaged.
    """
    with zipfile.ZipFile(path) as written:
        if any(member.compress_type != zipfile.ZIP_STORED for member in written.infolist()):
            raise ValueError("compressed, which it never is")  # and could become as large as anybody likes
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, digest_arrays(arrays.items())


def _add(sha: Any, name: str, array: Array) -> None:
    sha.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
    if array.size:
        sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
