"""The commands as functions, with the commands' own options: ``logitcache.dump``, ``train`` and ``compare``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from logitcache.cache import Cache
from logitcache.data import source as sources
from logitcache.data.memory import UNNAMED
from logitcache.data.source import Columns, Data, Source
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.pipeline import dump as dumping
from logitcache.pipeline import train as training
from logitcache.pipeline.finetune import Finetune, TeacherSpec
from logitcache.report.plots import dots
from logitcache.student.job import TrainConfig
from logitcache.student.run import OnStep
from logitcache.study import tables
from logitcache.study.tables import RESAMPLES, Comparison
from logitcache.teacher.dump import DumpSettings
from logitcache.teacher.panel import Progress
from logitcache.teacher.report import DumpReport
from logitcache.workspace import DEFAULT, Workspace

Place = str | os.PathLike[str]
_PARAMETERS = {"method", "data", "columns", "unlabelled", "data_seed", "out", "workspace"}  # of train, by themselves
_PARAMETERS |= {"without_fold"}  # of folds: what their teachers are trained on
SETTINGS = {field.name for field in fields(TrainConfig)} - _PARAMETERS
# What the command line refuses while it reads its options, a function has to refuse by itself.
CHOICES = {
    "finetune": ("auto", "always", "never"),
    "dtype": ("float32", "bfloat16", "float16"),
    "codec": ("float16", "float32"),
    "method": ("base", "ls", "tf-reg", "self-kd", "kd"),
    "init": ("pretrained", "random"),
    "teachers": ("mean",),
    "precision": ("fp32", "bf16", "fp16"),
    "select": ("best", "last"),
}
LEAST: dict[str, int | None] = {  # whole numbers
    **dict.fromkeys(("seed", "data_seed", "finetune_seed")),
    **dict.fromkeys(("batch_size", "finetune_batch_size", "accumulate", "batch_tokens", "shard_rows"), 1),
    **dict.fromkeys(("folds", "max_length", "rows"), 2),
    "vocabulary": 100,
}
NUMBERS = {
    *("alpha", "a", "temperature", "epochs", "learning_rate", "weight_decay", "warmup"),
    *("finetune_epochs", "finetune_learning_rate"),
}
NAMES = {"teacher", "student", "tokenizer"}  # of the hub, or paths
PATHS = {"out", "reuse", "workspace", "plot"}
WORDS = {"split", "metric", "baseline", "revision", "device", "report_to", "text", "text_pair", "label", "name"}
FLAGS = {"trust_remote_code", "overwrite", "tau_squared", "group_by_length"}
FUNCTIONS = {"notify", "begin", "on_step"}
OPTIONAL = {  # where None is the default
    *(field.name for field in fields(TrainConfig) if field.default is None),
    *("text", "text_pair", "label", "labels", "name"),
    *("finetune_learning_rate", "shard_rows", "device", "reuse", "plot"),
}


def say(message: str) -> None:
    """A note on stderr: where notes go unless ``notify`` says otherwise."""
    print(message, file=sys.stderr)


def load(
    data: Data = "docstrings",
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: Data | None = None,
    data_seed: int = 0,
    workspace: Place = DEFAULT,
    name: str | None = None,
    notify: Callable[[str], None] = say,
) -> Source:
    """The rows that ``--data`` (and ``--unlabelled``) name, with their splits, labels and identities.

    Or rows in memory: columns (``{"text": [...], "label": [...]}``), a pandas DataFrame, an arrow Table or a
    ``datasets.Dataset``, or such by split (``{"train": ..., "dev": ..., "unlabelled": ...}``, a ``DatasetDict``); one
    without splits is divided as a file is. ``name`` is what the source is called: in default places, and in results.
    Raises SpecError for whatever cannot be read as asked.
    """
    given = _plain(locals())
    if name is not None and (not name.strip(".") or {*name} & {"/", "\\"}):  # it becomes a part of folders' names
        raise SpecError(f"name: expected a name without separators, found {name!r}. Correct it.")
    columns, folder = _columns(given), Workspace(given["workspace"]).data
    return sources.load(data, columns, folder, notify, unlabelled=unlabelled, seed=given["data_seed"], name=name)


def dump(
    teacher: Place,
    data: Data | Source = "docstrings",
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: Data | None = None,
    data_seed: int = 0,
    split: str = "train",
    out: Place | None = None,
    workspace: Place = DEFAULT,
    revision: str | None = None,
    trust_remote_code: bool = False,
    finetune: str = "auto",
    finetune_epochs: float = 3.0,
    finetune_learning_rate: float | None = None,
    finetune_batch_size: int = 32,
    finetune_seed: int = 0,
    folds: int | None = None,
    reuse: Place | None = None,
    dtype: str = "float32",
    codec: str = "float16",
    max_length: int = 128,
    batch_tokens: int = 4096,
    shard_rows: int | None = None,
    device: str | None = None,
    overwrite: bool = False,
    notify: Callable[[str], None] = say,
    begin: Callable[[int], Progress] = lambda rows: lambda rows, tokens: None,
    on_step: OnStep = lambda step, of: None,
) -> DumpReport:
    """Ask a teacher about every row of one split, once, and store what it says: ``logitcache dump``.

    ``data`` is what :func:`load` takes, or what it gave. ``begin`` is told how many rows a cache will have and gives
    what takes (rows, tokens) just done; ``on_step`` gets the steps (done, in all) of a fine-tuning. Raises the kinds of
    :class:`LogitCacheError` that the command ends with.
    """
    given = _plain(locals())
    columns, work = _columns(given), Workspace(given["workspace"])
    rows, more, source = _rows(data, columns, unlabelled, given["data_seed"], work, notify)
    config = dumping.DumpConfig(
        teacher=TeacherSpec(given["teacher"], dtype, device, revision, trust_remote_code),
        data=rows,
        columns=columns,
        unlabelled=more,
        data_seed=given["data_seed"],
        split=split,
        out=given["out"],
        finetune=Finetune(
            finetune,
            given["finetune_epochs"],
            given["finetune_learning_rate"],
            given["finetune_batch_size"],
            given["finetune_seed"],
            given["folds"],
        ),
        reuse=given["reuse"],
        settings=DumpSettings(given["max_length"], given["batch_tokens"], codec, given["shard_rows"]),
        workspace=work,
        overwrite=overwrite,
    )
    with _told_of_names(source, work):
        return dumping.dump(config, source=source, notify=notify, begin=begin, on_step=on_step)


def train(
    method: str,
    data: Data | Source = "docstrings",
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: Data | None = None,
    data_seed: int = 0,
    out: Place | None = None,
    workspace: Place = DEFAULT,
    notify: Callable[[str], None] = say,
    on_step: OnStep = lambda step, of: None,
    **settings: Any,
) -> Path:
    """Train one student and return its result folder: ``logitcache train``.

    ``data`` is what :func:`load` takes, or what it gave. ``settings`` are the command's other options by their names:
    ``student``, ``seed``, ``alpha``, ``epochs``, ... ``cache`` is a folder or a :class:`Cache`, or several. Raises the
    kinds of :class:`LogitCacheError` that the command ends with.
    """
    unknown = sorted(set(settings) - SETTINGS)
    if unknown:
        found = ", ".join(unknown)
        raise SpecError(f"train: expected settings among {', '.join(sorted(SETTINGS))}, found {found}. Correct them.")
    given = _plain({**locals(), **settings})
    columns, work = _columns(given), Workspace(given["workspace"])
    rows, more, source = _rows(data, columns, unlabelled, given["data_seed"], work, notify)
    config = TrainConfig(
        method=method,
        data=rows,
        columns=columns,
        unlabelled=more,
        data_seed=given["data_seed"],
        out=given["out"],
        workspace=work,
    )
    with _told_of_names(source, work):
        asked = replace(config, **{name: given[name] for name in settings})
        return training.train(asked, source=source, notify=notify, on_step=on_step)


def compare(
    *results: Place,
    metric: str | None = None,
    split: str | None = None,
    baseline: str = "base",
    bootstrap: int = RESAMPLES,
    plot: Place | None = None,
) -> Comparison:
    """Set result folders (or folders of such) side by side: ``logitcache compare``. ``comparison.verdict`` is the one
    sentence it ends with, ``plot`` a picture's file (png or svg).

    Raises SpecError for what is no result folder, or a metric, split or baseline that they do not have.
    """
    given = _plain({"metric": metric, "baseline": baseline, "bootstrap": bootstrap, "plot": plot})
    if split is not None:
        given |= _plain({"split": split})
    if not results:
        raise SpecError("compare: expected result folders, found none. Give what train returned, or a folder of such.")
    folders = [_path("results", result) for result in results]
    comparison = tables.compare(folders, metric=metric, split=split, baseline=baseline, resamples=given["bootstrap"])
    if plot is not None:
        dots(comparison, given["plot"])
    return comparison


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the command line would give them: numbers of any library as Python's own, names as strings, paths as
    Path. Raises SpecError for a value that the option of that name would not take.
    """
    return {name: _value(name, value) for name, value in given.items()}


def _value(name: str, value: Any) -> Any:
    if value is None and name in OPTIONAL:
        return None
    if name in CHOICES and not (isinstance(value, str) and value in CHOICES[name]):
        raise _other(name, " or ".join(CHOICES[name]), value)
    if name in LEAST or name == "bootstrap":
        return _whole(name, value)
    if name in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise _other(name, "a number", value)
        return value if isinstance(value, int) else float(value)
    if name in NAMES or name in PATHS:
        path = _path(name, value)
        return path if name in PATHS else os.fspath(value)
    if name == "cache":
        return _caches(value)
    for names, kind, expected in (
        (WORDS, str, "text"),
        (FLAGS, bool, "True or False"),
        (FUNCTIONS, Callable, "a function"),
    ):
        if name in names and not isinstance(value, kind):  # type: ignore[arg-type]
            raise _other(name, expected, value)
    return value


def _whole(name: str, value: Any) -> int:
    least = LEAST.get(name)
    if isinstance(value, bool) or not isinstance(value, Integral) or (least is not None and int(value) < least):
        raise _other(name, "a whole number" if least is None else f"a whole number from {least}", value)
    return int(value)


def _path(name: str, value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise _other(name, "a path" if name not in NAMES else "a path or a name", value)
    return Path(value)


def _caches(value: Any) -> tuple[Path, ...] | None:
    """The folders of one cache or several; each a path or an open Cache. None where there are none."""
    several = [value] if isinstance(value, str | os.PathLike | Cache) else value
    if not isinstance(several, Iterable):
        raise _other("cache", "a folder or a Cache, or several", value)
    return tuple(each.folder if isinstance(each, Cache) else _path("cache", each) for each in several) or None


def _other(name: str, expected: str, value: Any) -> SpecError:
    found = " ".join(repr(value).split())
    return SpecError(
        f"{name}: expected {expected}, found {found if len(found) <= 60 else found[:57] + '…'}. Correct it."
    )


@contextmanager
def _told_of_names(source: Source | None, workspace: Workspace) -> Iterator[None]:
    """Two sets in memory may meet in one place, for nobody named them: where that goes wrong, how to name them."""
    try:
        yield
    except FingerprintMismatch as error:
        if source is not None and source.name == UNNAMED and Path(error.where or "").is_relative_to(workspace.folder):
            error.message += f" Rows in memory are all called {UNNAMED}: name these with load(..., name=...)."
        raise


def _rows(
    data: Data | Source,
    columns: Columns,
    unlabelled: Data | None,
    data_seed: int,
    workspace: Workspace,
    notify: Callable[[str], None],
) -> tuple[str, str | None, Source | None]:
    """What data and unlabelled rows are called, and the source, where rows are here already: names are looked up later,
    when the rest of what is asked has been found to be good.
    """
    if isinstance(data, Source):
        if columns != Columns() or unlabelled is not None or data_seed:
            raise SpecError(
                "expected a Source alone, found columns, labels, unlabelled or data_seed beside it. Give them to "
                "logitcache.load.",
                where=data.name,
            )
        return data.name, None, data
    if isinstance(data, str | os.PathLike) and isinstance(unlabelled, str | os.PathLike | None):
        return os.fspath(data), None if unlabelled is None else os.fspath(unlabelled), None
    source = sources.load(data, columns, workspace.data, notify, unlabelled=unlabelled, seed=data_seed)
    return source.name, None, source


def _columns(given: Mapping[str, Any]) -> Columns:
    labels = given["labels"]
    if isinstance(labels, str):  # as the command line writes them
        labels = [name.strip() for name in labels.split(",")]
    names = tuple(labels) if isinstance(labels, Iterable) else None
    if labels is not None and (names is None or not all(isinstance(name, str) for name in names)):
        raise _other("labels", "names, in label order", labels)
    return Columns(given["text"], given["text_pair"], given["label"], names)
