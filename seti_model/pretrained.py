"""Weights that VGG16 begins with, from a file the user names: read array by array and checked, never by Keras.

The file is Keras's own of ImageNet in its old format, with or without the dense layers:
`vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5`. For each convolution it has a group with a kernel and a bias.
"""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seti_model.errors import ConfigError
from seti_model.files import UNREADABLE, require_file, require_room

FILTERS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # of each block, and how many convolutions it has
MOST_BYTES = 2**30  # the file with the dense layers has 553 MB
MOST_MEMBERS = 16  # of a group: there are two
USUAL_FILTERS = {1, 2, 3}  # of HDF5: deflate, shuffle, checksum; others load code
Array = npt.NDArray[np.float32]


def convolution_name(block: int, number: int) -> str:
    """Return the name of a convolution, both counted from 1."""
    return f"block_{block}_conv_{number}"


def weights_digest(path: Path) -> str:
    """Return the SHA-256, hex, of a file of weights that can be used; read once in a process unless it changes.

    Raises:
        ConfigError: As `read_weights`.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    key = (path, status.st_mtime_ns, status.st_size, status.st_ino)
    if key not in _digests:
        _digests[key] = read_weights(path)[1]
    return _digests[key]


def read_weights(path: Path) -> tuple[Mapping[str, Array], str]:
    """Return kernels and biases by `<layer>/<variable>`, and the SHA-256 of the file, hex.

    The first filters are turned round: theirs are for blue, green and red, ours for red, green and blue.

    Raises:
        ConfigError: The file is not there, too large, damaged, none of VGG16, or refers to other files.
    """
    require_file(path, ConfigError)
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size > MOST_BYTES:
            raise ConfigError(
                f"vgg16.weights: {path} has {status.st_size} bytes, at most {MOST_BYTES} are read; name Keras's file"
            )
        require_room(f"{path}", status.st_size, ConfigError)
        content = path.read_bytes()
        weights = dict(_arrays(path, content))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    first = f"{convolution_name(1, 1)}/kernel"
    weights[first] = np.ascontiguousarray(weights[first][:, :, ::-1])
    return weights, hashlib.sha256(content).hexdigest()


_digests: dict[tuple[Path, int, int, int], str] = {}


def _arrays(path: Path, content: bytes) -> Iterator[tuple[str, Array]]:
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        channels = 3
        for block, (filters, convolutions) in enumerate(FILTERS, start=1):
            for number in range(1, convolutions + 1):
                found, group = convolution_name(block, number), f"block{block}_conv{number}"
                datasets = list(_datasets(file, group))
                for variable, shape in (("kernel", (3, 3, channels, filters)), ("bias", (filters,))):
                    yield f"{found}/{variable}", _array(path, group, datasets, variable, shape)
                channels = filters


def _datasets(file: Any, name: str) -> Iterator[Any]:
    """Yield what the group of a layer holds; some writers put it into another group of the same name."""
    import h5py

    group = _member(file, name)
    for _ in range(3):
        if not isinstance(group, h5py.Group):
            return
        below = [_member(group, one) for one in group] if len(group) <= MOST_MEMBERS else []
        yield from (one for one in below if isinstance(one, h5py.Dataset))
        groups = [one for one in below if isinstance(one, h5py.Group)]
        group = groups[0] if len(groups) == 1 else None


def _member(group: Any, name: str) -> Any:
    """Return a member of a group; None where it is not there, or a link that may lead out of the file."""
    import h5py

    return group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None


def _array(path: Path, group: str, datasets: list[Any], variable: str, shape: tuple[int, ...]) -> Array:
    """Return the one dataset of that shape, if nothing about it is unusual."""
    fitting = [one for one in datasets if one.shape == shape]
    if len(fitting) != 1:
        found = ", ".join(str(one.shape) for one in datasets[:4]) or "nothing"
        raise ConfigError(
            f"vgg16.weights: {path}: {group} has no {variable} of shape {shape}, found {found}; name Keras's file of "
            "VGG16 in its old format, vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
        )
    one = fitting[0]
    plist = one.id.get_create_plist()
    filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
    is_plain = one.external is None and not one.is_virtual and filters <= USUAL_FILTERS
    if not is_plain or one.maxshape != shape or one.dtype.kind != "f":
        raise ConfigError(
            f"vgg16.weights: {path}: {group}: the {variable} is stored in an unusual way; name Keras's own file"
        )
    array: Array = one[()].astype(np.float32)
    if not np.isfinite(array).all():
        raise ConfigError(f"vgg16.weights: {path}: {group}: the {variable} is not finite; get the file anew")
    return array


def _unreadable(path: Path, error: Exception) -> ConfigError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:200]
    return ConfigError(f"vgg16.weights: {path} cannot be read ({why}); name Keras's file of VGG16")
