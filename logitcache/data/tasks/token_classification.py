"""Token classification: each word is a kept position, at its first piece; K class logits. Judged by
entities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from logitcache.config.data import Columns
from logitcache.config.train import ENTITY_F1
from logitcache.data.preprocess import words
from logitcache.data.tasks.classification import Classification, Scores
from logitcache.records import Block, Examples, Int64, Positions, numbers_in_rows


@dataclass(frozen=True)
class TokenClassification(Classification):
    """K classes, one answer for each word of a row."""

    name: ClassVar[str] = "token-classification"
    preprocessor: ClassVar[str] = "words"
    level: ClassVar[str] = "logits"
    needs: ClassVar[str] = "columns of lists: words and their labels"
    advice: ClassVar[str] = (
        "Name them with --text and --label; or save each row's words and their labels, "
        "as columns words and tags of lists."
    )
    auto_model: ClassVar[str] = "AutoModelForTokenClassification"
    per_token: ClassVar[bool] = True
    columns = staticmethod(words.columns_of)
    opened = staticmethod(words.opened)

    @staticmethod
    def positions(rows: Examples, selection: Int64) -> Positions:
        """The words of the rows at these places that their tokenizer has kept."""
        first = rows.units["first"].select(selection)
        label = rows.units["labels"].select(selection)
        index = numbers_in_rows(first.indptr)
        weight = np.ones(len(index), np.float32)
        every = Positions(first.indptr, index, first.values, label.values, weight)
        return every.select(np.flatnonzero(first.values != words.NO_WORD))

    @staticmethod
    def note(names: Columns) -> str:
        return f"task: token-classification; words: the column {names.text}, their labels: {names.label or 'none'}"

    @staticmethod
    def left_out(rows: Examples) -> str:
        first = rows.units["first"].values
        lost = int((first == words.NO_WORD).sum())
        if not lost:
            return ""
        return f"{lost:,} of {len(first):,} words are behind the maximum length, or have no token: they are left out"

    @property
    def metrics(self) -> tuple[str, ...]:
        usual = super().metrics
        return (ENTITY_F1, *usual) if self._is_iob else usual

    def own_metric(self, usual: str) -> str:
        return self.metrics[0]

    @property
    def _is_iob(self) -> bool:
        names = self.label_names or ()
        return "O" in names and all(name == "O" or name[:2] in ("B-", "I-") for name in names)

    def scores(self) -> Scores:
        return EntityScores(self.label_names or ()) if self._is_iob else Scores()


class EntityScores(Scores):
    """Those of words, and the F1 of entities over all types (``seqeval``'s, of tags in IOB2).

    An entity is a run of words of one type: it begins at B, or at I behind a word outside or of
    another type.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        tags = [
            *names,
            "O",
        ]  # a word without a label is no entity: its class number is -1, the last
        types = sorted({tag[2:] for tag in tags if tag != "O"})
        self._type = np.array([-1 if tag == "O" else types.index(tag[2:]) for tag in tags])
        self._begins = np.array([tag.startswith("B-") for tag in tags])
        self.entities: Int64 = np.zeros(3, np.int64)  # gold entities, answered ones, both

    def add(self, block: Block) -> None:
        super().add(block)
        is_labelled = block.label >= 0
        if len(is_labelled):
            guesses = np.where(is_labelled, block.answers.payload.likeliest(), -1)
        else:
            guesses = block.label
        self.entities += self.of_rows(block.label, guesses, block.answers.indptr).sum(0)

    def of_rows(self, label: Int64, guesses: Int64, indptr: Int64) -> Int64:
        """Entities of each row, i64[R, 3]: gold, answered, both. ``label`` and ``guesses`` i64[P]
        are of its words, -1 in both of a word without a label.
        """
        gold = self._entities(label, indptr)
        answered = self._entities(guesses, indptr)
        right = np.intersect1d(gold, answered, assume_unique=True)
        counts = []
        for entities in (gold, answered, right):
            first = entities // len(self._type) // (len(label) + 1)
            row = np.searchsorted(indptr, first, "right") - 1
            counts.append(np.bincount(row, minlength=len(indptr) - 1))
        return np.stack(counts, axis=1)

    def _entities(self, label: Int64, indptr: Int64) -> Int64:
        """Each entity as one number, made of its first word, its end and its type."""
        count = len(label)
        kind = self._type[label]
        starts_row = np.zeros(count + 1, np.bool_)
        starts_row[indptr] = True  # of rows without words the next row's first word, or none
        starts_row = starts_row[:count]
        is_other = np.ones(count, np.bool_)
        is_other[1:] = kind[1:] != kind[:-1]
        is_outside = kind < 0
        begins = ~is_outside & (self._begins[label] | starts_row | is_other)
        borders = np.append(np.flatnonzero(begins | is_outside | starts_row), count)
        first = np.flatnonzero(begins)
        end = borders[np.searchsorted(borders, first, "right")]
        entities: Int64 = (first * (count + 1) + end) * len(self._type) + kind[first]
        return entities

    def merge(self, scores: Scores) -> None:
        assert isinstance(scores, EntityScores)
        super().merge(scores)
        self.entities += scores.entities

    def result(self) -> dict[str, float]:
        scores = super().result()
        if scores:
            gold, answered, right = self.entities.tolist()
            scores[ENTITY_F1] = 2 * right / max(1, gold + answered)
        return scores
