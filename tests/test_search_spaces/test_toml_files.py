"""TOML files within limits: nobody waits for what no study file holds."""

import os
import time
from pathlib import Path

import pytest

from search_spaces.space import SpaceError, load_space
from search_spaces.toml_files import DEEPEST, MOST_BYTES, read_toml


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = " + "9" * 5000, "Exceeds the limit"),
        (f"x = {2**63}", "a whole number of 19 digits, at most 9223372036854775807 is read"),
        ("x = " + "[" * 20_000 + "]" * 20_000, "nested deeper than 16"),
        ("x = " + "[" * 20 + "]" * 20, "nested deeper than 16"),
        (".".join("a" * 20_000) + " = 1", f"line 1: a key of more than {DEEPEST} parts"),
        ("\n[" + ".".join(f'"{n}"' for n in range(5000)) + "]", f"line 2: a key of more than {DEEPEST} parts"),
        ("x = " + "'" + "a" * MOST_BYTES + "'", f"bytes, at most {MOST_BYTES} are read"),
        ("x = ", "Invalid value"),
    ],
)
def test_what_no_study_holds_is_refused_at_once_and_in_a_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    began = time.process_time()
    with pytest.raises(ValueError, match=why) as raised:
        read_toml(file)
    assert time.process_time() - began < 2
    assert len(str(raised.value)) < 300
    with pytest.raises(SpaceError, match=r"space\.toml: invalid TOML: .*; correct it there"):
        load_space(file)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "space.toml")
    with pytest.raises(ValueError, match="a device, a pipe or a socket; a file is expected"):
        read_toml(tmp_path / "space.toml")


def test_a_moderate_file_is_read_with_its_text(tmp_path: Path) -> None:
    text = 'a = 1\n[b."c.d"]\ne = [[1, 2], [3]]\nf = "one. two. three"\n'
    (tmp_path / "x.toml").write_text(text)
    assert read_toml(tmp_path / "x.toml") == (
        text,
        {"a": 1, "b": {"c.d": {"e": [[1, 2], [3]], "f": "one. two. three"}}},
    )
