"""Options of ``logitcache train``, and the rules that need nothing but the options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from logitcache.config import embedding
from logitcache.config.budget import Pretraining
from logitcache.config.data import (
    LANGUAGE,
    Columns,
    check_unlabelled,
    data,
    data_seed,
    label_map,
    max_length,
    unlabelled,
)
from logitcache.config.labels import weights_of
from logitcache.config.methods import METHODS, check_method, method_name
from logitcache.config.option import Cost, option, validate
from logitcache.config.own import check_student
from logitcache.config.sequences import Sequences
from logitcache.config.shapes import FROM as FROM
from logitcache.config.shapes import check_layers, check_revision, check_weights, layer_numbers
from logitcache.config.student import (
    STUDENT,
    TRAINING,
    accumulate,
    batch_size,
    check_batch,
    group_by_length,
    init,
    precision,
    seed,
    student,
    tokenizer,
    vocabulary,
)
from logitcache.config.teacher import revision, trust_remote_code
from logitcache.config.workspace import Workspace, check_folder
from logitcache.errors import SpecError

METRICS = ("accuracy", "macro_f1", "f1", "mcc")
ENTITY_F1 = "entity_f1"  # of tags of words
TOKEN_METRICS = ("nll", "token_accuracy", "ece")  # of language models
LOWER_IS_BETTER = frozenset({"nll", "perplexity", "ece"})
EPOCHS = 5.0
METHOD = "Method"


@dataclass(frozen=True)
class TrainConfig:
    """Everything that is asked of one training run."""

    method: str = option(
        "base",
        "kd (the teacher's answer), base (labels alone), ls (label smoothing), tf-reg, or self-kd (the student's own "
        "earlier answer). Or a sum of terms: minilm, tinybert, vanilla-kd, embedding, mlm=1,kd=1,minilm=1:heads=48. Or "
        "a Term of your own: module:Class.",
        parse=method_name,
        group=METHOD,
    )
    data: str = data()
    columns: Columns = field(default_factory=Columns)
    unlabelled: str | None = unlabelled()
    similarity: str | None = embedding.similarity()
    data_seed: int = data_seed()
    student: str = student()
    revision: str | None = revision()
    trust_remote_code: bool = trust_remote_code()
    init: str | None = init()
    layers: tuple[int, ...] | None = option(
        None,
        "Cut the student out of a deeper checkpoint (--student from:PATH): numbers of the layers that it keeps, from "
        "0, separated by commas.",
        parse=layer_numbers,
        annotation="str | Sequence[int]",
        group=STUDENT,
        cost=Cost.NOT_COUNTED,
        recorded=False,  # the student that comes of it is
    )
    norm: str | None = option(
        None,
        "Where a layer of a shape is normalised: post, as in BERT, or pre, as in MegatronBERT, which bears larger "
        "learning rates. Default: post; of a checkpoint what it has.",
        choices=("pre", "post"),
        group=STUDENT,
        cost=Cost.NOT_COUNTED,
        recorded=False,  # where it is given
    )
    tokenizer: str | None = tokenizer()
    vocabulary: int = vocabulary()
    seed: int = seed("Seed of fresh weights, dropout and the order of rows.")
    alpha: float | None = option(
        None,
        "Weight of the soft target. Default: 0.1 for ls, 0.5 for tf-reg, self-kd and kd.",
        minimum=0,
        maximum=1,
        group=METHOD,
        cost=Cost.NONE,
    )
    a: float | None = option(
        None,
        "TF-reg's probability of the label. Default: 0.95.",
        above=0,
        below=1,
        group=METHOD,
        cost=Cost.NONE,
    )
    temperature: float | None = option(
        None,
        "Softens teacher and student in kd and self-kd. Default: 1.",
        above=0,
        maximum=1000,
        group=METHOD,
        cost=Cost.NONE,
    )
    tau_squared: bool | None = option(
        None,
        "Multiply the soft term by the squared temperature. Default: yes.",
        group=METHOD,
        cost=Cost.NONE,
        recorded=False,
    )
    epochs: float = option(EPOCHS, "Passes over the rows.", above=0, group=TRAINING)
    pretraining: Pretraining = field(default_factory=Pretraining)
    learning_rate: float | None = option(
        None,
        "Peak of the learning rate. Default: 2e-5 for pretrained weights, 5e-4 for random ones.",
        above=0,
        group=TRAINING,
        cost=Cost.NONE,
    )
    batch_size: int = batch_size()
    accumulate: int = accumulate()
    weight_decay: float = option(
        0.01, "Weight decay of AdamW.", minimum=0, group=TRAINING, cost=Cost.NONE
    )
    warmup: float = option(
        0.06,
        "Share of the steps with a rising learning rate.",
        minimum=0,
        below=1,
        group=TRAINING,
        cost=Cost.NONE,
    )
    max_length: int = max_length()
    sequences: Sequences = field(default_factory=Sequences)
    rows: int | None = option(
        None,
        "Train on that many labelled rows only: the same for every method and seed.",
        minimum=2,
        group="Data",
    )
    without_fold: tuple[int, int] | None = None  # (k, K): leave out the rows of fold k of K
    precision: str = precision()
    select: str | None = option(
        None,
        "Weights to keep: best on dev (of equal scores the later), or last. Default: best where there is a dev split.",
        choices=("best", "last"),
        group=TRAINING,
        cost=Cost.NONE,
    )
    metric: str | None = option(
        None,
        "Metric of `best`; f1 is for two classes. Default: the preset's, else accuracy; of tags in IOB entity_f1, of "
        "language models nll, of sentence encoders spearman.",
        choices=(*METRICS, ENTITY_F1, *TOKEN_METRICS, *embedding.METRICS),
        group=TRAINING,
        cost=Cost.NONE,
    )
    class_weight: str | Mapping[str, float] | None = option(
        None,
        "Weight of each labelled position in the loss, by its class: balanced (rows / (classes x rows of the class)), "
        "or NAME=WEIGHT,...; classes left out, and rows without a label, weigh 1.",
        parse=weights_of,
        annotation="str | Mapping[str, float]",
        group=TRAINING,
        cost=Cost.NONE,
    )
    predict: bool = option(
        False,
        "Keep the answers to rows of dev and test without a label too, as `study submit` needs.",
        group="Output",
        cost=Cost.NONE,
        recorded=False,
    )
    report_to: str = option(
        "none",
        "Logger of the Trainer, such as tensorboard.",
        group="Output",
        cost=Cost.NONE,
        recorded=False,
    )
    checkpoint_steps: int | None = option(
        None,
        "Save a checkpoint every so many steps too, besides after each epoch.",
        minimum=1,
        group=TRAINING,
        cost=Cost.NONE,
        recorded=False,
    )
    group_by_length: bool = group_by_length()
    loss_execution: str = option(
        "auto",
        "Loss of a vocabulary: all logits at once (plain), some at a time (fused), or PyTorch's linear_cross_entropy "
        "(torch, for --method base).",
        choices=("auto", "plain", "fused", "torch"),
        group=TRAINING,
        cost=Cost.NONE,
    )
    cache: Path | str | Sequence[Path | str] | None = option(
        None,
        "The teacher's answers: a cache's folder or URL. Several: of labelled and unlabelled rows, or of teachers to "
        "average. Default for kd: the one cache of these rows in the workspace.",
        annotation="Any",  # an open Cache too
        group=METHOD,
        cost=Cost.NOT_COUNTED,
        recorded=False,
    )
    live: str | None = option(
        None,
        "Ask this teacher in every step, in place of reading a cache: a language model's folder or hub name. For "
        "comparison; each run pays for it again.",
        group=METHOD,
        cost=Cost.NOT_COUNTED,
        recorded=False,  # by its files
    )
    label_map: Mapping[str, str] | None = label_map()
    teachers: str | None = option(
        None,
        "Average the answers of several caches of the same rows.",
        choices=("mean",),
        group=METHOD,
        cost=Cost.NOT_COUNTED,
    )
    folds: int | None = option(
        None,
        "For self-kd: that many first copies, each trained without the rows it answers.",
        minimum=2,
        maximum=100,
        group=METHOD,
    )
    out: Path | None = option(
        None,
        "Folder of the result. Default: runs/DATA/METHOD-seedN in the workspace.",
        group="Output",
        cost=Cost.NONE,
        recorded=False,
    )
    workspace: Workspace = field(default_factory=Workspace)
    first_copy: Path | None = (
        None  # for self-kd: the base run of this seed, where it is not in its default folder
    )
    overwrite: bool = option(
        False, "Replace an existing result.", group="Output", cost=Cost.NONE, recorded=False
    )

    @property
    def caches(self) -> tuple[Path | str, ...]:
        """The folders, or URLs, of ``cache``."""
        if self.cache is None:
            return ()
        return (self.cache,) if isinstance(self.cache, str | Path) else tuple(self.cache)

    def check(self) -> None:
        """Raises SpecError for values, or combinations, that are wrong whatever the data."""
        validate(self)
        check_unlabelled(self.columns.task, self.unlabelled)
        embedding.check_similarity(self.columns.task, self.similarity)
        embedding.check_student(self.columns.task, self.method, self.student)
        check_method(self.method, self.alpha, self.a, self.temperature, self.tau_squared)
        check_layers(self.student, self.layers)
        check_weights(self.student, self.init)
        if self.out is not None:
            check_folder(self.out)
        check_revision(self.student, self.revision)
        check_student(self.student, self.init, self.revision)
        check_batch(self.batch_size, self.accumulate)
        self.pretraining.check(self.epochs != EPOCHS, self.select, self.warmup)
        if self.loss_execution == "torch" and self.method != "base":
            raise SpecError(
                expected="--method base",
                found=f"--method {self.method}",
                reason="PyTorch's linear_cross_entropy takes gold labels only",
                advice="Use --loss-execution auto.",
                where="--loss-execution torch",
            )
        self._check_teaching()

    def _check_teaching(self) -> None:
        """Refuse what only a method with a teacher has a use for."""
        method = METHODS[self.method]
        if self.live is not None:
            self._check_live()
        if not method.reads_cache:
            self.pretraining.check_pays_nothing(self.method)
        if self.caches and not method.needs_teacher and self.columns.task not in LANGUAGE:
            raise SpecError(f"--cache: {self.method} has no teacher. Leave it out, or choose kd.")
        if self.label_map and not (self.caches or method.reads_cache):
            raise SpecError(
                f"--label-map: {self.method} reads no cache. Leave it out, or choose kd."
            )
        if self.teachers is not None and len(self.caches) < 2:
            raise SpecError(
                "--teachers: expected mean, and several caches to average (--cache A --cache B)."
            )
        if self.folds is not None and (self.caches or not method.self_taught):
            raise SpecError(
                "--folds: expected self-kd without --cache. For kd, give --folds to `logitcache dump`."
            )
        if self.without_fold is not None and not 0 <= self.without_fold[0] < self.without_fold[1]:
            fold, folds = self.without_fold
            raise SpecError(
                f"without_fold: expected (k, K) with k from 0 to K - 1, found ({fold}, {folds})."
            )

    def _check_live(self) -> None:
        """Raises SpecError for a live teacher beside cached answers, or where none is needed."""
        conflict = None
        if self.columns.task not in LANGUAGE:
            conflict = f"task {self.columns.task or 'classification'}"
        elif not METHODS[self.method].reads_cache:
            conflict = f"--method {self.method}, which asks no teacher"
        elif self.caches:
            conflict = "--cache beside it"
        elif self.pretraining.charge_dump:
            conflict = "--charge-dump beside it, which pays for a cache"
        if conflict is not None:
            raise SpecError(
                expected="causal-lm or masked-lm, a method with a teacher, and no cache",
                found=conflict,
                advice="Leave it out.",
                where="--live",
            )
