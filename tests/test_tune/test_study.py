import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from results.schema import read, read_json, to_json
from results.study import StudyRecord
from search_spaces.parameters import SpaceError
from search_spaces.space import Space
from seti_model.config import Configuration
from seti_model.errors import ConfigError
from tune.errors import StudyError
from tune.study import Study, load_study, shipped_studies

GOOD = '[study]\nspace = "baseline"\n[data]\nsimulate = "course"\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_space_and_data_are_all_a_study_needs(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, GOOD))
    assert (study.study.name, study.study.trials, study.study.max_epochs) == ("mine", 40, 12)
    assert (study.asha.grace_epochs, study.asha.reduction_factor) == (4, 3)
    assert (study.search.sampler, study.search.startup_trials) == ("tpe", 10)
    assert study.finals.enabled
    assert (study.resources.cpus_per_trial, study.resources.gpus_per_trial) == (1, 0)


@pytest.mark.parametrize("name", shipped_studies())
def test_shipped_studies_load_and_hold_the_baseline(name: str) -> None:
    study = load_study(name)
    assert study.study.name == name
    baseline = study.baseline_parameters()
    assert baseline is not None
    configuration = Configuration.from_mapping(study.configuration(baseline))
    assert (configuration.network.filters_1, configuration.network.filters_2) == (32, 64)
    assert configuration.training.learning_rate == 0.005
    assert configuration.training.epochs == study.study.max_epochs


def test_fixed_values_hold_for_every_trial_and_for_the_baseline(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, GOOD + '[fixed]\n"network.dense_units" = 128\n'))
    assert study.configuration({"network.filters_1": 16})["network.dense_units"] == 128
    assert study.configuration(study.baseline_parameters() or {})["network.dense_units"] == 128


def test_a_space_file_is_looked_for_beside_the_study(quick_study: Callable[..., Path]) -> None:
    assert load_study(quick_study()).space.name == "line"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[study", StudyError, "invalid TOML"),
        ("[data]\npath = 'x'\n", StudyError, r"\[study\] has no space; add e\.g\. space = \"baseline\""),
        (GOOD + "[export]\n", StudyError, r"\[export\] is no section any more; .* `seti-tune export RUN --optuna`"),
        (GOOD + "[extra]\n", StudyError, r"unknown section \[extra\]; known: study, search"),
        (GOOD + "[asha]\ngrace = 1\n", StudyError, r"\[asha\] grace: unknown; known are grace_epochs"),
        (GOOD + "[asha]\ngrace_epochs = 1.5\n", StudyError, r"\[asha\] grace_epochs: expected an integer, found 1\.5"),
        (GOOD + "[asha]\ngrace_epochs = true\n", StudyError, "grace_epochs: expected an integer, found true"),
        ("study = 3\n", StudyError, r"study: expected a section \[study\], found 3"),
        ("fixed = 3\n" + GOOD, StudyError, r"fixed: expected a section \[fixed\], found 3"),
        (GOOD + "[fixed]\ntraining.batch_size = 3\n", StudyError, r"'training': expected a single value, .*; quote"),
        ("asha = 3\n" + GOOD, StudyError, r"asha: expected a section \[asha\], found 3"),
        (GOOD + "[asha]\nreduction_factor = 1\n", StudyError, "reduction_factor: expected at least 2, found 1"),
        (GOOD + "[finals]\nseeds = 0\n", StudyError, r"\[finals\] seeds: expected at least 1, found 0"),
        (GOOD + "[finals]\nfinalists = 7\n", StudyError, r"max_finalists: expected at least finalists = 7, found 6"),
        (GOOD + "[asha]\nexempt_fraction = -1\n", StudyError, "exempt_fraction: expected at least 0, found -1"),
        (GOOD + "[asha]\nexempt_fraction = 5\n", StudyError, "exempt_fraction: expected at most 1, found 5"),
        (GOOD.replace("[data]", "max_retries = -1\n[data]"), StudyError, "max_retries: expected at least 0, found -1"),
        (GOOD.replace("[data]", "trials = 0\n[data]"), StudyError, "trials: expected at least 1, found 0"),
        (GOOD.replace("[data]", "time_limit_h = nan\n[data]"), StudyError, "expected at least 0, found NaN"),
        (GOOD.replace("[data]", "time_limit_h = inf\n[data]"), StudyError, "expected at most .*, found Inf"),
        (GOOD.replace("[data]", "time_limit_h = 1979-05-27\n[data]"), StudyError, "expected a number or null, found"),
        (GOOD + '[search]\nsampler = "magic"\n', StudyError, 'sampler: expected one of tpe, random, found "magic"'),
        (GOOD.replace("[data]", 'name = "a/b"\n[data]'), StudyError, "'a/b' names a folder; leave out the slashes"),
        (GOOD.replace("[data]", 'trainable = "x"\n[data]'), StudyError, 'expected "module:function", found .x'),
        (GOOD + 'path = "d"\n', StudyError, r"\[data\] has both path and simulate; keep one"),
        (GOOD + "simulate_beside = 4\n", StudyError, "simulate_beside: expected both path and simulate"),
        (GOOD + 'path = "d"\nsimulate_beside = 4\nfresh = true\n', StudyError, "fresh: expected simulate and no path"),
        (GOOD.replace('simulate = "course"', 'path = "d"\nfresh = true'), StudyError, "fresh: expected simulate"),
        ('[study]\nspace = "baseline"\n', StudyError, r"\[data\] is missing; add path"),
        (GOOD + "train = 0\n", StudyError, r"\[data\] train: expected at least 1, found 0"),
        (
            GOOD + '[fixed]\n"network.filters_1" = 8\n',
            StudyError,
            r"\[fixed\] 'network\.filters_1' also varies in space 'baseline'; remove it from one of them",
        ),
        (GOOD + "[baseline]\nx = 1\n", SpaceError, r"\[baseline\]: space 'baseline': 'x' is no parameter of it"),
        (GOOD + '[baseline]\n"network.filters_1" = 7\n', SpaceError, r"\[baseline\]: .*'network\.filters_1': 7 is"),
        (GOOD + '[[start]]\n"network.filters_1" = 7\n', SpaceError, r"\[\[start\]\] 1: .*'network\.filters_1': 7 is"),
        (GOOD + "[[start]]\n[[start]]\nx = 1\n", SpaceError, r"\[\[start\]\] 2: space 'baseline': 'x' is no parameter"),
        (GOOD + "[start]\nx = 1\n", StudyError, r"start: expected tables \[\[start\]\], .*; double the brackets"),
        (GOOD + "[[start]]\nx.y = 1\n", StudyError, r"\[\[start\]\] 1: 'x': expected a single value, .*; quote names"),
        (GOOD + "[[start]]\n", StudyError, r"\[\[start\]\] 1 is the same point .* as the baseline; remove it"),
        (
            GOOD + 2 * '[[start]]\n"network.filters_1" = 16\n',
            StudyError,
            r"\[\[start\]\] 2 is the same point of the space as \[\[start\]\] 1; remove it",
        ),
        (GOOD + '[fixed]\n"training.epochs" = 3\n', StudyError, "'training.epochs' is set by .* max_epochs; remove it"),
        (GOOD + '[fixed]\n"network.size" = 3\n', ConfigError, "'network.size' is no field of the configuration"),
        (GOOD + '[fixed]\n"network.kernel" = 3.5\n', ConfigError, r"kernel: 3\.5 is of type float, expected int"),
        ('[study]\nspace = "no"\n[data]\npath = "d"\n', SpaceError, "space 'no' is unknown; shipped: baseline"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_next_step(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        load_study(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_lists_the_shipped_studies(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no\.toml: cannot be read .*one of: challenge, course, quickstart, .*wide"):
        load_study(tmp_path / "no.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="byte 0 is not UTF-8; save the file as UTF-8"):
        load_study(path)


def test_a_parameter_that_is_no_field_of_the_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(
        'name="s"\ndescription="d"\n[parameters."network.filter_1"]\ntype="int"\nlow=1\nhigh=2\nreason="r"\n'
    )
    path = write(tmp_path, '[study]\nspace = "space.toml"\n[data]\nsimulate = "course"\n')
    with pytest.raises(SpaceError, match=r"'network\.filter_1'.*did you mean 'network\.filters_1'"):
        load_study(path)


def test_the_baseline_of_another_trainable_must_lie_in_the_space(quick_study: Callable[..., Path]) -> None:
    path = quick_study()
    path.write_text(path.read_text().replace("x = 0.9", "x = 9.0"))
    with pytest.raises(SpaceError, match=r"'x'.*9\.0"):
        load_study(path)


def test_fewer_than_one_trial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="--trials 0: 1 to 1000000 are expected"):
        load_study(write(tmp_path, GOOD)).with_trials(0)


def through_the_log(study: Study) -> Study:
    record, space = read_json(to_json(study.record()), StudyRecord), json.loads(json.dumps(study.space.to_mapping()))
    return Study.from_record(record, Space.from_mapping(space), place=Path("run"), source=study.source)


@pytest.mark.parametrize("name", shipped_studies())
def test_a_shipped_study_comes_back_from_its_record(name: str) -> None:
    study = load_study(name)
    assert through_the_log(study) == study


def test_a_study_of_another_trainable_comes_back_from_its_record(quick_study: Callable[..., Path]) -> None:
    study = load_study(quick_study(sleep=0.5, extra="[resources]\nmax_concurrent = 2\n"))
    assert through_the_log(study) == study
    assert study.home.is_absolute()


def test_a_record_is_checked_as_a_file_is(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, GOOD))
    record = dataclasses.replace(study.record(), fixed={"network.filters_1": 8})
    with pytest.raises(StudyError, match=r"run: \[fixed\] 'network\.filters_1' also varies in space"):
        Study.from_record(record, study.space, place=Path("run"))


def test_a_record_without_its_folder_names_the_command_that_continues(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, GOOD))
    record = dataclasses.replace(study.record(), folder=None)
    with pytest.raises(StudyError, match=r"run: does not say where its study file was.*`seti-tune search STUDY`"):
        Study.from_record(record, study.space, place=Path("run"))


def test_a_record_that_still_has_the_section_export_is_read_without_it(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, GOOD))
    mapping = json.loads(to_json(study.record())) | {"export": {"optuna_journal": True}}
    record = read(mapping, StudyRecord)
    assert Study.from_record(record, study.space, place=Path("run")) == dataclasses.replace(study, source="")


def test_data_can_be_given_a_new_place_unless_it_is_simulated(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, GOOD))
    with pytest.raises(StudyError, match=r"--data moved: the study simulates its data set into the run folder; leave"):
        study.with_data(Path("moved"))
    there = dataclasses.replace(study, data=dataclasses.replace(study.data, simulate=None, path="data"))
    assert there.with_data(tmp_path / "moved").dataset_path(tmp_path) == tmp_path / "moved"
    none = dataclasses.replace(study, data=dataclasses.replace(study.data, simulate=None))
    with pytest.raises(StudyError, match="--data moved: the study has no data set; leave --data out"):
        none.with_data(Path("moved"))
