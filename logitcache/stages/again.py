"""A cache's dump planned again: its rows found by the name that the cache recorded."""

from __future__ import annotations

from dataclasses import replace

from logitcache.config.dump import AgainConfig, DumpConfig
from logitcache.data.source import Data, Source
from logitcache.data.sources import docstrings, presets
from logitcache.data.sources.find import lying_here
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError, short
from logitcache.reporter import Reporter
from logitcache.stages import dump as dumping
from logitcache.stages.rows import load, with_rows
from logitcache.store.manifest import Plan
from logitcache.targets.table import codec_from_dict
from logitcache.teacher.dump_job import DumpJob, task_of
from logitcache.teacher.dump_record import DumpRecord
from logitcache.teacher.plan import planned, recorded_map


def rows_of(recorded: DumpRecord, config: DumpConfig, reporter: Reporter) -> Source:
    """The data that a cache names, where there is any of that name here; of several, the one with
    the cache's very rows. Raises SpecError where there is none, or it cannot be read.
    """
    candidates = list(map(str, lying_here(recorded.source)))
    if recorded.source in docstrings.NAMES or presets.find(recorded.source) is not None:
        candidates.append(recorded.source)
    sources: list[Source] = []
    errors: list[SpecError] = []
    for data in candidates:
        try:
            source = load(replace(config, data=data), reporter)
        except SpecError as error:
            errors.append(error)
            continue
        rows = source.dumped.get(recorded.split)
        if rows is not None and rows.digest() == recorded.digest:
            return source
        sources.append(source)
    if sources:  # other rows: whoever compares them says what differs
        return sources[0]
    if errors:
        raise errors[0]
    name = short(repr(recorded.source))
    raise SpecError(
        f"the cache calls its rows {name}, and nothing of that name lies here",
        advice="Name them with --data.",
    )


def planned_again(
    config: AgainConfig,
    data: Data | Source | None,
    unlabelled: Data | None,
    reporter: Reporter,
    plan: Plan,
) -> DumpJob:
    """The dump of a cache planned again, of the configuration's teacher and rows or its own."""
    recorded = DumpRecord.of(plan)
    codec = codec_from_dict(plan.targets["logits"])
    data = config.data if data is None else data
    dump_config = config.dump_config(recorded.teacher, recorded.source, recorded.dtype)
    dump_config = replace(dump_config, split=recorded.split, settings=recorded.settings)
    columns = dump_config.columns
    if TASKS[plan.task].option and columns.task is None:  # the data does not tell it
        dump_config = replace(dump_config, columns=replace(columns, task=plan.task))
    dump_config.check()
    rows = recorded.source if data is None else data
    dump_config, source = with_rows(dump_config, rows, unlabelled, reporter)
    if source is None and data is None:
        source = rows_of(recorded, dump_config, reporter)
    elif source is None:
        source = load(dump_config, reporter)
    if dump_config.teacher.answers is not None:
        return dumping.planner(dump_config, source, reporter=reporter)[1](recorded.split, [codec])
    panel = dumping.load_panel(dump_config, source, reporter)
    labels = panel.first.label_names
    label_map = recorded_map(plan, labels, task_of(source, labels))
    source = panel.first.as_rows(source, recorded.settings, reporter)
    return planned(panel, source, recorded.split, recorded.settings, label_map, codecs=[codec])
