"""The errors of this package that explain themselves: one line says where, what and what to do."""

from __future__ import annotations


class ResultsError(Exception):
    """What every error of this package is that a user can act upon; a command ends with `exit_code` for it."""

    exit_code = 2


class RecordError(ResultsError):
    """A record of a run that cannot be read or written: the message names file and line, and what to do."""


class TableError(ResultsError):
    """What was asked of a table cannot be given: the message names what was typed and what is possible."""


class FigureError(ResultsError):
    """Something that cannot be drawn: the message says what was given and what is expected."""
