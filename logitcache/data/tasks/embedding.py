"""Sentence embedding: one vector of a text, learnt from a teacher's vectors alone.

What is scored are pairs of texts with a score of their similarity. Their texts are rows 2 i and
2 i + 1 of a split, and the label of both is the number of their score among ``label_names``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from logitcache.config.data import EMBEDDING, Columns
from logitcache.config.embedding import METRICS
from logitcache.config.signals import LOGITS, OWN_VECTOR, parse_signal
from logitcache.data.labels import UNLABELLED
from logitcache.data.sources.columns import TEXT_COLUMNS, first_called
from logitcache.data.sources.tables import Opened, Table, names_of
from logitcache.data.tasks.classification import Classification, Scores
from logitcache.errors import SpecError
from logitcache.records import Array, Block, Dense, Float32, Int64, ends_of

if TYPE_CHECKING:
    from logitcache.config.teacher import DumpSettings


@dataclass(frozen=True)
class SentenceEmbedding(Classification):
    """A vector of each text. ``label_names`` are the scores that pairs have; None without pairs."""

    name: ClassVar[str] = EMBEDDING
    option: ClassVar[str] = f"--task {EMBEDDING} "
    auto_model: ClassVar[str] = "AutoModel"
    fixed_label: ClassVar[int | None] = UNLABELLED
    answer: ClassVar[str] = OWN_VECTOR
    dev_rows: ClassVar[int] = 1 << 20  # a pair is not torn
    train_sample: ClassVar[int] = 0
    recorded_names: ClassVar[tuple[str, ...]] = ("cosine",)
    main_score: ClassVar[str] = METRICS[0]
    needs: ClassVar[str] = "a column of texts"
    advice: ClassVar[str] = "Name it with --text."

    @property
    def metrics(self) -> tuple[str, ...]:
        return METRICS

    def own_metric(self, usual: str) -> str:
        return METRICS[0]

    @property
    def width_of_answers(self) -> int | None:
        return None

    def head_settings(self) -> dict[str, Any]:
        return {"usual_pooling": "mean"}

    @classmethod
    def settings(cls, settings: DumpSettings) -> DumpSettings:
        """With the teacher's own vectors among what is kept, and no logits: it has none."""
        others = [signal for signal in settings.signals if signal != LOGITS]
        if any(parse_signal(signal).name == OWN_VECTOR for signal in others):
            return replace(settings, signals=tuple(others))
        return replace(settings, signals=(OWN_VECTOR, *others))

    @staticmethod
    def columns(tables: Sequence[Table], named_columns: Columns) -> Columns | None:
        """The column of texts; None where there is none. Raises SpecError for pairs."""
        if named_columns.text_pair is not None:
            raise SpecError(
                expected="one column of texts, each of which has a vector",
                found=f"--text-pair {named_columns.text_pair}",
                advice="Leave it out; pairs with scores are named by --similarity.",
                where="--task embedding",
            )
        have = names_of(tables)
        text = named_columns.text or first_called(TEXT_COLUMNS, have)
        if text is None and len(have) == 1:
            text = have[0]
        if text is None or text not in have:
            return None
        return replace(named_columns, text=text, label=None, label_names=None)

    @staticmethod
    def opened(table: Table, names: Columns) -> Opened:
        """The texts alone."""
        column = {str(names.text): table.columns[str(names.text)]}
        texts = replace(table, columns=column, classes={})
        return Opened(texts, texts)

    def scores(self) -> SimilarityScores:
        return SimilarityScores(self.label_names or ())

    @staticmethod
    def teacher_in_words(scores: Mapping[str, float], rows: str) -> str:
        found = f"Spearman {scores['spearman']:.4f}, Pearson {scores['pearson']:.4f}"
        return f"{found} on pairs of {rows}"

    def recorded(self, block: Block) -> Block:
        """The cosine of each pair, f32[pairs, 1], numbered from 0."""
        pair, cosine, label = cosines(block.row_id, block.answers.logits, block.label)
        answers = replace(
            block.answers,
            row_hash=np.zeros_like(pair),
            indptr=ends_of(np.ones_like(pair)),
            index=np.zeros_like(pair),
            payloads={LOGITS: Dense(cosine[:, None].astype(np.float32))},
        )
        return Block(pair, 0, answers, label)


def cosines(row_id: Int64, vectors: Float32, label: Int64) -> tuple[Int64, Array, Int64]:
    """(number, cosine, label) of each pair, of vectors f32[N, d] of rows in any order: i64[P],
    f64[P], i64[P].
    """
    order = np.argsort(row_id)
    first = order[0::2]
    second = order[1::2]
    norm = np.linalg.norm(vectors.astype(np.float64), axis=1)
    product = np.einsum("pd,pd->p", vectors[first], vectors[second], dtype=np.float64)
    cosine = product / np.maximum(norm[first] * norm[second], 1e-12)
    return row_id[first] // 2, cosine, label[first]


class SimilarityScores(Scores):
    """Rank correlation (Spearman) and correlation (Pearson) of cosines with scores. All vectors are
    kept until then: a similarity set has some thousand texts.
    """

    def __init__(self, score_names: Sequence[str]) -> None:
        super().__init__()
        self._values = np.array(list(map(float, score_names)))
        self._rows: list[tuple[Int64, Float32, Int64]] = []

    def add(self, block: Block) -> None:
        is_labelled = block.label >= 0
        vectors = block.answers.logits[is_labelled]
        if len(vectors):
            self._rows.append((block.row_id[is_labelled], vectors, block.label[is_labelled]))

    def merge(self, scores: Scores) -> None:
        assert isinstance(scores, SimilarityScores)
        self._rows += scores._rows

    def result(self) -> dict[str, float]:
        """0 where all cosines, or all scores, are equal."""
        if not self._rows:
            return {}
        from scipy.stats import pearsonr, rankdata  # slow to import

        row_id, vectors, label = map(np.concatenate, zip(*self._rows, strict=True))
        _, cosine, label = cosines(row_id, vectors, label)
        value = self._values[label]
        if len(np.unique(cosine)) < 2 or len(np.unique(value)) < 2:
            return dict.fromkeys(METRICS, 0.0)
        spearman = pearsonr(rankdata(cosine), rankdata(value)).statistic
        pearson = pearsonr(cosine, value).statistic
        return {"spearman": float(spearman), "pearson": float(pearson)}
