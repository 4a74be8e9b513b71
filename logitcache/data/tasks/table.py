"""The tasks there are, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from logitcache.config.data import UNLABELLED_TASKS, Columns
from logitcache.data.rows import Source
from logitcache.data.sources.tables import Table, names_of
from logitcache.data.tasks.causal_lm import CausalLM
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.embedding import SentenceEmbedding
from logitcache.data.tasks.masked_lm import MaskedLM
from logitcache.data.tasks.token_classification import TokenClassification
from logitcache.errors import SpecError

Task = Classification  # what every task is like
# The usual one is the last: it takes what no other does.
TASKS: dict[str, type[Task]] = {
    kind.name: kind
    for kind in (CausalLM, MaskedLM, SentenceEmbedding, TokenClassification, Classification)
}


def chosen(
    tables: Sequence[Table], named_columns: Columns, where: Path | str
) -> tuple[type[Task], Columns]:
    """The task that is asked for, or the first one whose columns the data has, and these columns.
    Raises SpecError where the data has not the columns of the task that is asked for.
    """
    kinds = [kind for kind in TASKS.values() if kind.name not in UNLABELLED_TASKS]
    if named_columns.task == Classification.name:
        _check_no_tags(tables, named_columns, where)
    for kind in kinds if named_columns.task is None else [TASKS[named_columns.task]]:
        columns = kind.columns(tables, named_columns)
        if columns is not None:
            return kind, columns
    raise SpecError(
        expected=kind.needs,
        found=", ".join(names_of(tables)) or "none",
        advice=kind.advice_for(tables),
        where=where,
    )


def _check_no_tags(tables: Sequence[Table], named_columns: Columns, where: Path | str) -> None:
    """Raises SpecError for rows of words with a tag for each, which are to be classified."""
    columns = TokenClassification.columns(tables, replace(named_columns, task=None))
    if columns is not None:
        raise SpecError(
            expected="texts, each with one label",
            found=f"a label for each word (columns {columns.text} and {columns.label})",
            advice=f"Give --task {TokenClassification.name}; or name the columns of the texts and of "
            "their labels with --text and --label.",
            where=where,
        )


def own_metric(source: Source) -> str:
    """What answers to this data are judged by where nobody says."""
    return TASKS[source.task](source.num_labels, source.label_names).own_metric(source.metric)


def refuse_others(source: Source, kind: type[Task]) -> None:
    """Raises SpecError for data of another task than this."""
    if source.task != kind.name:
        raise SpecError(
            expected=f"data for {kind.name}, for which alone this is measured",
            found=f"data for {source.task}",
            advice="Name other data.",
            where=source.name,
        )
