"""The shipped spaces hold the baseline, stay within the configuration, and give a reason for everything."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces.space import load_space, shipped_spaces
from seti_model.config import Configuration, field_types


def test_the_spaces_that_are_shipped():
    assert shipped_spaces() == ("baseline", "course", "extended", "quickstart", "solar", "wide")


@pytest.mark.parametrize("name", shipped_spaces())
def test_baseline_is_a_point_of_each_shipped_space(name):
    space = load_space(name)
    assert space.name == name
    space.check_fields(field_types())
    baseline = space.restrict(Configuration().to_mapping())
    assert Configuration.from_mapping(baseline) == Configuration()
    wanted = {"network.filters_1": 32, "network.filters_2": 64, "network.conv_dropout": 0.25}
    wanted |= {"network.dense_dropout": 0.4, "training.learning_rate": 0.005, "training.decay_rate": 0.96}
    assert baseline.items() >= wanted.items()


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_point_of_a_shipped_space_is_a_configuration(name):
    space, rng = load_space(name), random.Random(1)
    for _ in range(200):
        Configuration.from_mapping(space.sample(rng))


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_shipped_parameter_has_a_sentence_as_reason(name):
    for parameter in load_space(name).parameters:
        assert len(parameter.reason.split()) >= 12, parameter.name
        assert parameter.reason.endswith("."), parameter.name
        assert "\n" not in parameter.reason, parameter.name


def test_baseline_space_varies_exactly_what_the_mission_names():
    names = {parameter.name for parameter in load_space("baseline").parameters}
    assert names == {
        "network.filters_1",
        "network.filters_2",
        "network.conv_dropout",
        "network.dense_dropout",
        "training.learning_rate",
        "training.decay_rate",
    }


def test_spaces_need_the_standard_library_only():
    code = (
        "import sys; before = set(sys.modules); import search_spaces.space as s; s.load_space('extended');"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new - sys.stdlib_module_names - {'search_spaces'}))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]"
