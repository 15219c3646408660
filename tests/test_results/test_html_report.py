"""What `report.html` holds, read as a file; what a browser makes of it is tested beside this."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from whole_run import EVIL, write_whole_run

from results.errors import RecordError
from results.finals import standings
from results.findings import Findings, read_importance
from results.log.recorder import EventLog
from results.log.records import FinalEvaluated, FinalsDecided, StudyResumed
from results.log.state import RunState
from results.report.content import report
from results.report.html import to_html, write_html_report
from results.report.markdown import to_markdown
from results.report.parts import Document, Section, Text
from results.stats.intervals import wilson_interval
from results.study import DataSection, Provenance, StudyRecord
from tune.cli.main import main


@pytest.fixture(scope="module")
def run(hand: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    write_whole_run(folder, hand)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return page_of(run)


def page_of(run: Path) -> str:
    found = Findings.read(run)
    return to_html(report(found), is_running=found.is_running)


def visible(page: str) -> str:
    """What a reader sees of it, without the figures."""
    body = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def figures(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    parsed: dict[str, Any] = json.loads(found[1])
    return parsed


def test_it_has_a_section_for_every_question_of_a_reader(page: str) -> None:
    search, finals = "leaderboard curves parameters stopping costs", "finals model-winner model-baseline comparison"
    wanted = f"result {search} {finals} detection recall errors images provenance"
    assert re.findall(r'<section id="([\w-]+)"', page) == wanted.split()


def test_nothing_in_it_asks_for_a_network(page: str) -> None:
    ours = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', ours)
    assert "://" not in ours
    assert "default-src 'none'" in page


def test_three_answers_come_first_then_how_it_ended_then_all_sentences(page: str) -> None:
    result = visible(page).split(" Result ")[-1].split(" Leaderboard ")[0]
    low, high = wilson_interval(170, 200)
    wanted = (
        "Which configuration? Trial 7 Mean validation accuracy 0.7900 over 2 retrainings, the best of 2 finalists.",
        "learning_rate 0.0003583, filters_1 15, activation &lt;b&gt;elu&lt;/b&gt;.",
        "Is it better than the baseline? Yes for this model, not shown for its configuration",
        f"How sure is that? 0.850 ({low:.3f}..{high:.3f}) Accuracy of the delivered model on 200 test images",
        "Published, on the course&#39;s 800 validation images: 0.74 to 0.77.",
        "The study is finished: all trials ended. 30 trials: 20 completed",
        "Best of the search: trial 7",
    )
    places = [result.index(words) for words in wanted]
    assert places == sorted(places)


def test_every_figure_has_its_place_a_caption_and_data(page: str) -> None:
    drawn = figures(page)
    assert set(re.findall(r'class="plot" id="([\w-]+)" style="[^"]*" role="img" aria-label="[^"]+"', page)) == set(
        drawn
    )
    for name, figure in drawn.items():
        assert any(value is not None for trace in figure["data"] for value in trace["y"]), name
    # Curves, parallel, slices, rungs, finals, reliability, classes with ROC and precision, recall.
    assert len(drawn) == 3 + 1 + 3 + 1 + 1 + 2 + 3 + 2


def test_every_trial_has_its_row_and_every_epoch_its_point(run: Path, page: str) -> None:
    rows = re.findall(r'<th scope="row" data-v="(\d+)">', page)
    assert sorted(map(int, rows)) == list(range(30))
    curves = figures(page)["plot-curves"]["data"]
    points = [(who, x) for t in curves if t["mode"] == "lines" for who, x in zip(t["customdata"], t["x"], strict=True)]
    epochs = pd.read_csv(run / "epochs.csv")
    search = epochs[epochs["repeat"].isna()]
    assert sorted(p for p in points if p[0] is not None) == sorted(zip(search["trial"], search["epoch"], strict=True))


def test_rung_lines_stand_at_the_rungs(page: str) -> None:
    assert [line["x0"] for line in figures(page)["plot-curves"]["layout"]["shapes"]] == [1]


def test_names_and_errors_are_never_markup(page: str) -> None:
    assert EVIL not in page
    assert page.count("&lt;script&gt;document.title=") >= 3  # the title twice, the reason of a failed trial


def test_only_its_own_scripts_may_run(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert len(re.findall("'sha256-", policy[1])) == len(re.findall("<script>", page)) == 2


def test_importance_is_shown_where_it_is_stored_and_orders_the_slices(run: Path, page: str) -> None:
    stored = read_importance(run)
    assert stored is not None
    assert "learning_rate 70%" in visible(page)
    assert "importance 70%" in re.findall(r'id="plot-slice-0" style="[^"]*" role="img" aria-label="([^"]*)"', page)[0]


def test_more_trials_than_the_importance_knows_are_said(run: Path, hand: Any, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    with EventLog(copy) as log:
        log.append(*hand.trial(30, [0.5, 0.6, 0.7], parameters={}))
    assert "More trials were completed since" in page_of(copy)


def test_the_numbers_of_the_finals_are_in_tables_too(page: str) -> None:
    words = visible(page)
    for heading in ("Finalists, the best first", "Confusion matrix", "The numbers as a table", "Reliability"):
        assert heading in words
    assert "trial 7 0.9000 0.8000, 0.7800 0.7900" in words


def test_the_worst_errors_are_shown_as_pictures(page: str) -> None:
    pictures = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]+)"', page)
    assert len([p for p in pictures if p.startswith("test image") and "predicted" in p]) == 12
    assert len([p for p in pictures if p.startswith("test image")]) == 12 + 4
    of_validation = [p for p in pictures if p.startswith("validation image")]
    assert len(of_validation) == 4 * 4, "the four surest errors of each class"
    assert of_validation[0] == "validation image 796, predicted narrowbanddrd"


def test_two_hundred_trials_take_less_than_three_megabytes_beside_the_library(hand: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    space = {f"training.parameter_{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(12)}
    with EventLog(tmp_path) as log:
        log.append(hand.study(space={"parameters": space}))
        for number in range(200):
            parameters = {name: float(rng.uniform()) for name in space}
            log.append(*hand.trial(number, rng.uniform(size=27).tolist(), parameters=parameters, max_epochs=27))
    page = page_of(tmp_path)
    library = max(re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL), key=len)
    assert len(page.encode()) - len(library.encode()) < 3_000_000


def test_a_run_that_has_just_begun_has_a_report(hand: Any, tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(hand.study())
        page = write_html_report(Findings.read(tmp_path), tmp_path / "elsewhere" / "page.html").read_text()
        assert "while the study was running" in page
    assert "No epoch with a finite validation accuracy is recorded yet." in page
    assert figures(page) == {}
    assert "was interrupted without a recorded reason" in page_of(tmp_path)


def test_a_run_in_which_everything_failed_has_a_report(hand: Any, tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(hand.study())
        for number in range(3):
            log.append(*hand.trial(number, [], "failed", reason="no such layer"))
    assert "No trial was completed; the first one failed: no such layer" in page_of(tmp_path)


def test_an_empty_log_and_predictions_that_do_not_fit_are_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(RecordError, match="the log holds no study_started"):
        write_html_report(Findings.read(tmp_path))
    copy = shutil.copytree(run, tmp_path / "copy")
    with EventLog(copy) as log:
        log.append(FinalEvaluated(trial=7, repeat=0, predictions="final/predictions/0007-0.parquet", n=200, correct=1))
    with pytest.raises(RecordError, match="right, the log says 1 of 200"):
        write_html_report(Findings.read(copy))


def test_the_published_band_stands_beside_data_of_the_courses_recipe_alone(hand: Any, tmp_path: Path) -> None:
    write_whole_run(tmp_path / "finals", hand, recipe="wide")
    page = page_of(tmp_path / "finals")
    assert "0.850 (0." in visible(page)
    assert "Published" not in visible(page), "its four classes are called as the course's"
    for recipe in ("course", "wide"):
        study = hand.study()
        with EventLog(tmp_path / recipe) as log:
            log.append(dataclasses.replace(study, study=StudyRecord(data=DataSection(simulate=recipe))))
            log.append(*hand.trial(0, [0.7]))
        assert ("0.74 to 0.77" in visible(page_of(tmp_path / recipe))) is (recipe == "course")


def test_both_reports_name_the_versions_and_the_commit_of_every_driver(hand: Any, tmp_path: Path) -> None:
    first = Provenance(versions={"ray": "2.60.0", "keras": "3.15.0"}, commit="a" * 40, python="3.11.9")
    later = dataclasses.replace(first, versions={"ray": "2.60.1", "keras": "3.15.0"}, commit="b" * 40)
    study = hand.study(provenance=first)
    with EventLog(tmp_path) as log:
        log.append(study, StudyResumed(study=study.study, provenance=later), *hand.trial(0, [0.7]))
    page = visible(page_of(tmp_path))
    text = to_markdown(report(Findings.read(tmp_path)))
    for what, value in (
        ("commit", f"{'a' * 40}, later {'b' * 40}"),
        ("ray", "2.60.0, later 2.60.1"),
        ("keras", "3.15.0"),
        ("Python", "3.11.9"),
    ):
        assert f" {what} {value} " in page
        assert f"| {what} | {value} |" in text


def test_both_reports_cut_the_interval_of_a_mean_accuracy_off_where_none_can_be(hand: Any, tmp_path: Path) -> None:
    """By hand: 0.4 and 0.6312 are 0.1156 from their mean; Student's t of one degree of freedom is 12.7062."""
    again = [
        dataclasses.replace(event, repeat=n)
        for n, value in enumerate((0.4, 0.6312))
        for event in hand.trial(0, [value])
    ]
    decision = FinalsDecided(finalists=(0,), seeds=2, search_trials=1, winner=0, delivered=1)
    with EventLog(tmp_path) as log:
        log.append(hand.study(), *hand.trial(0, [0.5]), *again, decision)
    page = visible(page_of(tmp_path))
    text = to_markdown(report(Findings.read(tmp_path)))
    assert " 0.4000, 0.6312 0.5156 (0.0000..1.0000) -0.0156 " in page
    assert "| 0.4000, 0.6312 | 0.5156 (0.0000..1.0000) | -0.0156 |" in text


def test_an_objective_that_is_no_share_of_images_keeps_its_interval(hand: Any) -> None:
    again = [dataclasses.replace(event, repeat=n) for n in (0, 1) for event in hand.trial(0, [-3.0 - n])]
    [stand] = standings(RunState([hand.study(), *hand.trial(0, [-2.0]), *again]), [0], 2)
    assert f"{stand.over_seeds:.2f}" == "-3.50 (-9.85..2.85)"


def test_finals_that_go_on_and_seconds_nobody_recorded_are_said(hand: Any, tmp_path: Path) -> None:
    again = [dataclasses.replace(event, repeat=0) for event in hand.trial(0, [0.5])]
    with EventLog(tmp_path) as log:
        log.append(hand.study(), *hand.trial(0, [0.5]), *again)
    page = page_of(tmp_path)
    assert "The finals are not finished: 1 of 1 retrainings begun have ended." in page
    assert "No epoch says how long it took." in page


def test_damaged_predictions_are_one_line_and_exit_code_2(
    tmp_path: Path, hand: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_whole_run(tmp_path, hand)
    file = tmp_path / "final/validation_predictions.parquet"
    pd.read_parquet(file).assign(**{"p:noise": float("nan")}).to_parquet(file)
    assert main(["report", str(tmp_path)]) == 2
    assert re.fullmatch(
        rf"seti-tune: {file}: cannot be read as predictions \(a probability .*\); delete it and continue the run .*\n",
        capsys.readouterr().err,
    )


def test_what_stands_between_backticks_is_code_and_never_markup() -> None:
    words = Text("`seti-tune finals <RUN>` & one ` alone in another: `")
    page = to_html(Document("t", [Section("s", "S", [words, Text("a ` b")])]), is_running=False)
    assert "<p><code>seti-tune finals &lt;RUN&gt;</code> &amp; one <code> alone in another: </code></p>" in page
    assert "<p>a ` b</p>" in page
