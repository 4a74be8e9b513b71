"""Notes that a reader of a comparison must know before believing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from logitcache.study.evidence import Evidence
from logitcache.study.results import Result
from logitcache.study.rows import Group, Row, differing_settings
from logitcache.study.verdict import judged_rows

_LONGER = 1.01  # times the baseline's rows: less is a last batch, not a longer training


def notes_on_evidence(evidence: Evidence) -> Iterator[str]:
    """Where the rows that were scored come from, unless somebody gave them."""
    if evidence.held_out is not None:
        yield (
            f"no labelled rows were given to score on: the {evidence.held_out:,} {evidence.rows} were held out of the "
            f"training table ({evidence.rule})"
        )


def notes_on_constant(groups: Sequence[Group], split: str) -> Iterator[str]:
    """The students that give one class to all rows: a difference between two of them says nothing."""
    constant = {}
    for group in groups:
        answers = [result.predictions[split] for result in group.results.values()]
        count = sum(predictions.are_constant for predictions in answers)
        if count:
            constant[group.label] = f"{group.label} {count} of {len(answers)}"
    if constant:
        yield (
            f"students that give one class to all {split} rows, as if they had learnt nothing: "
            f"{', '.join(constant.values())}. Train them longer (--epochs) or with a higher --learning-rate"
        )


def notes_on_versions(results: Sequence[Result]) -> Iterator[str]:
    """A note where the results were not all made by one state of the code and its libraries."""
    versions: Counter[str] = Counter()
    for result in results:
        names = [f"{name} {version}" for name, version in sorted(result.versions.items())]
        versions[", ".join(names) or "unknown versions"] += 1
    if len(versions) > 1:
        listed = "; ".join(f"{count} of {name}" for name, count in versions.items())
        yield f"these results were made by different versions: {listed}"


def notes_on(
    groups: Sequence[Group],
    matched: Sequence[Group | None],
    bases: Sequence[Group],
    rows: Sequence[Row],
    baseline: str,
    resamples: int,
) -> Iterator[str]:
    """The notes. ``matched``: each group's baseline, ``bases``: all groups of the baseline."""
    if not bases:
        yield f"no result of {baseline!r} is here, so there are no differences; found {_labels(rows)}"
    unmatched = []
    for group, base in zip(groups, matched, strict=True):
        if base is None and group not in bases:
            unmatched.append(group)
    if bases and unmatched:
        names = _labels(bases)
        yield f"which of {names} to set against {_labels(unmatched)} is not clear; name one with --baseline"
    yield from _rows_note(rows)
    yield from _test_notes(rows, resamples)
    for group, base in zip(groups, matched, strict=True):
        if base is not None:
            yield from _pair_notes(group, base)
            yield from _length_note(group, base)


def _labels(labelled: Sequence[Group] | Sequence[Row]) -> str:
    return ", ".join(item.label for item in labelled)


def _rows_note(rows: Sequence[Row]) -> Iterator[str]:
    sizes = []
    for row in rows:
        unlabelled = f" + {row.unlabelled_rows:,} unlabelled" if row.unlabelled_rows else ""
        sizes.append(f"{row.train_rows:,} labelled{unlabelled}")
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{row.label} {size}" for row, size in zip(rows, sizes, strict=True))
        yield f"not all were trained on the same number of rows: {listed}"


def _test_notes(rows: Sequence[Row], resamples: int) -> Iterator[str]:
    compared = [row for row in rows if row.difference is not None]
    if len(compared) > 1:
        yield f"p values and intervals are not corrected for making {len(compared)} comparisons at once"
    judged = judged_rows(rows)
    if len(judged) > 1:
        yield f"the verdict is on the best of {_labels(judged)}, chosen by the very scores it judges"
    intervals = [row.difference.interval for row in compared if row.difference is not None]
    fewest = min(
        (interval.resamples for interval in intervals if interval is not None), default=resamples
    )
    if fewest < resamples:
        yield f"the bootstrap drew {fewest:,} resamples, not {resamples:,}: there are many rows"
    if None in intervals:
        yield f"predictions do not give {compared[0].metric}, so there is no interval over rows"


def _pair_notes(group: Group, baseline: Group) -> Iterator[str]:
    names = differing_settings(group, baseline, {*group.settings, *baseline.settings})
    pairs = []
    for name in names:
        pairs.append(f"{name} {group.settings.get(name)} and {baseline.settings.get(name)}")
    if pairs:
        yield f"{group.label} and {baseline.label} differ in more than the method: {', '.join(pairs)}"
    unpaired = [seed for seed in group.results if seed not in baseline.results]
    if unpaired:
        seeds = ", ".join(map(str, unpaired))
        yield f"{group.label}: {baseline.label} has no run of seed {seeds}; the difference is over the other seeds"


def _length_note(group: Group, baseline: Group) -> Iterator[str]:
    seeds = group.results.keys() & baseline.results.keys()
    rows = sum(group.results[seed].rows_seen for seed in seeds)
    baseline_rows = sum(baseline.results[seed].rows_seen for seed in seeds)
    if 0 < _LONGER * baseline_rows < rows:
        ratio = rows / baseline_rows
        times = f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2f}"
        means = f"{rows / len(seeds):,.0f} against {baseline_rows / len(seeds):,.0f}"
        yield (
            f"{group.label} saw {times} x as many rows in training as {baseline.label} ({means}): part of a difference "
            "may be the longer training"
        )
