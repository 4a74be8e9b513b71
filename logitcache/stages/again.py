"""The rows of a cache, found again by the name that the cache recorded."""

from __future__ import annotations

from dataclasses import replace

from logitcache.config.dump import DumpConfig
from logitcache.data.source import Source
from logitcache.data.sources import docstrings, presets
from logitcache.data.sources.find import lying_here
from logitcache.errors import SpecError, short
from logitcache.reporter import Reporter
from logitcache.stages.rows import load
from logitcache.teacher.plan import Said


def rows_of(recorded: Said, config: DumpConfig, reporter: Reporter) -> Source:
    """The data that a cache names, where there is any of that name here; of several, the one with
    the cache's very rows. Raises SpecError where there is none, or it cannot be read.
    """
    candidates = [str(path) for path in lying_here(recorded.source)]
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
