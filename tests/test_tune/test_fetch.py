"""`seti-tune data fetch` against servers on loopback that answer as the surveys' do: only the network is replaced."""

from __future__ import annotations

import builtins
import csv
import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sky_servers as sky
from sky_servers import SkyServer, fits_image, sky_server

from seti_model.data.dataset import Dataset
from seti_model.errors import DatasetError
from tune.cli.main import main
from tune.errors import FetchError
from tune.sky.catalogue import read_catalogue
from tune.sky.fetch import read_size
from tune.sky.provenance import Answer, append_answer, held_journal, read_answers

PIXELS = 20


@pytest.fixture
def server() -> Iterator[SkyServer]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from astroquery.skyview import conf
    with sky_server() as running, conf.set_temp("url", f"{running.address}/current/cgi/basicform.pl"):
        yield running


def catalogue(folder: Path, *kinds: int, more: str = "") -> Path:
    path = folder / "objects.csv"
    rows = [f"J{i:02d} of {kind},{kind}.1234567,{i - 1.5},{('FRI', 'FRII')[i % 2]}" for i, kind in enumerate(kinds)]
    path.write_text("\n".join(["name,ra,dec,class", *rows]) + "\n" + more)
    return path


def fetch(objects: Path, out: Path, *words: str, survey: str = "first") -> int:
    given = ["--survey", survey, "--catalogue", str(objects), str(out), "--size", f"{PIXELS}px", "--pause", "0"]
    return main(["data", "fetch", *given, *words])


def labels(out: Path) -> list[tuple[str, str]]:
    return [(row["file"], row["class"]) for row in csv.DictReader((out / "labels.csv").read_text().splitlines())]


def images(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if ".fits" in path.name)


def outcomes(out: Path) -> dict[str, str]:
    return {name[:3]: answer.outcome for name, answer in read_answers(out).items()}


# what comes


def test_objects_become_files_labels_and_a_line_of_provenance_each(
    tmp_path: Path, server: SkyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert fetch(catalogue(tmp_path, sky.WHOLE, sky.WHOLE), out) == 0
    assert labels(out) == [("J00_of_10.fits", "FRI"), ("J01_of_10.fits", "FRII")]
    content = (out / "J00_of_10.fits").read_bytes()
    assert content == fits_image(sky.WHOLE, PIXELS)
    first = json.loads((out / "provenance.jsonl").read_text().splitlines()[0])
    assert first["name"] == "J00 of 10"
    assert (first["ra_deg"], first["dec_deg"], first["class_name"]) == (10.1234567, -1.5, "FRI")
    assert (first["survey"], first["pixels"], first["side_arcmin"]) == ("first", PIXELS, 0.6)
    assert first["sha256"] == hashlib.sha256(content).hexdigest()
    assert (first["bytes"], first["outcome"], first["without_sky"]) == (len(content), "whole", 0.0)
    assert first["address"].startswith(f"{server.address}/tempspace/fits/")
    assert first["asked_at"].endswith("+00:00")
    assert "2 of 2 objects have a label" in capsys.readouterr().out


def test_the_server_is_told_the_whole_position_the_size_and_who_asks(tmp_path: Path, server: SkyServer) -> None:
    assert fetch(catalogue(tmp_path, sky.WHOLE), tmp_path / "out", survey="tgss") == 0
    (query,) = [path for path in server.asked if "runquery" in path]
    assert "Position=10.1234567+-1.5000000" in query, "astroquery alone writes 10.1235"
    assert "survey=TGSS+ADR1" in query
    assert f"pixels={PIXELS}" in query
    assert f"imscale={PIXELS * 6.2 / 3600:.5f}" in query
    assert all(agent.startswith("seti-tune/") and "astroquery/" in agent for agent in server.agents)


def test_missing_blank_and_edge_cut_outs_are_named_and_get_no_label_unseen(
    tmp_path: Path, server: SkyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    objects = catalogue(tmp_path, sky.WHOLE, sky.BLANK, sky.EDGE, sky.MISSING, sky.NAN_EDGE)
    assert fetch(objects, out) == 0
    assert outcomes(out) == {"J00": "whole", "J01": "blank", "J02": "edge", "J03": "missing", "J04": "edge"}
    answers = list(read_answers(out).values())
    assert [answer.without_sky for answer in answers] == [0.0, 1.0, 0.25, None, 0.5]
    assert [file for file, _ in labels(out)] == ["J00_of_10.fits"], "a quarter without sky is more than a tenth"
    said = capsys.readouterr()
    assert "blank 1: J01 of 20" in said.out
    assert "missing 1: J03 of 40" in said.out
    assert "edge, no label 2: J02 of 30, J04 of 100" in said.out
    assert "J02_of_30.fits, 25.0% of it without sky" in said.err
    assert images(out) == ["J00_of_10.fits", "J02_of_30.fits.unused", "J04_of_100.fits.unused"]
    asked = len(server.asked)
    assert fetch(objects, out, "--most-blank", "0.3") == 0
    assert [file for file, _ in labels(out)] == ["J00_of_10.fits", "J02_of_30.fits"]
    assert images(out) == ["J00_of_10.fits", "J02_of_30.fits", "J04_of_100.fits.unused"]
    assert len(server.asked) == asked, "all were answered: nothing is asked again"
    assert fetch(objects, out, "--again") == 0
    assert len(server.images) == 4 + 1, (
        "of the blank and the missing one a page was asked for, and an image came of one"
    )


def test_what_was_fetched_can_be_imported_as_it_is(tmp_path: Path, server: SkyServer) -> None:
    out, server.is_varied = tmp_path / "out", True
    words = ["--labels", str(out / "labels.csv"), "--scale", "asinh", "--size", "12,12", "--fractions", "0.6,0.2,0.2"]

    def imported(name: str, objects: Path, *more: str) -> int:
        assert fetch(objects, out, *more) == 0
        assert main(["data", "import", str(tmp_path / name), "--folder", str(out), *words]) == 0
        dataset = Dataset.open(tmp_path / name)
        assert dataset.class_names == ("FRI", "FRII")
        return sum(sum(dataset.class_counts(split).values()) for split in dataset.splits)

    kinds = [*[sky.WHOLE] * 10, sky.EDGE, sky.MISSING, sky.BLANK, sky.NAN_EDGE]
    assert imported("strict", catalogue(tmp_path, *kinds)) == 10
    assert imported("mild", catalogue(tmp_path, *kinds), "--most-blank", "0.5") == 12, "and those at the edge"
    assert imported("strict_again", catalogue(tmp_path, *kinds)) == 10
    assert imported("fewer", catalogue(tmp_path, *kinds[:8])) == 8, "two were taken out of the catalogue"
    assert len(images(out)) == 12, "and are kept"


def test_vlass_comes_from_the_cadc_the_latest_quick_look_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from astroquery.cadc import conf
        from astroquery.cadc.core import get_access_url
        from pyvo.utils import vocabularies
    vocabularies.get_vocabulary.cache_clear()
    get_access_url.caps.clear()
    out = tmp_path / "out"
    with sky_server() as server, conf.set_temp("CADC_REGISTRY_URL", f"{server.address}/reg"):
        monkeypatch.setattr(vocabularies, "IVOA_VOCABULARY_ROOT", f"{server.address}/vocabulary/")
        assert fetch(catalogue(tmp_path, sky.WHOLE, sky.MISSING, sky.BROKEN, sky.EDGE), out, survey="vlass") == 0
    get_access_url.caps.clear()
    vocabularies.get_vocabulary.cache_clear()
    assert outcomes(out) == {"J00": "whole", "J01": "missing", "J02": "missing", "J03": "edge"}
    answers = list(read_answers(out).values())
    assert "VLASS3.1.ql" in str(answers[0].address)
    assert ".rms." not in str(answers[0].address)
    assert answers[1].reason == "no quick-look image among 0 of the CADC"
    assert "404" in str(answers[2].reason)
    assert answers[3].without_sky == pytest.approx(0.25)


# what goes wrong on the way


def test_a_busy_server_is_asked_again_and_a_broken_one_at_the_next_call(
    tmp_path: Path, server: SkyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    objects = catalogue(tmp_path, sky.BUSY, sky.BROKEN, sky.WHOLE, sky.PAGE, sky.CUT)
    assert fetch(objects, out, "--tries", "3") == 3
    assert outcomes(out) == {"J00": "whole", "J01": "failed", "J02": "whole", "J03": "failed", "J04": "failed"}
    answers = list(read_answers(out).values())
    assert [answer.tries for answer in answers] == [3, 3, 1, 3, 3]
    assert "500" in str(answers[1].reason)
    assert "cannot be read as FITS (it begins with '<html>The archive" in str(answers[3].reason)
    assert "cannot be read as FITS" in str(answers[4].reason)
    assert len(list(out.glob("*.fits"))) == 2, "nothing is kept of what is no image"
    said = capsys.readouterr()
    assert "3 objects got no answer (J01 of 80, J03 of 60, J04 of 70); the same command asks for them again" in said.err
    before = len(server.images)
    assert fetch(objects, out, "--tries", "1") == 3
    assert len(server.images) - before == 2, "of those that failed only; a page said at once that one is broken"


def test_tries_wait_longer_and_longer(tmp_path: Path, server: SkyServer) -> None:
    assert fetch(catalogue(tmp_path, sky.BUSY), tmp_path / "out", "--pause", "0.05") == 0
    asked = [at for at, path in zip(server.at, server.asked, strict=True) if "runquery" in path]
    first, second = np.diff(asked)
    assert first >= 0.1
    assert second >= 0.2
    assert np.diff(server.at).min() >= 0.05, "a pause before every request"


def test_a_server_that_does_not_answer_ends_the_fetch_after_three_objects(
    tmp_path: Path, server: SkyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = catalogue(tmp_path, sky.WHOLE, *[sky.BROKEN] * 5)
    assert fetch(objects, tmp_path / "out", "--tries", "1") == 3
    said = capsys.readouterr().err
    assert "no answer about 3 objects in a row, the last time: 500 Server Error" in said
    assert "try again later, the same command goes on" in said
    assert len(read_answers(tmp_path / "out")) == 4


def test_a_slow_server_is_given_up_after_a_time(
    tmp_path: Path, server: SkyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.sky.services.DEADLINE_S", 2.0)
    start = time.monotonic()
    assert fetch(catalogue(tmp_path, sky.SLOW, sky.WHOLE), tmp_path / "out", "--tries", "1") == 3
    assert time.monotonic() - start < 30
    assert outcomes(tmp_path / "out") == {"J00": "failed", "J01": "whole"}
    assert read_answers(tmp_path / "out")["J00 of 90"].reason == "no answer within 2 s"


def test_no_server_at_all_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from astroquery.skyview import conf
    with conf.set_temp("url", "http://127.0.0.1:9/"):
        assert fetch(catalogue(tmp_path, *[sky.WHOLE] * 4), tmp_path / "out", "--tries", "1") == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("seti-tune: http://127.0.0.1:9/: no answer about 3")


def test_an_address_that_is_no_web_page_is_not_read(tmp_path: Path, server: SkyServer) -> None:
    (tmp_path / "secret").write_bytes(fits_image(sky.WHOLE, PIXELS))
    server.result = f"<a href='file://{tmp_path}/secret'>FITS</a>"
    assert fetch(catalogue(tmp_path, sky.WHOLE), tmp_path / "out", "--tries", "1") == 3
    assert "No connection adapters" in str(read_answers(tmp_path / "out")["J00 of 10"].reason)


def test_a_survey_that_the_server_does_not_list_is_said(
    tmp_path: Path, server: SkyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.form = server.form.replace("VLA FIRST (1.4 GHz)", "FIRST 2")
    assert fetch(catalogue(tmp_path, sky.WHOLE), tmp_path / "out") == 2
    assert (
        "does not list the survey 'VLA FIRST (1.4 GHz)' any more; look for a later seti-tune" in capsys.readouterr().err
    )


# interruption, and two at once


def start_fetch(folder: Path, server: SkyServer, objects: Path, out: Path) -> subprocess.Popen[str]:
    """Start the command as a process of its own, which finds the server in astroquery's configuration."""
    (folder / "astropy").mkdir()
    (folder / "astropy" / "astroquery.cfg").write_text(f"[skyview]\nurl = {server.address}/current/cgi/basicform.pl\n")
    given = ["--survey", "first", "--catalogue", str(objects), str(out), "--size", f"{PIXELS}px", "--pause", "0"]
    command = [sys.executable, "-m", "tune.cli.main", "data", "fetch", *given]
    env = {**os.environ, "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def wait_for_images(server: SkyServer, n: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while len(server.images) < n and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)


def test_a_second_fetch_into_a_folder_is_refused_and_the_first_one_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, objects = tmp_path / "out", catalogue(tmp_path, *[sky.WHOLE] * 3)
    with sky_server() as server:
        server.delay_s = 0.5
        process = start_fetch(tmp_path, server, objects, out)
        wait_for_images(server, 1, process)
        assert fetch(objects, out) == 2
        said = capsys.readouterr().err
        assert said == (f"seti-tune: {out}: another process is fetching into it; wait for it or name another folder\n")
        assert process.poll() is None, "the first one was still at it"
        assert process.communicate(timeout=30)[1].count("\n") == 4
    assert process.returncode == 0
    assert len(server.images) == 3
    assert (out / "provenance.jsonl").read_text().count("\n") == 3
    assert len(labels(out)) == 3


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_fetch_loses_at_most_the_image_in_flight(tmp_path: Path, how: signal.Signals) -> None:
    out, objects = tmp_path / "out", catalogue(tmp_path, *[sky.WHOLE] * 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from astroquery.skyview import conf
    with sky_server() as server:
        server.delay_s = 0.4
        process = start_fetch(tmp_path, server, objects, out)
        wait_for_images(server, 3, process)
        process.send_signal(how)
        said = process.communicate(timeout=30)[1]
        assert process.returncode == (130 if how == signal.SIGINT else -9), said
        assert ("interrupted; the same command goes on" in said) == (how == signal.SIGINT)
        kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.fits")}
        assert len(kept) == 2
        assert len(read_answers(out)) == 2
        server.delay_s, before = 0.0, len(server.images)
        with conf.set_temp("url", f"{server.address}/current/cgi/basicform.pl"):
            assert fetch(objects, out) == 0
        assert len(server.images) - before == 3, "the two that had come are not asked for again"
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    assert len(labels(out)) == 5
    assert {path.suffix for path in out.iterdir()} == {".fits", ".csv", ".jsonl"}, "nothing half-written stays"


def test_what_a_killed_fetch_left_of_an_image_goes_with_the_next(tmp_path: Path, server: SkyServer) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "provenance.jsonl").touch()
    (out / f".writing-{'0' * 16}-J00_of_10.fits").write_bytes(b"half")
    assert fetch(catalogue(tmp_path, sky.WHOLE), out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["J00_of_10.fits", "labels.csv", "provenance.jsonl"]


def test_a_line_that_was_cut_off_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "provenance.jsonl").touch()
    answer = Answer(
        name="a", ra_deg=1, dec_deg=2, class_name="c", survey="first", side_arcmin=1, pixels=9, outcome="missing",
        asked_at="2026-01-01T00:00:00+00:00", service="s",
    )  # fmt: skip
    append_answer(tmp_path, answer)
    path = tmp_path / "provenance.jsonl"
    path.write_bytes(path.read_bytes() + b'{"name": "b", "ra')
    assert list(read_answers(tmp_path)) == ["a"]
    append_answer(tmp_path, answer)
    assert path.read_text().count("\n") == 2
    assert list(read_answers(tmp_path)) == ["a"]


# mistakes


def test_folders_that_cannot_be_held_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "provenance.jsonl").symlink_to("elsewhere")
    with pytest.raises(FetchError, match=r"cannot be used \(Too many levels of symbolic links\); name another folder"):
        held_journal(tmp_path).__enter__()
    assert not (tmp_path / "elsewhere").exists()

    def without_locks(*_: int) -> None:  # as file systems without locks answer
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without_locks)
    with pytest.raises(
        FetchError, match=r"new: cannot be locked \(No locks available\); name a folder on another disk"
    ):
        held_journal(tmp_path / "new").__enter__()


def test_files_that_changed_and_folders_of_others_are_refused(
    tmp_path: Path, server: SkyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    out, objects = tmp_path / "out", catalogue(tmp_path, sky.WHOLE)
    assert fetch(objects, out) == 0

    def refused(*words: str, folder: Path = out, survey: str = "first") -> str:
        capsys.readouterr()
        assert fetch(objects, folder, *words, survey=survey) == 2
        return capsys.readouterr().err

    assert "'J00 of 10' was fetched as first, 20 pixels for 0.6 arcmin, now nvss" in refused(survey="nvss")
    assert "20 pixels for 0.6 arcmin, now first, 30 for 0.9" in refused("--size", "30px")
    assert "holds files that were not fetched; name a new folder" in refused(folder=tmp_path)
    (out / "J00_of_10.fits").write_bytes(b"other")
    assert "J00_of_10.fits: is not what was fetched; restore it, or remove it to fetch it again" in refused()
    (out / "J00_of_10.fits").unlink()
    assert fetch(objects, out) == 0
    assert (out / "J00_of_10.fits").read_bytes() == fits_image(sky.WHOLE, PIXELS)
    objects.write_text(objects.read_text().replace("-1.5", "-1.6"))
    assert "'J00 of 10' was fetched at 10.1235, -1.5, the catalogue has 10.1235, -1.6" in refused()
    (out / "provenance.jsonl").write_text("no\n")
    assert "provenance.jsonl, line 1: not JSON" in refused()
    shutil.rmtree(out)
    (out / "J00_of_30.fits.unused" / "mine").mkdir(parents=True)
    (out / "provenance.jsonl").touch()
    catalogue(tmp_path, sky.EDGE)
    assert "J00_of_30.fits.unused: cannot be put there (Is a directory); move away what is there" in refused()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name,ra,class\na,1,x\n",
            ": 0 columns 'dec' in its header, expected one; begin the file with name,ra,dec,class",
        ),
        ("name,ra,dec,class\n", ": no rows below its header; add some"),
        ("name,ra,dec,class\na,1,2,\n", ", line 2: no class; fill it in"),
        (
            "name,ra,dec,class\na,12h,2,x\n",
            r", line 2: ra '12h', expected degrees from 0 to below 360 \(J2000\); convert",
        ),
        ("name,ra,dec,class\na,360,2,x\n", ", line 2: ra '360'"),
        ("name,ra,dec,class\na,1,nan,x\n", r", line 2: dec 'nan', expected degrees from -90 to 90 \(J2000\)"),
        (
            "name,ra,dec,class\na,1,2,x\nb,1,2,x\na,3,4,x\n",
            ", line 4: 'a' would have the same file as 'a', a.fits; give",
        ),
        ("name,ra,dec,class\nA/b,1,2,x\na b,1,2,x\n", ", line 3: 'a b' would have the same file as 'A/b', a_b.fits"),
        ("name,ra,dec,class\n" + "a" * 200_000 + ",1,2,x\n", r", line 2: field larger than .*; save it as a CSV file"),
    ],
)
def test_a_catalogue_with_a_mistake_is_refused_with_its_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "objects.csv").write_text(text)
    with pytest.raises(DatasetError, match=rf"objects\.csv{message}"):
        read_catalogue(tmp_path / "objects.csv")


def test_a_catalogue_of_more_than_anybody_should_ask_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.sky.catalogue.MOST_OBJECTS", 2)
    (tmp_path / "objects.csv").write_text("name,ra,dec,class\na,1,2,x\nb,1,2,x\nc,1,2,x\n")
    with pytest.raises(DatasetError, match=r"objects\.csv: 3 objects, at most 2 are fetched; divide it"):
        read_catalogue(tmp_path / "objects.csv")


def test_names_become_files_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "objects.csv").write_text("name,ra,dec,class\n../../etc,1,2,x\n-rf,1,2,x\n+4,1,2,x\nJ1+2 é,0,-90,x\n")
    files = [target.file for target in read_catalogue(tmp_path / "objects.csv")]
    assert files == ["_.._.._etc.fits", "_-rf.fits", "_+4.fits", "J1+2_.fits"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--size", "0"),
            "--size '0': expected arcminutes such as 4.5 or pixels such as 150px, 1 to 2048 pixels of 1.8",
        ),
        (("--size", "nan"), "--size 'nan': expected"),
        (("--size", "9999px"), "--size '9999px': expected"),
        (("--pause", "-1"), "--pause -1: 0 to 3600 seconds are expected; choose a number within"),
        (("--tries", "0"), "--tries 0: 1 to 20 are expected; choose a number within"),
        (("--most-blank", "2"), "--most-blank 2: a share 0..1 is expected; choose one"),
        (("--catalogue", "no.csv"), "no.csv: no such file; check the path"),
    ],
)
def test_an_impossible_wish_is_one_line(
    tmp_path: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(catalogue(tmp_path, sky.WHOLE), tmp_path / "out", *words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_sizes_are_arcminutes_or_pixels_of_the_survey() -> None:
    assert read_size("150px", "first") == (4.5, 150)
    assert read_size("4.5", "first") == (4.5, 150)
    assert read_size("5", "nvss") == (5.0, 20)
    assert read_size("3", "vlass") == (3.0, 180)


def test_a_missing_extra_is_one_line_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *given: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "astroquery":
            raise ModuleNotFoundError("No module named 'astroquery'", name="astroquery")
        return real(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", without)  # as it is where the extra was not installed
    assert fetch(catalogue(tmp_path, sky.WHOLE), tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == (
        "seti-tune: data fetch: astroquery is not installed; run: pip install 'seti-tune[fetch]'"
    )
