import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seti_model.config import Configuration, NetworkConfig, TrainingConfig, field_types
from seti_model.errors import ConfigError
from seti_model.families import FAMILIES


def test_default_is_the_course_network():
    values = Configuration().to_mapping()
    assert (values["network.filters_1"], values["network.filters_2"]) == (32, 64)
    assert values["training.learning_rate"] == 0.005
    assert (values["training.decay_rate"], values["training.decay_steps"]) == (0.96, 5)


def test_every_field_has_a_name_a_type_and_a_value_of_that_type():
    values = {}
    for family in (*FAMILIES, "course"):
        every = {"prepare.steps": "crop,grey,resize,sigma_clip,cut_noise,scale,align", "network.family": family}
        values |= Configuration.from_mapping(every).to_mapping()
    assert values.keys() == field_types().keys() - {"network.source", "prepare.source", "vgg16.source"}
    assert all(type(value) is field_types()[name] for name, value in values.items())


@given(
    filters=st.integers(1, 512),
    rate=st.floats(1e-6, 1.0),
    standardise=st.booleans(),
    precision=st.sampled_from(["float32", "mixed_bfloat16"]),
)
def test_mapping_and_back_is_the_same_configuration(filters, rate, standardise, precision):
    values = {
        "network.filters_1": filters,
        "training.learning_rate": rate,
        "network.standardise": standardise,
        "training.precision": precision,
    }
    configuration = Configuration.from_mapping(values)
    assert Configuration.from_mapping(configuration.to_mapping()) == configuration
    assert values.items() <= configuration.to_mapping().items()


def test_only_the_filters_of_blocks_in_use_count():
    assert NetworkConfig(blocks=3, filters_3=7, filters_4=9).filters == (32, 64, 7)


def test_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError, match="epochs"):
        Configuration().training.epochs = 3


def test_misspelt_field_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'training\.lr' is no field.*training\.learning_rate"):
        Configuration.from_mapping({"training.lr": 0.1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training.epochs": 2.5}, r"training\.epochs: 2\.5 is of type float, expected int"),
        ({"training.epochs": True}, r"training\.epochs: True is of type bool, expected int"),
        ({"network.standardise": 1}, r"network\.standardise: 1 is of type int, expected bool"),
        ({"training.learning_rate": "fast"}, r"training\.learning_rate: 'fast' is of type str, expected float"),
        ({"network.blocks": 5}, r"network\.blocks: 5 lies outside 1\.\.4"),
        ({"network.conv_dropout": 1.0}, r"network\.conv_dropout: 1\.0 lies outside 0\.0\.\.0\.95"),
        ({"network.filters_4": 0}, r"network\.filters_4: 0 lies outside 1\.\.4096"),
        ({"training.learning_rate": float("nan")}, r"training\.learning_rate: nan lies outside"),
        ({"training.precision": "float16"}, r"training\.precision: 'float16' is unknown; choose one of float32"),
        ({"training.optimizer": "sgd"}, r"training\.optimizer: 'sgd' is unknown; choose one of adam, rmsprop"),
        ({"augment.noise": -0.1}, r"augment\.noise: -0\.1 lies outside"),
    ],
)
def test_impossible_value_is_refused_by_name(values, message):
    with pytest.raises(ConfigError, match=message):
        Configuration.from_mapping(values)


def test_a_configuration_from_before_there_was_a_choice_means_adam_and_no_rotation():
    values = Configuration().to_mapping()
    earlier = {name: value for name, value in values.items() if name not in ("training.optimizer", "augment.rotate")}
    assert Configuration.from_mapping(earlier).to_mapping() == values
    assert (values["training.optimizer"], values["augment.rotate"]) == ("adam", 0.0)


def test_whole_number_is_accepted_where_a_fraction_may_stand():
    assert Configuration.from_mapping({"training.learning_rate": 1}).training == TrainingConfig(learning_rate=1.0)
