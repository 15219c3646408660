"""What is said of a repetition: identical, within tolerance, or what makes it differ."""

import dataclasses
import json
import math
from typing import Any

import pytest

from results.log.records import AttemptStarted, Epoch, Event, TrialEnded, TrialStarted
from results.log.state import RunState
from results.receipt import Environment, Receipt
from results.reproduction import (
    Answer,
    Repetition,
    Setting,
    compare,
    differences,
    to_mapping,
    tolerance,
)
from results.study import DataSection

HERE = Environment({"tensorflow": "2.21.0", "keras": "3.15.1"}, "3.11.7", "c" * 40, "a CPU")
SETTING = Setting(HERE, threads=1, gpus=0.0, data_digest="d" * 64)
RECEIPT = Receipt(
    study="s",
    trial=3,
    repeat=None,
    is_baseline=False,
    trainable="m:f",
    folder=None,
    configuration={"x": 1},
    seed=1,
    data=DataSection(),
    data_digest="d" * 64,
    validation_images=400,
    init_digest=None,
    threads=1,
    gpus=0.0,
    environments=(HERE,),
    max_epochs=2,
    epochs=2,
    status="completed",
    validation_accuracies=(0.5, 0.7),
    objective=0.7,
    best_epoch=2,
    weights_digest="w",
    best_weights_digest="b",
)
SAME = Repetition((0.5, 0.7), 0.7, "w", "b")
NO_FINALS = "no finals"


def answer(done: Repetition, *different: str, expected: tuple[float, float] | str = NO_FINALS) -> Answer:
    return compare(RECEIPT, done, different=different, expected=expected)


def test_equal_weights_are_identical_whatever_differs_and_that_is_named() -> None:
    found = answer(SAME)
    assert (found.word, found.exit_code) == ("identical", 0)
    assert found.text == "identical: the weights after epoch 2 and those of the best epoch are the same bit for bit"
    although = answer(SAME, "keras: 1 then, 2 now")
    assert (although.word, although.exit_code) == ("identical", 0)
    assert although.text.endswith("; although keras: 1 then, 2 now")


@pytest.mark.parametrize(
    "done",
    [
        Repetition((0.5, 0.7), 0.7, "w", "other"),
        Repetition((0.5, 0.7), 0.7, "other", "b"),
        Repetition((0.5,), 0.5, "w", "b"),
    ],
)
def test_both_digests_and_all_epochs_must_be_the_same(done: Repetition) -> None:
    found = answer(done, "threads: 1 then, 2 now")
    assert (found.word, found.exit_code) == ("differs", 2)
    assert found.text.startswith("differs, because threads: 1 then, 2 now\nBest validation accuracy 0.")
    assert found.text.endswith("whether that is within tolerance cannot be said: no finals")


def test_a_difference_that_nothing_explains_is_perhaps_that_of_a_network_of_ones_own() -> None:
    family = {"network.family": "mine:Net", "prepare.steps": "align, mine:step"}
    receipt = dataclasses.replace(RECEIPT, configuration=family)
    other = Repetition((0.5, 0.6), 0.6, "v", "a")
    perhaps = "; perhaps mine:Net or mine:step draws something without the seed: then no training of it repeats\n"
    found = compare(receipt, other, different=(), expected=NO_FINALS)
    assert (found.word, found.exit_code) == ("differs", 1)
    assert found.text.startswith(f"differs although nothing recorded differs{perhaps}")
    within = compare(receipt, other, different=(), expected=(0.5, 0.9))
    assert (within.word, within.exit_code) == ("within tolerance", 0)
    assert within.text.startswith(f"within tolerance; different: nothing that is recorded{perhaps}")
    early = dataclasses.replace(other, ended_early="it raised")
    for done, different in ((other, ("threads: 1 then, 2 now",)), (early, ())):
        assert "perhaps" not in compare(receipt, done, different=different, expected=NO_FINALS).text


def test_a_difference_that_nothing_explains_is_to_be_reported() -> None:
    found = answer(Repetition((0.5, 0.6), 0.6, "v", "a"))
    assert (found.word, found.exit_code) == ("differs", 1)
    assert found.text.startswith("differs although nothing recorded differs: please report it\n")


def test_within_the_interval_of_the_finals_is_within_tolerance_and_names_what_differs() -> None:
    done = Repetition((0.5, 0.68), 0.68, "v", "a")
    found = answer(done, "keras: 1 then, 2 now", expected=(0.67, 0.73))
    assert (found.word, found.exit_code) == ("within tolerance", 0)
    assert found.text == (
        "within tolerance; different: keras: 1 then, 2 now\n"
        "Best validation accuracy 0.6800, recorded 0.7000; 95 % of retrainings are expected in 0.6700..0.7300"
    )
    outside = answer(done, "keras: 1 then, 2 now", expected=(0.69, 0.73))
    assert (outside.word, outside.exit_code) == ("differs", 2)
    assert outside.text.endswith("95 % of retrainings are expected in 0.6900..0.7300, it lies outside")


def test_without_digests_the_accuracies_must_be_the_same_exactly() -> None:
    receipt = dataclasses.replace(
        RECEIPT, weights_digest=None, best_weights_digest=None, validation_accuracies=(0.5, None)
    )
    cases = {(0.5, math.nan): "identical", (math.nextafter(0.5, 1), math.nan): "differs", (0.5, 0.5): "differs"}
    for accuracies, word in cases.items():
        assert compare(receipt, Repetition(accuracies, None, None, None), different=(), expected="").word == word


def test_nothing_differs_where_nothing_does() -> None:
    assert differences(RECEIPT, SETTING) == ()
    packaged = dataclasses.replace(SETTING, environment=dataclasses.replace(HERE, commit=None))
    assert differences(RECEIPT, packaged) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 2}, "threads: 1 then, 2 now"),
        ({"gpus": 1.0}, "GPUs: 0.0 then, 1.0 now"),
        ({"data_digest": "e" * 64}, "data: dddddddddddd… then, eeeeeeeeeeee… now"),
        ({"data_digest": None}, "data: dddddddddddd… then, not there now"),
        ({"init_digest": "f" * 64}, "initial weights: not there then, ffffffffffff… now"),
        (
            {"environment": dataclasses.replace(HERE, versions={"keras": "3.15.1"})},
            "tensorflow: 2.21.0 then, not there now",
        ),
        ({"environment": dataclasses.replace(HERE, python="3.12.0")}, "python: 3.11.7 then, 3.12.0 now"),
        ({"environment": dataclasses.replace(HERE, device="another CPU")}, "device: a CPU then, another CPU now"),
        (
            {"environment": dataclasses.replace(HERE, commit="b" * 40)},
            "commit of seti-tune: cccccccccccc… then, bbbbbbbbbbbb… now",
        ),
    ],
)
def test_every_difference_is_named_with_what_was_and_is(change: dict[str, Any], words: str) -> None:
    assert differences(RECEIPT, dataclasses.replace(SETTING, **change), ["more"]) == (words, "more")


def test_several_environments_of_one_trial_are_all_named() -> None:
    older = dataclasses.replace(HERE, versions=HERE.versions | {"tensorflow": "2.20.0"}, device=None)
    receipt = dataclasses.replace(RECEIPT, environments=(older, HERE))
    assert differences(receipt, SETTING) == (
        "tensorflow: 2.20.0 and 2.21.0 then, 2.21.0 now",
        "device: not recorded then, a CPU now",
    )


def run(*objectives: float, configuration: dict[str, Any] = {"x": 1}, status: str = "completed") -> RunState:  # noqa: B006
    events: list[Event] = []
    for repeat, objective in enumerate(objectives):
        names = {"trial": 3, "repeat": repeat}
        events += [
            TrialStarted(**names, parameters={}, configuration=configuration, seed=1, max_epochs=2),
            AttemptStarted(**names, attempt=0),
            Epoch(**names, attempt=0, epoch=1, validation_accuracy=objective),
            TrialEnded(**names, status=status, reason="", epochs=1),
        ]
    return RunState(events)


def test_tolerance_is_the_prediction_interval_of_the_completed_retrainings_of_the_same_configuration() -> None:
    found = tolerance(RECEIPT, SETTING, run(0.70, 0.72, 0.74))
    half = 4.3027 * 0.02 * math.sqrt(1 + 1 / 3)  # t of a table, for 95 % and two degrees of freedom
    assert found == (pytest.approx(0.72 - half, abs=1e-5), pytest.approx(0.72 + half, abs=1e-5))


@pytest.mark.parametrize(
    ("receipt", "setting", "state", "why"),
    [
        (RECEIPT, SETTING, None, "the run with its finals is not here"),
        (RECEIPT, SETTING, run(0.7), "its completed retrainings in the finals are 1, at least 2 are needed"),
        (RECEIPT, SETTING, run(0.7, 0.7, status="failed"), "its completed retrainings in the finals are 0"),
        (RECEIPT, SETTING, run(0.7, 0.7, configuration={"x": 2}), "its completed retrainings in the finals are 0"),
        (
            dataclasses.replace(RECEIPT, status="stopped", epochs=1),
            SETTING,
            run(0.7, 0.7),
            "the trial was stopped after epoch 1 of 2",
        ),
        (
            RECEIPT,
            dataclasses.replace(SETTING, data_digest="e"),
            run(0.7, 0.7),
            "its retrainings in the finals saw other data",
        ),
    ],
)
def test_where_tolerance_cannot_be_said_it_is_said_why(
    receipt: Receipt, setting: Setting, state: RunState | None, why: str
) -> None:
    found = tolerance(receipt, setting, state)
    assert isinstance(found, str)
    assert found.startswith(why)


def test_the_answer_can_be_written_as_json_also_of_a_training_that_diverged() -> None:
    done = Repetition((0.7, math.nan), 0.7, "v", "b", "it diverged: nan")
    found = answer(done)
    assert "recorded 0.7000, it diverged: nan" in found.text
    text = json.dumps(to_mapping(found, SETTING, done), allow_nan=False)
    assert json.loads(text)["repetition"]["validation_accuracies"] == [0.7, None]
