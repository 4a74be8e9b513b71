"""Options of commands on caches and results: compare, inspect, verify, convert, demo, report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logitcache.config.data import delimiter, encoding, header
from logitcache.config.option import option, validate
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError

BASELINE = "base"
RESAMPLES = 10_000
PAPER_TABLES = ("table1", "table2", "table3", "table4", "table5", "table7", "table8", "table9")
FEWEST_RESAMPLES = 100  # fewer have no 2.5 % quantile to speak of


def margin() -> Any:
    return option(
        None,
        "Difference that counts as none, in the metric's own unit (0.005 is half a point). Choose it before you "
        "see results.",
        above=0,
    )


@dataclass(frozen=True)
class CompareConfig:
    """How results are compared."""

    metric: str | None = option(None, "Metric to compare. Default: the results' own.")
    split: str | None = option(
        None, "Split to compare on. Default: test if all results have it, else dev."
    )
    baseline: str = option(BASELINE, "Method, or label of a row, to subtract.")
    bootstrap: int = option(
        RESAMPLES, "Resamples of the rows that were scored.", minimum=FEWEST_RESAMPLES
    )
    margin: float | None = margin()
    plot: Path | None = option(None, "Write a picture: FILE.png or FILE.svg.", group="Output")


@dataclass(frozen=True)
class StudyReportConfig:
    """What ``study report`` compares, and where it writes."""

    metric: str | None = option(None, "Metric to compare. Default: the results' own.")
    split: str | None = option(
        None, "Split to compare on. Default: the study's; else test if all results have it, or dev."
    )
    baseline: str | None = option(
        None, "Method, or label of a row, to subtract. Default: the study's, else base."
    )
    bootstrap: int = option(RESAMPLES, "Resamples of seeds and rows.", minimum=FEWEST_RESAMPLES)
    margin: float | None = margin()
    paper: str | None = option(
        None,
        "Table of Kobyzev et al. to stand beside the figures. Default: that of a built-in study.",
        choices=PAPER_TABLES,
        group="Output",
    )
    out: Path | None = option(
        None, "Folder of report.html, .md, .tex and .csv. Default: FOLDER/report.", group="Output"
    )


@dataclass(frozen=True)
class StudySubmitConfig:
    """Whose answers ``study submit`` writes, and where."""

    method: str = option("kd", "Method whose students answer.")
    student: str | None = option(None, "Student. Default: the only one.")
    seed: int | None = option(None, "Seed. Default: of each task the best one on dev.", minimum=0)
    out: Path | None = option(
        None, "The zip. Default: FOLDER/submission-METHOD.zip.", group="Output"
    )


@dataclass(frozen=True)
class InspectConfig:
    """What ``inspect`` shows besides the cache."""

    row: int | None = option(
        None, "Decode this row, and show its text where its source is on this machine."
    )
    data: str | None = option(
        None,
        "Where the row's text is: a local file or folder, or `docstrings`. Nothing is downloaded.",
    )
    text: str | None = option(None, "Column of the text. Default: a usual name such as text.")
    text_pair: str | None = option(None, "Column of the second text of a pair.")
    encoding: str | None = encoding()
    delimiter: str | None = delimiter()
    header: tuple[str, ...] | None = header()
    workspace: Workspace = field(default_factory=Workspace)

    def check(self) -> None:
        """Raises SpecError for what says where a row's text is, without a row."""
        if self.row is None and (self.data or self.text or self.text_pair):
            raise SpecError(
                "--data, --text, --text-pair: expected --row N beside them, found none. Name a row."
            )


@dataclass(frozen=True)
class VerifyConfig:
    """How ``verify`` asks the teacher again."""

    live: int | None = option(None, "Also ask the teacher about that many rows again.", minimum=1)
    seed: int = option(0, "Seed that draws those rows.", minimum=0)


@dataclass(frozen=True)
class ConvertConfig:
    """What ``convert`` writes."""

    to: str | None = option(
        None,
        "Store to write. Default with --codec: that of the cache.",
        choices=("arrow", "zarr", "parquet"),
    )
    codec: str | None = option(
        None,
        "Codec to write, of a cache of full answers (float16, float32 or replay): what `dump --codec` stores, without "
        "the teacher.",
    )

    def check(self) -> None:
        """Raises SpecError where nothing would change, or another codec is to be no cache."""
        validate(self)
        if self.to is None and self.codec is None:
            raise SpecError(
                expected="a store to write, or a codec",
                found="neither",
                advice="Give --to or --codec.",
                where="logitcache convert",
            )
        if self.to == "parquet" and self.codec is not None:
            raise SpecError(
                expected="a cache's store beside --codec",
                found="parquet, which is for viewers",
                advice="Convert with --codec first, and its result to parquet.",
                where="--to",
            )


@dataclass(frozen=True)
class DemoConfig:
    """How large the demo is, and where it stays."""

    task: str = option(
        "classification",
        "What the demo is about: classes of texts, or tokens of a language model.",
        choices=("classification", "causal-lm"),
    )
    quick: bool = option(False, "Fewer rows and smaller models: a few minutes.")
    out: Path = option(Path("logitcache-demo"), "Folder of everything that the demo makes.")


@dataclass(frozen=True)
class ReportConfig:
    """What ``report`` writes."""

    out: Path = option(
        Path("report.html"), "The page, ending in .html; an existing one is replaced."
    )
    mixed: bool = option(
        False, "Allow benches of several machines; each section then names its own."
    )


@dataclass(frozen=True)
class BenchOutput:
    """Where a bench writes its document."""

    out: Path | None = option(None, "Write the JSON document to this file.", group="Output")
