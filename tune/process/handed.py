"""A study that was made in Python on its way to the driver's process: as a log records it, in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.schema import read_json, to_json
from results.study import StudyRecord
from search_spaces.space import Space
from tune.study import Study


@dataclass(frozen=True)
class _Handed:
    study: StudyRecord
    space: Mapping[str, Any]
    source: str
    says_threads: bool


def hand_over(study: Study, file: Path) -> None:
    """Write a study for `take`, whatever has been changed in it since it was read."""
    handed = _Handed(study.record(), study.space.to_mapping(), study.source, study.says_threads)
    file.write_text(to_json(handed), encoding="utf-8")


def take(file: Path) -> Study:
    """Return the study that was handed over, checked as a file is.

    Raises:
        StudyError: It does not fit any more what lies on the disk.
    """
    given = read_json(file.read_bytes(), _Handed)
    place = Path(f"{given.study.study.name}.toml")
    study = Study.from_record(given.study, Space.from_mapping(given.space), place=place, source=given.source)
    return dataclasses.replace(study, says_threads=given.says_threads)
