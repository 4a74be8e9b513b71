"""A teacher that is asked: loaded once, in eval mode, its columns in the order of the data's labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from logitcache import identity
from logitcache.data.collate import pad
from logitcache.data.prepare import Prepared, first_line, load_tokenizer
from logitcache.errors import SpecError
from logitcache.records import Answers, Array, Dense, Float32, Int64


@contextmanager
def quiet() -> Iterator[None]:
    """`transformers` without its progress bars and remarks: what matters we say ourselves."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class TeacherModel:
    """A sequence classifier and its tokenizer. ``order`` gives ``data_logits = own_logits[:, order]``."""

    model: PreTrainedModel
    tokenizer: Any
    name: str
    dtype: str
    order: Int64 | None = None

    @property
    def label_names(self) -> tuple[str, ...]:
        """Its own class names, in the order of its own columns."""
        return tuple(name for _, name in sorted((self.model.config.id2label or {}).items()))

    @property
    def max_length(self) -> int:
        """The longest input it takes, in tokens."""
        limit = int(min(self.tokenizer.model_max_length, 2**31 - 1))
        positions = getattr(self.model.config, "max_position_embeddings", None)
        return min(limit, positions) if isinstance(positions, int) and positions > 0 else limit

    @cached_property
    def parameters(self) -> int:
        """Parameters outside the embeddings: what a token costs two FLOPs of."""
        skip = {id(p) for m in self.model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
        return sum(p.numel() for p in self.model.parameters() if id(p) not in skip)

    def weights_digest(self) -> str:
        """Digest of every parameter and buffer as computed with, whatever files they came from."""
        state = sorted(self.model.state_dict().items())
        return identity.digest_arrays((f"{name}:{t.dtype}", _bytes(t)) for name, t in state)

    def logits(self, inputs: Mapping[str, Array]) -> torch.Tensor:
        """f32[B, K] on the model's device, columns in the data's order. No gradient, no dropout."""
        device = self.model.device
        with torch.inference_mode():
            tensors = {k: torch.from_numpy(v).to(device, non_blocking=True) for k, v in inputs.items()}
            logits: torch.Tensor = self.model(**tensors).logits.float()
            return logits if self.order is None else logits[:, torch.from_numpy(self.order).to(device)]


def _bytes(tensor: torch.Tensor) -> Array:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy() if flat.numel() else np.zeros(0, np.uint8)


def load_teacher(path: str, dtype: str = "float32", device: str | None = None) -> TeacherModel:
    """Load a fine-tuned sequence classifier: safetensors only, no remote code, in eval mode.

    Raises SpecError where there is none, or where its classification head was never trained.
    """
    try:
        with quiet():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                path, dtype=DTYPES[dtype], use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    except (OSError, ValueError, KeyError) as error:
        advice = "Give --teacher a folder that save_pretrained made, or a model's hub name."
        raise SpecError(f"no teacher can be loaded: {first_line(error)} {advice}", where=path) from None
    missing = sorted(info["missing_keys"]) + sorted(str(k[0]) for k in info["mismatched_keys"])
    if missing:
        raise SpecError(
            f"expected a trained classification head, found none in the checkpoint ({', '.join(missing[:3])}). "
            f"Train it first: logitcache train --method base --student {path}",
            where=path,
        )
    tokenizer = load_tokenizer(path)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    model.eval().to(device or default_device())
    return TeacherModel(model, tokenizer, Path(path).name if Path(path).exists() else path, dtype)


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_padding(teacher: TeacherModel, rows: Prepared) -> None:
    """Make sure that a row's answer does not depend on its neighbours' length. Raises SpecError.

    Two short forward passes; a model that reads a padded position as text (relative positions counted from the left,
    say) fails here.
    """
    lengths = rows.ids.lengths()
    shortest, longest = int(lengths.argmin()), int(lengths.argmax())
    if lengths[shortest] == lengths[longest]:
        return
    alone = teacher.logits(pad(rows, np.array([shortest]))).softmax(1)[0]
    beside = teacher.logits(pad(rows, np.array([shortest, longest]))).softmax(1)[0]
    gap = float((alone - beside).abs().max())
    if gap > 0.02:
        raise SpecError(
            f"its answer to row {rows.row_id[shortest]} moves by {gap:.2f} when a longer row stands beside it: "
            "it cannot be asked in padded batches. Use a teacher whose answer does not depend on padding on the right.",
            where=teacher.name,
        )


@dataclass(frozen=True)
class LiveTeacher:
    """The teacher in the loop: answers as a cache does, but by a forward pass each time. The parity tests and the
    benchmark's baseline.
    """

    teacher: TeacherModel
    rows: Prepared  # tokenised by the teacher's tokenizer; row i is row_id i

    def take(self, row_id: Int64) -> Answers:
        logits: Float32 = self.teacher.logits(pad(self.rows, row_id)).cpu().numpy()
        counts = np.ones(len(row_id), np.int64)
        return Answers(self.rows.row_hash[row_id], counts, Dense(logits - logits.max(1, keepdims=True)))
