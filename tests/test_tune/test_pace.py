import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seti_model.config import Configuration
from seti_model.data.dataset import SplitData, write_dataset
from seti_model.exported import ExportedModel
from seti_model.network import PixelScale, build_network
from seti_model.pace import INFERENCE_BATCH, MOST_SIDE_BY_SIDE, Pace, in_parallel, measure_pace
from seti_model.runtime import prepare_process
from tune.pace import keep_pace, kept_pace, pace_of

SMALL = {"network.filters_1": 4, "network.filters_2": 4, "network.dense_units": 8}
MEASURED = Pace(32, 1, 1234.5)


@pytest.fixture(scope="module")
def model() -> ExportedModel:
    prepare_process(1)
    configuration = Configuration.from_mapping(SMALL)
    network = build_network(configuration, (16, 16, 1), 3, seed=1, pixels=PixelScale(0.5, 0.2))
    return ExportedModel(
        configuration=configuration,
        shape=(16, 16, 1),
        class_names=("a", "b", "c"),
        data_digest="d" * 64,
        weights_digest="w" * 64,
        architecture_digest=None,
        digest="m" * 64,
        network=network,
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "seti-tune" / "pace"


def test_a_pace_is_measured_once_for_many_images_and_kept(model: ExportedModel, cache: Path) -> None:
    pace, words = pace_of(model, 100_000, cores=1)
    if words == "not measured, as other work keeps the machine busy":
        assert pace == Pace.usual(1)
        assert not cache.exists()
        keep_pace(model, pace := measure_pace(model, 1) or MEASURED, cores=1)
    else:
        assert re.fullmatch(rf"measured in \d+\.\d s, kept in {cache}/[0-9a-f]{{32}}\.json", words)
    [file] = cache.iterdir()
    before = (file.stat().st_ino, file.stat().st_mtime_ns)
    assert pace_of(model, 100_000, cores=1) == (pace, f"as measured before, in {file}")
    assert pace_of(model, 3, cores=1)[0] == pace
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before
    assert pace_of(model, 3, cores=64) == (Pace(INFERENCE_BATCH, MOST_SIDE_BY_SIDE), "not measured for few images")


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-9]),
        lambda file: file.write_text("[]"),
        lambda file: file.write_text(file.read_text().replace('"batch": 32', '"batch": 0')),
        lambda file: file.write_text(file.read_text().replace('"side_by_side": 1', '"side_by_side": 4000')),
        lambda file: file.write_text(json.dumps(json.loads(file.read_text()) | {"of": {"cores": "1"}})),
        lambda file: file.write_text("x" * 100_000),
        lambda file: (file.rename(file.with_suffix(".moved")), file.symlink_to(file.with_suffix(".moved"))),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: (file.unlink(), os.mkfifo(file)),
    ],
    ids=["torn", "list", "batch", "cores", "other", "large", "link", "folder", "pipe"],
)
def test_a_damaged_or_foreign_file_counts_for_nothing(model, cache, damage) -> None:
    keep_pace(model, MEASURED, cores=1)
    [file] = cache.iterdir()
    assert kept_pace(model, 1) == MEASURED
    damage(file)
    assert kept_pace(model, 1) is None
    assert pace_of(model, 3, cores=1) == (Pace.usual(1), "not measured for few images")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_another_user_counts_for_nothing(model: ExportedModel, cache: Path) -> None:
    keep_pace(model, MEASURED, cores=1)
    [file] = cache.iterdir()
    os.chown(file, 12345, -1)
    assert kept_pace(model, 1) is None


def test_where_the_cache_cannot_be_written_that_is_said_and_nothing_else_happens(
    model: ExportedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert re.match(r"not kept: .*/file/seti-tune/pace/.*: cannot be written \(", keep_pace(model, MEASURED, cores=1))
    assert kept_pace(model, 1) is None


def test_what_is_measured_is_one_of_the_ways_tried(model: ExportedModel) -> None:
    found = measure_pace(model, 2)
    assert found is None or (found.batch in (32, 64, 128) and found.side_by_side in (1, 2))
    assert found is None or (found.images_per_s or 0) > 0


def test_what_one_of_several_threads_raises_ends_all() -> None:
    done: list[int] = []

    def work(start: int) -> None:
        if start == 3:
            raise ValueError("the third")
        done.append(start)

    with pytest.raises(ValueError, match="the third"):
        in_parallel(work, range(100_000), 2)
    assert len(done) < 100_000


@pytest.mark.slow
def test_predict_gives_the_same_table_on_any_number_of_threads_and_measures_its_pace_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5000, 64, 128, 1), dtype=np.uint8)
    labels = (np.arange(60) % 4).astype(np.int8)
    splits = {"train": SplitData(images[:40], labels[:40]), "validation": SplitData(images[40:60], labels[40:])}
    write_dataset(tmp_path / "data", splits, ("a", "b", "c", "d"), {})
    settings = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    settings += ["--set", "training.epochs=1", "--set", "prepare.steps=align", "--threads", "1"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def command(*words: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tune.cli.main", *map(str, words)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stderr

    command("train", "--data", tmp_path / "data", "--out", tmp_path / "out", *settings)
    np.savez(tmp_path / "x.npz", x=images[..., 0])
    tables = []
    for more in ([], [], ["--threads", "1"], ["--threads", "3"], ["--batch", "64"]):
        words = ["predict", tmp_path / "out" / "model.keras", tmp_path / "x.npz", "--csv", tmp_path / "p.csv", *more]
        said = command(*words)
        tables.append((tmp_path / "p.csv").read_bytes())
        if more:
            assert "(as asked for)" in said
        elif len(tables) == 2 and (tmp_path / "cache").exists():
            assert "(as measured before, in " in said
        else:
            assert "measured" in said
    assert len(set(tables)) == 1
    with (tmp_path / "p.csv").open() as file:
        assert sum(1 for _ in csv.reader(file)) == 5001
