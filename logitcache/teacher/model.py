"""A teacher: loaded once, in eval mode, its columns in the order of the data's labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from logitcache import hub, identity
from logitcache.cache.index import HashIndex, check_views, locate
from logitcache.config.teacher import DumpSettings
from logitcache.cost.flops import weights_of_tables
from logitcache.data.collate import pad, where_of
from logitcache.data.rows import Source
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError
from logitcache.models.call import ModelFailed, ask, ask_several, at_positions
from logitcache.models.causal import check_causal
from logitcache.models.class_names import column_names
from logitcache.models.gguf import location, unpacked
from logitcache.models.load import (
    DTYPES,
    UntrainedHead,
    check_device,
    check_whole,
    checkpoint_settings,
    fit_tokenizer,
    fresh_weights,
    load_tokenizer,
    longest_input,
)
from logitcache.models.loading import loading
from logitcache.models.own import OwnStudent as OwnStudent  # registers it: a student may teach
from logitcache.models.own_code import code_digest
from logitcache.models.problem import check_problem
from logitcache.models.sentence import auto_class
from logitcache.models.settings import pads_by_config, plain_outputs
from logitcache.models.signals import SIGNALS, Signal, signal_of, together, watched
from logitcache.records import (
    LOGITS,
    Answers,
    Array,
    Dense,
    Examples,
    Float32,
    Int64,
    Padding,
    Ragged,
    ends_of,
)
from logitcache.reporter import SILENT, Reporter
from logitcache.teacher.signals import TeacherOutput

ADVICE = "Give --teacher a folder that save_pretrained made, or a model's hub name."
# In a configuration, but no part of the arithmetic, or recorded elsewhere.
NOT_COMPUTED = {
    *("architectures", "dtype", "id2label", "label2id", "transformers_version", "auto_map"),
    *("problem_type", "use_cache", "output_attentions", "output_hidden_states", "return_dict"),
}


@dataclass(frozen=True)
class TeacherModel:
    """A sequence classifier and its tokenizer. ``padding`` is how its batches are made, ``order``
    gives ``data_logits = own_logits[:, order]``; ``revision`` is the commit it was loaded from,
    where it came from the hub.
    """

    model: PreTrainedModel
    tokenizer: Any
    name: str
    dtype: str
    padding: Padding
    order: Int64 | None = None
    revision: str | None = None
    kind: type[Classification] = Classification  # what it is asked
    # what it answers with at kept positions; None: with nothing
    signal: Signal | None = SIGNALS["logits"]
    signals: tuple[Signal, ...] = ()  # other vectors of all tokens, or of rows
    # columns that are answers; those of the head behind them are filling. None: all
    width: int | None = None

    @property
    def label_names(self) -> tuple[str, ...]:
        """Its own class names, in the order of its own columns."""
        names = sorted((self.model.config.id2label or {}).items())
        return tuple(str(name) for _, name in names)

    def columns_in_words(self) -> str:
        """What its answers are, for people."""
        if self.kind.answer != LOGITS:
            return f"vectors of {signal_of(self.kind.answer).width(self.model):,} numbers"
        if self.width is not None:
            filling = SIGNALS["logits"].width(self.model) - self.width
            if filling <= 0:
                return f"{self.width:,} tokens"
            return f"{self.width:,} tokens, and {filling:,} columns of its head that are none"
        names = ", ".join(self.label_names[:8]) + (", …" if len(self.label_names) > 8 else "")
        return f"{len(self.label_names)} labels ({names})"

    def as_rows(self, source: Source, settings: DumpSettings, reporter: Reporter) -> Source:
        """The source of its rows: made of the texts where the task makes rows of its own."""
        if any(rows.tokens for rows in source.splits.values()):
            return source
        return self.kind.tokenised(
            source, self.tokenizer, settings.sequences, self.max_length, reporter
        )

    @property
    def max_length(self) -> int:
        """The longest input it takes, in tokens."""
        return longest_input(self.model, self.tokenizer)

    @cached_property
    def parameters(self) -> int:
        """Parameters outside the embeddings: what a token costs two FLOPs of."""
        skip = weights_of_tables(self.model)
        return sum(p.numel() for p in self.model.parameters() if id(p) not in skip)

    def weights_digest(self) -> str:
        """Digest of every parameter and buffer as computed with, whatever files they came from."""
        return weights_digest(self.model.state_dict())

    def settings_digest(self) -> str:
        """Digest of the configuration that weights are computed with, not of names and versions."""
        settings = {}
        for name, value in self.model.config.to_dict().items():
            if name not in NOT_COMPUTED and not name.startswith("_"):
                settings[name] = value
        text = json.dumps(settings, default=str)
        # state-space models have infinite bounds among their settings, which JSON has not
        return identity.digest_json(json.loads(text, parse_constant=str))

    def arithmetic(self) -> dict[str, str]:
        """What weights are computed with: settings, and the checkpoint's own code if it runs."""
        code = code_digest(self.model, self.model.config)
        return {"settings": self.settings_digest(), **({} if code is None else {"code": code})}

    def logits(self, inputs: Mapping[str, Array]) -> torch.Tensor:
        """The signal, f32[B, W], or f32[B, T, W] of a model that answers for each token, on its
        device; columns of logits in the data's order. No gradient, no dropout. Raises SpecError
        where the model's own code fails, except for want of memory.
        """
        assert self.signal is not None
        try:
            with torch.inference_mode():
                model = self.signal.watch(self.model)
                vectors = ask(model, inputs, self.padding, per_token=self.kind.per_token)
        except SpecError as error:
            raise error.at(self.name) from error.__cause__
        return self._in_order(vectors)

    def _in_order(self, vectors: torch.Tensor) -> torch.Tensor:
        """Columns of logits in the data's order, without filling; other signals as they are."""
        assert self.signal is not None
        if self.signal.name != LOGITS:
            return vectors
        if self.width is not None:
            vectors = vectors[..., : self.width]
        if self.order is None:
            return vectors
        return vectors[..., torch.from_numpy(self.order).to(vectors.device)]

    def answers(self, rows: Examples, index: Int64, reporter: Reporter = SILENT) -> torch.Tensor:
        """The signal at the kept positions of the rows at these places, in one batch: f32[P, W]."""
        with reporter.phase("pad"):
            inputs = pad(rows, index, self.padding)
            where = where_of(self.kind.positions(rows, index), inputs, self.padding.side)
        try:
            with reporter.phase("forward"):
                logits = self.logits(inputs)
        except ModelFailed as error:
            raise error.named(int(rows.row_id[index[error.row]])) from error.__cause__
        if logits.dim() == 2 and np.array_equal(where[:, 0], np.arange(len(logits))):
            return logits  # each row's own vector: no copy of what may be large
        return at_positions(logits, torch.from_numpy(where).to(logits.device))

    def output(self, rows: Examples, index: Int64, reporter: Reporter = SILENT) -> TeacherOutput:
        """:meth:`answers` and the other signals, from one forward pass. Raises SpecError."""
        with reporter.phase("pad"):
            inputs = pad(rows, index, self.padding)
            where = where_of(self.kind.positions(rows, index), inputs, self.padding.side)
        first = () if self.signal is None else (self.signal,)
        signals = together((*first, *self.signals))
        per_token = [self.kind.per_token for _ in first]
        per_token += [not signal.per_row for signal in self.signals]
        try:
            with reporter.phase("forward"), torch.inference_mode():
                model = watched(self.model, signals)
                answers = ask_several(model, inputs, self.padding, tuple(per_token))
        except ModelFailed as error:
            row_id = int(rows.row_id[index[error.row]])
            raise error.named(row_id).at(self.name) from error.__cause__
        except SpecError as error:
            raise error.at(self.name) from error.__cause__
        logits = None
        if first:
            places = torch.from_numpy(where).to(answers[0].device)
            logits = at_positions(self._in_order(answers[0]), places)
        tokens = torch.from_numpy(np.flatnonzero(inputs["attention_mask"]))
        vectors_of = {}
        for signal, vectors in zip(self.signals, answers[len(first) :], strict=True):
            if not signal.per_row:
                vectors = vectors.flatten(0, 1)[tokens.to(vectors.device)]
            vectors_of[signal.name] = vectors
        return TeacherOutput(logits, vectors_of)


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Digest of named weights: names, types and bytes."""
    named_bytes = ((f"{name}:{t.dtype}", _bytes(t)) for name, t in sorted(state.items()))
    return identity.digest_arrays(named_bytes)


def saved_digest(folder: Path, dtype: str) -> str | None:
    """The ``weights_digest`` that a saved model has in this precision, from its file alone; None
    where there is no such file. With tied weights, which are saved once, it is no model's.
    """
    try:
        state = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError):
        return None
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = tensor.to(DTYPES[dtype])
    return weights_digest(state)


def _bytes(tensor: torch.Tensor) -> Array:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy() if flat.numel() else np.zeros(0, np.uint8)


def load_teacher(
    path: str,
    dtype: str = "float32",
    device: str | None = None,
    *,
    kind: type[Classification] = Classification,
    revision: str | None = None,
    trust_remote_code: bool = False,
    tokenizer: str | None = None,
    pooling: str | None = None,
) -> TeacherModel:
    """Load a trained model of a ``kind`` from a folder, the hub or a .gguf file, in eval mode.

    ``revision`` is a hub checkpoint's branch, tag or commit. Code that a checkpoint brings runs
    only if ``trust_remote_code``. ``tokenizer`` names another than the checkpoint's own, ``pooling``
    how a body makes one vector of a text. Raises UntrainedHead where the head was never trained,
    SpecError where there is no checkpoint or one that lacks weights of its body.
    """
    device_name = check_device(device)
    auto = auto_class(kind.auto_model)
    with loading("teacher", path, ADVICE, revision, auto):
        commit = hub.checkpoint(path, revision)
        folder, of_file = location(path)
        names = {} if of_file else column_names(path, {} if commit is None else commit.settings())
        if pooling is not None:
            names["pooling"] = pooling
        model, info = auto.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            output_loading_info=True,
            **names,
            **unpacked(of_file),
            **checkpoint_settings(commit, trust_remote_code),
        )
        missing = fresh_weights(model, info, path)
        check_whole(model, info, path)
        if missing:
            raise UntrainedHead(
                f"expected a trained {kind.head} head, found none in the checkpoint ({', '.join(missing[:3])}). "
                "`logitcache dump` fine-tunes it first (--finetune auto); or train it: "
                f"logitcache train {kind.option}--method base --student {path}",
                where=path,
            )
        if kind.fixed_label is None:
            check_problem(model.config.problem_type, model.config.num_labels, path)
        plain_outputs(model.config)
        sha = None if commit is None else commit.sha
        if tokenizer is not None:
            read = load_tokenizer(tokenizer, trust_remote_code=trust_remote_code)
        else:
            read = load_tokenizer(path, sha, trust_remote_code)
        read = fit_tokenizer(read, model, path)
        padding = pads_by_config(model, read)
        model.eval().to(device_name)
        check_causal(model, auto, path)
    name = Path(path).resolve().name if sha is None else path
    width = kind.width(read)
    return TeacherModel(model, read, name, dtype, padding, revision=sha, kind=kind, width=width)


@dataclass(frozen=True)
class LiveTeacher:
    """The teacher in the loop, as a cache, for parity tests and the benchmark's baseline."""

    teacher: TeacherModel
    rows: Examples  # tokenised by the teacher's tokenizer; row i is row_id i
    gives_logits: bool = True  # else signals alone, and no head is computed

    def __str__(self) -> str:
        return self.teacher.name

    @property
    def where(self) -> str:
        return self.teacher.name

    def __len__(self) -> int:
        return len(self.rows)

    def row_hashes(self, row_id: Int64) -> Int64:
        return self.rows.row_hash[row_id]

    @cached_property
    def index(self) -> HashIndex:
        return HashIndex(self.rows.row_hash, np.empty(0, np.int64))

    def take(
        self, row_id: Int64, row_hash: Int64, view: Int64, signals: Sequence[str] = ()
    ) -> Answers:
        """Answers as a cache gives them, with signals of the same forward pass. Raises
        AlignmentError for a text that is not among its rows.
        """
        check_views(self.where, view, 1)
        rows = locate(self, row_id, row_hash, lambda _: "Tokenise these rows for the teacher too.")
        positions = self.teacher.kind.positions(self.rows, rows)
        own = self.teacher.signal if self.gives_logits else None
        teacher = replace(self.teacher, signal=own, signals=tuple(map(signal_of, signals)))
        output = teacher.output(self.rows, rows)
        payloads = {}
        if isinstance(output.logits, torch.Tensor):
            logits: Float32 = output.logits.cpu().numpy()
            payloads[LOGITS] = Dense(logits - logits.max(1, keepdims=True))
        vectors = {}
        for signal in teacher.signals:
            lengths = self.rows.lengths()[rows]
            if signal.per_row:
                lengths = np.ones_like(lengths)
            values = output.signals[signal.name].cpu().numpy()
            vectors[signal.name] = Ragged(values, ends_of(lengths))
        row_hash = self.rows.row_hash[rows]
        return Answers(row_hash, positions.indptr, positions.index, payloads, vectors)
