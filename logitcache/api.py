"""The commands as functions with the commands' options: ``logitcache.dump``, ``train``, ....

Every option is declared in ``logitcache.config``; the signatures here are generated from the
declarations (``config/signatures.py``), so that editors complete them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from logitcache.cache.cache import Cache
from logitcache.cache.diff import Difference, difference
from logitcache.config.check import CheckConfig
from logitcache.config.data import RowsConfig
from logitcache.config.dump import AgainConfig, DumpConfig
from logitcache.config.option import REPAIR_LOCALLY, build, local_path
from logitcache.config.own import named
from logitcache.config.report import CompareConfig
from logitcache.config.signatures import (
    AgainOptions,
    CheckOptions,
    CompareOptions,
    DumpOptions,
    RowsOptions,
    StudyOptions,
    TrainOptions,
    TuneOptions,
)
from logitcache.config.study import StudyConfig
from logitcache.config.train import TrainConfig
from logitcache.config.tune import TuneConfig
from logitcache.data import source as sources
from logitcache.data.source import Data, Source
from logitcache.errors import SpecError, short
from logitcache.ranks import is_first
from logitcache.report.plots import dots
from logitcache.reporter import NOTES, SILENT, Reporter, reporter_of
from logitcache.stages import check as checking
from logitcache.stages import dump as dumping
from logitcache.stages.in_memory import advise_names, place_of, student_options
from logitcache.stages.preflight import training_rows
from logitcache.stages.rows import with_rows
from logitcache.store.manifest import Plan
from logitcache.study import tables
from logitcache.study.folder import StudyFolder
from logitcache.study.search import Search
from logitcache.study.tables import Comparison
from logitcache.teacher import repair as repairing
from logitcache.teacher.dump_job import DumpJob
from logitcache.teacher.repair import RepairReport
from logitcache.teacher.report import DumpReport

if TYPE_CHECKING:
    from logitcache.teacher.live import Live

Place = str | os.PathLike[str]


def load(
    data: Data = "docstrings",
    *,
    unlabelled: Data | None = None,
    name: str | None = None,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[RowsOptions],
) -> Source:
    """The rows that ``--data`` (and ``--unlabelled``) name, with splits, labels and identities.

    ``data`` may also be rows in memory: columns (``{"text": [...], "label": [...]}``), a pandas
    DataFrame, an arrow Table or a ``datasets.Dataset``, or these by split (``{"train": ..., "dev":
    ..., "unlabelled": ...}``, a ``DatasetDict``); a table without splits is divided as a file is.
    ``name`` is the source's name in default folders and in results. Raises SpecError for data that
    cannot be read.
    """
    if name is not None:
        _check_name(name)
    reporter = reporter_of(reporter, notify)
    config = build(RowsConfig, options)
    return sources.load(
        data,
        config.columns,
        config.workspace.data,
        reporter,
        unlabelled=unlabelled,
        seed=config.data_seed,
        name=name,
    )


def check(
    data: Data | Source = "docstrings",
    *,
    unlabelled: Data | None = None,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[CheckOptions],
) -> checking.Report:
    """What is wrong with rows, before a teacher is asked or a student trained: ``logitcache
    check``.

    ``data`` is what :func:`load` takes, or what it gave; ``options`` are the command's by their
    names. Raises SpecError for rows that cannot be read as asked; what `dump` and `train` would
    refuse is in ``report.refusals``.
    """
    reporter = reporter_of(reporter, notify)
    config, source = with_rows(build(CheckConfig, options), data, unlabelled, reporter)
    return checking.check(config, source=source, reporter=reporter)


def dump(
    teacher: Place | Any,
    data: Data | Source = "docstrings",
    *,
    tokenizer: Any = None,
    unlabelled: Data | None = None,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[DumpOptions],
) -> DumpReport:
    """Ask a teacher about every row of one split and store what it says: ``logitcache dump``.

    >>> report = logitcache.dump("roberta-large", "reviews.csv", max_length=64)  # doctest: +SKIP
    >>> report.cache, report.rows, report.scores["accuracy"], report.entropy     # doctest: +SKIP

    ``teacher`` is what ``--teacher`` takes (a folder, a hub name, a shape, ``column:NAME``), or a
    model of `transformers` in memory with its ``tokenizer``: both are saved in the workspace under
    a name made of their content. Of a teacher that is named, ``tokenizer`` names another than its
    own. ``data`` is what :func:`load` takes or returns; ``options`` are those of the command, by
    name, with underscores. ``reporter`` shows notes and progress; ``notify``, a function, gets the
    notes in its place.

    Returns a report: ``cache`` (its folder), ``rows``, ``positions``, ``bytes``, ``seconds``,
    ``scores`` against the gold labels (fractions), ``entropy`` of the answers (nats). The same call
    again goes on where it stopped, or returns what is there. Raises SpecError for what cannot be
    read or used, FingerprintMismatch for classes that do not match and for a folder that holds
    another cache, Locked while another process writes there, OutOfSpace.
    """
    reporter = reporter_of(reporter, notify)
    tokenizer_name = tokenizer if isinstance(tokenizer, str | os.PathLike) else None
    own = None if tokenizer_name is not None else tokenizer
    teacher = place_of(teacher, own, options.get("workspace"), "teacher")
    config = build(DumpConfig, {**options, "teacher": teacher, "tokenizer": tokenizer_name})
    config, source = with_rows(config, data, unlabelled, reporter)
    with advise_names(source, config.workspace):
        return dumping.dump(config, source=source, reporter=reporter)


def repair(
    cache: Place,
    teacher: Place | None = None,
    data: Data | Source | None = None,
    *,
    unlabelled: Data | None = None,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[AgainOptions],
) -> RepairReport:
    """Make the broken shards of a cache again, and only those: ``logitcache repair``.

    ``teacher``, ``data`` and ``options`` are those of :func:`dump`; by default the teacher and the
    rows that the cache names. They are only used where a shard is broken. Raises
    FingerprintMismatch where they are not the cache's own.
    """
    reporter = reporter_of(reporter, notify)
    config = build(AgainConfig, {**options, "teacher": teacher})
    return repair_config(cache, config, data, unlabelled, reporter=reporter)


def repair_config(
    cache: Place,
    config: AgainConfig,
    data: Data | Source | None = None,
    unlabelled: Data | None = None,
    *,
    reporter: Reporter,
) -> RepairReport:
    """:func:`repair` with a configuration, of which ``data`` and ``unlabelled`` take precedence."""
    from logitcache.stages.again import planned_again

    folder = local_path(cache, "cache", REPAIR_LOCALLY)

    def plan_again(plan: Plan) -> DumpJob:
        again = planned_again(config, data, unlabelled, reporter, plan)
        again.check_same(plan)
        return again

    return repairing.repair(folder, plan_again, reporter)


def verify_live(
    cache: Place,
    rows: int,
    teacher: Place | None = None,
    data: Data | Source | None = None,
    *,
    unlabelled: Data | None = None,
    seed: int = 0,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[AgainOptions],
) -> Live:
    """Ask the teacher about some rows of a cache again, drawn by ``seed``: ``logitcache verify
    --live``.

    ``teacher``, ``data`` and ``options`` as for :func:`repair`. Raises FingerprintMismatch where
    they are not the cache's own.
    """
    reporter = reporter_of(reporter, notify)
    config = build(AgainConfig, {**options, "teacher": teacher})
    return verify_config(cache, rows, config, data, unlabelled, seed=seed, reporter=reporter)


def verify_config(
    cache: Place,
    rows: int,
    config: AgainConfig,
    data: Data | Source | None = None,
    unlabelled: Data | None = None,
    *,
    seed: int,
    reporter: Reporter,
) -> Live:
    """:func:`verify_live` with its options as a configuration."""
    from logitcache.stages.again import planned_again
    from logitcache.teacher.live import live

    opened = Cache.open(cache)
    plan = opened.manifest.plan
    again = planned_again(config, data, unlabelled, reporter, plan)
    # rows asked alone show whether its batches were padded as they should be
    again.check_same(plan, padding=False)
    return live(opened, again, rows, seed)


def diff(a: Place, b: Place) -> Difference:
    """How far two caches of the same rows differ: ``logitcache diff``. Raises FingerprintMismatch
    where their labels or texts are not the same, SpecError where no row has an answer in both.
    """
    return difference(Cache.open(a), Cache.open(b))


def train(
    method: str | Callable[..., Any],
    data: Data | Source = "docstrings",
    *,
    unlabelled: Data | None = None,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[TrainOptions],
) -> Path:
    """Train one student and return its result folder: ``logitcache train``.

    >>> run = logitcache.train("kd", "reviews.csv", student="2x128", seed=1)  # doctest: +SKIP

    ``method`` is ``kd``, ``base``, ``ls``, ``tf-reg``, ``self-kd``, a sum of terms, or a
    :class:`logitcache.Term` of your own. ``data`` is what :func:`load` takes or returns.
    ``options`` are those of the command, by name: ``student``, ``seed``, ``alpha``, ``epochs``, ...
    ``cache`` is a folder, a URL or a :class:`Cache`, or several; by default the cache of these rows
    in the workspace. ``student`` may be a model of `transformers` in memory, ``tokenizer`` is then
    its own; any ``nn.Module``; or what makes one. ``reporter`` and ``notify`` as for :func:`dump`.

    The folder loads with ``transformers.pipeline`` (docs/results.md). The same call again goes on
    from the last checkpoint, or returns what is there. Raises SpecError for what cannot be read or
    used, AlignmentError for a row whose text the teacher has not answered, FingerprintMismatch for
    a folder that holds another run, Locked while another process writes there.
    """
    from logitcache.stages import train as training

    reporter = reporter_of(reporter, notify) if is_first() else SILENT
    own = method if isinstance(method, str) else named(method)
    values: dict[str, Any] = {**options, "method": own}
    if "cache" in values:
        values["cache"] = _locations(values["cache"])
    if "student" in values:
        values |= student_options(
            values["student"], values.get("tokenizer"), values.get("workspace")
        )
    config = build(TrainConfig, values)
    config, source = with_rows(config, data, unlabelled, reporter)
    source = training_rows(config, source, reporter)
    with advise_names(source, config.workspace):
        return training.train(config, source=source, reporter=reporter)


def pretrain(
    data: Data | Source = "corpus",
    *,
    budget: str,
    method: str | Callable[..., Any] = "base",
    **options: Any,
) -> Path:
    """Train a language model from scratch until a budget is spent: ``logitcache pretrain``. It is
    :func:`train` with a budget, such as ``20m`` or ``steps=1000``, of masked-lm unless another
    ``task`` is named; the ``options`` are those of :func:`train`.
    """
    return train(method, data, **{"task": "masked-lm", **options, "budget": budget})


def compare(*results: Place, **options: Unpack[CompareOptions]) -> Comparison:
    """Compare result folders, or folders of result folders: ``logitcache compare``.

    >>> logitcache.compare("logitcache-work/runs/reviews", margin=0.005).verdict  # doctest: +SKIP

    Returns a comparison: ``verdict`` (one sentence), ``rows`` (for each method its mean, standard
    deviation and number of seeds, and its difference to the baseline with p and interval; metrics
    are fractions, losses are in nats), ``notes``, :meth:`Comparison.to_pandas`. ``plot`` is the
    file of a picture (png or svg).

    Raises SpecError for a path that is no result folder, and for a metric, split or baseline that
    the results lack; FormatError for a broken result; FingerprintMismatch for results of other data.
    """
    config = build(CompareConfig, options)
    if not results:
        raise SpecError(
            "compare: expected result folders, found none. Give what train returned, or a folder of such."
        )
    for result in results:
        if not isinstance(result, str | os.PathLike):
            raise SpecError(f"results: expected a path, found {short(repr(result))}. Correct it.")
    folders = [
        local_path(result, "results", "Copy the results to this machine first.")
        for result in results
    ]
    comparison = tables.compare(
        folders,
        metric=config.metric,
        split=config.split,
        baseline=config.baseline,
        resamples=config.bootstrap,
        margin=config.margin,
    )
    if config.plot is not None:
        dots(comparison, config.plot)
    return comparison


def run_study(
    spec: Place | Mapping[str, Any],
    *,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[StudyOptions],
) -> StudyFolder:
    """Run the trials of a study that have not ended: ``logitcache study run``.

    ``spec`` is a YAML file, the name of a built-in spec, the folder of a study, or a mapping as
    YAML would give it; ``options`` are those of the command, by name. Trials that fail are in
    ``study.with_state("failed")``. Raises SpecError for a spec that cannot be, before anything is
    run.
    """
    from logitcache.study.run import run

    source = spec if isinstance(spec, Mapping) else str(spec)
    return run(source, build(StudyConfig, options), reporter_of(reporter, notify))


def tune(
    spec: Place | Mapping[str, Any],
    *,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[TuneOptions],
) -> Search:
    """Search for the settings of one method on a Ray cluster: ``logitcache tune``.

    ``spec`` is what :func:`run_study` takes. ``search.best(5)`` are the best samples, and
    ``best.yaml`` in ``search.folder`` is their spec. Raises SpecError for a spec of several tasks,
    students or methods, before anything is run.
    """
    from logitcache.study.tune import tune

    source = spec if isinstance(spec, Mapping) else str(spec)
    return tune(source, build(TuneConfig, options), reporter_of(reporter, notify))


def _check_name(name: Any) -> None:
    """Raises SpecError for a name that could not be a part of folders' names."""
    if not isinstance(name, str) or not name.strip(".") or "/" in name or "\\" in name:
        raise SpecError(f"name: expected a name without separators, found {name!r}. Correct it.")


def _locations(value: Any) -> Any:
    """Folders or URLs, where open caches are replaced by their own."""
    if isinstance(value, Cache):
        return value.where
    if isinstance(value, str | os.PathLike) or not hasattr(value, "__iter__"):
        return value
    return tuple(map(_locations, value))
