import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

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
        (GOOD + "[asha]\ngrace = 1\n", StudyError, r"\[asha\] has an unknown key 'grace'; known: grace_epochs"),
        (GOOD + "[asha]\ngrace_epochs = 1.5\n", StudyError, r"grace_epochs = 1\.5 is of type float, expected int"),
        (GOOD + "[asha]\ngrace_epochs = true\n", StudyError, "grace_epochs = True is of type bool, expected int"),
        ("study = 3\n", StudyError, r"\[study\] has no space"),
        ("fixed = 3\n" + GOOD, StudyError, r"fixed is 3; a section \[fixed\] is expected"),
        (GOOD + "[fixed]\ntraining.batch_size = 3\n", StudyError, r"'training' = .* is no single value; quote names"),
        ("asha = 3\n" + GOOD, StudyError, r"asha is 3; a section \[asha\] is expected"),
        (GOOD + "[asha]\nreduction_factor = 1\n", StudyError, "reduction_factor = 1: at least 2 is expected"),
        (GOOD + "[finals]\nseeds = 0\n", StudyError, r"\[finals\] seeds = 0: at least 1 is expected"),
        (GOOD + "[finals]\nfinalists = 7\n", StudyError, "max_finalists = 6: at least 7 is expected"),
        (GOOD + "[asha]\nexempt_fraction = -1\n", StudyError, r"exempt_fraction = -1\.0: at least 0 is expected"),
        (GOOD + "[asha]\nexempt_fraction = 5\n", StudyError, r"exempt_fraction = 5\.0: a fraction .*, at most 1"),
        (GOOD.replace("[data]", "max_retries = -1\n[data]"), StudyError, "max_retries = -1: at least 0 is expected"),
        (GOOD.replace("[data]", "trials = 0\n[data]"), StudyError, "trials = 0: at least 1 is expected"),
        (GOOD + '[search]\nsampler = "magic"\n', StudyError, "sampler = 'magic' is unknown; choose"),
        (GOOD.replace("[data]", 'name = "a/b"\n[data]'), StudyError, "'a/b' names a folder; leave out the slashes"),
        (GOOD.replace("[data]", 'trainable = "x"\n[data]'), StudyError, "'x'; \"module:function\" is expected"),
        (GOOD + 'path = "d"\n', StudyError, r"\[data\] has both path and simulate; keep one"),
        ('[study]\nspace = "baseline"\n', StudyError, r"\[data\] is missing; add path"),
        (GOOD + "train = 0\n", StudyError, "train, validation and test must each be at least 1"),
        (
            GOOD + '[fixed]\n"network.filters_1" = 8\n',
            StudyError,
            r"\[fixed\] 'network\.filters_1' also varies in space 'baseline'; remove it from one of them",
        ),
        (GOOD + "[baseline]\nx = 1\n", StudyError, r"\[baseline\] belongs to studies with a trainable of their own"),
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
    with pytest.raises(StudyError, match=r"no\.toml: cannot be read .*or one of: course, quickstart, wide"):
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
    with pytest.raises(StudyError, match="--trials 0: at least 1 is expected"):
        load_study(write(tmp_path, GOOD)).with_trials(0)


def through_the_log(study: Study) -> Study:
    record, space = json.loads(json.dumps([study.to_mapping(), study.space.to_mapping()]))
    return Study.from_record(record, Space.from_mapping(space), place=Path("run"), source=study.source)


@pytest.mark.parametrize("name", shipped_studies())
def test_a_shipped_study_comes_back_from_its_record(name: str) -> None:
    study = load_study(name)
    assert through_the_log(study) == study


def test_a_study_of_another_trainable_comes_back_from_its_record(quick_study: Callable[..., Path]) -> None:
    study = load_study(quick_study(sleep=0.5, extra="[resources]\nmax_concurrent = 2\n"))
    assert through_the_log(study) == study
    assert study.folder.is_absolute()


def test_a_record_is_checked_as_a_file_is(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, GOOD))
    record = study.to_mapping()
    record["study"]["trials"] = 0
    with pytest.raises(StudyError, match=r"run: \[study\] trials = 0: at least 1 is expected"):
        Study.from_record(record, study.space, place=Path("run"))
    with pytest.raises(StudyError, match=r"run: \[fixed\] 'network\.filters_1' also varies in space"):
        Study.from_record(study.to_mapping() | {"fixed": {"network.filters_1": 8}}, study.space, place=Path("run"))


def test_a_record_without_its_folder_names_the_command_that_continues(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, GOOD))
    record = {key: value for key, value in study.to_mapping().items() if key != "folder"}
    with pytest.raises(StudyError, match=r"run: does not say where its study file was.*`seti-tune search STUDY`"):
        Study.from_record(record, study.space, place=Path("run"))


def test_a_record_that_still_has_the_section_export_is_read_without_it(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, GOOD))
    record = study.to_mapping() | {"export": {"optuna_journal": True}}
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
