"""Options of the Python functions, for editors. Made by ``logitcache.config.generate``."""

# fmt: off

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict


class RowsOptions(TypedDict, total=False):
    """Options of :class:`RowsConfig`."""

    text: str | None
    text_pair: str | None
    label: str | None
    labels: str | Sequence[str] | Mapping[str, int] | Mapping[int, str] | None
    split_column: str | None
    task: Literal["classification", "token-classification", "causal-lm", "masked-lm", "embedding"] | None
    encoding: str | None
    delimiter: str | None
    header: str | Sequence[str] | None
    data_seed: int
    workspace: str | PathLike[str]


class CheckOptions(RowsOptions, total=False):
    """Options of :class:`CheckConfig`."""

    teacher: str | None
    student: str | None
    label_map: str | Mapping[str, str] | None
    max_length: int


class DumpOptions(RowsOptions, total=False):
    """Options of :class:`DumpConfig`."""

    dtype: Literal["float32", "bfloat16", "float16"]
    device: str | None
    revision: str | None
    trust_remote_code: bool
    pooling: Literal["mean", "cls"] | None
    similarity: str | None
    label_map: str | Mapping[str, str] | None
    split: str
    out: str | PathLike[str] | None
    finetune: Literal["auto", "always", "never"]
    finetune_epochs: float
    finetune_learning_rate: float | None
    finetune_batch_size: int
    finetune_seed: int
    folds: int | None
    reuse: str | PathLike[str] | None
    max_length: int
    batch_tokens: int
    codec: str
    shard_rows: int | None
    on_nonfinite: Literal["stop", "skip"]
    format: Literal["arrow", "zarr"]
    signal: Sequence[str]
    seq_len: int | None
    pack: bool | None
    keep_documents: bool | None
    supervise: Literal["all", "completions"] | None
    views: int | None
    mask_rate: float | None
    whole_words: bool | None
    mask_seed: int | None
    overwrite: bool
    part: str | tuple[int, int] | None


class AgainOptions(RowsOptions, total=False):
    """Options of :class:`AgainConfig`."""

    tokenizer: str | None
    revision: str | None
    trust_remote_code: bool
    pooling: Literal["mean", "cls"] | None
    finetune: Literal["auto", "always", "never"]
    finetune_epochs: float
    finetune_learning_rate: float | None
    finetune_batch_size: int
    finetune_seed: int
    folds: int | None
    device: str | None


class TrainOptions(RowsOptions, total=False):
    """Options of :class:`TrainConfig`."""

    similarity: str | None
    student: Any
    revision: str | None
    trust_remote_code: bool
    init: Literal["pretrained", "random"] | None
    layers: str | Sequence[int] | None
    norm: Literal["pre", "post"] | None
    tokenizer: Any
    vocabulary: int
    seed: int
    alpha: float | None
    a: float | None
    temperature: float | None
    tau_squared: bool | None
    epochs: float
    budget: str | None
    regime: Literal["fresh", "repeat"] | None
    charge_dump: int | None
    dump_cost: str | None
    evaluations: int
    learning_rate: float | None
    batch_size: int
    accumulate: int
    weight_decay: float
    warmup: float
    max_length: int
    seq_len: int | None
    pack: bool | None
    keep_documents: bool | None
    supervise: Literal["all", "completions"] | None
    views: int | None
    mask_rate: float | None
    whole_words: bool | None
    mask_seed: int | None
    rows: int | None
    precision: Literal["fp32", "bf16", "fp16"]
    select: Literal["best", "last"] | None
    metric: Literal["accuracy", "macro_f1", "f1", "mcc", "entity_f1", "nll", "token_accuracy", "ece", "spearman",
        "pearson"] | None
    class_weight: str | Mapping[str, float] | None
    predict: bool
    report_to: str
    checkpoint_steps: int | None
    group_by_length: bool
    loss_execution: Literal["auto", "plain", "fused", "torch"]
    cache: Any
    live: str | None
    label_map: str | Mapping[str, str] | None
    teachers: Literal["mean"] | None
    folds: int | None
    out: str | PathLike[str] | None
    overwrite: bool


class CompareOptions(TypedDict, total=False):
    """Options of :class:`CompareConfig`."""

    metric: str | None
    split: str | None
    baseline: str
    bootstrap: int
    margin: float | None
    plot: str | PathLike[str] | None


class StudyOptions(TypedDict, total=False):
    """Options of :class:`StudyConfig`."""

    tasks: str | Sequence[str] | None
    students: str | Sequence[str] | None
    methods: str | Sequence[str] | None
    seeds: int | str | Sequence[int] | None
    data: str | None
    teacher: str | None
    student: str | None
    rows: int | None
    epochs: float | None
    set: str | Mapping[str, Any] | None
    out: str | PathLike[str] | None
    workers: int | None
    ray: bool


class TuneOptions(TypedDict, total=False):
    """Options of :class:`TuneConfig`."""

    tasks: str | Sequence[str] | None
    students: str | Sequence[str] | None
    methods: str | Sequence[str] | None
    data: str | None
    teacher: str | None
    student: str | None
    rows: int | None
    epochs: float | None
    set: str | Mapping[str, Any] | None
    out: str | PathLike[str] | None
    workers: int | None
    samples: int
    space: str | Mapping[str, Sequence[Any]] | None
    seed: int
    best: int
