"""A space draws only valid configurations, keeps its fingerprint, and names what is wrong."""

import dataclasses
import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces.parameters import Categorical, Condition, Float, Int, Parameter, SpaceError
from search_spaces.space import Space, load_space

REASON = "Because the test says so."
BLOCKS = Int("network.blocks", 2, 4, reason=REASON)
FILTERS_3 = Int("network.filters_3", 16, 64, step=16, when=(Condition("network.blocks", (3, 4)),), reason=REASON)
KERNEL_3 = Categorical("kernel_3", (3, 5), when=(Condition("network.filters_3", (32,)),), reason=REASON)
NESTED = Space("nested", "A condition upon a condition.", (BLOCKS, FILTERS_3, KERNEL_3))


@st.composite
def parameters(draw: st.DrawFn, name: str, earlier: list[Parameter]) -> Parameter:
    """A parameter of any kind, sometimes under a condition on an earlier one that can hold."""
    when: tuple[Condition, ...] = ()
    discrete = [parameter for parameter in earlier if not isinstance(parameter, Float)]
    if discrete and draw(st.booleans()):
        other = draw(st.sampled_from(discrete))
        values = {other.sample(random.Random(seed)) for seed in draw(st.sets(st.integers(0, 20), min_size=1))}
        when = (Condition(other.name, tuple(sorted(values, key=str))),)
    reason = draw(st.text(min_size=1).filter(str.strip))
    kind = draw(st.sampled_from(["float", "log", "step", "int", "grid", "choice"]))
    low, width = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    if kind == "float":
        return Float(name, low / 7, low / 7 + width, when=when, reason=reason)
    if kind == "log":
        return Float(name, low / 1000, low / 1000 + width, log=True, when=when, reason=reason)
    if kind == "step":
        return Float(name, low / 4, low / 4 + width / 4, step=0.25, when=when, reason=reason)
    if kind == "int":
        return Int(name, low, low + width, log=draw(st.booleans()), when=when, reason=reason)
    if kind == "grid":
        return Int(name, low, low + 3 * width, step=3, when=when, reason=reason)
    choices = draw(st.lists(st.text(min_size=1).filter(str.isprintable), min_size=2, max_size=4, unique=True))
    return Categorical(name, tuple(choices), when=when, reason=reason)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """A valid space of one to six parameters."""
    made: list[Parameter] = []
    for number in range(draw(st.integers(1, 6))):
        made.append(draw(parameters(f"section.p{number}", made)))
    return Space("drawn", "Drawn by Hypothesis.", tuple(made))


def as_toml(space: Space) -> str:
    """Write a space as TOML; JSON's texts, numbers and lists are TOML's except for DEL, which TOML wants escaped."""

    def value(item: object) -> str:
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{value(key)} = {value(entry)}" for key, entry in item.items()) + " }"
        if isinstance(item, str):  # a code point beyond 16 bits is written as it is, not as a surrogate pair
            return json.dumps(item, ensure_ascii=False).replace("\x7f", "\\u007f")
        return "[" + ", ".join(map(value, item)) + "]" if isinstance(item, list) else json.dumps(item)

    mapping = space.to_mapping()
    lines = [f"name = {value(mapping['name'])}", f"description = {value(mapping['description'])}"]
    for name, declaration in mapping["parameters"].items():
        lines += [f"[parameters.{value(name)}]", *(f"{key} = {value(item)}" for key, item in declaration.items())]
    return "\n".join(lines)


@given(space=spaces(), seed=st.integers(0, 2**32))
def test_every_sample_is_a_point_of_the_space(space, seed):
    values = space.sample(random.Random(seed))
    space.validate(values)
    assert space.restrict({**values, "training.epochs": 12}) == values
    assert space.sample(random.Random(seed)) == values


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the file is overwritten each time
@given(space=spaces())
def test_toml_gives_the_same_space_back(space, tmp_path):
    path = tmp_path / "drawn.toml"
    path.write_text(as_toml(space), encoding="utf-8")
    assert load_space(path) == space
    assert load_space(str(path)).fingerprint == space.fingerprint
    assert Space.from_mapping(json.loads(json.dumps(space.to_mapping()))) == space


@given(space=spaces(), text=st.text(min_size=1).filter(str.strip))
def test_fingerprint_ignores_names_and_reasons_for_the_reader(space, text):
    other = tuple(dataclasses.replace(parameter, reason=text) for parameter in space.parameters)
    assert Space(text, text, other).fingerprint == space.fingerprint


@given(space=spaces(), data=st.data())
def test_fingerprint_changes_with_any_range_name_or_condition(space, data):
    index = data.draw(st.integers(0, len(space.parameters) - 1))
    old = space.parameters[index]
    changes: list[Parameter] = [dataclasses.replace(old, name="section.new")]
    if isinstance(old, Categorical):
        changes.append(dataclasses.replace(old, choices=(*old.choices, "".join(old.choices) + "+")))
        changes.append(dataclasses.replace(old, choices=tuple(reversed(old.choices))))
    else:
        step = old.step or 0.25
        changes.append(dataclasses.replace(old, high=old.high + step))
        changes.append(dataclasses.replace(old, low=old.low - step, high=old.high, log=False))
    if old.when:
        changes.append(dataclasses.replace(old, when=()))
    for new in changes:
        # Conditions of later parameters may refer to the changed one: they are dropped on both sides.
        rest = tuple(dataclasses.replace(parameter, when=()) for parameter in space.parameters[index + 1 :])
        before, after = (
            Space("drawn", "Drawn.", (*space.parameters[:index], parameter, *rest)) for parameter in (old, new)
        )
        assert after.fingerprint != before.fingerprint


def test_fingerprint_counts_the_order_because_samplers_draw_in_it():
    a, b = Int("a", 1, 2, reason=REASON), Int("b", 1, 2, reason=REASON)
    assert Space("s", "d", (a, b)).fingerprint != Space("s", "d", (b, a)).fingerprint


def test_fingerprint_of_a_whole_number_does_not_depend_on_its_spelling():
    whole, real = Float("a", 0, 1, reason=REASON), Float("a", 0.0, 1.0, reason=REASON)
    assert Space("s", "d", (whole,)).fingerprint == Space("s", "d", (real,)).fingerprint


def test_active_parameters_follow_the_values_chosen_so_far():
    def names(values):
        return [parameter.name for parameter in NESTED.active(values)]

    assert names({}) == ["network.blocks"]
    assert names({"network.blocks": 2}) == ["network.blocks"]
    assert names({"network.blocks": 3}) == ["network.blocks", "network.filters_3"]
    assert names({"network.blocks": 3, "network.filters_3": 32})[-1] == "kernel_3"
    # A value left over for an inactive parameter switches nothing on.
    assert names({"network.blocks": 2, "network.filters_3": 32}) == ["network.blocks"]
    assert NESTED.is_active("network.filters_3", {"network.blocks": 4})
    assert not NESTED.is_active("network.filters_3", {"network.blocks": 2})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"space 'nested', parameter 'network\.blocks': no value, expected an integer in 2\.\.4; give one"),
        ({"network.blocks": 5}, r"parameter 'network\.blocks': 5 is not an integer in 2\.\.4; choose a value within"),
        ({"network.blocks": True}, r"True is not an integer in 2\.\.4"),
        (
            {"network.blocks": 3},
            r"parameter 'network\.filters_3': no value, expected an integer in 16\.\.64 in steps of",
        ),
        (
            {"network.blocks": 2, "network.filters_3": 32},
            r"'network\.filters_3': 32 given, but it counts only where network\.blocks in \[3, 4\]; leave it out",
        ),
        ({"network.block": 2}, r"space 'nested': 'network\.block' is no parameter of it; known: network\.blocks, "),
    ],
)
def test_what_is_no_point_of_the_space_is_refused(values, message):
    with pytest.raises(SpaceError, match=message):
        NESTED.validate(values)


def test_restricting_a_configuration_outside_the_space_is_refused():
    with pytest.raises(SpaceError, match=r"parameter 'network\.blocks': 1 is not an integer in 2\.\.4"):
        NESTED.restrict({"network.blocks": 1, "training.epochs": 3})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ((), r"space 's': there is no parameter; declare at least one"),
        ((BLOCKS, BLOCKS), r"space 's', parameter 'network\.blocks': declared twice; remove one"),
        ((FILTERS_3, BLOCKS), r"'network\.filters_3': when refers to 'network\.blocks', which is not declared before"),
        ((FILTERS_3,), r"declare that parameter first"),
        (
            (BLOCKS, Int("b", 1, 2, when=(Condition("network.blocks", (3, 5)),), reason=REASON)),
            r"'b': when refers to 'network\.blocks' = 5, which cannot happen: it is an integer in 2\.\.4; correct",
        ),
        (
            (Float("a", 0, 1, reason=REASON), Int("b", 1, 2, when=(Condition("a", (1,)),), reason=REASON)),
            r"'b': when refers to 'a', a float; a condition needs a parameter of type int or categorical",
        ),
    ],
)
def test_impossible_space_is_refused(made, message):
    with pytest.raises(SpaceError, match=message):
        Space("s", "d", made)


HEAD = 'name = "s"\ndescription = "d"\n'
GOOD = '[parameters."a"]\ntype = "int"\nlow = 1\nhigh = 2\nreason = "r"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = \n", r"s\.toml: invalid TOML: Invalid value \(at line 1, column 8\); correct it there"),
        (HEAD + GOOD + GOOD, r"s\.toml: invalid TOML: .*line 8"),
        (HEAD, r"s\.toml: parameters missing; a space has name, description, parameters"),
        (HEAD + "author = 1\n" + GOOD, r"s\.toml: unknown key 'author'; a space has"),
        (HEAD + "parameters = 3\n", r"s\.toml: parameters=3 is no table; write \[parameters"),
        ('name = ""\ndescription = "d"\n' + GOOD, r"s\.toml: space '': name='' must be a text"),
        ('name = "s"\ndescription = 3\n' + GOOD, r"s\.toml: space 's': description=3 must be a text"),
        (HEAD + GOOD.replace("low = 1", "low = 9"), r"s\.toml: parameter 'a': low=9 must be below high=2; swap them"),
        (
            HEAD + GOOD.replace('"a"', "network.a"),
            r"s\.toml: parameter 'network': 'a' is a table; put the name in quot",
        ),
        (HEAD + GOOD.replace('reason = "r"', ""), r"s\.toml: parameter 'a': reason missing"),
        (HEAD + GOOD + "lo = 3", r"s\.toml: parameter 'a': unknown key 'lo'"),
        (HEAD + GOOD + "when = { b = [1] }", r"s\.toml: space 's', parameter 'a': when refers to 'b'"),
    ],
)
def test_bad_file_is_named_with_the_place(text, message, tmp_path):
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SpaceError, match=message) as caught:
        load_space(tmp_path / "s.toml")
    assert "\n" not in str(caught.value)


def test_missing_file_and_unknown_name_list_what_is_shipped(tmp_path):
    with pytest.raises(SpaceError, match=r"no\.toml: cannot be read \(No such file or directory\); .*quickstart"):
        load_space(tmp_path / "no.toml")
    with pytest.raises(SpaceError, match="'small' is unknown; shipped: baseline, course, extended, quick"):
        load_space("small")


def test_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "s.toml").write_bytes('name = "Größe"'.encode("latin-1"))
    with pytest.raises(SpaceError, match=r"s\.toml: byte 10 is not UTF-8; save the file as UTF-8"):
        load_space(tmp_path / "s.toml")


def test_parameter_that_is_no_field_or_of_another_type_is_refused():
    fields = {"network.blocks": int, "training.learning_rate": float}
    space = Space("s", "d", (Int("network.block", 1, 2, reason=REASON),))
    with pytest.raises(SpaceError, match=r"'network\.block': no field of the configuration; did you mean 'network\.bl"):
        space.check_fields(fields)
    space = Space("s", "d", (Int("zzz", 1, 2, reason=REASON),))
    with pytest.raises(SpaceError, match=r"'zzz': no field .*; known: network\.blocks, training\.learning_rate"):
        space.check_fields(fields)
    space = Space("s", "d", (Categorical("network.blocks", ("2", "3"), reason=REASON),))
    with pytest.raises(SpaceError, match=r"its values are of type str, the field is of type int; change the type"):
        space.check_fields(fields)
