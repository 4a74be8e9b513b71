"""What ``study run`` prints when it ends: how many trials ended how, and the cells of the table."""

from __future__ import annotations

import itertools
from typing import Any

from logitcache.errors import IncompleteStudy
from logitcache.study.cells import Cell, Cells
from logitcache.study.folder import State, StudyFolder


def cells_of(study: StudyFolder) -> list[Cell]:
    """The cells of a study's table, in the order of its spec."""
    cells = Cells(study.trials, study.spec["split"], len(study.spec["seeds"])).cells
    order = {key: index for index, key in enumerate(_keys(study))}
    return [cells[key] for key in sorted(cells, key=lambda key: order[key])]


def _keys(study: StudyFolder) -> list[tuple[str, str, str]]:
    spec = study.spec
    return list(itertools.product(spec["tasks"], spec["students"], spec["methods"]))


def to_json(study: StudyFolder) -> dict[str, Any]:
    """The document of ``study run --json``."""
    counts = {str(state): len(study.with_state(state)) for state in State}
    ends = [*study.with_state(State.FAILED), *study.with_state(State.DIVERGED)]
    return {
        "study": str(study.folder),
        "name": study.name,
        "trials": counts,
        "cells": [cell.to_dict() for cell in cells_of(study)],
        "errors": [
            {
                "id": entry.planned.id,
                "state": str(entry.state),
                "error": dict(entry.end.error or {}),
            }
            for entry in ends
        ],
    }


def text(study: StudyFolder) -> str:
    """The same for people."""
    lines = [str(cell) for cell in cells_of(study)]
    for state in (State.FAILED, State.DIVERGED):
        for entry in study.with_state(state):
            error = entry.end.error or {}
            lines.append(f"{entry.planned.id} {state}: {error.get('message')}")
    done = len(study.with_state(State.DONE))
    lines.append(f"{study.folder}: {done} of {len(study.trials)} trials are done")
    return "\n".join(lines)


def check_complete(study: StudyFolder) -> None:
    """Raises IncompleteStudy where trials have failed."""
    failed = study.with_state(State.FAILED)
    if failed:
        error = failed[0].end.error or {}
        raise IncompleteStudy(
            f"{len(failed)} of {len(study.trials)} trials failed, the first is {failed[0].planned.id}: "
            f"{error.get('message')}",
            advice="Mend what it names (an option of it in the spec, such as `on_nonfinite: skip` below teacher) and "
            "run the same command again: it tries these alone.",
            where=study.folder,
        )
