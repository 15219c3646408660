"""`seti-tune data confusion` and `data groups` as a user types them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tune.cli.main import main


def test_confusion_says_density_chances_definition_and_citation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "confusion", "--survey", "first", "--size", "4.5"]) == 0
    said = capsys.readouterr().out
    assert "1 - exp(-mean)" in said
    (row,) = [line.split() for line in said.splitlines() if line.startswith("FIRST ")]
    assert row == ["FIRST", "89.5", "0.503", "0.396", "0.0912", "2.06'"]
    assert "doi:10.1088/0004-637X/801/1/26" in said
    assert "VLASS" not in said


def test_confusion_of_all_surveys_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "confusion", "--out", str(tmp_path / "c.svg")]) == 0
    said, drawn = capsys.readouterr().out, (tmp_path / "c.svg").read_text()
    for title in ("FIRST", "VLASS", "TGSS ADR1", "SKA1-MID (forecast)"):
        assert title in said
        assert title in drawn


def test_confusion_of_an_impossible_size_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "confusion", "--size", "-1"]) == 2
    assert capsys.readouterr().err.startswith("seti-tune: --size -1: a side above 0 and at most 600 arcminutes")


def test_help_waits_for_none_of_what_the_extras_bring() -> None:
    code = (
        "import sys; from tune.cli.main import parse; import contextlib\n"
        "with contextlib.suppress(SystemExit): parse(['data', 'fetch', '--help'])\n"
        "heavy = {'astropy', 'astroquery', 'matplotlib', 'ray', 'tensorflow'}\n"
        "sys.exit(str(heavy & {name.partition('.')[0] for name in sys.modules} or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert "--most-blank" in done.stdout


def test_groups_writes_a_table_of_files_and_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = tmp_path / "times.csv"
    times.write_text("file,time\na.png,2011-02-15T00:00\nb.png,2011-02-15T05:00\nc.png,2011-02-16T00:00\n")
    out = tmp_path / "groups.csv"
    assert main(["data", "groups", str(times), "--within", "6h", "--out", str(out)]) == 0
    assert "3 frames in 2 groups, the largest of 2" in capsys.readouterr().out
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["file"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert rows[0]["group"] == rows[1]["group"] != rows[2]["group"]


def test_groups_of_a_broken_table_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "times.csv").write_text("file\na\n")
    assert (
        main(["data", "groups", str(tmp_path / "times.csv"), "--within", "6h", "--out", str(tmp_path / "g.csv")]) == 2
    )
    said = capsys.readouterr().err
    assert "0 columns 'time' in its header" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "g.csv").exists()
    times = str(tmp_path / "times.csv")
    assert main(["data", "groups", times, "--within", "6h", "--out", times]) == 2
    assert "holds the times themselves; name another file" in capsys.readouterr().err
