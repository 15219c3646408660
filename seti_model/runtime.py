"""What makes a training repeatable and lets a process train many: derived seeds, one TensorFlow set-up, memory.

Memory: TensorFlow's oneDNN kernels keep a pool of their own that only grows: twelve course-size networks left 150 to
540 MB more resident than two. With the system's allocator instead, blocks above 32 MB are mapped and unmapped in every
step and a step takes 20 % longer. So: the system's allocator, told to keep what is freed in one heap, and to hand the
heap back when a training has ended. Measured: 795 MB resident after twelve networks and 774 MB after two, and steps as
fast as with the pool. Nothing of it is done where libc is not glibc.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import mmap
import os
import re
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from seti_model.errors import ProcessError

MAX_THREADS = 1024
MOST_SIDE_BY_SIDE = 16  # batches that are predicted at once, unless more are asked for: each holds its activations
# Read by TensorFlow and Keras when they are imported, never again: no chatter below warnings, no other backend.
_ENVIRONMENT = MappingProxyType({"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"})
# TensorFlow 2.21 writes these before it reads its log level: information lines, and that there is no GPU driver.
_CHATTER = re.compile(rb"I\d{4} \d\d:|WARNING: All log messages before absl|E\d{4} .*failed call to cuInit")
# What TensorFlow and Keras use if it is there, for galleries, scikit-learn's interface, notebooks and sparse matrices.
# Nothing here asks for these, and without them the import takes 1.2 s and 100 MB less.
_DISPENSABLE = ("matplotlib", "sklearn", "IPython", "scipy")
_Scalar = TypeVar("_Scalar", bound=np.generic)
# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


@dataclass(frozen=True)
class ProcessSetup:
    """What `prepare_process` settled; none of it can change while the process lives."""

    threads: int
    gpu: bool
    gpu_memory_mb: int | None
    side_by_side: int = 1


def derive_seed(*parts: int | str) -> int:
    """Return a seed in 0..2**31-1 that depends on every part and its place, alike on every machine and version.

    Seeds of neighbouring parts (epoch 1, epoch 2) are unrelated, so streams do not overlap as with `seed + epoch`.
    """
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFF_FFFF


def prepare_process(
    threads: int, *, gpu: bool = False, gpu_memory_mb: int | None = None, side_by_side: int = 1
) -> ProcessSetup:
    """Import and set up TensorFlow: thread count, deterministic operations, devices. Call before building anything.

    Calling again with the same arguments does nothing. Rounding, hence every digest, depends on `threads`. Keras then
    runs as it does where scikit-learn and matplotlib are not installed, unless they or it were imported before.

    Args:
        threads: Threads within one operation; operations run one after the other.
        gpu: Use the GPUs this process may see; without it they are hidden. Memory grows as needed.
        gpu_memory_mb: Hard limit on the memory taken of the first GPU, in MiB, for trials that share one.
        side_by_side: So many batches may be predicted at the same time, each on `threads`; for training 1.

    Raises:
        ProcessError: TensorFlow already runs with other settings, Keras runs on another backend, or a GPU was asked
            for and none is visible.
    """
    for number in (threads, side_by_side):
        if not 1 <= number <= MAX_THREADS:
            raise ProcessError(f"threads={number} lies outside 1..{MAX_THREADS}; choose a value within")
    wanted = ProcessSetup(threads, gpu, gpu_memory_mb, side_by_side)
    if _settled:
        if _settled[0] != wanted:
            raise ProcessError(f"TensorFlow already runs with {_settled[0]}, not {wanted}; start a new process for it")
        return _settled[0]
    for name, value in _ENVIRONMENT.items():
        os.environ[name] = value
    settle_allocator()
    with _without_chatter(), importing(without=_DISPENSABLE):
        _set_up(wanted)
    _settled.append(wanted)
    return wanted


def process_setup() -> ProcessSetup:
    """Return what this process was set up with.

    Raises:
        ProcessError: `prepare_process` has not been called, so nothing trained here could be repeated.
    """
    if not _settled:
        raise ProcessError("TensorFlow is not set up in this process; call seti_model.runtime.prepare_process first")
    return _settled[0]


def threads_in_use() -> int | None:
    """Return with how many threads this process was set up, None before that."""
    return _settled[0].threads if _settled else None


def settle_allocator() -> None:
    """Choose how this process allocates; call before TensorFlow is imported.

    Threads that already have an arena of their own keep it, and blocks above 64 MB are mapped for them each time:
    a process that starts many threads before should be started with MALLOC_ARENA_MAX=1 in its environment.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    os.environ["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] = "1"
    libc.mallopt(_M_ARENA_MAX, 1)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def release_memory() -> None:
    """Collect what is unreachable and return all free pages to the system."""
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Return all free pages to the system."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


@contextmanager
def importing(*, without: Collection[str] = ()) -> Iterator[None]:
    """Import what stays as long as the process: it is not looked through for garbage, now or later.

    A collection would take 0.25 s with TensorFlow, and find a thousand objects.

    Args:
        without: Modules that look as if they were not installed, unless they are imported already; other threads find
            them, and so does this one afterwards.
    """
    finder, was_enabled = _Absent([name for name in without if name not in sys.modules]), gc.isenabled()
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        gc.freeze()
        if was_enabled:
            gc.enable()


def outside_heap(array: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
    """Return a copy in pages of its own, returned to the system with the array, whoever holds it and how long."""
    if array.nbytes == 0:
        return array.copy()
    copy = np.frombuffer(mmap.mmap(-1, array.nbytes), dtype=array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


_settled: list[ProcessSetup] = []  # empty or one: TensorFlow's context is global, so is what we know of it


def _set_up(wanted: ProcessSetup) -> None:
    import keras
    import tensorflow as tf

    # Imported by someone else earlier, Keras may have chosen another backend from the environment or its file.
    if keras.backend.backend() != "tensorflow":
        raise ProcessError(
            f"Keras already runs on {keras.backend.backend()!r}, expected 'tensorflow'; start a new process"
        )
    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted.threads)
        tf.config.threading.set_inter_op_parallelism_threads(wanted.side_by_side)
        _choose_devices(tf, wanted)
    except RuntimeError as error:
        raise ProcessError(
            f"TensorFlow was started before its {wanted.threads} threads could be set ({error}); "
            "call prepare_process first, or start a new process"
        ) from error
    tf.config.experimental.enable_op_determinism()


class _Absent(MetaPathFinder):
    """Makes modules look as if they were not installed, to the thread that made it alone."""

    def __init__(self, names: Collection[str]) -> None:
        self._thread, self._names = threading.get_ident(), names

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Raise for such a module and those within it; leave every other one to who comes next."""
        is_one = name in self._names or any(name.startswith(f"{one}.") for one in self._names)
        if is_one and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back what C++ writes to standard error, then pass on all of it but the known chatter."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not _CHATTER.match(line):
                    os.write(2, line)


def _choose_devices(tf: Any, wanted: ProcessSetup) -> None:
    if not wanted.gpu:
        tf.config.set_visible_devices([], "GPU")
        return
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise ProcessError(
            "a GPU was asked for and TensorFlow sees none; check the driver and CUDA_VISIBLE_DEVICES, "
            "or ask for 0 GPUs per trial"
        )
    if wanted.gpu_memory_mb is not None:
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=wanted.gpu_memory_mb)
        tf.config.set_logical_device_configuration(gpus[0], [limit])
        return
    for device in gpus:
        tf.config.experimental.set_memory_growth(device, True)
