import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.errors import RecordError
from results.tables.ties import pack_flags, unpack_flags


@given(st.lists(st.booleans(), max_size=70))
def test_flags_survive_their_text_at_an_eighth_of_a_byte(flags: list[bool]) -> None:
    text = pack_flags(flags)
    assert unpack_flags(text, len(flags)) == flags
    assert len(text) <= 4 * (len(flags) / 24 + 1)


def test_the_first_flag_is_the_highest_bit() -> None:
    assert pack_flags([True, False, False, False, False, False, False, True]) == "gQ=="  # 0x81


@pytest.mark.parametrize(
    ("text", "n", "message"),
    [
        ("no base 64!", 8, r"flags 'no base 64!' are not base64; restore the log"),
        ("gQ==", 9, r"flags of 8 bits do not belong to 9 images; restore the log"),
    ],
)
def test_flags_that_cannot_be_read_are_refused(text: str, n: int, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        unpack_flags(text, n)
