"""What is done to FITS pictures, beyond damaged bytes: cards of their header that claim something else."""

from __future__ import annotations

import random
from pathlib import Path

from fuzz.mutations import Mutation

_CARD, _BLOCK = 80, 2880
_NUMBERS = (
    "0",
    "1",
    "-1",
    "2",
    "7",
    "99999999",
    "999999999999999999",
    "-999",
    "1E999",
    "NaN",
    "0.5",
    "'text'",
    "T",
    "",
)
_MORE = (
    "BZERO",
    "BSCALE",
    "BLANK",
    "EXTEND",
    "GROUPS",
    "PCOUNT",
    "GCOUNT",
    "NAXIS3",
    "XTENSION",
    "CHECKSUM",
    "CONTINUE",
)


def in_fits(path: Path, rng: random.Random) -> Mutation:
    """Change, remove or add a card of the header, or the picture behind it."""
    data = bytearray(path.read_bytes())
    header = _BLOCK * (1 + data.index(b"END".ljust(_CARD)) // _BLOCK)
    cards = [bytes(data[at : at + _CARD]) for at in range(0, header, _CARD)]
    end = cards.index(b"END".ljust(_CARD))
    way = rng.randrange(7)
    if way < 3:
        at = rng.randrange(end)
        value = rng.choice(_NUMBERS)
        cards[at] = cards[at][:10] + value.rjust(20).encode().ljust(_CARD - 10)
        label = f"{cards[at][:8].decode().strip()} = {value}"
    elif way == 3:
        at = rng.randrange(end + 1)
        label = f"no {cards[at][:8].decode().strip()}"
        del cards[at]
        cards.append(b"".ljust(_CARD))
    elif way == 4:
        name, value = rng.choice(_MORE), rng.choice(_NUMBERS)
        cards[end : end + 2] = [f"{name:<8}= {value:>20}".encode().ljust(_CARD), cards[end]]
        label = f"{name} = {value}"
    elif way == 5:
        at = rng.randrange(end)
        cards[at] = cards[at][:9] + bytes(rng.randrange(256) for _ in range(_CARD - 9))
        label = f"{cards[at][:8].decode(errors='replace').strip()} of any bytes"
    else:
        del data[header + rng.randrange(max(len(data) - header, 1)) :]
        path.write_bytes(bytes(data))
        return Mutation("a picture cut short", is_meaning=False)
    path.write_bytes(b"".join(cards)[:header] + bytes(data[header:]))
    return Mutation(label)
