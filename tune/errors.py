"""The errors of this package that explain themselves: one line says where, what and what to do."""

from __future__ import annotations


class TuneError(Exception):
    """What every error of this package is that a user can act upon; a command ends with `exit_code` for it."""

    exit_code = 2


class StudyError(TuneError):
    """A study that cannot be run: the message names the file and key, the value and what to do."""


class ClusterError(StudyError):
    """A cluster of which no node can train the study: the message names the first one, the reason and what to do."""


class SearchError(TuneError):
    """A search from Python that its driver refused or gave up: the message is the line that a command prints."""


class UnfinishedError(SearchError):
    """A search from Python that ended before its end, and goes on from its run folder: the message says how."""

    exit_code = 3


class ScanError(TuneError):
    """A scan that cannot be made or continued so: the message names the folder, the file or the option."""


class StorageError(TuneError):
    """A store that does not answer, or that another driver took over: what was recorded is kept, resume goes on."""

    exit_code = 3


class StorageRefusedError(StorageError):
    """A store that cannot be used as it is named, or not with these credentials: the message says what was said."""

    exit_code = 2


class DiskError(TuneError):
    """A disk of this machine that is full or cannot be written: the message names the file and what to do."""


class FetchError(TuneError):
    """Cut-outs that cannot be fetched as asked: the message names the file, the row or the server and what to do."""


class FetchInterruptedError(FetchError):
    """A fetch that ended before its end, as a server does not answer: what came is kept, the same command goes on."""

    exit_code = 3


class InstallationError(TuneError):
    """The installation is not whole: the message says what stands in the way and what to do."""


def exit_code_of(error: Exception) -> int | None:
    """Return the exit code that an error's class carries; None for an error that does not explain itself."""
    code: int | None = getattr(type(error), "exit_code", None)
    return code
