"""What a report says: the three answers at every stage of a run, and the same words from both writers."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from whole_run import EVIL, findings, write_whole_run

from results.findings import Findings
from results.log.records import Event, FinalsDecided
from results.log.state import RunState
from results.report.content import report
from results.report.html import to_html
from results.report.markdown import to_markdown
from results.report.parts import Answers, Beside, Document, Number, Section, Share, Source, Table, Text
from results.report.sentences import answers, headline
from results.stats.intervals import Estimate, wilson_interval


def again(hand: Any, trial: int, *objectives: float) -> list[Event]:
    return [
        dataclasses.replace(event, repeat=repeat)
        for repeat, objective in enumerate(objectives)
        for event in hand.trial(trial, [objective])
    ]


def decided(winner: int, *others: int) -> Event:
    return FinalsDecided(finalists=(winner, *others), seeds=2, search_trials=2, winner=winner, delivered=0)


def answered(run: Path, events: list[Event]) -> list[str]:
    return [f"{one.answer}: {' '.join(one.because)}" for one in answers(findings(run, RunState(events)))]


def test_before_a_trial_is_completed_nothing_is_answered(hand: Any, tmp_path: Path) -> None:
    assert answered(tmp_path, [hand.study()]) == ["None yet: No trial is completed.", "Not tested: ", "Unknown: "]
    which, _, _ = answered(tmp_path, [hand.study(), *hand.trial(0, [], "failed", reason="no such layer")])
    assert which == "None yet: No trial was completed; the first one failed: no such layer"


def test_a_search_without_finals_answers_provisionally(hand: Any, tmp_path: Path) -> None:
    """Of 200 validation images the baseline has 100 right, trial 1 those and 20 more."""
    right = [True] * 100 + [False] * 100
    more = [True] * 120 + [False] * 80
    events = [hand.study(validation_images=200), *hand.trial(0, [0.5], right=right), *hand.trial(1, [0.6], right=more)]
    which, better, sure = answered(tmp_path, events)
    assert which == (
        "Trial 1: Provisional: the best validation accuracy, 0.6000, of 2 completed trials; no finals have decided. "
        "learning_rate 0.002, filters_1 16."
    )
    assert better.startswith("Not tested: Minus the baseline on validation: +0.1000 (+0.0")
    assert better.endswith(", optimistic.")
    low, high = wilson_interval(120, 200)
    assert sure == (
        f"0.600 ({low:.3f}..{high:.3f}): Validation accuracy of one training on 200 images, with its 95 % interval; "
        "optimistic, as the best of 2 trials."
    )
    _, better, sure = answered(tmp_path, [hand.study(), *hand.trial(0, [0.5])])
    assert better.startswith("Not tested: It is the baseline.")
    assert sure.startswith("0.500: Validation accuracy of one training.")


def test_a_training_of_one_given_configuration_is_compared_with_nothing(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(space={}, validation_images=200), *hand.trial(0, [0.5], parameters={})]
    low, high = wilson_interval(100, 200)
    assert answered(tmp_path, events) == [
        f"0.500 ({low:.3f}..{high:.3f}): Validation accuracy of one training on 200 images, with its 95 % interval."
    ]
    assert headline(findings(tmp_path, RunState(events))) == ["One training: validation accuracy 0.5000 at epoch 1."]


@pytest.mark.parametrize(
    ("winner", "others", "better"),
    [
        (1, (0,), "Not tested: Mean validation accuracy minus the baseline's: +0.1000, without test images."),
        (0, (1,), "No: It is the baseline: no other finalist has a better mean."),
        (1, (), "Not tested: The baseline is not among the finalists."),
    ],
)
def test_finals_without_predictions_of_test_images_answer_from_validation(
    hand: Any, tmp_path: Path, winner: int, others: tuple[int, ...], better: str
) -> None:
    events = [hand.study(), *hand.trial(0, [0.5]), *hand.trial(1, [0.7])]
    events += [*again(hand, 0, 0.5, 0.54), *again(hand, 1, 0.6, 0.64), decided(winner, *others)]
    which, found, sure = answered(tmp_path, events)
    mean = 0.62 if winner else 0.52
    finalists = "2 finalists" if others else "1 finalist"
    name = "Trial 1" if winner else "Trial 0 (the baseline)"
    assert which.startswith(f"{name}: Mean validation accuracy {mean:.4f} over 2 retrainings, the best of {finalists}.")
    assert found == better
    assert sure.startswith(f"{mean:.3f} (0.")


def test_both_reports_have_the_same_answers_sentences_and_tables(hand: Any, tmp_path: Path) -> None:
    write_whole_run(tmp_path / "run", hand)
    found = Findings.read(tmp_path / "run")
    document = report(found)
    text, page = to_markdown(document), to_html(document, is_running=False)
    for line in headline(found):
        assert line in text
        assert line.replace("'", "&#39;") in page
    tables = [part for part in document.parts() if isinstance(part, Table)]
    assert len(tables) > 7
    for table in tables:
        assert (f"{table.caption}:" in text) != table.is_folded
        assert table.caption in page
    [first] = [part for part in document.parts() if isinstance(part, Answers)]
    assert document.sections[0].parts[0] is first
    assert EVIL not in text, "a name is no markup in a viewer of Markdown either"


def test_numbers_of_a_table_have_their_digits_and_nan_is_a_dash() -> None:
    cells = [Number(0.5, ".4f"), Number(math.nan), Number(Estimate(0.5, 0.25, 0.75)), Share(0.125), None, 3, 0.123456]
    text = to_markdown(Document("t", [Section("s", "S", [Table("c", ["x"] * 8, [["row", *cells]])])]))
    assert "| row | 0.5000 | - | 0.500 (0.250..0.750) | 12% |  | 3 | 0.1235 |" in text
    assert f"{Estimate(-1.0, math.nan, math.nan):+.1f} {Estimate(math.nan, math.nan, math.nan):.1f}" == "-1.0 -"


def test_anybodys_text_stays_one_cell_of_a_markdown_table() -> None:
    table = Table("c", ["name"], [["a|b"], ["c\\d"], ["<b>"], ["two\nlines"]])
    lines = to_markdown(Document("t", [Section("s", "S", [table])])).splitlines()
    assert lines[-5:] == ["|---|", "| a\\|b |", "| c\\\\d |", "| \\<b> |", "| two lines |"]


def test_what_only_a_page_can_show_leaves_no_heading_in_markdown() -> None:
    parts = [Beside([Source("study", "{}")], "a heading")]
    assert "##" not in to_markdown(Document("t", [Section("s", "S", parts)]))
    assert "## S" in to_markdown(Document("t", [Section("s", "S", [*parts, Text("words")])]))
