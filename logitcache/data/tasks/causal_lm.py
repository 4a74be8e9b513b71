"""Causal language models: at each token whose next one is learnt, the logits of a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from logitcache.config.sequences import Recipe
from logitcache.data.preprocess import packing
from logitcache.data.preprocess.chat_dates import date_note
from logitcache.data.rows import Rows, Source
from logitcache.data.tasks.language import LanguageModel
from logitcache.reporter import Reporter

NO_END = "{}: the tokenizer has no end token, so where a completion ends is not learnt"


@dataclass(frozen=True)
class CausalLM(LanguageModel):
    """The next token. The views of a row are the same tokens: what differs is what is drawn of the
    teacher's answer.
    """

    name: ClassVar[str] = "causal-lm"
    option: ClassVar[str] = "--task causal-lm "
    preprocessor: ClassVar[str] = "causal"
    auto_model: ClassVar[str] = "AutoModelForCausalLM"
    views_are_draws: ClassVar[bool] = True

    @classmethod
    def rows_of_tokens(
        cls, source: Source, tokenizer: Any, settings: Recipe, reporter: Reporter
    ) -> Source:
        assert settings.seq_len is not None
        length = settings.seq_len
        supervise = settings.supervise or ("all" if source.form == "text" else "completions")

        note = date_note(tokenizer) if source.form == "messages" else None
        if note is not None:
            reporter.note(note)
        if source.form == "prompt" and tokenizer.eos_token_id is None:
            reporter.note(NO_END.format(source.name))

        def make(rows: Rows, name: str) -> Rows:
            documents = packing.causal_documents(
                tokenizer, rows, source.form, supervise == "completions", name, reporter
            )
            cut = packing.Cut.of(documents, length, settings.pack)
            if len(cut.lost):
                first = rows.row_id[documents.row[cut.lost[0]]]
                reporter.note(
                    f"{name}: {len(cut.lost):,} of {len(documents.row):,} documents are longer than {length} tokens: "
                    f"they are cut (first: row {first})"
                )
            tokens = {
                "input_ids": cut.ragged(documents.ids.values),
                "labels": packing.next_tokens(documents, cut, settings.keep_documents),
            }
            if settings.keep_documents and settings.pack:
                tokens["position_ids"] = packing.positions_in_documents(cut)
            views = [tokens] * settings.views
            return packing.token_rows(
                packing.interleaved(views), name, reporter, views=settings.views
            )

        return replace(packing.packed(source, make, reporter), views=settings.views)
