"""`seti-tune scan` as a user types it: what is found, what is said, and that nothing is lost or done twice."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from scan_child import MatchedFilter
from scans import TILING, add_line, images_of, powers, write_model, write_sky
from spectra_files import write_fil, write_h5

from results.scan import read_journal
from seti_model.data.kind import ImageKind
from seti_model.data.spectra.filterbank import open_spectra
from seti_model.data.spectra.tiles import read_tiles
from seti_model.data.spectra.voltages import TimeSeries
from tune.cli.main import main
from tune.scan.candidates import Threshold
from tune.scan.scan import Scan, Wanted

CHILD = Path(__file__).parent / "scan_child.py"
WRITTEN = ("candidates.csv", "journal.jsonl")
Line = Callable[..., str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture
def sky(tmp_path: Path) -> Path:
    write_sky(tmp_path / "sky.fil")
    return tmp_path / "sky.fil"


def scan(*words: object) -> int:
    return main(["scan", *map(str, words), "--threads", "1"])


def table(out: Path) -> list[dict[str, str]]:
    with (out / "candidates.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(out: Path) -> Any:
    return json.loads((out / "scan.json").read_text())


def child(out: Path, *files: Path, seconds: float = 0.0) -> list[str]:
    return [sys.executable, str(CHILD), str(out), str(seconds), *map(str, files)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{CHILD.parent}:{CHILD.parent.parent}"}


def test_injected_lines_are_found_with_their_place_their_drift_and_a_picture(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    injected = write_sky(tmp_path / "sky.fil")
    power = np.random.default_rng(8).exponential(1e4, (16, 320)).astype(np.float32)
    add_line(power[:, 64:96], 20, -3, 20.0)
    write_fil(tmp_path / "one.fil", power)
    assert scan(model, tmp_path / "sky.fil", tmp_path / "one.fil", "--out", tmp_path / "out") == 0
    rows = table(tmp_path / "out")
    of_sky = {int(row["tile"]) for row in rows if row["file"].endswith("sky.fil")}
    assert len(injected & of_sky) >= len(injected) - 1, "a line this bright is hardly missed"
    assert len(of_sky - injected) <= 8, "1 % of 137 tiles of noise, whose interval reaches 2.8 %"
    [row] = [row for row in rows if row["file"] == str(tmp_path / "one.fil") and row["tile"] == "2"]
    # Channel 84 at mid time: 1420 MHz less 84 Hz; three channels of -1 Hz down within 15 rows of 0.5 s.
    assert float(row["frequency_mhz"]) == pytest.approx(1420 - 84e-6, abs=0.6e-6)
    assert float(row["drift_hz_per_s"]) == pytest.approx(3 / 7.5, abs=0.08)
    assert (float(row["time_s"]), row["class"]) == (4.0, "line")
    assert float(row["mjd"]) == pytest.approx(60_000 + 4 / 86_400, abs=1e-9)
    assert float(row["low_frequency_mhz"]) < float(row["frequency_mhz"]) < float(row["high_frequency_mhz"])
    with open_spectra(tmp_path / "one.fil") as spectra:
        [batch] = read_tiles(spectra, TILING)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / row["picture"])), batch.images[2, ..., 0])
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == len(rows)
    said = capsys.readouterr().out
    assert f"170 tiles, {len(rows)} candidates, 0 skipped" in said
    assert "keeps up with" in said
    written = summary(tmp_path / "out")
    assert (written["tiles"], written["candidates"]) == (170, len(rows))
    assert written["begun_with"]["model_digest"] == json.loads(model.with_suffix(".json").read_text())["digest"]
    assert written["begun_with"]["tiling"] == TILING.to_mapping()
    session = written["this_session"]
    assert 0 < session["latency_p50_s"] <= session["latency_p99_s"] < session["seconds"]
    page = (tmp_path / "out" / "candidates.html").read_text()
    assert page.count("<figure") == len(rows)
    assert f'src="{row["picture"]}"' in page


def test_the_probabilities_are_those_of_predict_and_the_threshold_that_of_the_report(
    tmp_path: Path, model: Path, sky: Path
) -> None:
    from results.predictions import read_predictions
    from results.stats.detection import signal_scores, threshold_at_rate
    from seti_model.exported import load_model

    assert scan(model, sky, "--out", tmp_path / "out", "--false-alarm", "0.05") == 0
    validation = read_predictions(model.parent / "validation_predictions.parquet")
    threshold = threshold_at_rate(signal_scores(validation.y_prob, 1)[validation.y_true == 1], 0.05)
    assert summary(tmp_path / "out")["begun_with"]["threshold"] == threshold.score
    with open_spectra(sky) as spectra:
        images = np.concatenate([batch.images for batch in read_tiles(spectra, TILING)])
    scores = signal_scores(load_model(model).predict(images), 1)
    assert [int(row["tile"]) for row in table(tmp_path / "out")] == list(np.flatnonzero(scores > threshold.score))


def test_a_finished_scan_does_nothing_again_and_another_one_is_refused(
    tmp_path: Path, model: Path, sky: Path, line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert scan(model, sky, "--out", out) == 0
    before = {name: (out / name).read_bytes() for name in (*WRITTEN, "scan.json")}
    assert scan(model, sky, "--out", out) == 0
    assert "goes on after 160 tiles" in capsys.readouterr().out
    assert {name: (out / name).read_bytes() for name in before} == before
    other = write_model(tmp_path / "other", **{"training.epochs": 1})
    words = ("--threads", "1", "--out", out)
    assert "was begun with another model" in line("scan", other, sky, *words, "--threshold", "0.5")
    assert "was begun with another threshold" in line("scan", model, sky, *words, "--threshold", "0.5")
    assert "was begun with another tiling" in line("scan", model, sky, *words, "--overlap", "0,8")
    assert "was begun with another --batch" in line("scan", model, sky, *words, "--batch", "8")
    write_sky(sky, fch1=1500.0)
    assert "another file than the one that was begun" in line("scan", model, sky, *words)
    shutil.copyfile(sky, tmp_path / "short.fil")
    assert scan(model, tmp_path / "short.fil", "--out", tmp_path / "short") == 0
    write_sky(tmp_path / "short.fil", n_down=4, fch1=1500.0)
    said = line("scan", model, tmp_path / "short.fil", "--threads", "1", "--out", tmp_path / "short")
    assert "has 80 tiles, 160 of it are done already: it became shorter" in said


def test_a_scan_killed_three_times_ends_like_an_undisturbed_one(tmp_path: Path, sky: Path) -> None:
    write_sky(tmp_path / "second.fil", seed=6)
    files = (sky, tmp_path / "second.fil")
    journal = tmp_path / "killed" / "journal.jsonl"
    for blocks in (7, 19, 33):
        started = subprocess.Popen(child(journal.parent, *files, seconds=0.02), env=environment())
        end = time.monotonic() + 60
        while not journal.exists() or journal.read_bytes().count(b"\n") < blocks:
            assert started.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.002)
        started.send_signal(signal.SIGKILL)
        assert started.wait() == -signal.SIGKILL
        with journal.open("ab") as file:
            file.write(b'{"kind":"block","fi')  # as a power cut may leave it
    for out in (journal.parent, tmp_path / "straight"):
        subprocess.run(child(out, *files), env=environment(), check=True, capture_output=True)
    for name in WRITTEN:
        assert (journal.parent / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    killed, straight = (pictures_of(out) for out in (journal.parent, tmp_path / "straight"))
    assert killed == straight
    assert len(killed) > 40
    tiles = [tile for block in blocks_of(journal.parent) for tile in range(block.first, block.first + block.tiles)]
    assert tiles == [*range(160), *range(160)]


def pictures_of(out: Path) -> list[tuple[str, bytes]]:
    return sorted((path.name, path.read_bytes()) for path in (out / "pictures").iterdir())


def blocks_of(out: Path) -> list[Any]:
    return [record for record in read_journal(out) if type(record).__name__ == "ScannedBlock"]


def test_ctrl_c_ends_in_order_and_the_same_command_goes_on(tmp_path: Path, sky: Path) -> None:
    out = tmp_path / "out"
    started = subprocess.Popen(
        child(out, sky, seconds=0.05), env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    while not (out / "journal.jsonl").exists() or len(blocks_of(out)) < 3:
        assert started.poll() is None, started.communicate()
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    said, noted = started.communicate(timeout=30)
    assert started.returncode == 130, noted
    assert "interrupted by SIGINT; the same command goes on" in noted
    assert 3 <= len(blocks_of(out)) < 20
    assert (out / "candidates.html").exists()
    assert summary(out)["tiles"] == 8 * len(blocks_of(out))
    assert "candidates in" in said


def test_damaged_and_empty_blocks_are_skipped_counted_and_named(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    power, _ = powers(40, 9)
    sky = power.reshape(4, 10, 16, 32).transpose(0, 2, 1, 3).reshape(64, 320).copy()
    sky[:16, :32] = np.nan
    sky[16:32, 32:64] = 0
    sky[3, 100] = np.nan
    path = write_h5(tmp_path / "sky.h5", sky, chunks=(16, 1, 64))
    import h5py

    with h5py.File(path) as file:
        chunk = file["data"].id.get_chunk_info_by_coord((32, 0, 128))
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + 12)
        file.write(b"\xff" * 200)
    assert scan(model, path, "--out", tmp_path / "out", "--threshold", "0.5") == 0
    skipped = {tile.tile: tile.why for block in blocks_of(tmp_path / "out") for tile in block.skipped}
    assert sorted(skipped) == [0, 11, 24, 25], "two tiles lie in the damaged chunk"
    assert skipped[0] == "more than half of its values are no numbers"
    assert skipped[11] == "all its values are the same"
    assert "rows 32..47: cannot be read" in skipped[24]
    assert len({int(row["tile"]) for row in table(tmp_path / "out")} & set(range(2, 40, 2))) >= 16, "18 have a line"
    written = summary(tmp_path / "out")
    assert (written["tiles"], written["skipped_tiles"], written["blank_values"]) == (40, 4, 1)
    assert "skipped: " in (said := capsys.readouterr().out)
    assert "2 of tiles 24..25" in said


def test_a_followed_folder_gives_what_arrives_and_what_grows_once(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "incoming", tmp_path / "out"
    folder.mkdir()
    write_sky(tmp_path / "whole.fil")
    whole = (tmp_path / "whole.fil").read_bytes()
    (folder / "a.fil").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("no spectra")
    (folder / ".b.fil.part").write_bytes(whole[:100])

    def arrive() -> None:
        time.sleep(0.7)
        (folder / "b.fil").write_bytes(whole[:100])  # still being written
        time.sleep(0.7)
        with (folder / "a.fil").open("ab") as file:
            file.write(whole[len(whole) // 2 :])
        (folder / "b.fil").write_bytes(whole)

    thread = threading.Thread(target=arrive)
    thread.start()
    assert scan(model, folder, "--follow", "--idle", "2", "--out", out) == 0
    thread.join()
    tiles = [
        (Path(block.file).name, n) for block in blocks_of(out) for n in range(block.first, block.first + block.tiles)
    ]
    assert sorted(tiles) == [(name, n) for name in ("a.fil", "b.fil") for n in range(160)]
    assert scan(model, tmp_path / "whole.fil", "--out", tmp_path / "straight") == 0
    straight = {(row["tile"], row["score"][:6]) for row in table(tmp_path / "straight")}
    for name in ("a.fil", "b.fil"):
        assert {(row["tile"], row["score"][:6]) for row in table(out) if row["file"].endswith(name)} == straight
    (folder / "c.fil").write_bytes(b"no filterbank file")
    os.utime(folder / "c.fil", (1, 1))
    assert scan(model, folder, "--follow", "--idle", "0", "--out", out) == 0
    said = capsys.readouterr()
    assert "goes on after 320 tiles" in said.out
    assert "note: left out: " in said.err
    assert len(tiles) == summary(out)["tiles"]


def test_the_page_of_a_followed_folder_is_there_before_its_end(tmp_path: Path, sky: Path) -> None:
    folder, out = sky.parent / "incoming", tmp_path / "out"
    folder.mkdir()
    shutil.move(sky, folder / "sky.fil")
    wanted = Wanted(
        Path("model.keras"),
        (folder,),
        out,
        background="noise",
        batch=8,
        readers=1,
        follows=True,
        idle_s=3.0,
        page_every_s=0.0,
    )
    seen: list[float] = []

    def look() -> None:
        while not (out / "candidates.html").exists():
            time.sleep(0.02)
        seen.append(time.monotonic())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    scan = Scan(wanted, cast("Any", MatchedFilter(0.0)), Threshold(0.8), tiling=TILING, series=TimeSeries())
    assert scan.run() == 0
    assert seen
    assert time.monotonic() - seen[0] > 0.5
    assert (out / "candidates.html").read_text().count("<figure") == len(table(out)) > 20


def test_samples_on_standard_input_are_classified_and_what_fills_no_tile_is_said(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: Line
) -> None:
    n_fft, rows = 64, 3 * TILING.n_time + 5
    rng = np.random.default_rng(4)
    samples = rng.normal(0, 20, (rows * n_fft, 2))
    tone = slice(
        TILING.n_time * n_fft, 2 * TILING.n_time * n_fft
    )  # in the second row of tiles, a quarter of the band up
    phase = 2 * np.pi * 0.25 * np.arange(tone.stop - tone.start)
    samples[tone] += 20 * np.stack([np.cos(phase), np.sin(phase)], axis=1)
    sent = np.clip(np.rint(samples), -128, 127).astype(np.int8).tobytes()

    def pipe() -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(sent))))

    # A model that does not say how its images came about is told so; this one says 512 samples a row.
    free = write_model(tmp_path / "free", kind=ImageKind())
    options = ("--rule", "log", "--fft", n_fft, "--dtype", "int8", "--sample-rate", 64_000, "--out", tmp_path / "out")
    pipe()
    assert scan(free, "-", *options) == 0
    strong = {int(row["tile"]): row for row in table(tmp_path / "out")}
    assert 3 in strong, "two tiles across; the tone is in the upper one of the second row"
    # 1000 Hz a channel from -32 kHz: the tone at a quarter of the sample rate is 16 kHz up.
    assert float(strong[3]["frequency_mhz"]) == pytest.approx(0.016, abs=0.0006)
    assert float(strong[3]["time_s"]) == pytest.approx(1.5 * TILING.n_time / 1000)
    assert strong[3]["mjd"] == ""
    assert summary(tmp_path / "out")["standard_input"] == {
        "samples": rows * n_fft,
        "dropped_tiles": 0,
        "samples_left_at_the_end": 5 * n_fft,
    }
    assert f"{5 * n_fft} samples at the end fill no tile" in capsys.readouterr().out
    pipe()
    assert "standard input cannot be continued" in line("scan", free, "-", *options, "--threads", "1")
    pipe()
    said = line("scan", free, "-", "--rule", "log", "--out", tmp_path / "none", "--threads", "1")
    assert "standard input says nothing of its samples" in said


def test_a_stated_rate_is_kept_or_the_lag_is_said(
    tmp_path: Path, model: Path, sky: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan(model, sky, "--out", tmp_path / "slow", "--rate", "1") == 0
    assert "keeps up with 1 tiles/s of --rate" in capsys.readouterr().out
    assert scan(model, sky, "--out", tmp_path / "fast", "--rate", "1e7") == 0
    assert "lags behind 1e+07 tiles/s of --rate: " in capsys.readouterr().out
    rate = summary(tmp_path / "fast")["rate"]
    session = summary(tmp_path / "fast")["this_session"]
    assert rate["behind_s"] == pytest.approx(session["seconds"] - 160 / 1e7)
    assert not rate["keeps_up"]


def test_a_network_too_slow_for_a_pipe_drops_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n_fft, rows = 64, 40
    sent = np.random.default_rng(3).integers(-90, 90, rows * TILING.n_time * n_fft * 2, np.int8).tobytes()
    out = tmp_path / "out"
    wanted = Wanted(
        Path("model.keras"), (Path("-"),), out, background="noise", batch=1, readers=1, rate=1.0, drops=True
    )
    series = TimeSeries(n_fft=n_fft, dtype="int8")
    scan = Scan(wanted, cast("Any", MatchedFilter(0.02)), Threshold(0.8), tiling=TILING, series=series)
    assert scan.run(cast("Any", io.BufferedReader(io.BytesIO(sent)))) == 0  # type: ignore[arg-type]
    written = summary(out)
    dropped = written["standard_input"]["dropped_tiles"]
    assert dropped > 0
    assert written["tiles"] + dropped == 2 * rows
    assert not written["rate"]["keeps_up"]
    said = capsys.readouterr().out
    assert f"does not keep up with what arrives: {dropped} tiles dropped" in said
    assert "the network limits" in said


def test_several_threads_make_the_same_pixels_in_the_same_order(tmp_path: Path, model: Path, sky: Path) -> None:
    for readers in (1, 3):
        words = ("--out", tmp_path / str(readers), "--readers", readers, "--batch", 16, "--pictures", 5)
        assert scan(model, sky, *words) == 0
    one, three, side_by_side = (tmp_path / name for name in ("1", "3", "side by side"))
    words = ["scan", model, sky, "--out", side_by_side, "--threads", "3", "--batch", "16", "--pictures", "5"]
    subprocess.run([sys.executable, "-m", "tune.cli.main", *map(str, words)], check=True, capture_output=True)
    for name in WRITTEN:
        assert (one / name).read_bytes() == (three / name).read_bytes() == (side_by_side / name).read_bytes()
    assert summary(one)["pictures"] == len(list((one / "pictures").iterdir())) == 5


def test_what_cannot_be_scanned_is_one_line(tmp_path: Path, model: Path, sky: Path, line: Line) -> None:
    out = ("--out", tmp_path / "out", "--threads", "1")
    folder = tmp_path / "empty"
    folder.mkdir()
    write_fil(tmp_path / "narrow.fil", np.ones((32, 8)))
    (tmp_path / "foreign.fil").write_bytes(b"no filterbank file at all")
    cases = {
        (tmp_path / "absent.fil",): "absent.fil: no such file or folder; check the path",
        (folder,): "empty: holds no file of spectra; name another folder, or add --follow",
        (tmp_path / "narrow.fil",): "narrow.fil: 8 channels, a tile takes 32",
        (tmp_path / "foreign.fil",): "foreign.fil: ",
        (sky, "--follow"): "sky.fil: is no folder to follow",
        ("-", sky): "-: standard input is scanned alone",
        (sky, "--drop-late"): "--drop-late: files wait, only standard input drops",
        (sky, "--idle", 3): "--idle 3: goes with --follow",
        (sky, "--batch", 0): "--batch 0: a number of 1 to 1024 is expected",
        (sky, "--background", "sky"): "--background sky: is none of the model's classes; choose one of line, noise",
        (sky, "--threshold", 1): "--threshold 1: a score of 0 to 1, without 1, is expected",
        (sky, "--false-alarm", 0.0001): "400 noise images cannot set a false-alarm rate of 0.0001",
        (sky, "--false-alarm", 2): "false-alarm rate 2.0: expected a share between 0 and 1",
        (sky, "--tile", "16,16"): "--tile 16,16: the tiles that",
        (sky, "--rule", "course"): "--rule course: the tiles that",
        (sky, "--fft", "64"): "--fft 64: the tiles that",
    }
    for words, message in cases.items():
        assert message in line("scan", model, *words, *out), words
    assert not (tmp_path / "out" / "candidates.csv").exists()


def test_a_model_that_says_too_little_is_one_line(tmp_path: Path, model: Path, sky: Path, line: Line) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("model.keras", "model.json"):
        shutil.copyfile(model.parent / name, alone / name)
    out = ("--out", tmp_path / "out", "--threads", "1")
    assert "is no model of a run whose validation images tell a threshold" in line(
        "scan", alone / "model.keras", sky, *out
    )
    free = write_model(tmp_path / "free", kind=ImageKind(), **{"training.epochs": 1})
    assert "does not say how power became the pixels" in line("scan", free, sky, *out)
    said = line("scan", free, sky, *out, "--rule", "log", "--tile", "16,16")
    assert "takes images of 16,32, tiles would have 16,16; leave --tile out" in said


def test_a_damaged_journal_is_named_with_its_line(tmp_path: Path, model: Path, sky: Path, line: Line) -> None:
    out = tmp_path / "out"
    assert scan(model, sky, "--out", out) == 0
    journal = out / "journal.jsonl"
    whole = journal.read_bytes().splitlines(keepends=True)
    words = ("scan", model, sky, "--out", out, "--threads", "1")
    for lines, message in (
        ([whole[0], b"{}\n", *whole[2:]], "journal.jsonl, line 2: damaged: kind: expected one of begun, file, block"),
        ([whole[0], *whole], "line 2: damaged: the begin of a scan is the first line and no other"),
        ([whole[0].replace(b'"format":1', b'"format":7')], "line 1: damaged: format 7, this seti-tune reads 1"),
        ([*whole[:2], whole[2].replace(b'"tiles":64', b'"tiles":"x"')], "line 3: damaged: tiles: expected an integer"),
    ):
        journal.write_bytes(b"".join(lines))
        assert message in line(*words)
    journal.unlink()
    journal.mkdir()
    assert "cannot be written to" in line(*words)


def test_two_scans_do_not_write_into_one_folder(tmp_path: Path, model: Path, sky: Path, line: Line) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / "journal.jsonl").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another process scans into it; wait for it" in line("scan", model, sky, "--out", out, "--threads", "1")


def test_frames_in_a_pipe_are_rows_of_a_table_as_they_arrive(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from seti_model.exported import load_model

    power, _ = powers(10, 11)
    images = images_of(power)
    for words in ((), ("--csv", tmp_path / "frames.csv")):
        sent = io.BytesIO(images.tobytes() + b"half a frame")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(sent)))  # type: ignore[arg-type]
        assert main(["predict", str(model), "-", "--threads", "1", *map(str, words)]) == 0
        printed = capsys.readouterr()
        assert "12 bytes at the end are no frame of 512: dropped" in printed.err
        assert "10 images, " in printed.err
        text = (tmp_path / "frames.csv").read_text() if words else printed.out
        rows = list(csv.DictReader(text.splitlines()))
        assert [(row["file"], int(row["index"])) for row in rows] == [("standard input", n) for n in range(10)]
        y_prob = load_model(model).predict(images)
        assert [float(row["p_line"]) for row in rows] == pytest.approx(y_prob[:, 0], abs=2e-6)


def test_a_followed_folder_of_pictures_is_continued_where_it_was(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, line: Line
) -> None:
    power, _ = powers(8, 12)
    folder, out = tmp_path / "incoming", tmp_path / "out.csv"
    folder.mkdir()

    def arrive(numbers: range) -> None:
        for n in numbers:
            Image.fromarray(images_of(power)[n, ..., 0]).save(folder / f"{n}.png")

    words = ["predict", str(model), str(folder), "--follow", "--idle", "0.9", "--threads", "1", "--csv", str(out)]
    arrive(range(4))
    (folder / "bad.png").write_bytes(b"no picture")
    os.utime(folder / "bad.png", (1, 1))
    thread = threading.Timer(0.7, arrive, [range(4, 6)])
    thread.start()
    assert main(words) == 0
    thread.join()
    assert capsys.readouterr().err.count("note: left out: ") == 1
    with out.open("a") as file:
        file.write(f"{folder / '6.png'},0,li")  # as a power cut may leave it
    arrive(range(6, 8))
    assert main(words) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    capsys.readouterr()
    assert [Path(row["file"]).name for row in rows] == [f"{n}.png" for n in range(8)]
    assert {row["predicted"] for row in rows[::2]} == {"line"}
    other = write_model(tmp_path / "other", **{"training.epochs": 1})
    assert "holds predictions of another model" in line("predict", other, *words[2:])
    with out.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another process writes it" in line(*words)
    for wrong in (("-", "--follow"), (folder, "--idle", 1), ("-", folder), (folder, "--follow", "--split", "train")):
        assert "predict: - stands alone" in line("predict", model, *wrong)
    assert "is no folder to follow" in line("predict", model, out, "--follow")
    assert "--idle -1: seconds from 0 on" in line("predict", model, folder, "--follow", "--idle", -1)
