"""The section for each kind of bench."""

from __future__ import annotations

from collections.abc import Callable

from logitcache.report.blocks import Section
from logitcache.report.documents import Bench, Part
from logitcache.report.dump import dump_section
from logitcache.report.overhead import overhead_section
from logitcache.report.plan import plan_section
from logitcache.report.read import read_section

SECTIONS: dict[str, Callable[[Part], Section]] = {  # in the order of a study
    "overhead": overhead_section,
    "dump": dump_section,
    "read": read_section,
    "plan": plan_section,
}


def section_of(bench: Bench) -> Section:
    """What a bench measured."""
    return SECTIONS[bench.kind](bench.document)
