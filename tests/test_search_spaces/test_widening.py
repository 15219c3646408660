"""A space may only grow under a run: old trials stay points of it, everything else is refused with its reason."""

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.parameters import Categorical, Condition, Float, Int, Parameter, SpaceError, Value
from search_spaces.space import Space
from search_spaces.widening import widen

REASON = "Because the test says so."
RATE = Float("rate", 0.001, 0.1, log=True, reason=REASON)
DROPOUT = Float("dropout", 0.2, 0.6, step=0.1, reason=REASON)
FILTERS = Int("filters", 16, 64, step=16, reason=REASON)
BLOCKS = Int("blocks", 2, 4, reason=REASON)
KERNEL = Categorical("kernel", (3, 5), reason=REASON)
THIRD = Int("third", 1, 9, when=(Condition("blocks", (3, 4)),), reason=REASON)


def space(*parameters: Parameter) -> Space:
    return Space("s", "A space of the test.", parameters)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Space, Space, dict[str, Value]]:
    """A space, a wider one, and what every configuration has for the parameters that are added."""
    before: list[Parameter] = []
    after: list[Parameter] = []
    for number in range(draw(st.integers(1, 5))):
        old, new = draw(grown(f"p{number}"))
        parents = [(a, b) for a, b in zip(before, after, strict=True) if isinstance(a, Int)]
        if parents and draw(st.booleans()):
            small, large = draw(st.sampled_from(parents))
            assert isinstance(small, Int)
            assert isinstance(large, Int)
            values = tuple(sorted({small.sample(random.Random(seed)) for seed in range(draw(st.integers(1, 3)))}))
            old = dataclasses.replace(old, when=(Condition(small.name, values),))
            more = (large.high,) if large.high > small.high else ()
            new = dataclasses.replace(new, when=(Condition(small.name, values + more),))
        before.append(old)
        after.append(new)
    added = [Int(f"new{number}", 1, 9, reason=REASON) for number in range(draw(st.integers(0, 2)))]
    if added and isinstance(after[0], Int):
        added[-1] = dataclasses.replace(added[-1], when=(Condition("p0", (after[0].low,)),))
    configuration: dict[str, Value] = {p.name: draw(st.integers(1, 9)) for p in added}
    return space(*before), space(*after, *added), configuration


@st.composite
def grown(draw: st.DrawFn, name: str) -> tuple[Parameter, Parameter]:
    """A parameter and a wider one."""
    kind = draw(st.sampled_from(["float", "log", "step", "int", "grid", "choice"]))
    low, width = draw(st.integers(50, 90)), draw(st.integers(1, 40))
    down, up, finer = draw(st.integers(0, 9)), draw(st.integers(0, 9)), draw(st.sampled_from([1, 2, 4]))
    if kind in ("float", "log"):
        log = kind == "log"
        old, new = (
            Float(name, (low - d) / 7, (low + width + u) / 7, log=log, reason=REASON) for d, u in _grow(down, up)
        )
        return old, new
    if kind == "step":
        old, new = (
            Float(name, (low - d) * 0.1 + 0, (low + width + u) * 0.1, reason=REASON) for d, u in _grow(down, up)
        )
        old, new = (
            Float(name, round(p.low, 1), round(p.high, 1), step=0.1 / f, reason=REASON)
            for p, f in ((old, 1), (new, finer))
        )
        return old, new
    if kind == "int":
        log = draw(st.booleans())
        whole = [Int(name, low - d, low + width + u, log=log, reason=REASON) for d, u in _grow(down, up)]
        return whole[0], whole[1]
    if kind == "grid":
        return (
            Int(name, low, low + 4 * width, step=4, reason=REASON),
            Int(name, low - 4 * down, low + 4 * (width + up), step=4 // finer, reason=REASON),
        )
    choices = [str(n) for n in range(width + 1)]
    more = [f"more {n}" for n in range(up)]
    return (
        Categorical(name, tuple(choices), reason=REASON),
        Categorical(name, tuple(draw(st.permutations(choices + more))), reason=REASON),
    )


def _grow(down: int, up: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, 0), (down, up)


@given(pair=pairs(), seed=st.integers(0, 2**32))
def test_every_point_of_the_old_space_with_what_is_carried_is_a_point_of_the_wider_one(pair, seed):
    old, new, configuration = pair
    widening = widen(old, new)
    for draw in range(5):
        point = old.sample(random.Random(seed + draw))
        carried = widening.carry(draw, point, point | configuration)
        assert set(carried) <= set(widening.added)
        new.validate(point | carried)
    assert bool(widening.changes) == (old.fingerprint != new.fingerprint)


@given(pair=pairs())
def test_the_way_back_is_always_refused(pair):
    old, new, _ = pair
    forth = [change for change in widen(old, new).changes if not change.endswith("in another order")]
    if forth:
        with pytest.raises(SpaceError, match=r"^space 's', parameter '.*; (set it back|let it include)"):
            widen(new, old)


@given(pair=pairs())
def test_other_words_for_the_reader_are_no_change(pair):
    old, _, _ = pair
    told = tuple(dataclasses.replace(parameter, reason="Said otherwise.") for parameter in old.parameters)
    assert widen(old, Space("other", "Another name.", told)).changes == ()


def test_changes_are_told_in_words():
    old = space(RATE, DROPOUT, BLOCKS, KERNEL, THIRD)
    new = space(
        Float("rate", 0.0001, 0.1, log=True, reason=REASON),
        Float("dropout", 0.0, 0.6, step=0.05, reason=REASON),
        Categorical("kernel", (3, 5, 7), reason=REASON),
        Int("blocks", 2, 5, reason=REASON),
        Int("third", 1, 9, when=(Condition("blocks", (3, 4, 5)),), reason=REASON),
        FILTERS,
    )
    assert widen(old, new).changes == (
        "'rate': low 0.001 -> 0.0001",
        "'dropout': low 0.2 -> 0.0, step 0.1 -> 0.05",
        "'blocks': high 4 -> 5",
        "'kernel': choices 7 added",
        "'third' counts where 'blocks' is 5, too",
        "'filters' is new: an integer in 16..64 in steps of 16 from 16",
        "the parameters are declared in another order",
    )


def test_steps_may_be_given_up():
    free = Float("dropout", 0.2, 0.6, reason=REASON)
    assert widen(space(DROPOUT), space(free)).changes == ("'dropout': step 0.1 -> none",)


def test_an_added_parameter_counts_only_where_its_condition_holds():
    widening = widen(space(BLOCKS), space(BLOCKS, THIRD))
    assert widening.carry(0, {"blocks": 2}, {"blocks": 2, "third": 5}) == {}
    assert widening.carry(1, {"blocks": 3}, {"blocks": 3, "third": 5}) == {"third": 5}


def test_an_added_parameter_needs_a_value_within_its_range_from_every_trial():
    widening = widen(space(BLOCKS), space(BLOCKS, FILTERS))
    with pytest.raises(SpaceError, match=r"'filters': is new, and trial 3 ran with 8, which is not an integer in 16"):
        widening.carry(3, {"blocks": 2}, {"blocks": 2, "filters": 8})
    with pytest.raises(SpaceError, match=r"'filters': is new, and the configuration of trial 4 has no value for it"):
        widening.carry(4, {"blocks": 2}, {"blocks": 2})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            RATE,
            Float("rate", 0.01, 0.1, log=True, reason=REASON),
            r"^space 's', parameter 'rate': low was 0\.001, is now 0\.01: a range may only grow; set it back or search",
        ),
        (RATE, Float("rate", 0.001, 0.05, log=True, reason=REASON), r"high was 0\.1, is now 0\.05: a range may only"),
        (RATE, Float("rate", 0.001, 0.1, reason=REASON), r"log was true, is now false: proposals would be drawn other"),
        (
            DROPOUT,
            Float("dropout", 0.2, 0.8, step=0.2, reason=REASON),
            r"was 0\.2\.\.0\.6 in steps of 0\.1, is now 0\.2\.\.0\.8 in steps of 0\.2: not all old values are on",
        ),
        (
            DROPOUT,
            Float("dropout", 0.15, 0.65, step=0.1, reason=REASON),
            r"is now 0\.15\.\.0\.65 in steps of 0\.1: not all old values are on the new grid",
        ),
        (
            Float("a", 0.0, 1.0, reason=REASON),
            Float("a", 0.0, 1.0, step=0.1, reason=REASON),
            r"was 0\.0\.\.1\.0 without steps, is now 0\.0\.\.1\.0 in steps of 0\.1: not all",
        ),
        (FILTERS, Int("filters", 8, 64, step=8 * 7, reason=REASON), "not all old values are on the new grid"),
        (FILTERS, Float("filters", 16, 64, reason=REASON), r"was int, is now float: its old values would mean some"),
        (
            FILTERS,
            Categorical("filters", (16, 32, 48, 64), reason=REASON),
            "was int, is now categorical of type int: its old values",
        ),
        (
            KERNEL,
            Categorical("kernel", ("3", "5"), reason=REASON),
            "was categorical of type int, is now categorical of type str",
        ),
        (KERNEL, Categorical("kernel", (3, 7), reason=REASON), "the choice 5 was removed, and trials may have tried"),
    ],
)  # fmt: skip
def test_what_does_not_only_widen_is_refused_with_the_reason(old, new, message):
    with pytest.raises(SpaceError, match=message):
        widen(space(old), space(new))


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ((), r"'third': counted where 'blocks' allowed it, now where nothing does: old trials would lack a value"),
        (
            (Condition("blocks", (3,)),),
            r"was one of \[3, 4\], now where it is one of \[3\]: trials may have tried 'blocks' = 4 and would have a",
        ),
        (
            (Condition("blocks", (2, 3, 4)),),
            r"trials may have tried 'blocks' = 2 and would lack a value; set it back or search",
        ),
        ((Condition("kernel", (3,)),), r"counted where 'blocks' allowed it, now where 'kernel' does"),
    ],
)
def test_a_condition_may_not_change_for_old_trials(when, message):
    changed = dataclasses.replace(THIRD, when=when)
    with pytest.raises(SpaceError, match=message):
        widen(space(BLOCKS, KERNEL, THIRD), space(BLOCKS, KERNEL, changed))


def test_a_removed_parameter_is_refused():
    with pytest.raises(SpaceError, match=r"parameter 'kernel': was removed, and the trials of the run have values"):
        widen(space(RATE, KERNEL), space(RATE))
