"""Searches replayed from recorded curves: the decisions of the search they are from, the clock, regrets, messages."""

import dataclasses
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bench import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from results.errors import RecordError
from results.learning_curves import Curve, Recorded, read_curves, write_curves
from results.log.recorder import Unwritten
from results.log.records import Status
from results.log.state import RunState
from results.study import AshaSection, SearchSection, StudyRecord, StudySection
from search_spaces.space import Space
from tune.cli.main import main
from tune.errors import StudyError
from tune.exits import guarded
from tune.replay.comparison import Asked, replay_seeds, table, variants
from tune.replay.nearest import Nearest
from tune.replay.simulation import Trace, replay, replayed_study
from tune.study import load_study

EPOCHS = 4
SPACE = Space.from_mapping(
    {
        "name": "two",
        "description": "A rate, and a width that one of two kinds has.",
        "parameters": {
            "kind": {"type": "categorical", "choices": ["plain", "wide"], "reason": "r"},
            "width": {"type": "int", "low": 0, "high": 10, "when": {"kind": ["wide"]}, "reason": "r"},
            "rate": {"type": "float", "low": 0.001, "high": 1.0, "log": True, "reason": "r"},
        },
    }
)


def curve(parameters: dict[str, Any], *values: float, seed: int = 1, second: float = 1.0, **more: Any) -> Curve:
    status = Status.COMPLETED if len(values) == EPOCHS else Status.STOPPED
    return Curve(parameters, seed, values, tuple(second for _ in values), **{"status": status, **more})


def plain(rate: float) -> dict[str, Any]:
    return {"kind": "plain", "rate": rate}


def wide(rate: float, width: int) -> dict[str, Any]:
    return {"kind": "wide", "width": width, "rate": rate}


def recorded(*curves: Curve, objective: str = "accuracy", trials: int = 8) -> Recorded:
    section = StudySection(space="two", trials=trials, max_epochs=EPOCHS, objective=objective, trainable="m:f")
    study = StudyRecord(study=section, search=SearchSection(), asha=AshaSection(grace_epochs=1))
    return Recorded(
        study=study, space=SPACE.to_mapping(), fingerprint=SPACE.fingerprint, data_digest="digest", curves=curves
    )


def many(n: int = 30) -> Recorded:
    rng, curves = random.Random(1), []
    for _ in range(n):
        point = SPACE.sample(rng)
        top = 0.9 - 0.1 * abs(math.log10(point["rate"]) + 1.5)
        values = [top * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)]
        curves.append(curve(point, *values, seed=rng.randrange(2**31), second=rng.uniform(0.5, 3)))
    return recorded(*curves)


def decisions(state: RunState) -> list[Any]:
    return [
        (
            trial.started.trial,
            dict(trial.parameters),
            trial.started.seed,
            trial.status,
            [repr(epoch.value) for epoch in trial.epochs.values()],
            [(r.epoch, r.value, r.seen, r.better, r.cutoff, r.decision) for r in trial.rungs.values()],
        )
        for trial in state.search_trials()
    ]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    sampler=st.sampled_from(["tpe", "random"]),
    grace=st.integers(1, 4),
    factor=st.integers(2, 4),
    objective=st.sampled_from(["accuracy", "loss"]),
    nan_below=st.sampled_from([0.0, 0.2]),
)
def test_a_finished_search_replayed_from_its_own_curves_decides_the_very_same(
    quick_study: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, seed: int, sampler: str, grace: int,
    factor: int, objective: str, nan_below: float,
) -> None:  # fmt: skip
    path = quick_study(trials=10, seed=seed, objective=objective, diverges_above=0.93, nan_below=nan_below)
    text = path.read_text().replace("grace_epochs = 1", f"grace_epochs = {grace}\nreduction_factor = {factor}")
    path.write_text(f'{text}\n[search]\nsampler = "{sampler}"\nstartup_trials = 4\n')
    study, run = load_study(path).without_finals(), tmp_path_factory.mktemp("runs") / "run"
    searched = Bench(study, run).run()
    nearest, recorder = Nearest(read_curves([run])), Unwritten()
    same = replayed_study(nearest, search=study.search, asha=study.asha, trials=10, seed=seed)
    replay(nearest, same, recorder=recorder)
    assert decisions(recorder.state) == decisions(searched)


@settings(max_examples=25)
@given(workers=st.integers(1, 12), seed=st.integers(0, 100), grace=st.integers(1, EPOCHS))
def test_simulated_workers_are_never_idle_while_there_is_work(workers: int, seed: int, grace: int) -> None:
    nearest, recorder = Nearest(many()), Unwritten()
    asha, search = AshaSection(grace_epochs=grace, reduction_factor=2), SearchSection(sampler="random")
    study = replayed_study(nearest, search=search, asha=asha, trials=20, seed=seed)
    trace = replay(nearest, study, workers=workers, recorder=recorder)
    taken = [trial.seconds for trial in recorder.state.search_trials()]
    assert trace.trials == len(taken) == 20
    assert trace.epochs == sum(len(trial.epochs) for trial in recorder.state.search_trials())
    if workers == 1:
        assert trace.seconds == pytest.approx(sum(taken))
    assert trace.seconds >= max(sum(taken) / workers, max(taken)) - 1e-9
    assert trace.seconds <= sum(taken) / workers + max(taken) + 1e-9, "Graham's bound of list scheduling"


def test_as_many_workers_as_trials_take_as_long_as_the_longest_trial() -> None:
    nearest = Nearest(recorded(curve(plain(0.1), 0.1, 0.2, 0.3, 0.4), curve(plain(0.2), 0.5, 0.5, 0.5, 0.5, second=3)))
    study = replayed_study(
        nearest, search=SearchSection(sampler="random"), asha=AshaSection(grace_epochs=EPOCHS), trials=9, seed=3
    )
    assert replay(nearest, study, workers=9).seconds == 12.0


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (plain(0.1), 0),  # recorded itself
        (plain(0.04), 0),  # by 0.40 of three decades, from the next one by 0.60
        (plain(0.02), 1),
        (wide(0.1, 6), 2),  # widths 6 and 10: 0.4 of the range; kind and width of the others count 1 each
        (wide(0.1, 3), 3),
        (wide(1.0, 5), 2),  # as near to 10 as to 0 in width: the first that was recorded
    ],
)
def test_the_nearest_configuration_is_the_one_of_the_stated_rule(asked: dict[str, Any], found: int) -> None:
    values = (0.1, 0.2, 0.3, 0.4)
    points = (plain(0.1), plain(0.01), wide(0.1, 10), wide(0.1, 0))
    nearest = Nearest(recorded(*(curve(point, *values) for point in points)))
    assert nearest.configuration(asked) == found


def test_a_training_is_stood_for_by_the_same_seed_else_by_whole_curves_before_cut_ones() -> None:
    whole = [curve(plain(0.1), 0.1, 0.2, 0.3, 0.4, seed=seed) for seed in (11, 12)]
    cut = curve(plain(0.1), 0.1, seed=13)
    nearest = Nearest(recorded(cut, *whole))
    assert [nearest.curve(0, seed).seed for seed in (11, 12, 13)] == [11, 12, 13]
    assert {nearest.curve(0, seed).seed for seed in range(20, 30)} == {11, 12}


def test_a_trial_ends_where_its_cut_curve_does_and_the_share_is_stated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nearest, recorder = (
        Nearest(recorded(curve(plain(0.9), 0.1, 0.2, 0.3, 0.4), curve(plain(0.002), 0.5, 0.6))),
        Unwritten(),
    )
    asha, search = AshaSection(grace_epochs=EPOCHS), SearchSection(sampler="random")
    trace = replay(nearest, replayed_study(nearest, search=search, asha=asha, trials=20, seed=1), recorder=recorder)
    cut = [trial for trial in recorder.state.search_trials() if trial.status == Status.STOPPED]
    assert {len(trial.epochs) for trial in cut} == {2}
    assert {trial.ended and trial.ended.reason for trial in cut} == {"its recorded curve ends after epoch 2"}
    assert 0 < trace.beyond == len(cut) < 20
    write_curves(tmp_path / "cut.parquet", nearest.recorded)
    assert main(["replay", str(tmp_path / "cut.parquet"), "--seeds", "2", "--scheduler", "none"]) == 0
    said = capsys.readouterr().out
    assert (
        "2 curves of 2 configurations, at most 4 epochs; 50% were cut by a stop and are used as far as they go" in said
    )
    assert "of the trials ended where their recorded curve does" in said


@pytest.mark.parametrize(("objective", "best"), [("accuracy", 0.7), ("loss", 0.15)])
def test_regret_is_measured_from_the_best_mean_over_seeds(objective: str, best: float) -> None:
    curves = (
        curve(plain(0.9), 0.2, 0.9, 0.3, 0.4, seed=1),
        curve(plain(0.9), 0.2, 0.1, 0.3, 0.5, seed=2),  # mean of the best epochs: 0.7, lowest 0.15
        curve(plain(0.01), 0.6, 0.6, 0.6, 0.6),
    )
    nearest = Nearest(recorded(*curves, objective=objective))
    assert nearest.objective.merit(nearest.best) == pytest.approx(best)
    worse, far = nearest.configuration(plain(0.01)), abs(best - 0.6)
    assert nearest.regret(worse) == pytest.approx(far)
    assert nearest.regret(nearest.configuration(plain(0.9))) == 0
    assert nearest.regret(None) == pytest.approx(far / 2)
    assert nearest.doubt == pytest.approx(far)


def test_a_trace_is_a_staircase_of_what_would_be_delivered() -> None:
    trace = Trace(epochs=10, seconds=20, steps=[(2, 8.0, 0.3), (6, 16.0, 0.1)])
    assert [trace.at("epochs", place, 0.5) for place in (0, 1.9, 2, 5.9, 6, 100)] == [0.5, 0.5, 0.3, 0.3, 0.1, 0.1]
    assert [trace.at("seconds", place, 0.5) for place in (7.9, 8, 16)] == [0.5, 0.3, 0.1]
    assert trace.average("epochs", 10, 0.5) == pytest.approx((2 * 0.5 + 4 * 0.3 + 4 * 0.1) / 10)
    assert trace.average("epochs", 4, 0.5) == pytest.approx((2 * 0.5 + 2 * 0.3) / 4)
    assert Trace().average("seconds", 4, 0.5) == 0.5


def test_values_of_an_option_are_compared_with_the_first_paired_by_seed() -> None:
    nearest, asked = Nearest(many()), Asked(sampler=("random",), workers=(1, 4), trials=12, seeds=12)
    one, four = (replay_seeds(nearest, variant, asked) for variant in variants(nearest, asked))
    assert [trace.epochs > 12 for trace in one.traces] == [True] * 12
    _, rows = table(nearest, [one, four], "seconds")
    assert [row.name for row in rows] == ["workers 1", "workers 4", "workers 4 - workers 1"]
    assert rows[2].average.value == pytest.approx(rows[1].average.value - rows[0].average.value)
    assert rows[2].average.high < 0, "four workers have less regret on average over the same time"
    assert all(row.regrets[0].low >= 0 for row in rows[:2])


def test_a_search_is_left_after_as_many_epochs_as_asked() -> None:
    nearest = Nearest(many())
    asked = Asked(sampler=("random",), grace=(1, 2), epochs=40, seeds=3)
    for variant in variants(nearest, asked):
        assert {trace.epochs for trace in replay_seeds(nearest, variant, asked).traces} == {40}


def test_runs_are_replayed_as_the_file_that_they_were_saved_to(
    quick_study: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (7, 8):
        Bench(load_study(quick_study(trials=8, seed=seed)), tmp_path / f"run{seed}", epoch_seconds=2.0).run()
    runs, file = [str(tmp_path / f"run{seed}") for seed in (7, 8)], str(tmp_path / "curves.parquet")
    options = ["--grace", "1", "4", "--trials", "8", "--seeds", "3", "--sampler", "random"]
    assert main(["replay", *runs, *options]) == 0
    said = capsys.readouterr().out
    assert "grace 4 - grace 1" in said
    assert "mean over 3 seeds (95 % interval); differences are paired by seed" in said
    assert main(["replay", *runs, "--save", file]) == 0
    assert f"written to {file}" in capsys.readouterr().out
    assert main(["replay", file, *options]) == 0
    assert capsys.readouterr().out == said
    assert str(tmp_path) not in str(parquet.read_schema(file).metadata), "the file tells where the study was"
    recorded = read_curves(map(Path, runs))
    saved = read_curves([Path(file)])
    assert saved.curves == recorded.curves
    assert any(curve.is_baseline for curve in saved.curves)


def test_a_log_that_lost_a_line_is_doubted_at_the_top_also_in_a_file_of_its_curves(
    quick_study: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = tmp_path / "run", tmp_path / "curves.parquet"
    Bench(load_study(quick_study(trials=5)), run).run()
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    lost = next(n for n, line in enumerate(lines) if '"kind":"epoch"' in line.replace(" ", ""))
    (run / "events.jsonl").write_text("".join(lines[:lost] + lines[lost + 1 :]))
    assert main(["replay", str(run), "--save", str(file)]) == 0
    capsys.readouterr()
    for source in (run, file):
        assert main(["replay", str(source), "--seeds", "2", "--trials", "3"]) == 0
        assert capsys.readouterr().out.startswith(f"warning: run: line {lost + 1}")


def test_retrainings_of_finals_are_further_seeds_of_their_configuration(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    state = Bench(load_study(quick_study(trials=6)), tmp_path / "run").run()
    nearest = Nearest(read_curves([tmp_path / "run"]))
    best = state.ranked(1)[0]
    assert len(nearest.curves[nearest.configuration(best.parameters)]) == 1 + 3


def replace_section(found: Recorded, **values: Any) -> Recorded:
    study = dataclasses.replace(found.study, study=dataclasses.replace(found.study.study, **values))
    return dataclasses.replace(found, study=study)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda one: dataclasses.replace(one, fingerprint="x"), "has another space than"),
        (lambda one: dataclasses.replace(one, data_digest="x"), "has another data set than"),
        (
            lambda one: replace_section(one, objective="auc"),
            r"\[study\] objective is auc and not accuracy, another than",
        ),
        (
            lambda one: dataclasses.replace(one, study=dataclasses.replace(one.study, fixed={"a": 1})),
            r"\[fixed\] a is 1 and not None, another than",
        ),
    ],
)
def test_runs_of_two_searches_are_not_mixed(
    other: Callable[[Recorded], Recorded], message: str, tmp_path: Path
) -> None:
    one = recorded(curve(plain(0.1), 0.1, 0.2, 0.3, 0.4))
    write_curves(tmp_path / "a.parquet", one)
    write_curves(tmp_path / "b.parquet", other(one))
    with pytest.raises(RecordError, match=rf"b\.parquet: {message} .*a\.parquet; replay runs of one search together"):
        read_curves([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert len(read_curves([tmp_path / "a.parquet", tmp_path / "a.parquet"]).curves) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grace", "0"], "--grace 0: 1 to 10000 are expected; choose a number within"),
        (["--factor", "1"], "--factor 1: 2 to 10000 are expected; choose a number within"),
        (["--workers", "0"], "--workers 0: 1 to 10000 are expected; choose a number within"),
        (["--seeds", "1"], "--seeds 1: 2 to 1000 are expected; choose a number within"),
        (["--trials", "0"], "--trials 0: 1 to 100000 are expected; choose a number within"),
        (["--epochs", "0"], "--epochs 0: 1 to 100000 are expected; choose a number within"),
        (
            ["--epochs", "9", "--trials", "9"],
            "--epochs 9: says when a search ends, as --trials does; leave one of them out",
        ),
        (
            ["--grace", "1", "2", "3", "4", "--factor", "2", "3", "--workers", "1", "2"],
            "replay: 16 combinations of options, at most 12 are compared; name fewer",
        ),
        (["--save", "{file}"], "exists and may be part of a run, a data set or a model; name another file"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.parquet"
    write_curves(file, recorded(curve(plain(0.1), 0.1, 0.2, 0.3, 0.4)))
    assert main(["replay", str(file), *(option.format(file=file) for option in options)]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1


def row(**values: Any) -> dict[str, Any]:
    usual = {"parameters": '{"kind": "plain", "rate": 0.1}', "seed": 1, "status": "completed", "is_baseline": False}
    return {**usual, "values": [0.1] * EPOCHS, "seconds": [1.0] * EPOCHS, **values}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seconds": [1.0]}, "is no file of curves (4 values and 1 seconds of 4 epochs); write one with"),
        ({"values": [0.1] * 5, "seconds": [1.0] * 5}, "is no file of curves (5 values and 5 seconds of 4 epochs)"),
        ({"seconds": [-1.0] * EPOCHS}, "is no file of curves (seconds that are no time)"),
        ({"values": [0.1], "seconds": [1.0]}, "is no file of curves (1 of 4 epochs in a completed trial)"),
        ({"status": "failed"}, "is no file of curves (a curve of 4 epochs of a trial that is failed)"),
        ({"status": "stopped", "values": [], "seconds": []}, "(a curve of 0 epochs of a trial that is stopped)"),
        ({"status": "happy"}, "is no file of curves (status: "),
        ({"parameters": "{"}, "is no file of curves (not JSON"),
        ({"parameters": '{"kind": "plain", "rate": 7.0}'}, "curves that are no points of their space: "),
        ({"values": [math.nan] * EPOCHS}, "no recorded configuration was trained to the end; name a run with"),
    ],
)
def test_a_file_of_curves_that_holds_something_else_is_one_line(
    changed: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.parquet"
    write_curves(file, recorded(curve(plain(0.1), 0.1, 0.2, 0.3, 0.4)))
    metadata = parquet.read_schema(file).metadata
    parquet.write_table(pa.Table.from_pylist([row(**changed)]).replace_schema_metadata(metadata), file)
    assert main(["replay", str(file)]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no file of curves (Parquet file size is 0 bytes); write one with `seti-tune replay RUN --save FILE`"),
        (b"PAR1" * 9, "is no file of curves ("),
        (None, "nowhere: no run folder"),
    ],
)
def test_what_is_no_file_of_curves_is_one_line(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "nowhere"
    if content is not None:
        file.write_bytes(content)
    assert main(["replay", str(file)]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1


def test_a_file_of_other_columns_or_too_large_a_one_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.parquet"
    parquet.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(RecordError, match=r"c\.parquet: is no file of curves \(b'seti-tune\.curves'\); write one with"):
        read_curves([file])
    file.unlink()
    write_curves(file, many(3))
    monkeypatch.setattr("results.learning_curves._MOST_CELLS", 10)
    with pytest.raises(
        RecordError, match=r"c\.parquet: \d+ values, at most 10 are read; keep fewer curves in one file"
    ):
        read_curves([file])
    monkeypatch.setattr("results.learning_curves.MOST_BYTES", 10)
    with pytest.raises(RecordError, match=r"c\.parquet: \d+ bytes, at most 10 are read; keep fewer curves in one file"):
        read_curves([file])
    with pytest.raises(RecordError, match="nothing to replay; name a run folder or a file of curves"):
        read_curves([])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), byte=st.integers(0, 255))
def test_a_damaged_file_of_curves_is_read_or_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: float, byte: int
) -> None:
    file = tmp_path / "whole.parquet"
    if not file.exists():
        write_curves(file, many(5))
    content = bytearray(file.read_bytes())
    content[min(int(place * len(content)), len(content) - 1)] = byte
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(content)
    assert guarded(lambda: Nearest(read_curves([damaged])) and 0) in (0, 2)
    assert len(capsys.readouterr().err.splitlines()) <= 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("given", "run: trains one given configuration; name the run of a search"),
        ("begun", "run: no trial has an epoch yet; wait for one"),
    ],
)
def test_a_run_without_curves_is_refused(
    kind: str, message: str, quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    bench = Bench(load_study(quick_study()), tmp_path / "run")
    bench.recorder.close()
    if kind == "given":
        log = tmp_path / "run" / "events.jsonl"
        text = log.read_text()
        start, end = (
            text.index('"space":{"name"'),
            text.index('"data_digest"' if '"data_digest"' in text else '"provenance"'),
        )
        log.write_text(text[:start] + text[end:])
    with pytest.raises(RecordError, match=message):
        read_curves([tmp_path / "run"])


def test_too_many_combinations_are_refused_from_python_too() -> None:
    with pytest.raises(StudyError, match="16 combinations of options, at most 12 are compared; name fewer"):
        variants(Nearest(many(3)), Asked(grace=(1, 2, 3, 4), factor=(2, 3), workers=(1, 2)))
