"""The epochs of one trial by their numbers; those of one that has ended are packed, as a run may have a million."""

from __future__ import annotations

import functools
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgspec

from results.log.records import Epoch

_NAMES = tuple(f.name for f in fields(Epoch))
_values = attrgetter(*_NAMES)


class Epochs(Mapping[int, Epoch]):
    """Epochs in the order in which they were added. Packed ones take less memory and are read the same."""

    __slots__ = ("_numbers", "_packed", "_records")

    def __init__(self) -> None:
        self._records: dict[int, Epoch] | None = {}
        self._packed = b""
        self._numbers: tuple[int, ...] = ()  # of packed ones

    def __getitem__(self, number: int) -> Epoch:
        return self._by_number()[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers if self._records is None else self._records)

    def __len__(self) -> int:
        return len(self._numbers if self._records is None else self._records)

    def values(self) -> ValuesView[Epoch]:
        """Return the epochs."""
        return self._by_number().values()

    def items(self) -> ItemsView[int, Epoch]:
        """Return the epochs with their numbers."""
        return self._by_number().items()

    def __repr__(self) -> str:
        return repr(dict(self))

    def add(self, epoch: Epoch) -> None:
        """Add an epoch; one of the same number gives way to it."""
        self._unpack()[epoch.epoch] = epoch

    def cut(self, last: int) -> None:
        """Forget the epochs after `last`."""
        self._records = {number: epoch for number, epoch in self._unpack().items() if number <= last}

    def pack(self) -> None:
        """Keep them in less memory, until the next one is added."""
        if self._records:
            self._numbers = _shared(tuple(self._records))
            self._packed = msgspec.msgpack.encode([_values(epoch) for epoch in self._records.values()])
            self._records = None

    def _unpack(self) -> dict[int, Epoch]:
        if self._records is None:
            self._records, self._packed, self._numbers = dict(self._by_number()), b"", ()
        return self._records

    def _by_number(self) -> dict[int, Epoch]:
        return _unpacked(self._packed) if self._records is None else self._records


@functools.lru_cache(maxsize=4096)
def _shared(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return one tuple for all that are equal: most trials have the epochs 1, 2, 3."""
    return numbers


@functools.lru_cache(maxsize=8)  # who looks at one epoch of a trial looks at the others next
def _unpacked(packed: bytes) -> dict[int, Epoch]:
    rows: list[list[Any]] = msgspec.msgpack.decode(packed)
    records = (msgspec.convert(dict(zip(_NAMES, row, strict=True)), Epoch) for row in rows)
    return {record.epoch: record for record in records}
