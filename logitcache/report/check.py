"""What ``check`` found, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from logitcache.data.findings import MEANINGS, Fault, Finding
from logitcache.data.match import shown
from logitcache.data.rows import Source
from logitcache.data.sources.advice import read_by_pandas, reshape
from logitcache.data.sources.hints import option
from logitcache.data.tasks.table import TASKS
from logitcache.errors import counted, visible
from logitcache.report.words import aligned
from logitcache.stages.check import Report

MOST_CLASSES = 12  # with a line each
OFTEN = 0.2  # share of contradicting rows that are rather answers of several people
OF_ANNOTATORS = (
    "If they are about parts of a text, mark these in it; answers of several people are votes: make "
    "them one row"
)
Columns = Mapping[str, Sequence[str]]  # of a table, by their headers


def check_text(report: Report) -> str:
    """The report on a terminal; without the first refusal, which is what the command ends with."""
    lines = [_title(report), "", *_table(_sizes(report))]
    classes = _classes(report) if TASKS[report.source.task].fixed_label is None else {}
    if classes:
        lines += ["", *_table(classes)]
    if report.match is not None:
        lines += ["", shown(report.match)]
    serious = [finding for finding in report.findings if finding.is_serious]
    minor = [finding for finding in report.findings if not finding.is_serious]
    for title, findings in (("Serious", serious), ("Worth a look", minor)):
        lines += _findings(title, findings, report.source)
    if not report.findings and not report.refusals:
        lines += ["", "No findings."]
    if report.refusals[1:]:
        lines += [
            "",
            "Would be refused too:",
            *(f"  {error.kind}: {error}" for error in report.refusals[1:]),
        ]
    return "\n".join(map(visible, lines))


def _title(report: Report) -> str:
    rows = sum(shape.rows for shape in report.checkup.splits)
    classes = ""
    if TASKS[report.source.task].fixed_label is None:
        classes = f", {counted(report.source.num_labels, 'class')}"
    return f"{report.source.name}: {counted(rows, 'row')}{classes} ({report.source.task})"


def _table(columns: Columns) -> Iterator[str]:
    cells = [[header, *column] for header, column in columns.items()]
    yield from aligned(list(zip(*cells, strict=True)))


def _sizes(report: Report) -> Columns:
    shapes = report.checkup.splits
    headers = ("split", "rows", "labelled", "words: median", "99 %", "longest")
    columns: dict[str, list[str]] = {header: [] for header in headers}
    for shape in shapes:
        name = f"{shape.name} (held out)" if shape.is_held_out else shape.name
        cells = [name, f"{shape.rows:,}", f"{shape.labelled:,}", "", "", ""]
        for words in shape.lengths[:1]:
            cells[3:] = [f"{words.median:,.0f}", f"{words.high:,.0f}", f"{words.longest:,}"]
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    for model, lengths in report.tokens.items():
        high = columns.setdefault(f"tokens of {model}: 99 %", [])
        longest = columns.setdefault(f"longest ({model})", [])
        for shape in shapes:
            tokens = lengths.get(shape.name)
            high.append("" if tokens is None else f"{tokens.high:,.0f}")
            longest.append("" if tokens is None else f"{tokens.longest:,}")
    return columns


def _classes(report: Report) -> Columns:
    """Rows of each class, by split; the largest classes of train alone where there are many."""
    shapes = [shape for shape in report.checkup.splits if shape.labelled]
    if not shapes:
        return {}
    order = shapes[0].counts.argsort(kind="stable")[::-1]
    names = report.class_names
    if len(order) > MOST_CLASSES:
        order = order[:MOST_CLASSES]
    else:
        order.sort()
    columns = {"class": [names[index] for index in order]}
    for shape in shapes:
        total = shape.counts.sum()
        counts = shape.counts[order]
        columns[shape.name] = [f"{count:,} ({count / total:.1%})" for count in counts]
    if len(names) > len(order):
        columns["class"].append(f"… {len(names) - len(order):,} more")
        for shape in shapes:
            unlisted = int(shape.counts.sum() - shape.counts[order].sum())
            columns[shape.name].append(f"{unlisted:,}")
    return columns


def _findings(title: str, findings: list[Finding], source: Source) -> Iterator[str]:
    if not findings:
        return
    yield from ("", f"{title}:")
    for finding in findings:
        share = finding.count / max(1, finding.of)
        count = f"{finding.count:,} of {finding.of:,} {finding.unit} ({share:.1%})"
        yield f"  {finding.split}: {count}: {MEANINGS[finding.fault]}"
        first = []
        if finding.place is not None:
            first.append(f"first: {finding.place}")
        if finding.detail:
            first.append(finding.detail)
        if finding.text is not None:
            first.append(f'"{finding.text}"')
        if first:
            yield f"    {'; '.join(first)}"
        if finding.fault is Fault.CONTRADICTION and share >= OFTEN:
            yield f"    {OF_ANNOTATORS}{_votes_by_text(source)}"


def _votes_by_text(source: Source) -> str:
    """The command that makes the labels of equal texts a list of votes, where pandas reads the rows."""
    table = source.origins.get("train")
    path = Path("" if table is None else table.path)
    rows = read_by_pandas(path)
    names = [name for name in (*source.texts, source.label_column) if name is not None]
    if not rows or source.label_column is None or any("." in name for name in names):
        return f", with a list of them as its label, and give dump {option('--teacher', 'column:LABEL')}"
    label = source.label_column
    named = f"{option('--label', label)} {option('--teacher', f'column:{label}')}"
    if "," not in label:
        command = reshape("votes-by-text", [path], names, "OUT.jsonl")
        return f": {command}, and give dump --data OUT.jsonl {named}"
    # a column of 0 and 1 for each class
    texts = [name for name in source.texts if name is not None]
    grouped = f"{rows}.groupby({texts}, as_index=False, sort=False)"
    votes = f"{grouped}[{label.split(',')}].agg(lambda v: v.astype(int).sum())"
    command = f"python -c \"import pandas; {votes}.to_parquet('OUT.parquet')\""
    return f", {command}, and give dump --data OUT.parquet {named}"
