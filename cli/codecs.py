"""``logitcache codecs``: what each codec keeps of a teacher's answers, measured on a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from logitcache.config.codecs import CodecsConfig, check_vocabulary
from logitcache.config.dump import DumpConfig
from logitcache.config.signals import vector_signals
from logitcache.reporter import progress
from logitcache.targets.table import codec_of_logits, parse

from .options import Command, as_json, options, typed
from .progress import show

BESIDE = (
    "bytes: of the codec at one position; a cache also has rows, tokens, labels and file headers "
    "(`dump` counts both)"
)
OWN = ("codec", "positions", "bytes_per_token", "plot")
STEP = (
    "step ratio: time of a student's loss and gradient of these targets ÷ that of labels alone, "
    "without the student's body and the products of its head"
)
OF_SIGNALS = ("bytes", "error", "largest_error", "fits")
COLUMNS = (
    "bytes",
    "entries",
    "variance",
    "bias",
    "kl",
    "gradient_error",
    "batch_gradient_error",
    "step_ratio",
)


@click.command(cls=Command, short_help="Measure what codecs keep of a teacher's answers.")
@options("codecs")
@as_json
def command(as_json: bool, **values: Any) -> None:
    """Measure codecs on a sample of a language model's answers: bytes, variance, bias and the error
    of the gradient.

    With --bytes-per-token, the largest codec of each kind within that budget, the best first.
    """
    settings = typed(CodecsConfig, {name: values.pop(name) for name in OWN})
    config = typed(DumpConfig, values)
    teacher = config.teacher
    from logitcache.stages.preflight import checkpoint

    if vector_signals(config.settings.signals):
        codec_of_logits(config.settings)
        checkpoint("teacher", teacher.name, teacher.revision)
        from logitcache.bench.signal_codecs import compare_signal_codecs

        vectors = list(map(asdict, compare_signal_codecs(config, settings, progress())))
        show({"cases": vectors, "best": None}, as_json, render_signals)
        return
    check_vocabulary(config.columns.task)
    for text in settings.codecs:
        parse(text)  # without torch, which the stage needs
    if settings.plot is not None:  # before the teacher is asked
        from logitcache.report.drawing import check_picture

        check_picture(settings.plot)
    checkpoint("teacher", teacher.name, teacher.revision)
    from logitcache.bench.codec_sample import compare_codecs

    cases = list(map(asdict, compare_codecs(config, settings, progress())))
    if settings.plot is not None:
        from logitcache.report.codecs import picture

        picture(cases, settings.plot)
    best = cases[0]["name"] if settings.bytes_per_token is not None else None
    show({"cases": cases, "best": best}, as_json, render)


def render_signals(document: dict[str, Any]) -> str:
    """A line for each type of each signal."""
    return "\n".join(_table("signal", OF_SIGNALS, document))


def render(document: dict[str, Any]) -> str:
    """A line for each codec."""
    lines = [*_table("codec", COLUMNS, document), BESIDE, STEP]
    if document["best"] is not None:
        lines.append(
            f"least error of a batch's gradient within the budget: --codec {document['best']}"
        )
    return "\n".join(lines)


def _table(name: str, columns: Sequence[str], document: dict[str, Any]) -> Iterator[str]:
    from logitcache.report.words import aligned  # not for --help, as it loads numpy

    rows = [[name, *(column.replace("_", " ") for column in columns)]]
    for case in document["cases"]:
        rows.append([case["name"], *(f"{case[column]:.4g}" for column in columns)])
    return aligned(rows)
