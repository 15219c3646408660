"""What a report says in words: three answers, the result in sentences, and what to know before believing it."""

from __future__ import annotations

import math
from collections import Counter
from enum import StrEnum

from results.audit import MIN_EXEMPT, Audit
from results.finals import Role, Standing, is_stale
from results.findings import Findings
from results.log.records import ENDED, Status
from results.log.state import RunState, TrialState
from results.objective import Objective
from results.report.parts import Answer
from results.stats.intervals import LEVEL_P, Estimate, PairedDifference
from results.tables.status import advantage, outlook, what_baseline
from results.tables.table import cell_text, short_name
from results.tables.ties import objective_interval, tie_test, validation_images

# Nine public copies of the course's network, a VGG16 and an EfficientNet; on its 800 validation images.
PUBLISHED_LOW, PUBLISHED_HIGH = 0.74, 0.77
_WIDE = 0.3  # an interval of a share that is wider leaves open whether stopping loses few or many


class Verdict(StrEnum):
    """What a difference with its interval shows."""

    BETTER = "better"
    WORSE = "worse"
    NEITHER = "no significant difference"


_IN_SHORT = {Verdict.BETTER: "Yes", Verdict.WORSE: "No, worse", Verdict.NEITHER: "Not shown"}


def answers(found: Findings) -> tuple[Answer, ...]:
    """Return what a reader wants to know first: which configuration, is it better than the baseline, how sure.

    A training of one given configuration leaves only the last one to ask.
    """
    if not found.state.is_search:
        return (Answer("How good is it?", *_how_sure(found)),)
    return (
        Answer("Which configuration?", *_which(found)),
        Answer("Is it better than the baseline?", *_is_better(found)),
        Answer("How sure is that?", *_how_sure(found)),
    )


def headline(found: Findings) -> list[str]:
    """Return the result in sentences, for the terminal and the top of the reports."""
    lines = [*_of_search(found), *_of_baseline(found.state)]
    lines += [*of_finals(found), *of_models(found), *of_configurations(found)]
    lines += ["Brackets hold 95 % intervals."] if found.tested else []
    told = outlook(found.state)
    lines += [*caveats(found), *([saved(found.audit)] if found.state.is_search else [])]
    return [*lines, *([f"{told[0].upper()}{told[1:]}."] if told else [])]


def how_it_ended(found: Findings) -> str:
    """Say how the study ended, or that it runs, and how many trials of the search ended how."""
    trials, ended = found.state.search_trials(), found.state.ended
    if ended is not None:
        how = f"The study {'is finished' if ended.finished else 'was interrupted'}: {ended.reason}."
    else:
        how = "The study is running." if found.is_running else "The study was interrupted without a recorded reason."
    counts = Counter(t.status for t in trials)
    words = [f"{counts[s]} {s}" for s in ENDED if counts[s] or s != Status.OUTSIDE]
    running = sum(t.ended is None for t in trials)
    words += [f"{running} running"] if running else []
    return f"{how} {_counted(len(trials), 'trial')}: {', '.join(words)}."


def of_finals(found: Findings) -> list[str]:
    """Say who won and how optimistic the search was, or how finals stand that decided nothing."""
    winner = found.winner
    if winner is None:
        return _without_decision(found.state)
    lines = [
        f"Winner of the finals: {_named(winner)}, mean validation {winner.ranked_by.words} {winner.mean:.4f} "
        f"over {_retrainings(len(winner.objectives))}; {winner.searched:.4f} in the search."
    ]
    first = max(found.standings, key=lambda s: -math.inf if math.isnan(s.searched) else s.ranked_by.merit(s.searched))
    if first.objectives:
        lines.append(
            f"Optimism of the search: its best, trial {first.trial}, had {first.searched:.4f} there and "
            f"{first.mean:.4f} in the mean of its retrainings ({first.optimism:+.4f})."
        )
    return lines


def of_models(found: Findings) -> list[str]:
    """Say how winner and baseline did on the test images, the difference last."""
    lines = [
        f"{'Delivered model' if one.role == Role.WINNER else 'Baseline'} (trial {one.trial}, seed index "
        f"{one.delivered}): {one.ranked_by.words} {one.objective:.4f} on {one.metrics.n} test images."
        for one in found.tested
    ]
    differ, objective = found.models_differ, found.state.study.objective
    if differ is not None:
        test = "McNemar" if objective.is_accuracy else f"by {tie_test(objective)}"
        lines.append(
            f"Delivered model minus baseline on the same images: {differ.estimate:+.4f}"
            f"{objective.of_differences}, {test} p = {differ.p_value:.3g}: {_verdict_of_models(differ, objective)}."
        )
    return lines


def of_configurations(found: Findings) -> list[str]:
    """Say what the configurations give when they are trained again, seeds and images random; the difference last."""
    lines = [
        f"Configuration of the {one.role} (trial {one.trial}): {one.ranked_by.words} {over.mean:.4f} over "
        f"{over.n_seeds} retrainings and {over.n_images} test images; standard deviation between seeds "
        f"{over.seed_deviation:.4f}."
        for one in found.tested
        if (over := one.over_retrainings) is not None
    ]
    differ = found.configurations_differ
    if differ is not None:
        objective = found.state.study.objective
        lines.append(
            f"Configuration of the winner minus that of the baseline: {differ:+.4f}{objective.of_differences}: "
            f"{_verdict(differ, objective)}."
        )
    return lines


def caveats(found: Findings) -> list[str]:
    """Say what a reader must know before believing the figures: stale finals, lost retrainings, uses of the split."""
    lines, decision = [], found.decision
    if decision is not None and is_stale(found.state):
        lines.append(
            f"These finals are stale: they were decided after {decision.search_trials} trials, there are more now. "
            "`seti-tune finals RUN` decides again, which is one more use of the test split."
        )
    if found.tested and found.winner == found.baseline:
        lines.append("The baseline won the finals: no other finalist has a better mean.")
    lines += [
        f"Trial {s.trial}: {len(s.lost)} of {_retrainings(decision.seeds)} did not complete ({'; '.join(s.lost)})."
        for s in found.standings
        if s.lost and decision is not None
    ]
    return [*lines, *_uses(found.state)]


def saved(found: Audit) -> str:
    """Say what stopping early saved."""
    spent = found.economy
    return (
        f"Epochs trained: {spent.spent}; without early stopping the same trials take {spent.without_stopping} "
        f"({spent.saved:.0%} saved)."
    )


def conclusion(found: Audit) -> str:
    """Say in one sentence what the exempt trials allow to conclude, and that it is little where they are few."""
    exempt, lost = found.any_rung, found.any_rung.lost
    if lost is None:
        number = ("No completed trial was", "One completed trial was", "Two completed trials were")[exempt.exempt]
        return (
            f"{number} exempt from stopping; whether stopping lost good trials cannot be known with fewer than "
            f"{MIN_EXEMPT}."
        )
    share = (
        f"Of the best third of the exempt trials ({exempt.top} of {exempt.exempt}) the rungs would have stopped "
        f"{exempt.top_would_stop}"
    )
    interval = f"{lost[0]:.0%} to {lost[1]:.0%} of good trials (95 % Wilson interval)"
    if lost[1] - lost[0] > _WIDE:
        return f"{share}: stopping may lose anything from {interval}, too wide to conclude anything."
    return f"{share}: stopping loses {interval} in this space."


# The three answers, each in a few words with what they rest on ------------------------------------------------


def _which(found: Findings) -> tuple[str, list[str]]:
    winner = found.winner
    if winner is not None:
        because = [
            f"Mean validation {winner.ranked_by.words} {winner.mean:.4f} over "
            f"{_retrainings(len(winner.objectives))}, the best of {_counted(len(found.standings), 'finalist')}.",
            *_values(found.state.trials[winner.trial, None]),
        ]
        return _named(winner).capitalize(), [*because, *(["The model: final/model.keras."] * found.is_delivered)]
    if found.ranked:
        best = found.ranked[0]
        because = [
            f"Provisional: the best validation {best.objective.words}, {best.value:.4f}, of "
            f"{_counted(len(found.ranked), 'completed trial')}; no finals have decided.",
            *_values(best),
        ]
        return _named(best).capitalize(), because
    return "None yet", _of_search(found) or ["No trial is completed."]


def _is_better(found: Findings) -> tuple[str, list[str]]:
    winner, baseline, models = found.winner, found.baseline, found.models_differ
    if models is not None:
        objective = found.state.study.objective
        of_model, differ = _verdict_of_models(models, objective), found.configurations_differ
        of_configuration = of_model if differ is None else _verdict(differ, objective)
        answer = _IN_SHORT[of_model]
        if of_configuration != of_model:
            answer += f" for this model, {_IN_SHORT[of_configuration].lower()} for its configuration"
        return answer, [of_models(found)[-1], *(of_configurations(found)[-1:] if differ is not None else [])]
    if winner is None:
        next_step = [] if found.state.ended is None else ["`seti-tune finals RUN` tests it."]
        return "Not tested", [*_on_validation(found), *next_step]
    if winner.is_baseline:
        return "No", ["It is the baseline: no other finalist has a better mean."]
    if baseline is None:
        return "Not tested", ["The baseline is not among the finalists."]
    gain = winner.mean - baseline.mean
    words, how = winner.ranked_by.words, winner.ranked_by.of_differences
    return "Not tested", [f"Mean validation {words} minus the baseline's: {gain:+.4f}{how}, without test images."]


def _on_validation(found: Findings) -> list[str]:
    if found.ranked and found.ranked[0].started.is_baseline:
        return ["It is the baseline."]
    differ = advantage(found.state)
    how = found.state.study.objective.of_differences
    return [] if differ is None else [f"Minus the baseline on validation: {differ.estimate:+.4f}{how}, optimistic."]


def _how_sure(found: Findings) -> tuple[str, list[str]]:
    if found.tested:
        delivered = found.tested[0]
        over, words = delivered.over_retrainings, delivered.ranked_by.words
        because = [
            f"{words[0].upper()}{words[1:]} of the delivered model on {delivered.metrics.n} test images, with its 95 % "
            "interval.",
            *([] if over is None else [f"Its configuration over {over.n_seeds} retrainings: {over.mean:.3f}."]),
            *_uses(found.state),
            *_published(found.state),
        ]
        return f"{delivered.objective:.3f}", because
    if found.winner is not None:
        words = found.winner.ranked_by.words
        because = [f"Mean validation {words} over the retrainings, with its 95 % interval; not predicted: test images."]
        return f"{found.winner.over_seeds:.3f}", because
    if not found.ranked:
        return "Unknown", []
    best, n = found.ranked[0], validation_images(found.state)
    limits, trials = objective_interval(best, n), len(found.state.search_trials())
    of = "" if limits is None else f" on {n} images, with its 95 % interval"
    chosen = f"; optimistic, as the best of {trials} trials" if trials > 1 else ""
    because = [f"Validation {best.objective.words} of one training{of}{chosen}.", *_published(found.state)]
    return f"{Estimate(best.value, *(limits or (math.nan, math.nan))):.3f}", because


def _published(state: RunState) -> list[str]:
    """Name the published band where images were simulated as the course's were: nothing proves it of other images."""
    band = f"{PUBLISHED_LOW:.2f} to {PUBLISHED_HIGH:.2f}"
    is_like_it = state.study.data.recipe == "course" and state.study.objective.is_accuracy
    return [f"Published, on the course's 800 validation images: {band}."] if is_like_it else []


# Parts of sentences -------------------------------------------------------------------------------------------


def _of_search(found: Findings) -> list[str]:
    trials = found.state.search_trials()
    for best in found.ranked[:1]:
        reached = f"validation {best.objective.words} {best.value:.4f} at epoch {best.best.epoch if best.best else 0}"
        if not found.state.is_search:
            return [f"One training: {reached}."]
        chosen = f" (optimistic: the best of {len(trials)} trials)" if len(trials) > 1 else ""
        return [f"Best of the search: {_named(best)}, {reached}{chosen}."]
    first = next((t.ended for t in trials if t.ended), None)
    return [] if first is None else [f"No trial was completed; the first one {first.status}: {first.reason}"]


def _of_baseline(state: RunState) -> list[str]:
    what = what_baseline(state)
    return [f"Baseline (trial 0): {what}."] if what else []


def _without_decision(state: RunState) -> list[str]:
    """Say what became of retrainings that decided nothing."""
    ended = [t.ended for t in state.final_trials() if t.ended]
    if not ended:
        return []
    lost = [end for end in ended if end.status != Status.COMPLETED]
    if len(lost) == len(ended) == len(state.final_trials()):
        return [f"The finals decided nothing: {_retrainings(len(lost))} lost, the first one: {lost[0].reason}"]
    if state.was_tested_before:
        return ["These finals are those of an earlier version, with one seed; `seti-tune finals RUN` does them again."]
    return [f"The finals are not finished: {len(ended)} of {len(state.final_trials())} retrainings begun have ended."]


def _uses(state: RunState) -> list[str]:
    """Count the uses of the test split: decisions of this run, unlocked ones, and those of others before."""
    counts = {
        "by finals of this run": len(state.decisions) + state.was_tested_before,
        "unlocked for a model of this run": len(state.unlocks),
        "by others before": state.decisions[-1].earlier_uses if state.decisions else 0,
    }
    used = sum(counts.values())
    if used < 2:
        return ["The test split has been used once."] * used
    words = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    return [f"The test split has been used {used} times ({words}): each use makes its results more optimistic."]


def _verdict_of_models(differ: PairedDifference, objective: Objective) -> Verdict:
    """Call a difference one only where both the interval and the exact test say so."""
    return _verdict(differ.estimate, objective) if differ.p_value < LEVEL_P else Verdict.NEITHER


def _verdict(differ: Estimate, objective: Objective) -> Verdict:
    low, high = sorted(map(objective.merit, (differ.low, differ.high)))
    return Verdict.BETTER if low > 0 else Verdict.WORSE if high < 0 else Verdict.NEITHER


def _named(one: Standing | TrialState) -> str:
    number, is_baseline = (
        (one.trial, one.is_baseline) if isinstance(one, Standing) else (one.started.trial, one.started.is_baseline)
    )
    return f"trial {number}{' (the baseline)' if is_baseline else ''}"


def _values(trial: TrialState) -> list[str]:
    values = ", ".join(f"{short_name(name)} {cell_text(value)}" for name, value in trial.parameters.items())
    return [f"{values}."] if values else []


def _retrainings(n: int) -> str:
    return "one retraining" if n == 1 else f"{n} retrainings"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
