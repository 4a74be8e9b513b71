"""What a reader must know before believing a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from logitcache.study.evidence import Evidence
from logitcache.study.rows import Group, Row, differing_settings

_LONGER = 1.01  # times the baseline's rows: less is a last batch, not a longer training


def notes_on_evidence(evidence: Evidence) -> Iterator[str]:
    """Where the rows that were scored come from, unless somebody gave them."""
    if evidence.held_out is not None:
        yield (
            f"no labelled rows were given to score on: the {evidence.held_out:,} {evidence.rows} were held out of the "
            f"training table ({evidence.rule})"
        )


def notes_on(
    groups: Sequence[Group],
    matched: Sequence[Group | None],
    bases: Sequence[Group],
    rows: Sequence[Row],
    baseline: str,
    resamples: int,
) -> Iterator[str]:
    """The notes, one by one. ``matched`` gives each group's baseline, ``bases`` all groups of the baseline."""
    if not bases:
        yield f"no result of {baseline!r} is here, so there are no differences; found {_labels(rows)}"
    unclear = [row for row, group, one in zip(rows, groups, matched, strict=True) if one is None and group not in bases]
    if bases and unclear:
        names = _labels(bases)
        yield f"which of {names} to set against {_labels(unclear)} is not clear; name one with --baseline"
    yield from _on_rows(rows)
    yield from _on_tests(rows, resamples)
    for group, one, row in zip(groups, matched, rows, strict=True):
        if one is not None:
            yield from _on_pair(group, one, row)
            yield from _on_length(group, one)


def _labels(labelled: Sequence[Group] | Sequence[Row]) -> str:
    return ", ".join(each.label for each in labelled)


def _on_rows(rows: Sequence[Row]) -> Iterator[str]:
    if len({(row.train_rows, row.unlabelled_rows) for row in rows}) > 1:
        sizes = ", ".join(f"{row.label} {_size(row)}" for row in rows)
        yield f"not all were trained on the same number of rows: {sizes}"


def _size(row: Row) -> str:
    labelled = f"{row.train_rows:,} labelled"
    return f"{labelled} + {row.unlabelled_rows:,} unlabelled" if row.unlabelled_rows else labelled


def _on_tests(rows: Sequence[Row], resamples: int) -> Iterator[str]:
    compared = [(row, row.difference) for row in rows if row.difference is not None]
    if len(compared) > 1:
        yield f"p values and intervals are not corrected for making {len(compared)} comparisons at once"
    taught = [row for row, _ in compared if row.method == "kd"] or [row for row, _ in compared]
    if len(taught) > 1:
        yield f"the verdict is on the best of {_labels(taught)}, chosen by the very scores it judges"
    fewest = min((d.interval.resamples for _, d in compared if d.interval is not None), default=resamples)
    if fewest < resamples:
        yield f"the bootstrap drew {fewest:,} resamples, not {resamples:,}: there are many rows"
    bare = [row for row, difference in compared if difference.interval is None]
    if bare:
        yield f"predictions do not give {bare[0].metric}, so there is no interval over rows"


def _on_pair(group: Group, baseline: Group, row: Row) -> Iterator[str]:
    names = differing_settings(group, baseline, {*group.settings, *baseline.settings})
    pairs = [f"{name} {group.settings.get(name)} and {baseline.settings.get(name)}" for name in names]
    if pairs:
        yield f"{row.label} and {baseline.label} differ in more than the method: {', '.join(pairs)}"
    unpaired = [seed for seed in row.values if seed not in baseline.results]
    if unpaired:
        seeds = ", ".join(map(str, unpaired))
        yield f"{row.label}: {baseline.label} has no run of seed {seeds}; the difference is over the other seeds"


def _on_length(group: Group, baseline: Group) -> Iterator[str]:
    shared = group.results.keys() & baseline.results.keys()
    ours, theirs = (sum(each.results[seed].rows_seen for seed in shared) for each in (group, baseline))
    if 0 < _LONGER * theirs < ours:
        ratio, n = ours / theirs, len(shared)
        times = f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2f}"
        yield (
            f"{group.label} saw {times} x as many rows in training as {baseline.label} "
            f"({ours / n:,.0f} against {theirs / n:,.0f}): part of a difference may be the longer training"
        )
