"""What replayed searches say, in lines: what was recorded, and regrets by epochs and by simulated time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from results.stats.intervals import Estimate
from results.text import printable
from tune.replay.comparison import Replayed, over_seeds, table
from tune.replay.nearest import Nearest


def recorded_text(nearest: Nearest) -> str:
    """Return what there is to replay from, and what speaks against it."""
    recorded, objective = nearest.recorded, nearest.objective
    curves, cut = len(recorded.curves), sum(curve.is_cut for curve in recorded.curves)
    best = objective.merit(nearest.best)
    cuts = f"{cut / curves:.0%} were cut by a stop and are used as far as they go" if cut else "no stop has cut one"
    lines = [f"warning: {printable(doubt)}" for doubt in recorded.doubts]
    lines += [
        f"{curves} curves of {len(nearest.curves)} configurations, at most {nearest.max_epochs} epochs; {cuts}",
        f"best configuration: mean {objective.words} {best:.4f}; a blind choice: {objective.merit(nearest.blind):.4f}; "
        f"between nearest neighbours: {nearest.doubt:.4f} (median)",
    ]
    if recorded.left_out:
        lines.append(f"trials without a curve, as they failed or have no epoch: {recorded.left_out}")
    if cut:
        lines.append("what a stop has cut off is not known: many cut curves speak for the stopping rule that cut them")
    return "\n".join(lines)


def replayed_text(nearest: Nearest, replayed: Sequence[Replayed]) -> str:
    """Return the two tables and what each variant took."""
    lines = [
        f"regret of {printable(nearest.objective.words)}: by how much the delivered configuration's mean is worse than "
        f"the best recorded one's;",
        f"mean over {len(replayed[0].traces)} seeds (95 % interval); differences are paired by seed",
    ]
    for axis in ("epochs", "seconds"):
        lines += ["", *_table_lines(nearest, replayed, axis)]
    lines += ["", *_ends(replayed)]
    return "\n".join(lines)


def _table_lines(nearest: Nearest, replayed: Sequence[Replayed], axis: str) -> Iterator[str]:
    places, rows = table(nearest, replayed, axis)
    title, unit = ("epochs trained", "") if axis == "epochs" else ("simulated time", " s")
    cells = [[title, *(f"{place:.0f}{unit}" for place in places), "average"]]
    cells += [[row.name, *(f"{one:.4f}" for one in (*row.regrets, row.average))] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        yield f"{first:<{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(others, widths[1:], strict=True))


def _ends(replayed: Sequence[Replayed]) -> Iterator[str]:
    for one in replayed:
        epochs, seconds = (_of(one, name) for name in ("epochs", "seconds"))
        trials, beyond = (sum(getattr(t, name) for t in one.traces) for name in ("trials", "beyond"))
        more = f"; {beyond / trials:.0%} of the trials ended where their recorded curve does" if beyond else ""
        yield f"{one.variant.name}: {epochs:.0f} epochs in {seconds:.0f} simulated seconds{more}"


def _of(one: Replayed, name: str) -> Estimate:
    return over_seeds([float(getattr(trace, name)) for trace in one.traces])
