"""What causal and masked language models have in common: the kept positions are the tokens with a
label, a vector is the logits of a vocabulary, and answers are judged by how likely the right token
is.

An answer of a whole vocabulary is never kept for a split: what scores need of it is five numbers
(:meth:`LanguageModel.evidence`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from logitcache.config.data import Columns
from logitcache.config.sequences import Recipe, Sequences
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TOKEN_METRICS
from logitcache.data.rows import Source
from logitcache.data.sources.chats import PROMPTS, check_no_media, checked
from logitcache.data.sources.columns import MESSAGES, usual_text
from logitcache.data.sources.corpora import token_columns_advice
from logitcache.data.sources.dialogues import prompts_advice
from logitcache.data.sources.nested import first_values, listed_values
from logitcache.data.sources.tables import Opened, Table, names_of
from logitcache.data.tasks.classification import Classification, Scores
from logitcache.data.values import are_all
from logitcache.errors import SpecError
from logitcache.payloads import Sparse
from logitcache.records import Array, Block, Examples, Float32, Int64, Positions, numbers_in_rows
from logitcache.reporter import Reporter
from logitcache.targets.blocks import likeliest

BINS = 15  # of confidences, for the calibration error
SEQ_LEN = 256
TOOLS = "tools"  # the column of what a template tells the assistant that it can call
# of a position; the last two are -1 without a teacher
EVIDENCE = ("nll", "hit", "confidence", "agrees", "kl")
CONFIDENCE = EVIDENCE.index("confidence")


@dataclass(frozen=True)
class LanguageModel(Classification, ABC):
    """A vocabulary of ``num_labels`` tokens, one answer for each token that is learnt."""

    level: ClassVar[str] = "logits"
    head: ClassVar[str] = "language-model"
    per_token: ClassVar[bool] = True
    self_contained: ClassVar[bool] = True
    fixed_label: ClassVar[int | None] = 0  # a text is its own label
    evidence_names: ClassVar[tuple[str, ...]] = EVIDENCE
    recorded_names: ClassVar[tuple[str, ...]] = EVIDENCE
    main_score: ClassVar[str] = TOKEN_METRICS[0]
    ends_rows: ClassVar[bool] = False
    train_sample: ClassVar[int] = 128
    needs: ClassVar[str] = (
        "a column of texts, columns prompt and completion, or a column of messages"
    )
    advice: ClassVar[str] = (
        "Name the texts with --text; or save what the model is asked (instruction and input) as prompt, and what it "
        "answers as completion; or each conversation as messages, a list of {role, content}."
    )

    @classmethod
    def advice_for(cls, tables: Sequence[Table]) -> str:
        return f"{cls.advice}{prompts_advice(tables[0]) or token_columns_advice(tables[0])}"

    @classmethod
    def columns(cls, tables: Sequence[Table], named_columns: Columns) -> Columns | None:
        """The columns of texts, of prompts and completions, or of messages; None unless this task
        is named.
        """
        if named_columns.task != cls.name:
            return None
        have = names_of(tables)
        bare = replace(named_columns, label=None, label_names=None)
        if named_columns.text is not None:
            return bare if named_columns.text in have else None
        if MESSAGES in have:
            return replace(bare, text=MESSAGES)
        if set(PROMPTS) <= set(have):
            return replace(bare, text=PROMPTS[0], text_pair=PROMPTS[1])
        text = usual_text(tables, have)
        return None if text is None else replace(bare, text=text)

    @staticmethod
    def opened(table: Table, names: Columns) -> Opened:
        """The texts alone; messages as JSON. Raises SpecError naming a row of no messages."""
        columns = {name: table.columns[name] for name in names.texts if name in table.columns}
        form = form_of([table], names)
        if form != "text":
            check_no_media(table)
        if form == MESSAGES:
            name = str(names.text)
            tools = listed_values(table, TOOLS) if TOOLS in table.columns else [None] * len(table)
            messages = []
            for row, chat in enumerate(listed_values(table, name)):
                messages.append(checked(chat, table.place(row), tools[row], table.path))
            columns[name] = messages
        return Opened(replace(table, columns=columns), replace(table, columns={}, classes={}))

    @staticmethod
    def form(tables: Sequence[Table], names: Columns) -> str:
        return form_of(tables, names)

    @staticmethod
    def positions(rows: Examples, selection: Int64) -> Positions:
        """The tokens of the rows at these places that have a label; a token is joined by its place
        in the row.
        """
        labels = rows.units["labels"].select(selection)
        index = numbers_in_rows(labels.indptr)
        supervised = np.flatnonzero(labels.values >= 0)
        label = labels.values.astype(np.int64)
        every = Positions(labels.indptr, index, index, label, np.ones(len(index), np.float32))
        return every.select(supervised)

    @staticmethod
    def has_unlabelled(rows: Examples) -> bool:
        """None: a token without a label is no position."""
        return False

    @property
    def metrics(self) -> tuple[str, ...]:
        return TOKEN_METRICS

    def own_metric(self, usual: str) -> str:
        return TOKEN_METRICS[0]

    def head_settings(self) -> dict[str, Any]:
        return {}

    @classmethod
    def width(cls, tokenizer: Any) -> int | None:
        """Tokens of the vocabulary: columns of a head behind them are filling."""
        return int(max(tokenizer.get_vocab().values())) + 1

    def longest(self, settings: DumpSettings, limit: int) -> int:
        return row_length(settings.sequences, limit)

    @classmethod
    def tokenised(
        cls, source: Source, tokenizer: Any, settings: Sequences, limit: int, reporter: Reporter
    ) -> Source:
        """The source with its documents made into rows of tokens."""
        length = row_length(settings, limit)
        recipe = replace(settings.recipe(), seq_len=length)
        rows = cls.rows_of_tokens(source, tokenizer, recipe, reporter)
        return replace(rows, num_labels=cls.width(tokenizer) or 0, documents=source.digest())

    @classmethod
    @abstractmethod
    def rows_of_tokens(
        cls, source: Source, tokenizer: Any, settings: Recipe, reporter: Reporter
    ) -> Source:
        """The source with its documents made into rows of tokens, as the settings say. Raises
        SpecError.
        """

    def scores(self) -> TokenScores:
        return TokenScores()

    def score(self, block: Block) -> dict[str, float]:
        """Every metric of these rows, of what :meth:`evidence` gave."""
        scores = self.scores()
        scores.add_evidence(block.answers.logits)
        return scores.result()

    @staticmethod
    def teacher_in_words(scores: Mapping[str, float], rows: str) -> str:
        right = f"right on {scores['token_accuracy']:.1%} of the tokens of {rows}"
        if "perplexity" in scores:  # sparse answers give none
            right = f"perplexity {scores['perplexity']:.2f}, {right}"
        return f"{right}; calibration error {scores['ece']:.3f}"

    @staticmethod
    def evidence(logits: Any, label: Any, teacher: Any) -> Any:
        """What scores need of answers: f32[P, 5], see EVIDENCE. All are tensors: ``logits`` f[P,
        V], ``label`` i64[P], ``teacher`` its likeliest tokens i64[P] and its divergence from these
        answers f[P], or None.
        """
        import torch

        log_p = logits.float().log_softmax(1)
        top = log_p.max(1)
        column = label.clamp(min=0)[:, None]
        nll = -log_p.gather(1, column)[:, 0]
        is_right = (top.indices == label).float()
        kl = torch.full_like(nll, -1.0)
        agrees = kl
        if teacher is not None:
            likeliest, kl = teacher
            agrees = (likeliest == top.indices).float()
        return torch.stack([nll, is_right, top.values.exp(), agrees, kl], 1)

    @staticmethod
    def evidence_and_entropy(logits: Any, label: Any) -> tuple[Any, Any]:
        """:meth:`evidence` of a teacher's own answers, f32[P, 5], and their entropy in nats,
        f32[P]; in as few passes over the vocabulary as can be: a dump waits for it.
        """
        import torch

        z = logits.float()
        top, word = likeliest(z)
        z = z - top
        p = z.softmax(1)
        confidence = p.gather(1, word)[:, 0]
        log_sum = -confidence.log()
        nll = log_sum - z.gather(1, label.clamp(min=0)[:, None])[:, 0]
        is_right = (word[:, 0] == label).float()
        none = torch.full_like(nll, -1.0)
        evidence = torch.stack([nll, is_right, confidence, none, none], 1)
        return evidence, log_sum - torch.linalg.vecdot(p, z)


def form_of(tables: Sequence[Table], names: Columns) -> str:
    """What a text of these columns is: ``messages``, ``prompt`` (with its completion) or ``text``."""
    if names.text_pair is not None:
        return "prompt"
    if names.text == MESSAGES:
        return MESSAGES
    for table in tables:
        first = first_values(table.columns.get(str(names.text), []), 1)
        if first and are_all(first, list):
            return MESSAGES
    return "text"


def row_length(settings: Sequences, limit: int) -> int:
    """Tokens of a row. Raises SpecError where the model takes fewer than were asked for."""
    if settings.seq_len is not None and settings.seq_len > limit:
        raise SpecError(
            expected=f"at most {limit} tokens, which the model takes",
            found=settings.seq_len,
            advice="Lower it, or use a model of longer texts.",
            where="--seq-len",
        )
    return settings.seq_len or min(SEQ_LEN, limit)


def _of_listed(payload: Sparse[Array], label: Int64) -> Float32:
    """The evidence of a teacher whose full answers are not there: its likeliest tokens alone.
    f32[P, 5].
    """
    evidence = np.full((len(label), len(EVIDENCE)), -1.0, np.float32)
    evidence[:, 0] = np.nan
    evidence[:, 1] = payload.likeliest() == label
    evidence[:, 2] = payload.prob.max(1, initial=0)
    return evidence


class TokenScores(Scores):
    """Loss, perplexity, accuracy, calibration error and agreement with a teacher, added up position
    by position.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nll = 0.0
        self.hits = 0
        self.n = 0
        self.agreeing = 0.0
        self.kl = 0.0
        self.with_teacher = 0
        self.bins = np.zeros((BINS, 3))  # positions, their confidence and hits, by confidence

    def add(self, block: Block) -> None:
        """Rows with a teacher's logits and their labels. Entries that were drawn count nowhere: the
        likeliest word and its probability do not follow from them.
        """
        import torch

        payload = block.answers.payload
        if isinstance(payload, Sparse):
            if not payload.is_drawn:
                self.add_evidence(_of_listed(payload, block.label))
            return
        logits = torch.from_numpy(np.ascontiguousarray(block.answers.logits))
        self.add_evidence(
            LanguageModel.evidence(logits, torch.from_numpy(block.label), None).numpy()
        )

    def add_evidence(self, evidence: Float32) -> None:
        """What :meth:`LanguageModel.evidence` gave: f32[P, 5]."""
        nll, hit, confidence, agrees, kl = evidence.astype(np.float64).T
        self.n += len(nll)
        self.nll += float(nll.sum())
        self.hits += int(hit.sum())
        bin_of_position = np.clip((confidence * BINS).astype(np.int64), 0, BINS - 1)
        self.bins[:, 0] += np.bincount(bin_of_position, minlength=BINS)
        self.bins[:, 1] += np.bincount(bin_of_position, confidence, BINS)
        self.bins[:, 2] += np.bincount(bin_of_position, hit, BINS)
        has_teacher = agrees >= 0
        self.with_teacher += int(has_teacher.sum())
        self.agreeing += float(agrees[has_teacher].sum())
        self.kl += float(kl[has_teacher].sum())

    def merge(self, scores: Scores) -> None:
        assert isinstance(scores, TokenScores)
        for name in ("nll", "hits", "n", "agreeing", "kl", "with_teacher", "bins"):
            setattr(self, name, getattr(self, name) + getattr(scores, name))

    def result(self) -> dict[str, float]:
        if not self.n:
            return {}
        nll = self.nll / self.n
        scores: dict[str, float] = {}
        if not np.isnan(nll):
            scores["nll"] = nll
            scores["perplexity"] = float(np.exp(min(nll, 700.0)))
        scores["token_accuracy"] = self.hits / self.n
        gaps = np.abs(self.bins[:, 1] - self.bins[:, 2])
        scores["ece"] = float(gaps.sum() / self.n)
        if self.with_teacher:
            scores["agreement"] = self.agreeing / self.with_teacher
            scores["kl"] = self.kl / self.with_teacher
        return scores
