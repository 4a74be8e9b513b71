"""``logitcache dump``: a teacher over one split, into a cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from math import log
from typing import Any

import click

from logitcache.config.dump import DumpConfig
from logitcache.errors import SpecError
from logitcache.processes import check_count
from logitcache.ranks import launched_rank
from logitcache.reporter import SILENT, Once, Reporter, progress

from .options import SharedCommand, as_json, options, typed
from .progress import lines, show
from .workers import run_parts, words_typed

# over the parts of a dump
SUMMED = ("teacher_rows", "reused_rows", "rows_per_second", "tokens_per_second")


@click.command(cls=SharedCommand)
@options("dump")
@as_json
def command(as_json: bool, workers: int | None, **values: Any) -> None:
    """Ask a teacher about every row of one split, once, and store what it says.

    Running the same command again goes on where it stopped. Ends with a report of what the teacher
    knows.
    """
    from logitcache.targets.table import codec_of_logits  # not for --help, as it loads numpy

    rank = launched_rank()
    if rank is not None and values["part"] is not None:
        if rank[0] > 0:  # the part was named: the first makes it
            return
        rank = None
    if rank is not None:
        values["part"] = (rank[0] + 1, rank[1])
    config = typed(DumpConfig, values)
    codec_of_logits(config.settings)  # without torch, which the stage needs
    document: dict[str, Any] | None
    if workers is not None:
        document = dump_by_workers(config, workers)
    elif rank is None:
        document = dump_here(config, progress())
    else:
        document = dump_by_ranks(config, is_first=rank[0] == 0)
    if document is not None:
        show(document, as_json, partial(render, by_model=config.teacher.answers is None))


def dump_here(config: DumpConfig, reporter: Reporter) -> dict[str, Any]:
    """The document of a dump made by this process."""
    from logitcache.stages.dump import dump

    return to_json(dump(config, reporter=reporter))


def dump_by_ranks(config: DumpConfig, is_first: bool) -> dict[str, Any] | None:
    """The document of all parts on the first rank, None on the others. Where the launcher does not
    say how ranks find one another, each has its own.
    """
    from logitcache.ranks import can_meet, check_meeting, gathered

    if not can_meet():
        return dump_here(config, progress())
    check_meeting()
    documents = gathered(dump_here(config, progress() if is_first else SILENT))
    return merged(documents) if is_first else None


def dump_by_workers(config: DumpConfig, workers: int) -> dict[str, Any]:
    """The document of a dump made by processes of its own, one for each part."""
    if config.part is not None or config.overwrite:
        flag = "--part" if config.part is not None else "--overwrite"
        raise SpecError(
            expected=f"--workers without {flag}", found="both", advice="Leave one of them out."
        )
    check_count(workers)
    reporter = Once(progress())
    if config.teacher.answers is None:  # a model is trained once, before the parts need it
        from logitcache.stages.dump import load_panel
        from logitcache.stages.rows import load

        load_panel(config, load(config, reporter), reporter)
    words = words_typed(click.get_current_context(), ("workers", "as_json"))
    return merged(list(map(json.loads, run_parts(words, workers, reporter))))


def to_json(report: Any) -> dict[str, Any]:
    """The document of ``dump --json``: the fields of a DumpReport."""
    from logitcache.data.tasks.table import TASKS  # not for --help, as it loads numpy

    scores = report.scores or report.dev_scores
    metric = scores.get(TASKS[report.task].main_score)
    document = {**vars(report), "cache": str(report.cache), "teacher_metric": metric}
    if report.unlabelled is not None:
        document["unlabelled"] = to_json(report.unlabelled)
    document["held_out"] = list(map(to_json, report.held_out))
    return document


def merged(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """One document of several parts': that of the part that sealed the cache, with what all of them
    did.
    """
    sealing_part = max(documents, key=lambda document: (document["complete"], document["rows"]))
    document = dict(sealing_part)
    for key in SUMMED:
        document[key] = sum(part[key] for part in documents)
    document["seconds"] = max(part["seconds"] for part in documents)
    if document["unlabelled"] is not None:
        document["unlabelled"] = merged([part["unlabelled"] for part in documents])
    document["held_out"] = []
    for index in range(len(sealing_part["held_out"])):
        parts_of_split = [part["held_out"][index] for part in documents]
        document["held_out"].append(merged(parts_of_split))
    return document


def render(document: dict[str, Any], *, by_model: bool = True) -> str:
    """The report that ends a dump. ``by_model`` is False where no model ran, as answers existed."""
    pairs = [*_size(document, by_model), *_teacher(document)]
    pairs += [("note", remark) for remark in document["remarks"]]
    splits = [*document["held_out"]]
    if document["unlabelled"] is not None:
        splits.insert(0, document["unlabelled"])
    return "\n\n".join(
        [lines(pairs, width=10), *(render(part, by_model=by_model) for part in splits)]
    )


def _size(document: dict[str, Any], by_model: bool) -> Iterator[tuple[str, str]]:
    """The cache, its rows and its size."""
    rows = document["rows"]
    yield (
        "cache",
        document["cache"] if document["complete"] else f"{document['cache']} (not finished)",
    )
    yield "rows", f"{rows:,} ({_origin(document, by_model)})"
    size = f"{document['bytes'] / max(1, rows):.0f} a row"
    if document["positions"] > rows:
        size += f", {document['bytes'] / document['positions']:.1f} a token"
        if document["codec_bytes"]:
            share = document["codec_bytes"] / document["positions"]
            size += f": {share:.1f} of the codec, the rest of rows, tokens, labels and file headers"
    yield "size", f"{document['bytes']:,} bytes ({size})"
    if document["cut_rows"]:
        share = document["cut_rows"] / rows
        first = document["first_cut"]
        yield (
            "cut",
            f"{document['cut_rows']:,} rows ({share:.1%}) at max length, first: row {first}",
        )


def _origin(document: dict[str, Any], by_model: bool) -> str:
    """How many rows saw the teacher, were copied, or have no answer."""
    if not by_model:
        text = f"{document['teacher_rows']:,} read now, {document['seconds']:.1f} s"
    else:
        text = f"{document['teacher_rows']:,} saw the teacher now"
    if by_model and document["teacher_rows"]:
        rows_per_second = f"{document['rows_per_second']:,.0f} rows/s"
        tokens_per_second = f"{document['tokens_per_second']:,.0f} tokens/s"
        text += f": {rows_per_second}, {tokens_per_second}, {document['seconds']:.1f} s"
    if document["reused_rows"]:
        text += f"; {document['reused_rows']:,} copied"
    if document["skipped_rows"]:
        text += f"; {document['skipped_rows']:,} without an answer"
    return text


def _teacher(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How sure the teacher is, and how often it is right."""
    from logitcache.data.tasks.table import TASKS

    scored = document["scored_positions"]
    if document["scores"] and scored + document["skipped_rows"] < document["positions"]:
        yield "sample", f"entropy and scores are of {scored:,} of {document['positions']:,} tokens"
    if document["entropy"] is not None:
        uniform = log(document["num_labels"])
        yield (
            "entropy",
            f"{document['entropy']:.3f} nats on average (uniform answers: {uniform:.3f})",
        )
    task = TASKS[document["task"]]
    unit = "labels" if task.per_token else "rows"
    dev = f"dev ({document['dev_rows']:,} {unit})"
    for rows, scores in (("these rows", document["scores"]), (dev, document["dev_scores"])):
        if scores:
            yield "teacher", task.teacher_in_words(scores, rows)
    if document["folds"]:
        yield (
            "folds",
            f"{document['folds']} teachers: no row was answered by one that was trained on it",
        )
