"""What is asked of a row: where its kept positions are, how wide a vector is, and by which metric
an answer is judged.

Classification: one kept position per row, K class logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from logitcache.config.data import Columns
from logitcache.config.signals import LOGITS
from logitcache.config.train import METRICS as METRICS
from logitcache.data.labels import MAX_CLASSES
from logitcache.data.sources.tables import Opened, Table
from logitcache.data.tasks.agreement import Agreement
from logitcache.errors import SpecError
from logitcache.payloads import Dense
from logitcache.records import Array, Block, Examples, Float32, Int64, Positions

if TYPE_CHECKING:
    from logitcache.config.sequences import Sequences
    from logitcache.config.teacher import DumpSettings
    from logitcache.data.rows import Source
    from logitcache.reporter import Reporter

DEV_ROWS = 2000


@dataclass(frozen=True)
class Classification:
    """K classes, one answer per row; ``label_names`` None where labels are bare numbers."""

    num_labels: int
    label_names: tuple[str, ...] | None
    name: ClassVar[str] = "classification"
    preprocessor: ClassVar[str] = "tokenizer"  # what turns its rows into examples
    needs: ClassVar[str] = "a column of texts"
    advice: ClassVar[str] = "Name them with --text and --label."  # where its columns are not there
    auto_model: ClassVar[str] = "AutoModelForSequenceClassification"  # of transformers
    # what a command line has to say where the data does not tell the task
    option: ClassVar[str] = ""
    head: ClassVar[str] = "classification"  # what a trained checkpoint has besides its body
    # whether a model answers for each token: [B, T, K], not [B, K]
    per_token: ClassVar[bool] = False
    level: ClassVar[str] = "row"  # of a cache's columns that hold its vectors
    evidence_names: ClassVar[tuple[str, ...]] = ()  # columns of evidence; none: they are the logits
    # columns of predictions.parquet that stand for answers; none: their logits do
    recorded_names: ClassVar[tuple[str, ...]] = ()
    main_score: ClassVar[str] = "accuracy"  # of a teacher, where one number stands for all
    # whether a model may look for the end of a row by its padding token
    ends_rows: ClassVar[bool] = True
    train_sample: ClassVar[int] = 2000  # train rows that are scored after a training
    # the label of every row, of a task whose data has none; None: labels are read
    fixed_label: ClassVar[int | None] = None
    answer: ClassVar[str] = LOGITS  # the signal that is an answer
    dev_rows: ClassVar[int] = DEV_ROWS  # that a teacher is scored on after a dump, at most
    # whether a cache holds its rows, and every method reads them from there
    self_contained: ClassVar[bool] = False

    # whether the views of a row are one answer, of which is drawn anew
    views_are_draws: ClassVar[bool] = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """What an answer can be judged by, its own first."""
        return tuple(name for name in METRICS if name != "f1" or self.num_labels == 2)

    def head_settings(self) -> dict[str, Any]:
        """What the configuration of a model says of its head."""
        names = self.label_names or tuple(f"LABEL_{i}" for i in range(self.num_labels))
        return {
            "problem_type": "single_label_classification",
            "num_labels": self.num_labels,
            "id2label": dict(enumerate(names)),
            "label2id": {name: number for number, name in enumerate(names)},
        }

    @property
    def width_of_answers(self) -> int | None:
        """Columns of an answer, behind which there is filling; None: all of them."""
        return self.num_labels

    @classmethod
    def settings(cls, settings: DumpSettings) -> DumpSettings:
        """The settings of a dump, with the signals that its answers are."""
        return settings

    def own_metric(self, usual: str) -> str:
        """What an answer is judged by where nobody says: what the field of the data reports."""
        return usual

    @classmethod
    def width(cls, tokenizer: Any) -> int | None:
        """Columns of an answer, where the tokenizer tells; None where the data does."""
        return None

    @classmethod
    def tokenised(
        cls, source: Source, tokenizer: Any, settings: Sequences, limit: int, reporter: Reporter
    ) -> Source:
        """The source whose rows are put to models: itself, unless the task cuts texts into rows of
        at most ``limit`` tokens by what ``settings`` say.
        """
        return source

    def longest(self, settings: DumpSettings, limit: int) -> int:
        """Tokens of the longest row, for a model that takes ``limit``."""
        return min(settings.max_length, limit)

    @staticmethod
    def form(tables: Sequence[Table], names: Columns) -> str:
        """What a text of these columns is (:attr:`Source.form`)."""
        return "text"

    @staticmethod
    def evidence(logits: Any, label: Any, teacher: Any) -> Any:
        """What scores need of the answers f[P, W] to some positions: f[P, E]. Tensors; ``teacher``
        may be None.
        """
        return logits

    def scores(self) -> Scores:
        """What adds up answers."""
        return Scores()

    def score(self, block: Block) -> dict[str, float]:
        """Every metric of these rows."""
        scores = self.scores()
        scores.add(block)
        return scores.result()

    def recorded(self, block: Block) -> Block:
        """What ``predictions.parquet`` keeps of answers that were scored: logits, or a column for
        each of ``recorded_names``.
        """
        return block

    @staticmethod
    def teacher_in_words(scores: Mapping[str, float], rows: str) -> str:
        """What a dump says of its teacher's scores on these rows, of which there are some."""
        agreement = f"agrees with the gold label on {scores['accuracy']:.1%} of {rows}"
        return f"{agreement}; macro F1 {scores['macro_f1']:.3f}, MCC {scores['mcc']:.3f}"

    @classmethod
    def advice_for(cls, tables: Sequence[Table]) -> str:
        """What to do with tables that have not the columns of the task."""
        return cls.advice

    @staticmethod
    def columns(tables: Sequence[Table], named_columns: Columns) -> Columns | None:
        """The columns of this task, where the tables have them."""
        return named_columns

    @staticmethod
    def has_unlabelled(rows: Examples) -> bool:
        """Whether some positions of these rows may be without a label, and have a teacher's answer
        alone.
        """
        return bool((rows.labels < 0).any())

    @staticmethod
    def note(names: Columns) -> str:
        """What a user has to know where this task was found from the columns of the data; empty:
        nothing.
        """
        return ""

    @staticmethod
    def left_out(rows: Examples) -> str:
        """What of these rows has no position, in words; empty where everything has one."""
        return ""

    @staticmethod
    def opened(table: Table, names: Columns) -> Opened:
        """The table of the rows, and that of their labels."""
        return Opened(table, table)

    @staticmethod
    def positions(rows: Examples, selection: Int64) -> Positions:
        """The kept positions of the rows at these places: one each, the text as a whole."""
        n = len(selection)
        zeros = np.zeros(n, np.int64)
        return Positions(
            np.arange(n + 1), zeros, zeros, rows.label[selection], np.ones(n, np.float32)
        )


def check_metric(metric: str, task: Classification) -> str:
    """The metric's name, if it can be computed; ``f1`` is that of class 1 and needs two classes.
    Raises SpecError.
    """
    if metric in task.metrics:
        return metric
    if metric == "f1":
        raise SpecError(f"metric 'f1' is for two classes, found {task.num_labels}. Use macro_f1.")
    raise SpecError(
        expected=f"a metric among {', '.join(task.metrics)}, which these data have",
        found=repr(metric),
        advice="Choose one of them.",
        where="--metric",
    )


def score(logits: Float32, labels: Int64) -> dict[str, float]:
    """Every metric of one split: accuracy, macro F1 over the classes that occur, Matthews
    correlation, mean negative log-likelihood in nats; F1 of two classes.

    ``logits`` f[N, K], ``labels`` i64[N]; rows labelled -1 count nowhere. Empty where no row is
    labelled.
    """
    tally = Scores()
    tally.add_rows(logits, labels)
    return tally.result()


class Scores:
    """The same, added up block by block: what is kept is how often each class was answered for
    each, not the rows.
    """

    def __init__(self) -> None:
        self._pairs, self.counts, self._nll, self._width = (
            np.empty(0, np.int64),
            np.empty(0, np.int64),
            0.0,
            0,
        )

    def add(self, block: Block) -> None:
        """Rows with their answers and labels."""
        payload = block.answers.payload
        if isinstance(payload, Dense):
            self.add_rows(payload.logits, block.label)
        else:
            self.add_guesses(payload.likeliest(), block.label)

    def merge(self, scores: Scores) -> None:
        """What another one has added up, of other rows."""
        self._width = max(self._width, scores._width)
        self._count(scores._pairs, scores.counts)
        self._nll += scores._nll

    def _count(self, pairs: Int64, counts: Int64) -> None:
        self._pairs, index = np.unique(np.concatenate([self._pairs, pairs]), return_inverse=True)
        weights = np.concatenate([self.counts, counts])
        self.counts = np.bincount(index, weights, len(self._pairs)).astype(np.int64)

    def add_rows(self, logits: Float32, labels: Int64) -> None:
        """``logits`` f[N, K], ``labels`` i64[N]; rows labelled -1 count nowhere."""
        from scipy.special import logsumexp

        is_labelled = labels >= 0
        labels, logits = labels[is_labelled], logits[is_labelled].astype(np.float64)
        self._width = logits.shape[1]
        self.add_guesses(logits.argmax(1), labels)
        # not sklearn's log_loss, which clips at 36 nats: a confident mistake costs what its logits
        # say
        self._nll += float(
            (logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).sum()
        )

    def add_guesses(self, guesses: Int64, labels: Int64) -> None:
        """The likeliest class of each position alone, i64[N], where no full vector is there: then
        there is no mean negative log-likelihood.
        """
        is_labelled = labels >= 0
        self._count(
            labels[is_labelled] * MAX_CLASSES + guesses[is_labelled],
            np.ones(int(is_labelled.sum()), np.int64),
        )

    @property
    def labels(self) -> Array:
        """The label of each pair of a label and an answer that was met: i64[n]; ``counts`` i64[n]
        says how often.
        """
        return self._pairs // MAX_CLASSES

    @property
    def guesses(self) -> Array:
        """The likeliest class in each of these pairs: i64[n]."""
        return self._pairs % MAX_CLASSES

    def result(self) -> dict[str, float]:
        """The metrics of what was added. Empty where no row was labelled."""
        if not len(self.counts):
            return {}
        agreement = Agreement(self.labels, self.guesses, self.counts)
        scores = {
            "accuracy": agreement.accuracy(),
            "macro_f1": agreement.macro_f1(),
            "mcc": agreement.correlation(),
        }
        if self._width:
            scores["nll"] = self._nll / agreement.total
        if self._width == 2:
            scores["f1"] = agreement.f1(1)
        return scores
