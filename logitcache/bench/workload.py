"""What is timed: a student, a teacher and rows of the lengths that training would meet.

Weights decide no time, so ``shape_only`` draws them: of a well-known architecture, of LAYERSxWIDTH, or of a folder's or
the hub's ``config.json``. Tokens decide none either: there they are random, of the data's own lengths or all of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from logitcache import hub
from logitcache.config.bench import WorkloadConfig
from logitcache.config.shapes import is_shape, parse_shape
from logitcache.data import source as sources
from logitcache.data.match import check_count
from logitcache.data.order import subset
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.selection import held_out
from logitcache.data.source import Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError
from logitcache.models.load import DTYPES, UntrainedHead, check_device, load_tokenizer, longest_input, quiet, unloadable
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.models.vocabulary import build_tokenizer
from logitcache.records import Examples, Padding, Ragged, Side
from logitcache.reporter import SILENT, Reporter
from logitcache.student.model import build_student, student_tokenizer
from logitcache.teacher.model import TeacherModel, load_teacher

ADVICE = "Give a folder with config.json, a hub name, LAYERSxWIDTH, or one of: "
VOCABULARY = 8000  # of shapes, as `train` learns it
_BERT = {"vocab_size": 30522, "max_position_embeddings": 512}
_ROBERTA = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
_ROBERTA |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_GPT2 = {"pad_token_id": 50256}


def _encoder(layers: int, width: int, heads: int) -> dict[str, int]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }


# The published shapes of the checkpoints that the papers use, so that they can be timed without a network.
KNOWN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "roberta-large": ("roberta", _ROBERTA | _encoder(24, 1024, 16)),
    "roberta-base": ("roberta", _ROBERTA | _encoder(12, 768, 12)),
    "distilroberta-base": ("roberta", _ROBERTA | _encoder(6, 768, 12)),
    "bert-large-uncased": ("bert", _BERT | _encoder(24, 1024, 16)),
    "bert-base-uncased": ("bert", _BERT | _encoder(12, 768, 12)),
    "bert-small": ("bert", _BERT | _encoder(4, 512, 8)),
    "gpt2": ("gpt2", _GPT2),
    "distilgpt2": ("gpt2", _GPT2 | {"n_layer": 6}),
}


@dataclass(frozen=True)
class Workload:
    """A student and a teacher on the device they are timed on, and the rows they see."""

    asked: WorkloadConfig
    device: str
    student: PreTrainedModel
    teacher: TeacherModel
    tokenizer: Any  # the student's
    task: Classification
    rows: Examples  # in the student's tokens; row_id from 0
    teacher_rows: Examples  # the same rows in the teacher's; the same object where the tokenizer is
    train_rows: int  # of the whole split
    source: str
    random_head: bool  # nobody has trained the teacher's: its answers mean nothing, and take as long

    @property
    def num_labels(self) -> int:
        return self.task.num_labels

    @property
    def shape_only(self) -> bool:
        return self.asked.shape_only

    @cached_property
    def same_inputs(self) -> bool:
        """Whether a teacher in the loop can read the student's own batch."""
        return self.teacher_rows is self.rows


def load(asked: WorkloadConfig, reporter: Reporter = SILENT) -> Workload:
    """Student, teacher and rows. Raises SpecError for what cannot be loaded, FingerprintMismatch for a teacher of
    other labels than the data's.
    """
    asked.check()
    device = str(check_device(asked.device))
    with quiet():
        found = _shapes(asked, device, reporter) if asked.shape_only else _checkpoints(asked, device, reporter)
    for what, model in (("student", found.student), ("teacher", found.teacher.model)):
        named = asked.student if what == "student" else asked.teacher
        reporter.note(
            f"{what}: {named}, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, on {device}"
        )
    return found


def config_of(
    name: str, vocabulary: int = VOCABULARY, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedConfig:
    """The architecture of a name: LAYERSxWIDTH with a vocabulary of that size, a folder with config.json, a well-known
    one, or the hub's.

    Raises SpecError where there is none.
    """
    if is_shape(name):
        layers, width, heads = parse_shape(name)
        sizes = {"vocab_size": vocabulary, "max_position_embeddings": 512}
        return AutoConfig.for_model("bert", **sizes, **_encoder(layers, width, heads))
    known = name.split("/")[-1]
    if known in KNOWN and not Path(name).exists():
        kind, sizes = KNOWN[known]
        return AutoConfig.for_model(kind, **sizes)
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    except hub.unreadable() as error:
        raise unloadable("architecture", name, error, f"{ADVICE}{', '.join(KNOWN)}.") from None
    return config


def random_model(
    config: PreTrainedConfig, num_labels: int, seed: int = 0, *, trust_remote_code: bool = False
) -> PreTrainedModel:
    """A classifier of that architecture with fresh weights, in single precision."""
    transformers.set_seed(seed)
    config.num_labels = num_labels
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        config, dtype=torch.float32, trust_remote_code=trust_remote_code
    )
    return model


def _shapes(asked: WorkloadConfig, device: str, reporter: Reporter) -> Workload:
    trust = asked.trust_remote_code
    theirs = config_of(asked.teacher, revision=asked.revision, trust_remote_code=trust)
    configs = [config_of(asked.student, asked.vocabulary), theirs]
    if asked.tokens is None:
        source = _source(asked, reporter)
        whole = source.split("train")
        lengths, known = _lengths(asked, _some(whole, asked), whole), len(whole)
        task, name = Classification(source.num_labels, source.label_names), source.name
    else:
        known, name = asked.rows or 64 * asked.batch_size, f"{asked.tokens} tokens"
        lengths, task = np.full(known, asked.tokens), Classification(asked.classes, None)
    student = random_model(configs[0], task.num_labels, asked.seed)
    teacher = random_model(theirs, task.num_labels, asked.seed, trust_remote_code=trust)
    rows = _random_rows(lengths, configs, task.num_labels, asked.seed)
    tokenizer = _padder(rows.padding.token)
    too_long = min(longest_input(model, tokenizer) for model in (student, teacher))
    if lengths.max() > too_long:
        raise SpecError(
            f"expected rows of at most {too_long} tokens, which both models take, found {lengths.max()}. Take less."
        )
    asked_teacher = _timed(teacher, tokenizer, asked, device)
    nn.Module.to(student, torch.device(device))
    return Workload(asked, device, student, asked_teacher, tokenizer, task, rows, rows, known, name, True)


def _checkpoints(asked: WorkloadConfig, device: str, reporter: Reporter) -> Workload:
    source = _source(asked, reporter)
    whole = source.split("train")
    some, task = _some(whole, asked), Classification(source.num_labels, source.label_names)
    folder, max_length = asked.workspace.tokenizers, asked.max_length
    tokenizer = student_tokenizer(asked.student, asked.student_tokenizer, whole, asked.vocabulary, max_length, folder)
    length = min(max_length, tokenizer.model_max_length)
    init = asked.init or ("random" if is_shape(asked.student) else "pretrained")
    student = build_student(asked.student, init, task, tokenizer, length, asked.seed)
    nn.Module.to(student, torch.device(device))
    teacher, random_head = _teacher(asked, task, whole, device, reporter)
    rows = prepare(tokenizer, some, min(length, longest_input(student, tokenizer)))
    same = teacher.tokenizer is tokenizer or tokenizer_fingerprint(teacher.tokenizer) == tokenizer_fingerprint(
        tokenizer
    )
    same = same and min(asked.max_length, teacher.max_length) >= length
    seen = rows if same else prepare(teacher.tokenizer, some, min(asked.max_length, teacher.max_length))
    return Workload(asked, device, student, teacher, tokenizer, task, rows, seen, len(whole), source.name, random_head)


def _source(asked: WorkloadConfig, reporter: Reporter) -> Source:
    source = sources.load(asked.data, asked.columns, asked.workspace.data, reporter, seed=asked.data_seed)
    return held_out(source, reporter)


def _some(whole: Rows, asked: WorkloadConfig) -> Rows:
    """As many labelled train rows as were asked for, numbered from 0."""
    labelled = np.flatnonzero(whole.label >= 0)
    if not len(labelled):
        raise SpecError("expected labelled training rows, found none with a label.", where=asked.data)
    chosen = labelled if asked.rows is None else labelled[subset(len(labelled), asked.rows, asked.seed)]
    return replace(whole.select(chosen), row_id=np.arange(len(chosen)))


def _teacher(
    asked: WorkloadConfig, task: Classification, whole: Rows, device: str, reporter: Reporter
) -> tuple[TeacherModel, bool]:
    if is_shape(asked.teacher):
        folder = asked.workspace.tokenizers
        tokenizer = student_tokenizer(asked.teacher, None, whole, VOCABULARY, asked.max_length, folder)
        model = build_student(asked.teacher, "random", task, tokenizer, asked.max_length, asked.seed)
        return _timed(model, tokenizer, asked, device), True
    loading = {"revision": asked.revision, "trust_remote_code": asked.trust_remote_code}
    try:
        teacher = load_teacher(asked.teacher, asked.dtype, device, **loading)  # type: ignore[arg-type]
    except UntrainedHead:
        reporter.note(f"teacher: {asked.teacher} has no trained head: a random one is timed")
        own = load_tokenizer(asked.teacher, asked.revision, asked.trust_remote_code)
        model = build_student(asked.teacher, "pretrained", task, own, asked.max_length, asked.seed, **loading)  # type: ignore[arg-type]
        return _timed(model, own, asked, device), True
    check_count(teacher.label_names, task, asked.teacher)
    return teacher, False


def _timed(model: PreTrainedModel, tokenizer: Any, asked: WorkloadConfig, device: str) -> TeacherModel:
    model.requires_grad_(False)
    nn.Module.to(nn.Module.eval(model), torch.device(device), DTYPES[asked.dtype])
    return TeacherModel(model, tokenizer, Path(asked.teacher).name, asked.dtype, Padding.of(tokenizer))


def _lengths(asked: WorkloadConfig, some: Rows, whole: Rows) -> Any:
    """The rows' lengths in tokens: by the student's tokenizer, or where that is not to be had, by a vocabulary learnt
    from them.
    """
    try:
        if is_shape(asked.student):
            raise SpecError("a shape has no tokenizer of its own.")
        tokenizer = load_tokenizer(asked.student)
    except SpecError:
        folder = asked.workspace.tokenizers / f"lengths-{whole.digest()[:12]}"
        texts, pairs = whole.texts()
        tokenizer = build_tokenizer(texts + (pairs or []), VOCABULARY, 512, folder)
    return prepare(tokenizer, some, asked.max_length).lengths()


def _random_rows(lengths: Any, configs: list[PreTrainedConfig], classes: int, seed: int) -> Examples:
    """Rows of these lengths, of tokens that both models know."""
    draw, n = np.random.default_rng(seed), len(lengths)
    words, pads = min(int(config.vocab_size) for config in configs), [config.pad_token_id for config in configs]
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    pad = next((int(each) for each in pads if each is not None), 0)
    row_hash, label = draw.integers(-(2**62), 2**62, n), draw.integers(0, classes, n)  # whatever the vocabulary
    ids = Ragged(draw.integers(min(5, words - 1), words - 1, indptr[-1]).astype(np.int32), indptr)
    none = np.zeros(n, np.int64)
    padding = Padding(Side.RIGHT, pad, 0)
    return Examples(np.arange(n), none, row_hash, label, {"input_ids": ids}, none.astype(np.bool_), padding)


def _padder(pad_id: int) -> Any:
    """A tokenizer that can pad, and no more: what the stock Trainer's collator needs."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = {"[PAD]": pad_id, "[UNK]": 0 if pad_id else 1}
    return transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer(WordLevel(words, "[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
    )
