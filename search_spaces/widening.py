"""Which changes of a space leave the trials of a run comparable: wider ranges, more choices, more parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from search_spaces.parameters import Categorical, Float, Int, Parameter, SpaceError, Value
from search_spaces.space import Space

ELSEWHERE = "set it back or search the changed space in a run of its own"


@dataclass(frozen=True)
class Widening:
    """How `space` came to be from a smaller one: the changes in words and the names of added parameters."""

    space: Space
    changes: tuple[str, ...]
    added: tuple[str, ...]

    def carry(
        self, trial: int, parameters: Mapping[str, Value], configuration: Mapping[str, Value]
    ) -> dict[str, Value]:
        """Return the values of added parameters for a trial: what its configuration had all along.

        A parameter whose condition does not hold for the trial has no value. Together with `parameters`, a point
        of the smaller space, the result is a point of the wider one.

        Raises:
            SpaceError: The configuration has no such value, or one outside the parameter's range.
        """
        values, carried = dict(parameters), {}
        for parameter in self.space.parameters:
            name = parameter.name
            if name not in self.added or not self.space.is_active(name, values):
                continue
            if name not in configuration:
                raise _refusal(
                    self.space,
                    parameter,
                    f"is new, and the configuration of trial {trial} has no value for it that could be carried over",
                    "search the changed space in a run of its own",
                )
            if not parameter.contains(configuration[name]):
                raise _refusal(
                    self.space,
                    parameter,
                    f"is new, and trial {trial} ran with {configuration[name]!r}, which is not {parameter.expected}",
                    "let it include that value",
                )
            values[name] = carried[name] = configuration[name]
        return carried


def widen(old: Space, new: Space) -> Widening:
    """Compare two spaces and describe how the new one is wider; equal ones give no changes.

    A range may grow, a step may become finer, choices and parameters may be added, declarations may change places.
    A condition may gain values that the parameter it asks about could not have before, as no trial has them.

    Raises:
        SpaceError: A trial of the old space might be no point of the new one; the message says why.
    """
    before = {parameter.name: parameter for parameter in old.parameters}
    after = {parameter.name: parameter for parameter in new.parameters}
    changes: list[str] = []
    for name, parameter in before.items():
        if name not in after:
            raise _refusal(new, parameter, "was removed, and the trials of the run have values for it", ELSEWHERE)
        changes += _changes(new, parameter, after[name])
        changes += _condition_changes(new, before, parameter, after[name])
    added = tuple(name for name in after if name not in before)
    changes += [f"{name!r} is new: {after[name].expected}" for name in added]
    if [name for name in after if name in before] != list(before):
        changes.append("the parameters are declared in another order")
    return Widening(new, tuple(changes), added)


def _changes(space: Space, old: Parameter, new: Parameter) -> list[str]:
    """Compare types, ranges and choices."""
    kinds = (type(old).__name__, old.value_type.__name__), (type(new).__name__, new.value_type.__name__)
    if kinds[0] != kinds[1]:
        was, now = (f"{kind.lower()} of type {value}" if kind == "Categorical" else value for kind, value in kinds)
        raise _refusal(space, new, f"was {was}, is now {now}: its old values would mean something else", ELSEWHERE)
    if isinstance(old, Categorical) and isinstance(new, Categorical):
        return _choice_changes(space, old, new)
    if isinstance(old, Float | Int) and isinstance(new, Float | Int):
        return _range_changes(space, old, new)
    return []


def _choice_changes(space: Space, old: Categorical, new: Categorical) -> list[str]:
    gone = [choice for choice in old.choices if choice not in new.choices]
    if gone:
        raise _refusal(space, new, f"the choice {gone[0]!r} was removed, and trials may have tried it", ELSEWHERE)
    more = [choice for choice in new.choices if choice not in old.choices]
    if more:
        return [f"{new.name!r}: choices {', '.join(map(repr, more))} added"]
    return [f"{new.name!r}: the choices are in another order"] if old.choices != new.choices else []


def _range_changes(space: Space, old: Float | Int, new: Float | Int) -> list[str]:
    if old.log != new.log:
        raise _refusal(
            space,
            new,
            f"log was {_word(old.log)}, is now {_word(new.log)}: proposals would be drawn otherwise",
            ELSEWHERE,
        )
    for key, narrower in (("low", new.low > old.low), ("high", new.high < old.high)):
        if narrower:
            was, now = getattr(old, key), getattr(new, key)
            raise _refusal(space, new, f"{key} was {was!r}, is now {now!r}: a range may only grow", ELSEWHERE)
    if not _grid_holds(old, new):
        was, now = (f"{p.low!r}..{p.high!r} in steps of {p.step!r}" for p in (old, new))
        was = was if old.step is not None else f"{old.low!r}..{old.high!r} without steps"
        raise _refusal(space, new, f"was {was}, is now {now}: not all old values are on the new grid", ELSEWHERE)
    changed = [key for key in ("low", "high", "step") if getattr(old, key) != getattr(new, key)]
    if not changed:
        return []
    words = (f"{key} {_word(getattr(old, key))} -> {_word(getattr(new, key))}" for key in changed)
    return [f"{new.name!r}: {', '.join(words)}"]


def _grid_holds(old: Float | Int, new: Float | Int) -> bool:
    """Whether every value on the old grid lies on the new one; in decimals, as the steps are written."""
    if new.step is None:
        return True
    if old.step is None:
        return False
    step = Decimal(str(new.step))
    shift = Decimal(str(old.low)) - Decimal(str(new.low))
    return shift % step == 0 and Decimal(str(old.step)) % step == 0


def _condition_changes(space: Space, before: Mapping[str, Parameter], old: Parameter, new: Parameter) -> list[str]:
    was = {condition.parameter: condition.values for condition in old.when}
    now = {condition.parameter: condition.values for condition in new.when}
    if set(was) != set(now):
        raise _refusal(
            space,
            new,
            f"counted where {_names(was)} allowed it, now where {_names(now)} does: "
            "old trials would lack a value or have one too many",
            ELSEWHERE,
        )
    changes = []
    for name, values in was.items():
        gone = [value for value in values if value not in now[name]]
        more = [value for value in now[name] if value not in values]
        tried = [value for value in more if before[name].contains(value)]
        if gone or tried:
            raise _refusal(
                space,
                new,
                f"counted where {name!r} was one of {list(values)}, now where it is one of {list(now[name])}: "
                f"trials may have tried {name!r} = {(gone or tried)[0]!r} and would "
                + ("have a value too many" if gone else "lack a value"),
                ELSEWHERE,
            )
        if more:
            changes.append(f"{new.name!r} counts where {name!r} is {', '.join(map(repr, more))}, too")
        elif values != now[name]:
            changes.append(f"{new.name!r}: the values of its condition are in another order")
    return changes


def _names(conditions: Iterable[str]) -> str:
    return " and ".join(map(repr, conditions)) or "nothing"


def _word(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _refusal(space: Space, parameter: Parameter, problem: str, remedy: str) -> SpaceError:
    return SpaceError(f"space {space.name!r}, parameter {parameter.name!r}: {problem}; {remedy}")
