"""How a model is asked in batches, chosen by evidence.

The reference is the model asked for one row at a time, as ``model(**tokenizer(text))`` does. Some
rows of lengths from a few tokens to the longest are asked

1. each alone: the reference;
2. in batches of mixed lengths, padded on the tokenizer's side: that side is taken where answers are
   the reference's but for roundings;
3. else beside rows of their own length (how far the model differs from itself where nothing is
   padded), and in batches of mixed lengths padded on the other side.

The first side whose answers are the reference's, within what the model differs from itself, is
taken; where neither is, batches of equal length. Every row is compared, and no row's difference is
averaged away. It costs about as much as one batch of a dump: some 4,000 tokens with their padding,
for a longest row of 128.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel

from logitcache.data.collate import pad
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows
from logitcache.errors import SpecError
from logitcache.models.call import ModelFailed, ask, out_of_memory, takes_mask
from logitcache.models.documents import examples_of, find_documents
from logitcache.models.heads import has_head, head_of
from logitcache.models.projection import head_logits
from logitcache.models.signals import HEAD_INPUT
from logitcache.records import (
    Array,
    Examples,
    Float32,
    Int64,
    Padding,
    Ragged,
    Side,
    ends_of,
    evenly_spaced,
)

LENGTHS = 8  # of probed rows, from the shortest to the longest
NATURAL = 4  # rows probed as they are
BUDGET = 4096  # padded tokens of a probed batch of mixed lengths
LEAST = 16  # tokens that a model is asked about in any case
CHARACTERS = 16  # of a token, at most
TIMES = 10  # a difference from the reference, in units of what the model differs by from itself
# The least difference that means something, relative to the logits: some roundings of the
# precision.
ROUNDING = {torch.float32: 1.5e-5, torch.bfloat16: 0.03, torch.float16: 0.004}
# What a model may differ by from itself beside rows of its own length: more is no rounding.
UNSTEADY = {torch.float32: 1e-4, torch.bfloat16: 0.12, torch.float16: 0.016}
Logits = Callable[[dict[str, Array], Padding], torch.Tensor]  # of a padded batch: [B, K]


def tolerance(dtype: torch.dtype, reference: Array, control: float) -> float:
    """How far logits may be from the reference, where the model differs from itself by ``control``."""
    return max(ROUNDING[dtype] * _scale(reference), TIMES * control)


def _scale(logits: Array) -> float:
    finite = np.abs(logits[np.isfinite(logits)])
    return max(1.0, float(finite.max(initial=0.0)))


@dataclass(frozen=True)
class Probe:
    """Rows to be asked about in several ways. ``logits`` asks the model."""

    logits: Logits
    rows: Examples
    dtype: torch.dtype
    budget: int = BUDGET

    def choose(self, candidates: tuple[Padding, Padding], equal: Padding) -> Padding:
        """The first of the candidates that gives the reference's answers; ``equal`` where none
        does. Raises SpecError where even that differs from the reference.
        """
        probe, alone = self.alone(equal)
        lengths = probe.rows.lengths()
        difference = 0.0  # where all rows are of one length, nothing is padded
        if lengths.min() < lengths.max():
            difference = _difference(probe.mixed(candidates[0]), alone)
            if difference <= tolerance(self.dtype, alone, 0.0):
                return candidates[0]
        control = _difference(probe.beside_their_like(equal), alone)
        if control > UNSTEADY[self.dtype] * _scale(alone):
            raise SpecError(
                f"its logits for one row differ by up to {control:.2g} when it stands beside rows of its own length, "
                "where nothing is padded: what it answers depends on the batch. Use another model."
            )
        allowed = tolerance(self.dtype, alone, control)
        if difference <= allowed:
            return candidates[0]
        other_difference = _difference(probe.mixed(candidates[1]), alone)
        return candidates[1] if other_difference <= allowed else equal

    def alone(self, padding: Padding) -> tuple[Probe, Float32]:
        """The rows that the model answers when each is asked alone, and its answers: f32[N, K].

        Joined texts may be longer than it can read, whatever its configuration says. Raises
        ModelFailed where it fails on all of them.
        """
        logits: dict[int, Float32] = {}
        failed: ModelFailed | None = None
        for row in range(len(self.rows)):
            try:
                logits[row] = self._answers(np.array([row]), padding)
            except ModelFailed as error:
                failed = failed or error
        if failed is not None and not logits:
            raise failed
        answered = self.rows.select(np.array(list(logits)))
        return replace(self, rows=answered), np.concatenate(list(logits.values()))

    def _answers(self, rows: Int64, padding: Padding) -> Float32:
        """The answers to some rows in one batch: f32[n, K]."""
        answers: Float32 = self.logits(pad(self.rows, rows, padding), padding).cpu().numpy()
        return answers

    def beside_their_like(self, padding: Padding) -> Float32:
        """Rows of equal length together; one that has no like, beside a copy of itself: f32[N, K]."""
        lengths = self.rows.lengths()
        batches = []
        for length in np.unique(lengths):
            group = np.flatnonzero(lengths == length)
            batches.append(group if len(group) > 1 else np.repeat(group, 2))
        return self._gather(batches, padding)

    def mixed(self, padding: Padding) -> Float32:
        """Rows in batches of lengths that differ as much as can be: all of them, then the shorter
        half among themselves (the longer ones as before): f32[2, N, K].
        """
        lengths = self.rows.lengths()
        rows = max(2, self.budget // int(lengths.max()))
        order = np.argsort(lengths, kind="stable")
        answers = self._gather(_spread(order, rows), padding)
        half = order[: (len(order) + 1) // 2]
        shorter = answers.copy()
        shorter[half] = self._gather(_spread(half, rows), padding)[half]
        return np.stack([answers, shorter])

    def _gather(self, batches: list[Int64], padding: Padding) -> Float32:
        """The answers of these batches, each at its row's place; NaN for rows that stand in none."""
        answers: Float32 | None = None
        for rows in batches:
            logits = self._answers(rows, padding)
            if answers is None:
                answers = np.full((len(self.rows), logits.shape[1]), np.nan, np.float32)
            answers[rows] = logits
        assert answers is not None
        return answers


def _spread(order: Int64, rows: int) -> list[Int64]:
    """Batches of about so many rows, each from short ones to long ones."""
    count = -(-len(order) // rows)
    return [order[first::count] for first in range(count)]


def _difference(answers: Float32, reference: Float32) -> float:
    """The largest, over rows with a finite reference; infinite where one has no finite answer."""
    finite = np.isfinite(reference).all(axis=1)
    apart = np.abs(answers[..., finite, :] - reference[finite])
    if np.isnan(apart).any():
        return float("inf")
    return float(apart.max(initial=0.0))


def probe_rows(tokenizer: Any, rows: Rows, max_length: int) -> Examples:
    """Rows of several lengths for certain, from a few tokens to ``max_length``: some as they are,
    and texts joined to longer ones and cut at :data:`LENGTHS` lengths, two at each.
    """
    if rows.tokens:
        return _cut_tokens(tokenizer, rows, max_length)
    sample = rows.select(evenly_spaced(len(rows), NATURAL + 2 * LENGTHS))
    natural = sample.select(np.arange(min(NATURAL, len(sample))))
    parts = [prepare(tokenizer, natural, max_length)]
    texts, pairs = sample.texts()
    special = tokenizer.num_special_tokens_to_add(pair=pairs is not None)
    shortest = min(special + 2, max_length)
    for number, length in enumerate(np.unique(_lengths(shortest, max_length)).tolist()):
        starts = (2 * number, 2 * number + 1)
        long = [_joined(texts, start, length) for start in starts]
        second = None
        if pairs is not None:
            second = [_joined(pairs, start, length) for start in starts]
        parts.append(prepare(tokenizer, _rows(long, second), length))
    inputs = {}
    for name in parts[0].inputs:
        inputs[name] = _concatenated([part.inputs[name] for part in parts])
    return examples_of(inputs, parts[0].padding)


def _lengths(shortest: int, longest: int) -> Int64:
    """Lengths in equal ratios: i64[LENGTHS]."""
    return np.geomspace(shortest, longest, LENGTHS).round().astype(np.int64)


def _cut_tokens(tokenizer: Any, rows: Rows, max_length: int) -> Examples:
    """Beginnings of rows of tokens, two of each of several lengths."""
    chosen = rows.select(evenly_spaced(len(rows), 2 * LENGTHS))
    uncut = chosen.tokens["input_ids"]
    longest = min(max_length, int(uncut.lengths().max()))
    lengths = np.repeat(_lengths(min(2, longest), longest), 2)
    parts = []
    for number, length in enumerate(lengths.tolist()):
        start = uncut.indptr[number % len(uncut)]
        row = uncut.values[start:][:length]
        parts.append(Ragged(row, np.array([0, len(row)])))
    return examples_of({"input_ids": _concatenated(parts)}, Padding.of(tokenizer))


def _joined(texts: list[str], start: int, tokens: int) -> str:
    """Texts one after the other until they have so many tokens, if they have any."""
    parts: list[str] = []
    words = 0
    characters = 0
    for token in range(start, start + tokens):
        text = texts[token % len(texts)]
        parts.append(text)
        words += len(text.split())
        characters += len(text)
        if words >= tokens or characters >= CHARACTERS * tokens:
            break
    return " ".join(parts)


def _rows(texts: list[str], pairs: list[str] | None) -> Rows:
    numbers = np.arange(len(texts))
    first = pa.array(texts, pa.large_string())
    second = None if pairs is None else pa.array(pairs, pa.large_string())
    return Rows(first, second, np.zeros_like(numbers), numbers, numbers)


def _concatenated(parts: list[Ragged]) -> Ragged:
    lengths = np.concatenate([part.lengths() for part in parts])
    indptr = ends_of(lengths)
    return Ragged(np.concatenate([part.values for part in parts]), indptr)


def find_padding(
    model: PreTrainedModel,
    tokenizer: Any,
    own: Padding,
    rows: Rows,
    max_length: int,
    dtype: torch.dtype,
    *,
    per_token: bool = False,
) -> Padding:
    """How this model is asked in batches, told by some of the rows it is to be asked about. ``own``
    is what its tokenizer says.

    The model is as before afterwards, and so is whatever draws random numbers. Raises SpecError
    where no way of asking gives the answers of rows asked alone, or the model's own code fails.
    """
    # what is padded has a mask if the model takes one; rows of equal length, if both have one
    masked = replace(own, mask=takes_mask(model))
    sides = (replace(masked, side=Side.RIGHT), replace(masked, side=Side.LEFT))
    if own.side is Side.LEFT:
        sides = sides[::-1]
    equal = replace(own, side=Side.NONE, mask=own.mask and masked.mask)
    with torch.no_grad(), undisturbed(model):
        while True:
            asking = partial(_ask_ends, model) if per_token else partial(ask, model)
            probe = Probe(asking, probe_rows(tokenizer, rows, max_length), dtype)
            check_token_types(model, probe.rows)
            try:
                chosen = probe.choose(sides, equal)
                if "position_ids" not in rows.tokens:
                    return chosen

                def rounding(reference: Array) -> float:
                    return TIMES * tolerance(dtype, reference, 0.0)

                every = partial(ask, model, per_token=True)
                return find_documents(every, model, chosen, rows, rounding)
            except RuntimeError as error:
                if not out_of_memory(error) or max_length < LEAST:
                    raise
            max_length //= 2  # the rows may be much shorter than the longest that was allowed


def _ask_ends(model: PreTrainedModel, inputs: dict[str, Array], padding: Padding) -> torch.Tensor:
    """The logits of each row's first and last token, one behind the other: f32[B, 2 K]. Those of a
    vocabulary are computed of these tokens alone.
    """
    is_headed = has_head(model)
    watched = HEAD_INPUT.watch(model) if is_headed else model
    vectors = ask(watched, inputs, padding, per_token=True)
    mask = inputs["attention_mask"]
    rows = torch.arange(len(mask))
    first = torch.from_numpy(mask.argmax(axis=1))
    last = first + torch.from_numpy(mask.sum(axis=1)) - 1
    ends = torch.cat([vectors[rows, first], vectors[rows, last]])
    if is_headed:
        head = head_of(model)
        ends = head_logits(ends.to(head.weight.dtype), head).float()
    return torch.cat(ends.chunk(2), dim=1)


def padding_remark(chosen: Padding, own: Padding) -> str:
    """What is to be said of a choice that is not the tokenizer's own; empty where it is."""
    if chosen.side is own.side:
        return ""
    if chosen.side is Side.NONE:
        return "its answers depend on padding, so rows of equal length are asked together, which takes longer"
    return (
        f"rows are padded on the {chosen.side}: with padding on the {own.side}, as its tokenizer says, "
        "answers differ"
    )


def check_token_types(model: PreTrainedModel, rows: Examples) -> None:
    """Raises SpecError for token types without an embedding: a GPU's own error says little."""
    types = rows.inputs.get("token_type_ids")
    if types is None:
        return
    sizes = []
    for name, module in model.named_modules():
        if name.endswith("token_type_embeddings") and isinstance(module, torch.nn.Embedding):
            sizes.append(module.num_embeddings)
    highest = int(types.values.max(initial=0))
    if sizes and highest >= min(sizes):
        raise SpecError(
            f"expected token types below {min(sizes)}, which the model has embeddings for, found token type {highest} "
            "from its tokenizer. Take token_type_ids out of model_input_names in its tokenizer_config.json (add "
            '"model_input_names": ["input_ids", "attention_mask"] where it has none), or use its own tokenizer.'
        )


@contextmanager
def undisturbed(model: PreTrainedModel) -> Iterator[None]:
    """Mode of the model and state of every generator afterwards as before."""
    training = model.training
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            model.train(training)
