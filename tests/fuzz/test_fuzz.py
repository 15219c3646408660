"""Nothing that is read gets a command to break its word, whatever it holds: a short run, and what once did so."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.__main__ import schedule
from fuzz.cases import ALL_KINDS, KINDS, build, scenario_of
from fuzz.mutations import NASTY, STRINGS
from fuzz.runner import Outcome, Runner
from fuzz.templates import Templates

CASES, FIRST_SEED = 300, 1
CORPUS = Path(__file__).with_name("corpus.txt")


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with Runner(tmp_path_factory.mktemp("fuzz")) as running:
        yield running


@pytest.fixture(scope="module")
def outcomes(runner: Runner) -> list[Outcome]:
    return [runner.run(*case) for case in itertools.islice(schedule(ALL_KINDS, FIRST_SEED), CASES)]


def in_words(outcomes: list[Outcome]) -> str:
    failed = [one for one in outcomes if one.causes]
    return "\n".join(f"{one.causes[0]}: make fuzz CASE='{one.case}'  # {one.label[:80]}" for one in failed)


def test_three_hundred_cases_of_all_kinds_break_no_rule(outcomes: list[Outcome]) -> None:
    assert {one.kind for one in outcomes} == set(ALL_KINDS)
    assert not in_words(outcomes)


def test_every_case_that_once_broke_a_rule_breaks_none(runner: Runner) -> None:
    lines = [line.partition("#")[0].split() for line in CORPUS.read_text().splitlines()]
    assert not in_words([runner.run(kind, int(seed)) for kind, seed in filter(None, lines)])


def test_at_least_half_of_the_cases_are_valid_in_syntax_and_wrong_in_meaning(outcomes: list[Outcome]) -> None:
    assert sum(one.is_meaning for one in outcomes) >= len(outcomes) / 2


def test_equal_seeds_make_equal_files(outcomes: list[Outcome], runner: Runner, tmp_path: Path) -> None:
    templates = Templates(*(runner.folder / engine for engine in ("light", "network")))
    for kind in ALL_KINDS:
        folder = tmp_path / kind
        seen = []
        for _ in range(2):
            folder.mkdir()
            case = build(kind, 5, folder, templates)
            files = {path.name: path.read_bytes() for path in sorted((folder / "in").rglob("*")) if path.is_file()}
            seen.append((case.words, case.label, files))
            folder.rename(tmp_path / f"{kind} {len(seen)}")
        assert seen[0] == seen[1]


def test_every_command_of_every_kind_has_its_turn() -> None:
    drawn = {kind: Counter(scenario_of(kind, seed).name for seed in range(400)) for kind in KINDS}
    assert all(set(drawn[kind]) == {one.name for one in scenarios} for kind, scenarios in KINDS.items())
    assert len({one.label for one in NASTY}) == len(NASTY) > len(STRINGS)


@pytest.mark.slow
def test_every_undamaged_command_works(runner: Runner) -> None:
    for kind in ALL_KINDS:
        for scenario in dict.fromkeys(scenario_of(kind, seed) for seed in range(400)):
            assert runner.base(kind, scenario).code in (0, 2), scenario.name
