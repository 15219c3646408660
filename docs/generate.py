"""Write the generated parts of `run-folder.md` anew, from the records themselves: `python docs/generate.py`."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from results import receipt, records

PAGE = Path(__file__).with_name("run-folder.md")
TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


def generated(page: str) -> str:
    """Return the page with what stands between each pair of markers made anew."""
    parts = {
        "events": "\n\n".join(f"**`{kind}`**: {_described(cls)}" for kind, cls in records.EVENTS.items()),
        "receipt": "\n\n".join(
            f"**{cls.__name__}**: {_described(cls)}" for cls in (receipt.Receipt, receipt.Environment)
        ),
    }
    for name, text in parts.items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{text}\n{rest[rest.index(end) :]}"
    return page


def _described(cls: type) -> str:
    """Return what a record says of itself and, in a line of their own, its fields."""
    return f"{' '.join(inspect.cleandoc(cls.__doc__ or '').split())}\n<br>{' · '.join(_fields(cls))}"


def _fields(cls: type) -> list[str]:
    source = inspect.getsource(cls)
    lines = source.splitlines()
    found = []
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id != "kind":
            comment = lines[(node.end_lineno or 1) - 1].partition("  # ")[2]
            note = f" ({comment.strip()})" if comment else ""
            found.append(f"`{node.target.id}` {_type(ast.unparse(node.annotation), node.value is not None)}{note}")
    return found


def _type(annotation: str, may_be_missing: bool) -> str:
    plain = annotation.removesuffix(" | None")
    if plain.startswith("Mapping"):
        word = "object"
    elif plain.startswith("tuple"):
        word = "list"
    else:
        word = TYPES[plain]
    return f"{word}?" if may_be_missing else f"{word} or null" if plain != annotation else word


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
