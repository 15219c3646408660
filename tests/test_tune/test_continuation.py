"""What may differ when a run goes on: a space that only widens, and what that does to the trials so far."""

import importlib.util
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from results.log.reading import read_events
from results.log.recorder import EventLog
from results.log.records import SpaceWidened, StudyResumed
from results.log.state import RunState, fold, load_run
from results.run_folder import LOG_NAME
from results.study import Provenance
from search_spaces.parameters import SpaceError
from search_spaces.space import load_space
from tune.errors import StudyError
from tune.loop.proposer import Proposer
from tune.resume import SeenData, check_continuation, opening_events, recorded_study
from tune.study import Study, load_study

spec = importlib.util.spec_from_file_location("bench", Path(__file__).parent / "test_coordinator.py")
assert spec is not None
assert spec.loader is not None
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)

ADDED = '[parameters.y]\ntype = "float"\nlow = 0.0\nhigh = 1.0\nreason = "Was fixed."\n'


@pytest.fixture
def path(quick_study: Callable[..., Path]) -> Path:
    return quick_study(trials=14, y=0.5)


@pytest.fixture
def run(path: Path, tmp_path: Path) -> Path:
    """A finished run of 14 trials."""
    run = tmp_path / "run"
    bench.Bench(load_study(path), run).run()
    return run


def edit(path: Path, *changes: tuple[str, str]) -> None:
    """Replace texts in the study file or in its space file; an empty one stands for the end of the space file."""
    for old, new in changes:
        for file in (path, path.with_name("line.toml")):
            text = file.read_text()
            if (old == "" and file != path) or (old and old in text):
                file.write_text(text.replace(old, new) if old else text + new)


def make_y_a_parameter(path: Path, *, baseline: float = 0.5) -> None:
    edit(path, ("", ADDED), ("y = 0.5\n", ""), ("x = 0.9\n", f"x = 0.9\ny = {baseline}\n"))


def go_on(path: Path, run: Path, trials: int, crash_after: int | None = None) -> RunState:
    """Continue a run as the driver does: the opening events, then the search."""
    study = load_study(path).with_trials(trials)
    resume(study, run)
    state: RunState = bench.Bench(study, run, crash_after=crash_after).run()
    return state


def resume(study: Study, run: Path) -> None:
    with EventLog(run) as log:
        log.append(*opening_events(study, fold(run), run, data=SeenData(), provenance=Provenance()))


def test_an_equal_space_and_study_continue_without_a_migration(path: Path, run: Path) -> None:
    resume(load_study(path), run)
    assert not [e for e in read_events(run) if isinstance(e, SpaceWidened)]
    assert isinstance(list(read_events(run))[-1], StudyResumed)


def test_a_wider_range_is_logged_before_anything_else_and_used(path: Path, run: Path) -> None:
    before = list(read_events(run))
    edit(path, ("low = 0.0", "low = -1.0"))
    state = go_on(path, run, 40)
    new = list(read_events(run))[len(before) :]
    assert isinstance(new[0], SpaceWidened)
    assert isinstance(new[1], StudyResumed)
    assert new[0].changes == ("'x': low 0.0 -> -1.0",)
    assert new[0].carried == {}
    assert state.space_fingerprint == load_study(path).space.fingerprint
    tried = [t.parameters["x"] for t in state.search_trials()]
    assert all(x >= 0 for x in tried[:14])
    assert any(x < 0 for x in tried[14:])


def test_an_added_parameter_takes_its_value_from_each_old_configuration_and_leaves_fixed(path: Path, run: Path) -> None:
    make_y_a_parameter(path)
    state = go_on(path, run, 30)
    for trial in state.trials.values():
        old = trial.started.trial < 14
        assert trial.parameters == {"x": trial.started.configuration["x"], "y": trial.started.configuration["y"]}
        assert (trial.parameters["y"] == 0.5) == old
    assert state.final_trials()
    assert "y" not in state.study.fixed


def test_tpe_learns_from_the_trials_before_the_widening(path: Path, run: Path) -> None:
    """Without a warning from Optuna, with all parameters; of random proposals 40 % fall within 0.2 of the best."""
    make_y_a_parameter(path)
    study = load_study(path)
    resume(study, run)
    close = 0
    for seed in range(30):
        proposer = Proposer(study.space, sampler="tpe", startup_trials=10, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            proposer.rebuild(fold(run).search_trials())
            proposed = proposer.propose(14)
        study.space.validate(proposed)
        close += abs(float(proposed["x"]) - 0.3) < 0.2
        told = proposer.study.trials[:14]
        assert all(set(t.params) == {"x", "y"} for t in told)
        assert all(t.distributions == told[0].distributions for t in told)
        assert {t.state.name for t in told} == {"COMPLETE", "PRUNED"}
    assert close >= 24


@pytest.mark.parametrize("crash", [1, 7, 20, 33, 60])
def test_a_run_widened_interrupted_and_resumed_ends_like_the_uninterrupted_widened_one(
    path: Path, tmp_path: Path, crash: int
) -> None:
    for name in ("whole", "crashed"):
        bench.Bench(load_study(path), tmp_path / name).run()
    make_y_a_parameter(path)
    whole = go_on(path, tmp_path / "whole", 24)
    with pytest.raises(bench.Crash, match=r"^$"):
        go_on(path, tmp_path / "crashed", 24, crash_after=crash)
    path.unlink()
    study = recorded_study(tmp_path / "crashed")
    assert study.study.trials == 24
    resume(study, tmp_path / "crashed")
    crashed = bench.Bench(study, tmp_path / "crashed").run()
    assert bench.outcome(crashed) == bench.outcome(whole)
    assert sum(isinstance(e, SpaceWidened) for e in read_events(tmp_path / "crashed")) == 1


def test_a_recorded_study_is_the_one_of_the_file_with_the_trials_and_the_space_asked_for(
    path: Path, run: Path, tmp_path: Path
) -> None:
    study = load_study(path)
    (run / "study.toml").write_text(study.source)
    path.unlink()
    assert recorded_study(run) == study
    wider = tmp_path / "wider.toml"
    wider.write_text(path.with_name("line.toml").read_text() + ADDED)
    widened = recorded_study(run, trials=20, space=wider)
    assert (widened.study.trials, widened.study.space) == (20, str(wider))
    assert (widened.space, widened.fixed, widened.baseline) == (load_space(wider), {}, {"x": 0.9, "y": 0.5})
    event = check_continuation(widened, fold(run), run)
    assert event is not None
    assert event.carried["0"] == {"y": 0.5}


def test_a_widening_of_which_only_the_first_line_reached_the_disk_is_finished(path: Path, run: Path) -> None:
    study = load_study(path)
    make_y_a_parameter(path)
    with EventLog(run) as log:
        log.append(opening_events(load_study(path), fold(run), run, data=SeenData(), provenance=Provenance())[0])
    assert recorded_study(run).baseline == {"x": 0.9, "y": 0.5}
    for again in (recorded_study(run), load_study(path)):
        assert check_continuation(again, fold(run), run) is None
    with pytest.raises(StudyError, match=r"parameter 'y': was removed"):
        check_continuation(study, fold(run), run)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("high = 1.0", "high = 0.9", r"run: space 'line', parameter 'x': high was 1\.0, is now 0\.9: a range may only"),
        ("y = 0.5", "y = 0.6", r"\[fixed\] y was 0\.5, is now 0\.6; set it back or choose another folder with --run"),
        ("y = 0.5", "", r"\[fixed\] y was 0\.5, is now None"),
        ("y = 0.5", "y = 0.5\nz = 1", r"\[fixed\] z was None, is now 1"),
        ("x = 0.9", "x = 0.8", r"\[baseline\] x was 0\.9, is now 0\.8"),
        ("seed = 7", "seed = 8", r"\[study\] seed was 7, is now 8"),
    ],
)
def test_any_other_change_is_refused_with_the_reason_and_nothing_is_written(
    path: Path, run: Path, old: str, new: str, message: str
) -> None:
    log = (run / LOG_NAME).read_bytes()
    edit(path, (old, new))
    with pytest.raises(StudyError, match=message) as caught:
        resume(load_study(path), run)
    assert "\n" not in str(caught.value)
    assert (run / LOG_NAME).read_bytes() == log


def test_an_added_parameter_without_a_value_in_old_configurations_is_refused(path: Path, run: Path) -> None:
    edit(path, ("", ADDED.replace("parameters.y", "parameters.z")), ("x = 0.9\n", "x = 0.9\nz = 0.1\n"))
    with pytest.raises(StudyError, match=r"'z': is new, and the configuration of trial 0 has no value for it"):
        check_continuation(load_study(path), fold(run), run)


def test_the_baseline_must_keep_the_value_it_ran_with(path: Path, run: Path) -> None:
    make_y_a_parameter(path, baseline=0.7)
    with pytest.raises(StudyError, match=r"\[baseline\] y was 0\.5, is now 0\.7"):
        check_continuation(load_study(path), fold(run), run)


def test_before_the_first_trial_the_baseline_may_have_any_value_for_what_is_new(path: Path, tmp_path: Path) -> None:
    run = tmp_path / "empty"
    bench.Bench(load_study(path), run).recorder.close()
    make_y_a_parameter(path, baseline=0.7)
    assert check_continuation(load_study(path), fold(run), run) is not None
    state = go_on(path, run, 3)
    assert state.trials[0, None].parameters == {"x": 0.9, "y": 0.7}


def test_a_space_file_that_narrows_is_refused_for_a_recorded_study_too(run: Path, tmp_path: Path) -> None:
    narrow = tmp_path / "narrow.toml"
    narrow.write_text((tmp_path / "line.toml").read_text().replace("high = 1.0", "high = 0.95"))
    study = recorded_study(run, space=tmp_path / "line.toml")
    assert check_continuation(study, fold(run), run) is None
    with pytest.raises(SpaceError, match=r"high was 1\.0, is now 0\.95"):
        recorded_study(run, space=narrow)


def test_the_course_networks_fixed_values_may_become_parameters(tmp_path: Path) -> None:
    """A fixed width of 128 becomes a range that holds it; the course's 1024 need not lie in it any more."""
    file = tmp_path / "study.toml"
    space = tmp_path / "space.toml"
    text = 'name = "s"\ndescription = "d"\n[parameters."training.decay_rate"]\ntype = "float"\nlow = 0.9\nhigh = 1.0\n'
    text += 'reason = "r"\n'
    more = '[parameters."network.dense_units"]\ntype = "int"\nlow = 64\nhigh = 256\nstep = 64\nreason = "r"\n'
    space.write_text(text)
    file.write_text(
        '[study]\nspace = "space.toml"\ntrials = 2\n[data]\nsimulate = "course"\n[fixed]\n"network.dense_units" = 128\n'
    )
    run = tmp_path / "run"
    started = bench.Bench(load_study(file), run)
    started.coordinator.next_task()
    started.recorder.close()
    space.write_text(text + more)
    file.write_text(file.read_text().replace('"network.dense_units" = 128', ""))
    resume(load_study(file), run)
    state = fold(run)
    assert state.trials[0, None].parameters["network.dense_units"] == 128
    assert recorded_study(run).has_baseline
    bench.Bench(recorded_study(run), run).recorder.close()


def test_a_run_of_before_there_was_a_preparation_may_be_widened_by_it(tmp_path: Path) -> None:
    run = tmp_path / "old"
    run.mkdir()
    shutil.copy(Path(__file__).parents[1] / "test_results" / "log_of_version_1.jsonl", run / LOG_NAME)
    wider = tmp_path / "wider.toml"
    wider.write_text(
        (Path(__file__).parents[2] / "search_spaces" / "baseline.toml").read_text()
        + '[parameters."prepare.steps"]\ntype = "categorical"\n'
        'choices = ["", "align"]\nreason = "Added."\n'
    )
    study = recorded_study(run, space=wider)
    widened = check_continuation(study, load_run(run), run)
    assert widened is not None
    assert {number: values["prepare.steps"] for number, values in widened.carried.items()} == {
        str(number): "" for number in range(len(load_run(run).search_trials()))
    }
