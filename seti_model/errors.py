"""The errors of this package that explain themselves: one line says where, what and what to do."""

from __future__ import annotations


class SetiModelError(Exception):
    """What every error of this package is that a user can act upon; a command ends with `exit_code` for it."""

    exit_code = 2


class ConfigError(SetiModelError):
    """A configuration that cannot be trained: the message names the field, its value and what is expected."""


class DatasetError(SetiModelError):
    """Data that cannot be used: the message names the file and place, what was found and what to do."""


class ModelError(SetiModelError):
    """An exported model that cannot be used: the message names the file and what to do."""


class ProcessError(SetiModelError):
    """The process cannot be set up as asked: the message says what it has and what to do."""


class CheckpointError(SetiModelError):
    """A checkpoint that cannot be written or continued: the message names the file and what to do."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is gone or damaged: what it held must be trained again."""
