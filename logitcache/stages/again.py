"""Whoever answered for the rows of a cache, found again by what the cache calls them."""

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


def rows_of(said: Said, config: DumpConfig, reporter: Reporter) -> Source:
    """The rows that a cache names, where something of that name lies here; of several, what holds those very rows.
    Raises SpecError where nothing does, or it cannot be read.
    """
    known = said.source in docstrings.NAMES or presets.find(said.source) is not None
    places = [*map(str, lying_here(said.source)), *([said.source] if known else [])]
    others: list[Source] = []
    errors: list[SpecError] = []
    for place in places:
        try:
            source = load(replace(config, data=place), reporter)
        except SpecError as error:
            errors.append(error)
            continue
        rows = source.dumped.get(said.split)
        if rows is not None and rows.digest() == said.digest:
            return source
        others.append(source)
    if others:  # other rows: what differs is said where they are compared
        return others[0]
    if errors:
        raise errors[0]
    name = short(repr(said.source))
    raise SpecError(f"the cache calls its rows {name}, and nothing of that name lies here. Name them with --data.")
