"""Masked language models: at each hidden token, the logits of a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from logitcache.config.sequences import Recipe
from logitcache.data.preprocess import masking, packing
from logitcache.data.rows import Rows, Source
from logitcache.data.spool import Spool, part_of, token_blocks
from logitcache.data.tasks.language import LanguageModel
from logitcache.errors import SpecError
from logitcache.records import Array, Ragged, ends_of
from logitcache.reporter import Reporter


@dataclass(frozen=True)
class MaskedLM(LanguageModel):
    """The hidden tokens."""

    name: ClassVar[str] = "masked-lm"
    option: ClassVar[str] = "--task masked-lm "
    preprocessor: ClassVar[str] = "masked"
    auto_model: ClassVar[str] = "AutoModelForMaskedLM"

    @classmethod
    def rows_of_tokens(
        cls, source: Source, tokenizer: Any, settings: Recipe, reporter: Reporter
    ) -> Source:
        assert settings.seq_len is not None
        if source.form != "text" or settings.supervise == "completions":
            raise SpecError(
                expected="texts, for a masked language model",
                found="completions",
                advice="Give a column of texts (--text), or --task causal-lm.",
                where=source.name,
            )
        vocabulary = masking.Vocabulary.of(tokenizer)
        special = packing.Special.of(tokenizer)
        # special tokens of a row, not of a document
        around = not (settings.keep_documents and settings.pack)
        reserved = around * (len(special.before) + len(special.after))
        length = settings.seq_len - reserved
        if length < 1:
            raise SpecError(
                expected=f"at least {reserved + 1}, as each row has {reserved} special tokens",
                found=settings.seq_len,
                advice=f"Give --seq-len {reserved + 1} or more.",
                where="--seq-len",
            )

        def make(rows: Rows, name: str) -> Rows:
            if not around:
                between = special
            else:
                after = special.after[-1:] if settings.pack else []
                between = packing.Special([], after, special.end)
            documents = packing.masked_documents(tokenizer, rows, between)
            cut = packing.Cut.of(documents, length, settings.pack)
            ids = cut.ragged(documents.ids.values)
            if around:
                ids = _wrapped(ids, special)
            tokens = {"input_ids": ids}
            if settings.keep_documents and settings.pack:
                tokens["position_ids"] = packing.positions_in_documents(cut)
            views = [_view(tokens, view, vocabulary, settings) for view in range(settings.views)]
            return packing.token_rows(
                packing.interleaved(views), name, reporter, views=settings.views
            )

        return replace(packing.packed(source, make, reporter), views=settings.views)


def _wrapped(ids: Ragged, special: packing.Special) -> Ragged:
    """Each row between the tokenizer's special tokens."""
    values = Spool(np.int32)
    for rows in token_blocks(len(ids)):
        values.add(_wrapped_values(part_of(ids, rows.start, rows.stop), special))
    return Ragged(
        values.finish(), ends_of(ids.lengths() + len(special.before) + len(special.after))
    )


def _wrapped_values(ids: Ragged, special: packing.Special) -> Array:
    """The tokens of some rows with the special ones: i32."""
    before, after = len(special.before), len(special.after)
    lengths = ids.lengths() + before + after
    indptr = ends_of(lengths)
    values = np.empty(indptr[-1], np.int32)
    row = np.repeat(np.arange(len(ids)), ids.lengths())
    values[indptr[row] + before + np.arange(len(ids.values)) - ids.indptr[row]] = ids.values
    for number, token in enumerate(special.before):
        values[indptr[:-1] + number] = token
    for number, token in enumerate(special.after):
        values[indptr[1:] - after + number] = token
    return values


def _view(
    tokens: dict[str, Ragged], view: int, vocabulary: masking.Vocabulary, settings: Recipe
) -> dict[str, Ragged]:
    ids = tokens["input_ids"]
    row_hash = packing.token_hashes({**tokens, "labels": ids})
    inputs, labels = masking.masked(
        ids,
        row_hash,
        view,
        vocabulary,
        settings.mask_rate,
        settings.mask_seed,
        settings.whole_words,
    )
    return {**tokens, "input_ids": inputs, "labels": labels}
