"""The rows that a comparison was scored on, and what a verdict must say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logitcache.config.train import ENTITY_F1
from logitcache.data.division import SharedTexts
from logitcache.study.results import Result


@dataclass(frozen=True)
class Evidence:
    """The rows that were scored. By default test rows that the user gave, none trained on."""

    split: str = "test"
    # rows of the split that were held out of train; None where somebody gave them
    held_out: int | None = None
    rule: str = ""  # by which they were held out
    too_few: bool = False  # no row was held out, for there were too few
    chosen_on: bool = False  # the epoch of a student was selected by its score on these rows
    shared: SharedTexts | None = None  # texts that stand in train too
    unit: str = "rows"  # what is scored: rows, or words or other positions of rows

    @property
    def trained_on(self) -> bool:
        """Whether these are training rows."""
        return self.split == "train"

    @property
    def kind(self) -> str:
        """Which rows, in a sentence: training rows, or those of the split."""
        return "training" if self.trained_on else self.split

    @property
    def rows(self) -> str:
        """The name of the rows in a sentence."""
        return f"{self.kind} rows"

    @property
    def scored(self) -> str:
        """The name of what was scored, in a sentence."""
        return f"{self.kind} {self.unit}"

    @property
    def name(self) -> str:
        """The name of what was scored, in a title."""
        return self.scored if self.trained_on else self.split

    @property
    def these(self) -> str:
        """All of the rows in a sentence: ``this test set``."""
        return f"these {self.scored}" if self.trained_on else f"this {self.split} set"

    def before(self) -> str:
        """The first words of a verdict; empty unless the rows were trained on."""
        if not self.trained_on:
            return ""
        why = " (too few to hold any out)" if self.too_few else ""
        return f"Measured on training {self.unit}{why}, which says nothing about new data: "

    def after(self) -> str:
        """The sentences after a verdict; empty where there is no reservation."""
        sentences = []
        if self.chosen_on:
            sentences.append(
                f"Measured on {self.split}, the split on which the epoch was selected."
            )
        if self.shared is not None:
            rows, of = self.shared.rows, self.shared.of
            sentences.append(
                f"{rows:,} of the {of:,} {self.split} texts also stand in train: these rows do not measure "
                "generalisation."
            )
        return "".join(f" {sentence}" for sentence in sentences)


def evidence_of(results: Sequence[Result], split: str, metric: str) -> Evidence:
    """The evidence of results that come from the same data, as a metric counts it."""
    division = next((result.division for result in results if result.division is not None), None)
    held_out = None
    rule = ""
    if division is not None:
        held_out = division.held_out.get(split)
        rule = division.rule
    were_chosen = any(result.settings.get("select") == "best" for result in results)
    return Evidence(
        split=split,
        held_out=held_out,
        rule=rule,
        too_few=division is not None and not division.held_out,
        chosen_on=split == "dev" and were_chosen,
        shared=next((result.shared[split] for result in results if split in result.shared), None),
        unit=_unit(results[0], split, metric),
    )


def _unit(result: Result, split: str, metric: str) -> str:
    if not result.predictions[split].are_positions or metric == ENTITY_F1:
        return "rows"
    return "words" if ENTITY_F1 in result.metrics[split] else "positions"
