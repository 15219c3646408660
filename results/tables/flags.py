"""Which images were right, as the short text of an `epoch` event: one bit an image."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from results.errors import RecordError


def pack_flags(flags: Sequence[bool]) -> str:
    """Return flags as text: eight in a byte, the first one in the highest bit, in base64; `n` is not in it."""
    padded = [*flags, *[False] * (-len(flags) % 8)]
    packed = bytes(sum(bool(f) << (7 - k) for k, f in enumerate(padded[i : i + 8])) for i in range(0, len(padded), 8))
    return base64.b64encode(packed).decode("ascii")


def unpack_flags(text: str, n: int) -> list[bool]:
    """Return the first `n` flags of what `pack_flags` wrote.

    Raises:
        RecordError: No such text, or of another number of flags.
    """
    try:
        packed = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RecordError(f"flags {text[:20]!r} are not base64; restore the log from a copy") from error
    if len(packed) != -(-n // 8):
        raise RecordError(f"flags of {8 * len(packed)} bits do not belong to {n} images; restore the log from a copy")
    return [bool(packed[i // 8] >> (7 - i % 8) & 1) for i in range(n)]
