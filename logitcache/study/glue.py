"""A submission to the GLUE server (gluebenchmark.com): one file of predictions for each of its tests.

The server takes a zip of eleven files, ``index<TAB>prediction`` and a line for each test row, and no
fewer: a task that was not run is filled with one answer for all rows, so its score says nothing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from logitcache.config.workspace import PREDICTIONS
from logitcache.errors import SpecError
from logitcache.store.files import write_atomic
from logitcache.study.outcomes import Trial
from logitcache.study.paper import task_key
from logitcache.study.predictions import read_answers
from logitcache.study.stats import gain

_YEAR = (1980, 1, 1, 0, 0, 0)  # so that the same answers make the same bytes
_NLI = ("entailment", "neutral", "contradiction")
_PAIR = ("entailment", "not_entailment")
_NUMBERS = ("0", "1")


@dataclass(frozen=True)
class Test:
    """A file of the submission. ``answers`` are the server's strings in the order of its labels;
    ``names`` what classes may be called beside these and their numbers.
    """

    file: str
    task: str  # whose student answers
    split: str
    rows: int
    answers: tuple[str, ...] = ()  # empty: no student of ours answers
    names: tuple[str, ...] = ()
    filling: str = "0"  # the answer where no student was trained


TESTS = (
    Test("CoLA.tsv", "cola", "test", 1063, _NUMBERS, ("unacceptable", "acceptable")),
    Test("SST-2.tsv", "sst2", "test", 1821, _NUMBERS, ("negative", "positive")),
    Test("MRPC.tsv", "mrpc", "test", 1725, _NUMBERS, ("not_equivalent", "equivalent")),
    Test("STS-B.tsv", "stsb", "test", 1379, filling="2.500"),
    Test("QQP.tsv", "qqp", "test", 390965, _NUMBERS, ("not_duplicate", "duplicate")),
    Test("MNLI-m.tsv", "mnli", "test", 9796, _NLI, filling=_NLI[0]),
    Test("MNLI-mm.tsv", "mnli", "test_mismatched", 9847, _NLI, filling=_NLI[0]),
    Test("QNLI.tsv", "qnli", "test", 5463, _PAIR, filling=_PAIR[0]),
    Test("RTE.tsv", "rte", "test", 3000, _PAIR, filling=_PAIR[0]),
    Test("WNLI.tsv", "wnli", "test", 146, _NUMBERS, ("not_entailment", "entailment")),
    Test("AX.tsv", "mnli", "ax", 1104, _NLI, filling=_NLI[0]),
)


@dataclass(frozen=True)
class Submission:
    """A zip that was written: the trial behind each file, and the files that were filled."""

    path: Path
    trials: Mapping[str, Trial]
    filled: tuple[str, ...]


def submit(
    trials: Sequence[Trial], method: str, student: str | None, seed: int | None, out: Path
) -> Submission:
    """Write the zip of one method's students: of each task the one of this seed, or the best on dev.

    Raises SpecError where no trial is of the method, where several students are and none is named,
    and for a result whose answers are not those to the server's rows and labels.
    """
    chosen = _chosen(trials, method, student, seed)
    files: dict[str, bytes] = {}
    answered: dict[str, Trial] = {}
    for test in TESTS:
        trial = chosen.get(test.task)
        predicted = None if trial is None else _answers(test, trial)
        if trial is not None and predicted is not None:
            answered[test.file] = trial
        lines = ["index\tprediction"]
        for index, answer in enumerate(predicted or [test.filling] * test.rows):
            lines.append(f"{index}\t{answer}")
        files[test.file] = "\n".join([*lines, ""]).encode()
    if not answered:
        folders = ", ".join(str(trial.result.folder) for trial in chosen.values())
        raise SpecError(
            expected="answers to a test split of GLUE",
            found="none",
            advice="Train with --predict and test rows, and --overwrite where it was trained before; in a study, "
            "with `predict: true` below settings in the spec, and another --out.",
            where=folders,
        )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _YEAR), data, zipfile.ZIP_DEFLATED)
    write_atomic(out, content.getvalue())
    filled = tuple(name for name in files if name not in answered)
    return Submission(out, answered, filled)


def _chosen(
    trials: Sequence[Trial], method: str, student: str | None, seed: int | None
) -> dict[str, Trial]:
    """One trial for each task of GLUE."""
    tasks = {test.task for test in TESTS}
    fitting = []
    for trial in trials:
        if trial.method == method and task_key(trial.task) in tasks:
            fitting.append(trial)
    students = sorted({trial.student for trial in fitting})
    if student is None and len(students) > 1:
        raise SpecError(f"--student: expected one of {', '.join(students)}, found none. Name it.")
    if not fitting:
        methods = ", ".join(sorted({trial.method for trial in trials}))
        raise SpecError(
            f"--method {method}: expected a finished trial of a GLUE task, found none (methods here: {methods}). "
            "Name another method."
        )
    seeds = sorted({trial.result.seed for trial in fitting})
    fitting = [trial for trial in fitting if student in (None, trial.student)]
    fitting = [trial for trial in fitting if seed in (None, trial.result.seed)]
    if not fitting:
        raise SpecError(
            expected="a finished trial of that student and seed",
            found=f"students {', '.join(students)}; seeds {', '.join(map(str, seeds))}",
            advice="Choose among these.",
            where=f"--method {method}",
        )
    chosen: dict[str, Trial] = {}
    for trial in fitting:
        task = task_key(trial.task)
        if task not in chosen or _dev_score(trial) > _dev_score(chosen[task]):
            chosen[task] = trial
    return chosen


def _dev_score(trial: Trial) -> float:
    result = trial.result
    return gain(result.metric, result.metrics.get("dev", {}).get(result.metric, 0.0))


def _answers(test: Test, trial: Trial) -> list[str] | None:
    """The server's string for each of its rows; None without answers to that split."""
    result = trial.result
    answers = read_answers(result.folder / PREDICTIONS, test.split)
    if answers is None or not test.answers:
        return None
    row_id, label = answers
    if len(row_id) != test.rows or (row_id != range(test.rows)).any():
        raise SpecError(
            expected=f"answers to the {test.rows:,} rows of GLUE's {test.task} {test.split}, in their order",
            found=f"{len(row_id):,} rows",
            advice="Train on GLUE's own test file with --predict.",
            where=result.folder,
        )
    strings = _strings(test, result.label_names, result.folder)
    return [strings[index] for index in label]


def _strings(test: Test, label_names: Sequence[str] | None, folder: Path) -> list[str]:
    """The server's string for each class. Raises SpecError for classes that are none of its own."""
    numbers = list(map(str, range(len(test.answers))))
    names = numbers if label_names is None else [name.lower() for name in label_names]
    for spelling in (test.answers, test.names, numbers):
        if sorted(names) == sorted(spelling):
            answer_of = dict(zip(spelling, test.answers, strict=True))
            return [answer_of[name] for name in names]
    raise SpecError(
        expected=f"classes called {', '.join(test.names or test.answers)}, or numbered",
        found=", ".join(names),
        advice="Rename the classes in the data (numbered ones: --labels), and train again.",
        where=folder,
    )
