"""Rows of tokens: nothing is lost, every label is the next token, and documents stay apart where
that is asked.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from logitcache import identity
from logitcache.config.data import Columns
from logitcache.config.option import options_of
from logitcache.config.sequences import Recipe, Sequences
from logitcache.data import spool
from logitcache.data.rows import Rows, Source
from logitcache.data.source import load
from logitcache.data.sources.corpus import read_text
from logitcache.data.sources.tables import remark_lines
from logitcache.data.tasks.causal_lm import CausalLM
from logitcache.data.tasks.masked_lm import MaskedLM
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes
from tests.language.small_lms import WORDS, document, make_tokenizer

CAUSAL, MASKED = make_tokenizer(), make_tokenizer("masked")
LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=12)


def source(texts: list[str], completions: list[str] | None = None) -> Source:
    numbers = np.arange(len(texts))
    pair = None if completions is None else pa.array(completions, pa.large_string())
    rows = Rows(
        pa.array(texts, pa.large_string()),
        pair,
        np.zeros_like(numbers),
        numbers,
        identity.row_hashes(texts, completions),
    )
    form = "text" if completions is None else "prompt"
    return Source("here", {"train": rows}, None, 1, task="causal-lm", form=form)


def documents(lengths: list[int]) -> list[str]:
    draw = random.Random(sum(lengths))
    return [document(draw, length) for length in lengths]


def tokens(made: Source) -> dict[str, Any]:
    return dict(made.splits["train"].tokens)


@given(LENGTHS, st.integers(4, 40), st.booleans(), st.booleans())
def test_every_token_is_kept_and_its_label_is_the_next(
    lengths: list[int], seq_len: int, pack: bool, keep: bool
) -> None:
    texts = documents(lengths)
    settings = Sequences(seq_len=seq_len, pack=pack, keep_documents=keep)
    found = tokens(CausalLM.tokenised(source(texts), CAUSAL, settings, 1000, SILENT))
    ids, labels = found["input_ids"], found["labels"]
    whole = [[*CAUSAL(text)["input_ids"], CAUSAL.eos_token_id] for text in texts]
    if pack:
        stream = [token for row in whole for token in row]
        rows = [stream[start : start + seq_len] for start in range(0, len(stream), seq_len)]
    else:
        rows = [row[:seq_len] for row in whole]
    rows = [row for row in rows if len(row) > 1]
    kept = [
        ids.values[start:stop].tolist()
        for start, stop in zip(ids.indptr, ids.indptr[1:], strict=False)
    ]
    assert [row for row in kept if len(row) > 1] == (
        [row for row in rows if row in kept] if keep else rows
    )
    for row in range(len(ids)):
        part = slice(ids.indptr[row], ids.indptr[row + 1])
        mine, learnt = ids.values[part], labels.values[part]
        assert learnt[-1] == -1
        known = np.flatnonzero(learnt >= 0)
        assert (learnt[known] == mine[known + 1]).all()
        if keep and pack:
            # no token is learnt from another document
            assert (mine[known] != CAUSAL.eos_token_id).all()
        elif pack or not keep:
            assert len(known) == len(mine) - 1


@given(LENGTHS, st.integers(4, 40))
def test_positions_begin_anew_with_each_document_and_row(lengths: list[int], seq_len: int) -> None:
    settings = Sequences(seq_len=seq_len, keep_documents=True)
    try:
        found = tokens(
            CausalLM.tokenised(source(documents(lengths)), CAUSAL, settings, 1000, SILENT)
        )
    except SpecError:
        return  # single tokens alone
    ids, places = found["input_ids"], found["position_ids"]
    for row in range(len(ids)):
        part = slice(ids.indptr[row], ids.indptr[row + 1])
        expected, place = [], 0
        for token in ids.values[part]:
            expected.append(place)
            place = 0 if token == CAUSAL.eos_token_id else place + 1
        assert places.values[part].tolist() == expected


def test_completions_alone_are_learnt() -> None:
    prompts, answers = ["w1 w2 w3", "w4"], ["w5 w6", "w7"]
    made = source(prompts, answers)
    found = tokens(CausalLM.tokenised(made, CAUSAL, Sequences(seq_len=20, pack=False), 64, SILENT))
    learnt = [found["labels"].values[found["labels"].values >= 0].tolist()]
    assert learnt == [CAUSAL.convert_tokens_to_ids(["w5", "w6", "</s>", "w7", "</s>"])]
    every = tokens(
        CausalLM.tokenised(
            made, CAUSAL, Sequences(seq_len=20, pack=False, supervise="all"), 64, SILENT
        )
    )
    assert (every["labels"].values >= 0).sum() == 4 + 2 + 3 - 2


@given(st.text("ab \n"), st.text("ab \n", min_size=1))
def test_a_completion_goes_on_from_its_prompt_without_a_space(prompt: str, completion: str) -> None:
    """SentencePiece puts a space before every text that is tokenised alone."""
    vocabulary = {token: number for number, token in enumerate(["\u2581", "a", "b", "\n", "<u>"])}
    pieces = Tokenizer(BPE(vocabulary, [], unk_token="<u>"))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    pieces.decoder = decoders.Metaspace(prepend_scheme="always", split=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces)
    made = source([f"a{prompt}"], [completion])
    settings = Sequences(seq_len=80, pack=False)
    ids = tokens(CausalLM.tokenised(made, tokenizer, settings, 80, SILENT))["input_ids"].values
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == f"a{prompt}{completion}"


def test_completions_without_an_end_token_are_said_once() -> None:
    endless = make_tokenizer()
    endless.eos_token = None
    whole = source(["w1 w2 w3", "w4"], ["w5 w6", "w7"])
    whole = replace(whole, splits={"train": whole.splits["train"], "dev": whole.splits["train"]})
    for made, tokenizer, count in (
        (whole, endless, 1),
        (whole, CAUSAL, 0),
        (source(["w1 w2"]), endless, 0),
    ):
        notes: list[str] = []
        settings = Sequences(seq_len=20, pack=False)
        found = CausalLM.tokenised(made, tokenizer, settings, 64, Notes(notes.append))
        assert sum("has no end token" in note for note in notes) == count
        if count:
            labels = tokens(found)["labels"].values
            learnt = tokenizer.convert_tokens_to_ids(["w5", "w6", "w7"])
            assert labels[labels >= 0].tolist() == learnt


def test_a_document_that_is_cut_is_said_and_one_without_a_label_is_left_out() -> None:
    notes: list[str] = []
    made = source(["w1 w2 w3 w4 w5 w6", "w1"], ["w7", "w8"])
    found = CausalLM.tokenised(
        made, CAUSAL, Sequences(seq_len=5, pack=False), 64, Notes(notes.append)
    )
    assert len(found.splits["train"]) == 1
    assert any("1 of 2 documents are longer than 5 tokens" in note for note in notes)
    assert any("1 rows have no token to learn" in note for note in notes)


def test_rows_are_their_tokens() -> None:
    one = CausalLM.tokenised(source(["w1 w2"]), CAUSAL, Sequences(seq_len=8), 64, SILENT).splits[
        "train"
    ]
    other = CausalLM.tokenised(source(["w1 w3"]), CAUSAL, Sequences(seq_len=8), 64, SILENT).splits[
        "train"
    ]
    again = CausalLM.tokenised(
        source([" w1  w2"]), CAUSAL, Sequences(seq_len=8), 64, SILENT
    ).splits["train"]
    assert one.row_hash.tolist() == again.row_hash.tolist() != other.row_hash.tolist()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(
        SpecError, match="--seq-len: expected at most 64 tokens, which the model takes, found 65"
    ):
        CausalLM.tokenised(source(["w1 w2"]), CAUSAL, Sequences(seq_len=65), 64, SILENT)
    with pytest.raises(SpecError, match="expected text with a token to learn, found none"):
        CausalLM.tokenised(source([""]), CAUSAL, Sequences(seq_len=8), 64, SILENT)
    with pytest.raises(
        SpecError, match="here/train row 1: expected a completion with a token to learn"
    ):
        CausalLM.tokenised(
            source(["w1", "w2"], ["w3", ""]), CAUSAL, Sequences(seq_len=8), 64, SILENT
        )
    with pytest.raises(
        SpecError, match="expected texts, for a masked language model, found completions"
    ):
        MaskedLM.tokenised(source(["w1"], ["w2"]), MASKED, Sequences(seq_len=8), 64, SILENT)
    with pytest.raises(SpecError, match="expected a tokenizer with a mask token"):
        MaskedLM.tokenised(source(["w1"]), CAUSAL, Sequences(seq_len=8), 64, SILENT)


def hidden(settings: Sequences, texts: list[str]) -> tuple[Any, Any]:
    found = tokens(MaskedLM.tokenised(source(texts), MASKED, settings, 1000, SILENT))
    return found["input_ids"], found["labels"]


def test_masks_are_as_often_as_asked_and_replaced_as_in_the_paper() -> None:
    texts = documents([30] * 400)
    ids, labels = hidden(Sequences(seq_len=64), texts)
    masked = labels.values >= 0
    ordinary = np.isin(
        np.where(masked, labels.values, ids.values), MASKED.convert_tokens_to_ids(list(WORDS))
    )
    rate = masked[ordinary].mean()
    assert abs(rate - 0.15) < 4 * np.sqrt(0.15 * 0.85 / ordinary.sum())
    assert not masked[~ordinary].any()
    is_mask = ids.values[masked] == MASKED.mask_token_id
    stays = ids.values[masked] == labels.values[masked]
    n = masked.sum()
    assert abs(is_mask.mean() - 0.8) < 4 * np.sqrt(0.16 / n)
    assert abs(stays.mean() - 0.1) < 4 * np.sqrt(0.09 / n) + 0.01  # a random token may be the same
    assert ((labels.values == -1) | masked).all()


@given(st.permutations(list(range(6))))
def test_a_mask_does_not_depend_on_the_order_of_rows(order: list[int]) -> None:
    texts = documents([20, 21, 22, 23, 24, 25])
    settings = Sequences(seq_len=40, pack=False, views=2)
    straight, labels = hidden(settings, texts)
    shuffled, other = hidden(settings, [texts[place] for place in order])
    for place, row in enumerate(order):
        for view in range(2):
            mine, theirs = np.array([place * 2 + view]), np.array([row * 2 + view])
            assert shuffled.select(mine).values.tolist() == straight.select(theirs).values.tolist()
            assert other.select(mine).values.tolist() == labels.select(theirs).values.tolist()


def test_rows_do_not_depend_on_the_blocks_they_are_made_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Sequences(seq_len=12, keep_documents=True)
    made = source(documents([5, 30, 1, 17, 8, 40]))
    whole = tokens(MaskedLM.tokenised(made, MASKED, settings, 1000, SILENT))
    monkeypatch.setattr(spool, "TOKEN_ROWS", 2)
    blocks = tokens(MaskedLM.tokenised(made, MASKED, settings, 1000, SILENT))
    assert len(whole["labels"]) > 4
    for name, column in whole.items():
        np.testing.assert_array_equal(blocks[name].values, column.values)
        np.testing.assert_array_equal(blocks[name].indptr, column.indptr)


def test_views_and_seeds_hide_other_tokens() -> None:
    texts = documents([60])
    settings = Sequences(seq_len=64, pack=False, views=3)
    _, labels = hidden(settings, texts)
    views = [
        tuple(np.flatnonzero(labels.select(np.array([view])).values >= 0)) for view in range(3)
    ]
    assert len(set(views)) == 3
    _, others = hidden(Sequences(seq_len=64, pack=False, views=3, mask_seed=1), texts)
    assert others.values.tolist() != labels.values.tolist()


def test_golden_masks() -> None:
    """The same rows have the same masks for ever: caches that exist say which tokens were hidden."""
    _, labels = hidden(Sequences(seq_len=64, pack=False), [" ".join(WORDS)])
    assert np.flatnonzero(labels.values >= 0).tolist() == GOLDEN


GOLDEN = [20, 24, 40]


def test_each_option_of_rows_has_a_default_in_a_recipe() -> None:
    assert [field.name for field in fields(Recipe)] == [
        declared.name for declared in options_of(Sequences)
    ]
    assert Sequences().recipe() == Recipe()


def test_a_long_line_is_cut_into_documents(tmp_path: Path) -> None:
    words = "word " * 40_000
    (tmp_path / "long.txt").write_text("head\n" + words + "\n\nlast", encoding="utf-8")
    table = read_text(tmp_path / "long.txt")
    documents = table.columns["text"]
    assert max(map(len, documents)) < 65_000
    assert "".join(documents).split() == ["head", *words.split(), "last"]
    assert all(document.endswith("word ") for document in documents[:-1])
    assert list(table.lines) == [1, *[2] * (len(documents) - 2), 3]
    (tmp_path / "solid.txt").write_text("x" * 200_000, encoding="utf-8")
    assert "".join(read_text(tmp_path / "solid.txt").columns["text"]) == "x" * 200_000


def test_lines_of_an_end_token_end_documents(tmp_path: Path) -> None:
    """As TinyStories is published: short stories of paragraphs, one behind the other."""
    stories = ["One day.\n\nShe was happy.", "A cat.", "The end"]
    path = tmp_path / "stories.txt"
    path.write_text("\n<|endoftext|>\n".join([*stories, ""]))
    table = read_text(path)
    assert list(table.columns["text"]) == stories
    assert list(table.lines) == [1, 5, 7]
    assert "lines of an end token alone: 3 (first: line 4)" in remark_lines([table])[0]
    (tmp_path / "more.txt").write_text(path.read_text())
    notes: list[str] = []
    load(str(tmp_path), Columns(task="causal-lm"), tmp_path, Notes(notes.append)).table("train")
    assert sum("lines of an end token alone: 6" in note for note in notes) == 1


@pytest.mark.parametrize("name", ["a.txt.gz", "a.md.bz2", "a.rst", "test_a.py", "sub/a.tex.xz"])
def test_text_files_of_other_kinds_are_running_text(tmp_path: Path, name: str) -> None:
    opened = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True)
    with opened.get(path.suffix, open)(path, "wt") as file:
        file.write("w1 w2\n\nw3")
    for data in (path, tmp_path / "data"):
        source = load(str(data), Columns(task="causal-lm"), tmp_path, SILENT)
        assert source.table("train").texts()[0] == ["w1 w2\n\nw3"]


def test_hidden_files_of_a_folder_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("w1")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "b.py").write_text("w2")
    source = load(str(tmp_path), Columns(task="causal-lm"), tmp_path, SILENT)
    assert source.table("train").texts()[0] == ["w1"]
