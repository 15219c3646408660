"""TOML files within limits: nobody waits for what no study file holds."""

import os
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.space import SpaceError, load_space
from search_spaces.toml_files import DEEPEST, MOST_BYTES, read_toml, toml_text


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


texts = st.text(st.characters(exclude_categories=["Cs"]))
singles = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
values = st.recursive(singles, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@given(st.dictionaries(texts, st.dictionaries(texts, values, max_size=4) | values, max_size=4))
def test_what_is_written_is_read_again(written: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(written)) == written


def test_what_python_has_and_toml_has_not_is_written_as_what_it_means() -> None:
    given = {"data": {"path": Path("data") / "mine", "n": np.int64(3), "x": np.float32(0.5), "list": (1, 2)}}
    text = toml_text(given)
    assert text == '[data]\npath = "data/mine"\nn = 3\nx = 0.5\nlist = [1, 2]\n'
    assert np.isnan(tomllib.loads(toml_text({"x": float("nan")}))["x"])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"study": {"space": None}}, r"\[study\] space = None: no value of TOML's"),
        ({"study": {"a": {1: 2}}}, r"\[study\] a: the key is 1, a text is expected"),
        ({"x": "\ud800"}, r"x: '\\ud800' is no text"),
    ],
)
def test_what_cannot_be_written_names_its_key(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        toml_text(given)


def test_what_holds_itself_is_nested_too_deep() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match=f"x: nested deeper than {DEEPEST}"):
        toml_text({"x": endless})
