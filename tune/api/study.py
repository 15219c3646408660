"""A study from Python: a study file, or a mapping that is checked as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.toml_files import parse_toml, toml_text
from tune.checks import check_installation
from tune.errors import StudyError
from tune.study import Study, load_study, read_study_file, study_of

_MAPPING = Path("the mapping")  # as errors name it; a study file of the current folder otherwise
_NAME = "study"  # of one that says none, as of a file study.toml


def read_study(source: str | Path | Mapping[str, Any], **settings: Any) -> Study:
    """Read a study, for `tune.search`.

    Args:
        source: A study file, a shipped study by its name, or a mapping with the keys of a study file, whose paths are
            relative to the current folder; modules of your own lie there.
        settings: Keys of [study] that are to have another value, as in `trials=20`.

    Raises:
        StudyError: Neither of these, a missing file, an unknown key, a value of the wrong type or out of range, a fixed
            value or a baseline that does not fit.
        SpaceError: The space it names is refused.
        ConfigError: A fixed value that no training accepts.
    """
    check_installation()
    if not isinstance(source, str | Path | Mapping):
        raise StudyError(f"{source!r:.60}: a study file, a shipped study or a mapping is expected; give one of them")
    if isinstance(source, Mapping):
        place, values, name = _MAPPING, source, _NAME
    elif not settings:
        return load_study(source)
    else:
        place, _, values = read_study_file(source)
        name = place.stem
    section = values.get("study", {})
    if isinstance(section, Mapping):
        values = {**values, "study": {"name": name, **section, **settings}}
    try:
        text = toml_text(values)
        given = parse_toml(text)
    except ValueError as error:
        raise StudyError(f"{place}: {error}; correct it") from error
    return study_of(given, place=place, source=text)
