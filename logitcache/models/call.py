"""How a sequence classifier is called, teacher or student, in training or not: one function for all
of them.

What it answers for a row is what ``model(**tokenizer(text))`` answers for that row alone, whatever
stands beside it in the batch. That rests on a :class:`Padding` chosen by
``logitcache.models.probe``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from logitcache.errors import LogitCacheError, SpecError, short
from logitcache.models.documents import keep_documents_apart
from logitcache.models.settings import configurations
from logitcache.records import Array, Documents, Int64, Padding, Side

# of a CPU, and of devices without an error of their own
NO_MEMORY = ("can't allocate memory", "out of memory")
Inputs = Mapping[str, Tensor]


class ModelFailed(SpecError):
    """A model's own code has failed on a row asked alone. ``row`` is its place in the batch,
    ``row_id`` its number in the data where that is known.
    """

    row = 0
    row_id: int | None = None

    @property
    def problem(self) -> str:
        """What is wrong, beginning with the row's number."""
        return super().problem if self.row_id is None else f"row {self.row_id}: {super().problem}"

    def named(self, row_id: int) -> ModelFailed:
        """The same, naming the row; to be raised."""
        self.row_id = row_id
        return self


def classify(
    model: PreTrainedModel, inputs: Inputs, padding: Padding, *, per_token: bool = False
) -> Tensor:
    """Logits f32[B, K], or ``per_token`` f32[B, T, K], of a batch made with this padding, with a
    gradient where one is wanted.

    Rows of equal length are asked together where the padding's side is none: one forward pass for
    each length. A batch that the model's own code fails on is asked in halves: some models refuse
    rows that do not fit together, and each alone is right. Raises ModelFailed, quoting the model,
    where it fails on one row; its want of memory is passed on.
    """
    return classify_several(model, inputs, padding, (per_token,))[0]


def classify_several(
    model: PreTrainedModel, inputs: Inputs, padding: Padding, per_token: tuple[bool, ...]
) -> tuple[Tensor, ...]:
    """The same of a model that answers with several vectors in place of its logits
    (:func:`logitcache.models.signals.watched`): whether each is one of a token or of a row.
    """
    mask = inputs.get("attention_mask")
    if padding.side is not Side.NONE or mask is None or bool(mask.all()):
        return _halved(model, inputs, padding, per_token)
    lengths = mask.sum(1)
    parts = []
    indices = []
    for length in torch.unique(lengths).tolist():
        rows = (lengths == length).nonzero().squeeze(1)
        try:
            part = {name: values[rows, :length] for name, values in inputs.items()}
            parts.append(_halved(model, part, padding, per_token))
        except ModelFailed as error:
            error.row = int(rows[error.row])
            raise
        indices.append(rows)
    order = torch.cat(indices).argsort()
    answers = []
    for several, is_per_token in zip(zip(*parts, strict=True), per_token, strict=True):
        filled = list(several)
        if is_per_token:
            for number, part in enumerate(several):
                missing = mask.shape[1] - part.shape[1]
                filled[number] = functional.pad(part, (0, 0, 0, missing))
        answers.append(torch.cat(filled)[order])
    return tuple(answers)


def at_positions(logits: Tensor, where: Tensor) -> Tensor:
    """The vectors at kept positions, f32[P, W]: of f32[B, W], one for each row, or f32[B, T, W].
    ``where`` i64[P, 2] is (row in batch, column of the inputs).
    """
    if logits.dim() == 2:
        return logits.index_select(0, where[:, 0])
    return logits[where[:, 0], where[:, 1]]


def ask(
    model: PreTrainedModel,
    inputs: Mapping[str, Array],
    padding: Padding,
    *,
    per_token: bool = False,
) -> Tensor:
    """The same from numpy's arrays, on the model's device, in eval mode. Without a gradient only
    where the caller says so (``torch.no_grad``, ``torch.inference_mode``).
    """
    return ask_several(model, inputs, padding, (per_token,))[0]


def ask_several(
    model: PreTrainedModel,
    inputs: Mapping[str, Array],
    padding: Padding,
    per_token: tuple[bool, ...],
) -> tuple[Tensor, ...]:
    """:func:`classify_several` from numpy's arrays, as :func:`ask`."""
    token = None
    if padding.free:
        inputs, token = _filled_apart(inputs, padding)
    if model.training:
        torch.nn.Module.eval(model)
    tensors = on_device(inputs, model)
    if token is None:
        return classify_several(model, tensors, padding, per_token)
    with _pad_token(model, token):
        return classify_several(model, tensors, padding, per_token)


def on_device(inputs: Mapping[str, Array], model: PreTrainedModel) -> dict[str, Tensor]:
    """Numpy's arrays as tensors on the model's device."""
    device = model.device
    tensors = {}
    for name, array in inputs.items():
        tensors[name] = torch.from_numpy(array).to(device, non_blocking=True)
    return tensors


def takes_mask(model: PreTrainedModel) -> bool:
    """Whether the forward pass has an attention mask for an argument, heeded or not."""
    parameters = inspect.signature(model.forward).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    return "attention_mask" in parameters or inspect.Parameter.VAR_KEYWORD in kinds


def out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # of a CPU torch raises a plain RuntimeError
    return any(words in str(error).lower() for words in NO_MEMORY)


def device_failed(error: BaseException) -> bool:
    """Whether a device has failed, not the model's code: nothing that was asked is to blame."""
    kind = getattr(torch, "AcceleratorError", None)
    if kind is not None and isinstance(error, kind):
        return True
    return "CUDA error" in str(error)  # older versions of torch raise a plain RuntimeError


def _halved(
    model: PreTrainedModel, inputs: Inputs, padding: Padding, per_token: tuple[bool, ...]
) -> tuple[Tensor, ...]:
    """One forward pass, or where it fails two of half the rows each, and so on."""
    rows = len(inputs["input_ids"])
    try:
        return _forward(model, inputs, padding, per_token)
    except ModelFailed:
        if rows == 1:
            raise
    half = rows // 2
    first_rows = {name: values[:half] for name, values in inputs.items()}
    second_rows = {name: values[half:] for name, values in inputs.items()}
    first = _halved(model, first_rows, padding, per_token)
    try:
        second = _halved(model, second_rows, padding, per_token)
    except ModelFailed as error:
        error.row += half
        raise
    return tuple(map(torch.cat, zip(first, second, strict=True)))


def _forward(
    model: PreTrainedModel, inputs: Inputs, padding: Padding, per_token: tuple[bool, ...]
) -> tuple[Tensor, ...]:
    """One forward pass."""
    plain: dict[str, Any] = {}
    if padding.documents is not None:
        inputs = keep_documents_apart(model, inputs, padding)
        if padding.documents is Documents.POSITIONS:
            plain["use_cache"] = False  # with a cache of keys, positions tell nothing of documents
    elif not padding.mask:
        inputs = {name: values for name, values in inputs.items() if name != "attention_mask"}
    rows = len(inputs["input_ids"])
    try:
        logits: Any = model(**inputs, **plain).logits
        answers = logits if isinstance(logits, tuple) else (logits,)
        shapes = [tuple(answer.shape) for answer in answers]
    except LogitCacheError:
        raise
    except Exception as error:  # whatever somebody's code raises
        if out_of_memory(error) or device_failed(error):
            raise
        raise _failed(model, inputs, error) from error
    tokens = inputs["input_ids"].shape[1]
    for shape, is_per_token in zip(shapes, per_token, strict=True):
        vectors: tuple[int, ...] = (rows,)
        what = "whole texts"
        if is_per_token:
            vectors = (rows, tokens)
            what = "tokens"
        if shape[:-1] != vectors:
            expected = f"({', '.join(map(str, vectors))}, classes)"
            raise SpecError(
                f"{_class_name(model)}: expected logits of shape {expected} for {rows} rows, found {shape}. "
                f"Use a model that classifies {what}."
            )
    return tuple(answer.float() for answer in answers)


def _class_name(model: PreTrainedModel) -> str:
    """The name of its class; of one that is watched
    (:mod:`logitcache.models.signals`), of the model in it."""
    return type(getattr(model, "watched_model", model)).__name__


def _failed(model: PreTrainedModel, inputs: Inputs, error: Exception) -> ModelFailed:
    """The error over a model whose own code has failed."""
    width = inputs["input_ids"].shape[1]
    lines = str(error).strip().splitlines()
    own = f"{type(error).__name__}: {short(lines[0])}" if lines else type(error).__name__
    names = ", ".join(inputs)
    mode = "model.train()" if model.training else "model"
    return ModelFailed(
        f"{_class_name(model)}: expected logits of {width} tokens, found an error of the model's own "
        f"({own.rstrip('.')}). It was given {names}, as its tokenizer makes them: mend its configuration or its "
        f"tokenizer until {mode}(**tokenizer(text, return_tensors='pt')) works, or use another model."
    )


def _filled_apart(inputs: Mapping[str, Array], padding: Padding) -> tuple[Mapping[str, Array], int]:
    """The batch filled with a token that none of its rows ends in, and that token.

    A decoder reads a row at its last token that is not the padding token, and a row of a model that
    names no such token at its last one.
    """
    ids = inputs["input_ids"]
    mask = inputs.get("attention_mask", np.ones_like(ids))
    last = ids.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    ends: Int64 = ids[np.arange(len(ids)), last]
    token = padding.token
    if token in ends:
        token = int(np.setdiff1d(np.arange(len(ends) + 1), ends)[0])
    return {**inputs, "input_ids": np.where(mask == 1, ids, token)}, token


@contextmanager
def _pad_token(model: PreTrainedModel, token: int) -> Iterator[None]:
    """The model's padding token, for the time of one call."""
    before = []
    for config in configurations(model):
        if hasattr(config, "pad_token_id"):
            before.append((config, config.pad_token_id))
    for config, _ in before:
        config.pad_token_id = token
    try:
        yield
    finally:
        for config, value in before:
            config.pad_token_id = value
