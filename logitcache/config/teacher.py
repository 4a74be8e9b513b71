"""Options that say which teacher is meant, how it is fine-tuned, and how its answers are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from logitcache.config.answers import AnswerSource, answer_source
from logitcache.config.data import max_length
from logitcache.config.embedding import pooling
from logitcache.config.option import Cost, option
from logitcache.config.sequences import Sequences
from logitcache.config.shapes import is_shape
from logitcache.config.signals import LOGITS, signals, vector_signals
from logitcache.errors import SpecError

DTYPES = ("float32", "bfloat16", "float16")
MODES = ("auto", "always", "never")
ON_NONFINITE = ("stop", "skip")
STORES = ("arrow", "zarr")
MAX_SEED = 2**32 - 1
TEACHER = "Teacher"
FINETUNE = "Fine-tuning of the teacher"
STORAGE = "Storage"


def revision() -> Any:
    return option(None, "Branch, tag or commit of a checkpoint on the hub.", group="Checkpoint")


def trust_remote_code() -> Any:
    return option(
        False, "Run the code that a checkpoint brings along.", group="Checkpoint", recorded=False
    )


def device() -> Any:
    return option(
        None,
        "Device of the teacher: cpu, cuda, cuda:1. Default: cuda if there is one.",
        group=TEACHER,
    )


def dtype() -> Any:
    return option(
        "float32", "Floating-point type the teacher computes in.", choices=DTYPES, group=TEACHER
    )


def codec() -> Any:
    return option(
        "float16",
        "How answers are stored. All logits: float16, float32, or replay (the input of a vocabulary's head). A few "
        "words of a vocabulary: varopt:mean=N, sampled:n=N, topk:k=K. The best for N bytes: auto:bytes=N.",
        group=STORAGE,
    )


def batch_tokens() -> Any:
    return option(
        4096,
        "Padded tokens of one teacher batch. Halved where memory runs out.",
        minimum=1,
        group=STORAGE,
    )


def shard_rows() -> Any:
    return option(
        None,
        "Rows of a shard. Default: the smallest of 16,384, 64 MB and 1e14 FLOPs.",
        minimum=1,
        group=STORAGE,
    )


def store() -> Any:
    return option(
        "arrow", "File format of the shards.", name="format", choices=STORES, group=STORAGE
    )


def tokenizer() -> Any:
    return option(
        None,
        "Folder or hub name of the teacher's tokenizer. Default: its own.",
        name="tokenizer",
        group=TEACHER,
        cost=Cost.NONE,
    )


@dataclass(frozen=True)
class TeacherSpec:
    """Which teacher is meant, and what it computes in."""

    name: str = option(
        help="Model to ask: a checkpoint's folder, the folder of a `train` run, a hub name, or a shape such as 4x256; "
        "one without a trained head is fine-tuned first. Or answers that exist already: column:NAME, column:PREFIX*, "
        "column:NAME@FILE, file:FILE.npy (logits:... of logits).",
        name="teacher",
        group=TEACHER,
    )
    tokenizer: str | None = tokenizer()
    dtype: str = dtype()
    device: str | None = device()
    revision: str | None = revision()
    trust_remote_code: bool = trust_remote_code()
    pooling: str | None = pooling(TEACHER)

    @property
    def answers(self) -> AnswerSource | None:
        """Where its answers lie already; None of a model. Raises SpecError for half a name of such."""
        return answer_source(self.name)

    @property
    def folder(self) -> str:
        """What it is called in the name of a cache's folder."""
        return self.name if self.answers is None else self.answers.folder


@dataclass(frozen=True)
class Finetune:
    """How a checkpoint becomes a teacher, where it has to."""

    mode: str = option(
        "auto",
        "Fine-tune the teacher on the train split first: where it has no trained head, always, or never.",
        name="finetune",
        choices=MODES,
        group=FINETUNE,
    )
    epochs: float = option(
        3.0, "Passes over the rows.", name="finetune_epochs", above=0, group=FINETUNE
    )
    learning_rate: float | None = option(
        None,
        "Default: 2e-5 for a checkpoint, 5e-4 for a shape.",
        name="finetune_learning_rate",
        above=0,
        group=FINETUNE,
        cost=Cost.NONE,
    )
    batch_size: int = option(
        32, "Rows of one step.", name="finetune_batch_size", minimum=1, group=FINETUNE
    )
    seed: int = option(
        0,
        "Seed of the head and of the order of rows.",
        name="finetune_seed",
        minimum=0,
        maximum=MAX_SEED,
        group=FINETUNE,
        cost=Cost.NONE,
    )
    folds: int | None = option(
        None,
        "That many teachers, each fine-tuned without one fold of the rows and answering for that fold.",
        minimum=2,
        maximum=100,  # one model is trained for each
        group=FINETUNE,
    )

    def check(self, teacher: str) -> None:
        """Raises SpecError where this teacher has to be trained and is not to be."""
        if self.mode != "never":
            return
        why = "folds need a teacher trained without each" if self.folds is not None else None
        if is_shape(teacher):
            why = "a shape has no weights yet"
        if why is not None:
            raise SpecError(
                f"--finetune never: {why}. Leave it out, or name a trained teacher.", where=teacher
            )


@dataclass(frozen=True)
class DumpSettings:
    """How rows are put to the teacher and how its answers are kept."""

    max_length: int = max_length()
    batch_tokens: int = batch_tokens()
    codec: str = codec()
    shard_rows: int | None = shard_rows()
    on_nonfinite: str = option(
        "stop",
        "What to do with a row whose logits are NaN, infinite or too wide for the codec: stop the dump, or skip the "
        "row and store no answer.",
        choices=ON_NONFINITE,
        group=STORAGE,
        cost=Cost.NONE,
    )
    store: str = store()
    signals: tuple[str, ...] = signals(STORAGE)
    sequences: Sequences = field(default_factory=Sequences)

    @property
    def keeps_logits(self) -> bool:
        return LOGITS in self.signals

    def check_signals(self) -> None:
        """Raises SpecError for signals that there are not, or a codec of logits that are not kept."""
        vector_signals(self.signals)
        if not self.keeps_logits and self.codec != DumpSettings.codec:
            raise SpecError(
                expected="--signal logits beside it",
                found=", ".join(self.signals) or "none",
                advice="Add --signal logits, or leave --codec out.",
                where="--codec",
            )
