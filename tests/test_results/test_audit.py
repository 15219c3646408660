"""The audit of early stopping against counts made by hand and against scipy."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, rankdata
from whole_run import findings

from results.audit import Audit, audit
from results.log.state import RunState
from results.report.content import report
from results.report.markdown import to_markdown
from results.report.sentences import conclusion


def hand_made(hand: Any) -> Audit:
    """Of nine completed trials 1, 2, 3 and the baseline, 0, are exempt; 9 was stopped, 10 still runs."""
    exempt = {
        0: ([0.50, 0.60, 0.60], {1: (0.50, 0.55, "exempt"), 2: (0.60, 0.58, "exempt")}),
        1: ([0.30, 0.50, 0.90], {1: (0.30, 0.55, "exempt"), 2: (0.50, 0.58, "exempt")}),
        2: ([0.60, 0.70, 0.80], {1: (0.60, 0.55, "exempt"), 2: (0.70, 0.58, "exempt")}),
        3: ([0.20, 0.30, 0.40], {1: (0.20, 0.55, "exempt"), 2: (0.30, 0.58, "exempt")}),
    }
    events = [hand.study()]
    for number, (accuracies, rungs) in exempt.items():
        events += hand.trial(number, accuracies, rungs=rungs)
    for number, last in ((4, 0.70), (5, 0.71), (6, 0.72), (7, 0.73), (8, 0.85)):
        rungs = {1: (0.56, 0.55, "go on"), 2: (0.6, 0.58, "go on")}
        events += hand.trial(number, [0.56, 0.6, last], rungs=rungs)
    events += hand.trial(9, [0.1], "stopped", rungs={1: (0.1, 0.55, "stop")})
    events += hand.trial(10, [0.99], None, rungs={1: (0.99, 0.55, "exempt")})
    return audit(RunState(events))


def test_exempt_trials_are_counted_by_what_became_of_them(hand: Any) -> None:
    found = hand_made(hand)
    assert [(rung.epoch, rung.completed) for rung in found.rungs] == [(1, 9), (2, 9)]
    first, second = (rung.exempt for rung in found.rungs)
    assert (first.exempt, first.would_stop, first.top, first.top_would_stop) == (3, 2, 1, 1)
    assert (second.exempt, second.would_stop, second.top, second.top_would_stop) == (3, 2, 1, 1)
    whole = found.any_rung
    assert (whole.exempt, whole.would_stop, whole.top, whole.top_would_stop) == (3, 2, 1, 1)
    interval = binomtest(1, 1).proportion_ci(method="wilson")
    assert whole.lost == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_correlation_is_that_of_the_ranks(hand: Any) -> None:
    rung = hand_made(hand).rungs[0]
    values = [0.50, 0.30, 0.60, 0.20] + [0.56] * 5
    objectives = [0.60, 0.90, 0.80, 0.40, 0.70, 0.71, 0.72, 0.73, 0.85]
    a, b = (ranks - ranks.mean() for ranks in (rankdata(values), rankdata(objectives)))
    assert rung.correlation == pytest.approx((a @ b) / ((a @ a) * (b @ b)) ** 0.5)


@pytest.mark.parametrize("finals", [[0.5, 0.6], [0.7, 0.7, 0.7]], ids=["fewer than three trials", "equal objectives"])
def test_there_is_no_correlation_without_three_trials_that_differ(hand: Any, finals: list[float]) -> None:
    events = [hand.study()]
    for number, last in enumerate(finals):
        events += hand.trial(number, [0.1 * number, last], rungs={1: (0.1 * number, 0.0, "go on")})
    assert audit(RunState(events)).rungs[0].correlation is None


def test_a_search_without_rungs_has_no_section(hand: Any, tmp_path: Path) -> None:
    state = RunState([hand.study(), *hand.trial(0, [0.5])])
    assert "stopping" not in [section.name for section in report(findings(tmp_path, state)).sections]


trials = st.lists(
    st.tuples(
        st.lists(st.integers(0, 8).map(lambda n: n / 8), min_size=3, max_size=3),  # of three epochs; many are equal
        st.integers(0, 8).map(lambda n: n / 8),  # cutoff at epoch 1
        st.booleans(),  # exempt
    ),
    max_size=12,
)


def test_the_best_third_is_that_of_the_exempt_and_not_of_the_trials_that_the_rungs_let_pass(hand: Any) -> None:
    """Twelve survivors are better than all six exempt trials; the best two of these six are still told apart."""
    events = [hand.study()]
    for number in range(1, 7):
        cutoff = 0.6 if number in (5, 6) else 0.4
        events += hand.trial(number, [0.5, 0.5 + number / 100], rungs={1: (0.5, cutoff, "exempt")})
    for number in range(7, 19):
        events += hand.trial(number, [0.7, 0.9], rungs={1: (0.7, 0.6, "go on")})
    found = audit(RunState(events)).any_rung
    assert (found.exempt, found.top, found.top_would_stop) == (6, 2, 2)


def test_the_baseline_is_in_no_count_of_exempt_trials(hand: Any) -> None:
    """With one worker it is the first at every rung, where nothing is below the cutoff."""
    events = [hand.study(), *hand.trial(0, [0.9, 0.95], rungs={1: (0.9, 0.9, "exempt")})]
    for number in (10, 20, 30):
        events += hand.trial(number, [0.5, 0.6], rungs={1: (0.5, 0.8, "exempt")})
    found = audit(RunState(events)).any_rung
    assert (found.exempt, found.would_stop, found.top, found.top_would_stop) == (3, 3, 3, 3)


def test_a_trial_that_a_rung_let_pass_before_it_was_exempt_is_not_counted(hand: Any) -> None:
    """As after a resume with another `exempt_fraction`."""
    rungs = {1: (0.5, 0.4, "go on"), 2: (0.5, 0.6, "exempt")}
    found = audit(RunState([hand.study(), *hand.trial(1, [0.5, 0.5, 0.7], rungs=rungs)]))
    assert found.any_rung.exempt == 0


@given(drawn=trials)
def test_the_counts_of_any_search_fit_each_other(hand: Any, drawn: list[Any]) -> None:
    events = [hand.study()]
    for number, (accuracies, cutoff, exempt) in enumerate(drawn, start=1):
        value = accuracies[0]
        decision = "exempt" if exempt else "stop" if value < cutoff else "go on"
        epochs, status = (accuracies[:1], "stopped") if decision == "stop" else (accuracies, "completed")
        events += hand.trial(number, epochs, status, rungs={1: (value, cutoff, decision)})
    found = audit(RunState(events))
    completed = [t for t in drawn if t[2] or t[0][0] >= t[1]]
    exempt_trials = [t for t in completed if t[2]]
    counts = found.any_rung
    assert counts.exempt == len(exempt_trials)
    assert counts.would_stop == sum(t[0][0] < t[1] for t in exempt_trials)
    assert counts.top_would_stop <= min(counts.top, counts.would_stop)
    assert counts.top <= counts.exempt
    objectives = sorted((max(t[0]) for t in exempt_trials), reverse=True)
    limit = objectives[(len(objectives) - 1) // 3] if len(objectives) >= 3 else 2.0
    assert counts.top == sum(max(t[0]) >= limit for t in exempt_trials), "equals of the last top trial are top"
    assert found.economy.spent <= found.economy.without_stopping
    for rung in found.rungs:
        assert rung.completed == len(completed)
        assert rung.exempt == counts, "with one rung, any rung is that one"
        if rung.correlation is not None:
            assert -1.000001 <= rung.correlation <= 1.000001
    assert conclusion(found).endswith(".")


def section(run: Path, events: list[Any]) -> str:
    text = to_markdown(report(findings(run, RunState(events))))
    return text.split("## Early stopping")[1].split("\n## ")[0]


def test_the_report_says_what_can_be_concluded(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(), *hand.trial(0, [0.5, 0.6, 0.7], rungs={1: (0.5, 0.5, "exempt")})]
    for number in range(1, 4):
        value = 0.6 + number / 100
        events += hand.trial(number, [value, 0.7, 0.8 - number / 100], rungs={1: (value, 0.62, "exempt")})
    text = section(tmp_path, events)
    assert "best third of the exempt | of them below the cutoff |" in text
    assert "| epoch 1 | 4 | 0.20 | 3 | 1 | 1 | 1 |" in text
    assert "| any |" not in text, "one rung needs no sum"
    assert "Best third: by objective, equals included." in text
    assert "the baseline is not counted" in text
    assert "Of the best third of the exempt trials (1 of 3) the rungs would have stopped 1: stopping may lose" in text


def test_the_report_says_nothing_about_loss_with_two_exempt_trials(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(), *hand.trial(0, [0.5, 0.6, 0.7], rungs={1: (0.5, 0.5, "exempt")})]
    for number in (1, 2):
        rungs = {1: (0.4, 0.5, "exempt"), 2: (0.5, 0.6, "exempt")}
        events += hand.trial(number, [0.4, 0.5, 0.9], rungs=rungs)
    text = section(tmp_path, events)
    assert "| any |  |  | 2 | 2 |  |  |" in text
    assert (
        "Two completed trials were exempt from stopping; whether stopping lost good trials cannot be known with fewer "
        "than 3." in text
    )


def exempt_search(hand: Any, *, exempt: int, lost: int) -> Audit:
    """A search where all trials are exempt, the later the better; `lost` of the best were below the cutoff."""
    events = [hand.study()]
    for number in range(1, exempt + 1):
        cutoff = 0.6 if number > exempt - lost else 0.4
        events += hand.trial(number, [0.5, 0.6 + number / 1000], rungs={1: (0.5, cutoff, "exempt")})
    return audit(RunState(events))


def test_few_exempt_trials_conclude_very_little_and_many_a_share(hand: Any) -> None:
    """Wilson's intervals of 1 of 2 and of 3 of 60, from scipy."""
    few, many = (binomtest(*counts).proportion_ci(method="wilson") for counts in ((1, 2), (3, 60)))
    assert conclusion(exempt_search(hand, exempt=4, lost=1)) == (
        "Of the best third of the exempt trials (2 of 4) the rungs would have stopped 1: stopping may lose anything "
        f"from {few.low:.0%} to {few.high:.0%} of good trials (95 % Wilson interval), too wide to conclude anything."
    )
    assert conclusion(exempt_search(hand, exempt=180, lost=3)) == (
        "Of the best third of the exempt trials (60 of 180) the rungs would have stopped 3: stopping loses "
        f"{many.low:.0%} to {many.high:.0%} of good trials (95 % Wilson interval) in this space."
    )


def test_without_exempt_trials_the_audit_says_so(hand: Any) -> None:
    events = [hand.study(), *hand.trial(1, [0.5, 0.7], rungs={1: (0.5, 0.4, "go on")})]
    assert conclusion(audit(RunState(events))).startswith("No completed trial was exempt from stopping; ")
    assert conclusion(exempt_search(hand, exempt=1, lost=0)).startswith("One completed trial was exempt")
