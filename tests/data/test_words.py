"""Rows of words: read from files and sets, kept at their first pieces, judged by entities."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data import source as sources
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source
from logitcache.data.tasks.token_classification import TokenClassification
from logitcache.errors import SpecError
from logitcache.identity import row_hashes
from logitcache.models.vocabulary import build_tokenizer
from logitcache.records import LOGITS, Answers, Block, Dense
from logitcache.reporter import SILENT
from tests.shortly import examples

WORDS = [["Anna", "saw", "New", "York"], ["nobody"], [], ["Bert", "left"]]
TAGS = [["B-PER", "O", "B-LOC", "I-LOC"], ["O"], [], ["B-PER", "O"]]
NAMES = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")


def load(data: Any, tmp_path: Path, **asked: Any) -> Source:
    return sources.load(data, Columns(**asked), tmp_path, SILENT)


def jsonl(path: Path, words: Any = WORDS, tags: Any = TAGS) -> Path:
    rows = [{"words": own, "tags": labels} for own, labels in zip(words, tags, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_lists(source: Source) -> list[tuple[list[str], list[str]]]:
    rows = source.table("train")
    assert rows.tags is not None
    assert source.label_names is not None
    words = [text.split("\n") if text else [] for text in rows.texts()[0]]
    ends = rows.tags.indptr
    labels = [[source.label_names[i] for i in rows.tags.values[a:b]] for a, b in pairwise(ends)]
    return list(zip(words, labels, strict=True))


def test_rows_of_words_are_read_from_jsonl(tmp_path: Path) -> None:
    source = load(str(jsonl(tmp_path / "train.jsonl")), tmp_path)
    assert source.task == "token-classification"
    assert as_lists(source) == list(zip(WORDS, TAGS, strict=True))
    assert source.label_names == ("B-LOC", "B-PER", "I-LOC", "O")
    rows = source.table("train")
    assert rows.row_hash.tolist() == row_hashes(["\n".join(words) for words in WORDS]).tolist()
    assert [source.label_names[i] if i >= 0 else None for i in rows.label] == [
        "B-LOC",
        "O",
        None,
        "B-PER",
    ]


@pytest.mark.parametrize("lists", [("tokens",), ("tokens", "pos_tags")])
def test_a_text_beside_its_words_is_classified(tmp_path: Path, lists: tuple[str, ...]) -> None:
    rows = [
        {"text": f"a {x}", "label": x, **{name: ["a", x] for name in lists}}
        for x in ("good", "bad")
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(str(tmp_path / "train.jsonl"), tmp_path).task == "classification"


def test_words_beside_their_text_are_labelled(tmp_path: Path) -> None:
    rows = [
        {"text": " ".join(w), "tokens": w, "ner_tags": t} for w, t in zip(WORDS, TAGS, strict=True)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(str(tmp_path / "train.jsonl"), tmp_path).task == "token-classification"


def test_conll_files_are_read(tmp_path: Path) -> None:
    lines = [
        "-DOCSTART- -X- O O",
        "",
        *("Anna NNP B-NP B-PER", "saw VBD B-VP O"),
        "",
        "",
        "nobody NN B-NP O",
    ]
    (tmp_path / "train.conll").write_text("\n".join(lines))
    source = load(str(tmp_path), tmp_path)
    assert as_lists(source) == [(["Anna", "saw"], ["B-PER", "O"]), (["nobody"], ["O"])]


def test_lines_that_name_the_class_of_a_row_are_left_out_by_a_command(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_text("flights O\nParis B-to\natis_flight\n\nfares O\natis_airfare\n\n")
    with pytest.raises(SpecError, match=r"train.conll line 3: .*such lines \(2\)") as caught:
        load(str(path), tmp_path)
    command = str(caught.value).partition("To leave out all: ")[2]
    subprocess.run(["bash", "-c", command], check=True, cwd=tmp_path)
    rows = [(["flights", "Paris"], ["O", "B-to"]), (["fares"], ["O"])]
    assert as_lists(load(str(tmp_path / "OUT.conll"), tmp_path)) == rows


def test_comments_before_a_row_are_no_words_and_words_are_cut_at_tabs(tmp_path: Path) -> None:
    text = "# id 5-aa\tdomain=train\nNew\u00a0York\tB-LOC\n#\tO\n\n# O\n# sent_id = 7\n\n# sent_id = 8\nBert B-PER\n"
    (tmp_path / "train.conll").write_text(text)
    rows = [
        (["New\u00a0York", "#"], ["B-LOC", "O"]),
        (["#"], ["O"]),
        (["Bert"], ["B-PER"]),
    ]
    assert as_lists(load(str(tmp_path / "train.conll"), tmp_path)) == rows


def test_a_first_column_that_counts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("1\tBerlin\tB-LOC\n2\tsaw\tO\n\n1\tAnna\tB-PER\n")
    with pytest.raises(SpecError, match=r"numbers that count them\. .*else put the words first"):
        load(str(tmp_path / "train.conll"), tmp_path)


def test_words_of_another_name_in_one_file_are_refused(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl")
    rows = [{"tokens": own, "tags": labels} for own, labels in zip(WORDS, TAGS, strict=True)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        SpecError, match="a column of words 'words', as in the other files, found tokens, tags"
    ):
        load(str(tmp_path), tmp_path)


def test_words_in_arrays_of_numpy_are_words(tmp_path: Path) -> None:
    rows = {
        "words": [np.array(own, object) for own in WORDS],
        "tags": [np.array(own, object) for own in TAGS],
    }
    assert as_lists(load({"train": rows}, tmp_path)) == list(zip(WORDS, TAGS, strict=True))


def test_a_word_without_a_label_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("Anna B-PER\nsaw\n")
    with pytest.raises(SpecError, match=r"train.conll line 2: expected a word and its label"):
        load(str(tmp_path), tmp_path)


def test_data_sets_name_their_labels(tmp_path: Path) -> None:
    kinds = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
        }
    )
    made = datasets.Dataset.from_dict(
        {"tokens": [["Anna", "left"], ["she"]], "ner_tags": [[1, 0], [0]]}, features=kinds
    )
    source = load(made, tmp_path)
    assert source.label_names == ("O", "B-PER")
    assert as_lists(source) == [(["Anna", "left"], ["B-PER", "O"]), (["she"], ["O"])]


@pytest.mark.parametrize(
    ("words", "tags", "said"),
    [
        (["a", "b"], ["O"], "a label for each of 2 words, found 1"),
        (["a", ""], ["O", "O"], "words, none empty, none with a newline and .* found ''"),
        (["a\nb"], ["O"], r"half a character, found 'a\\nb'"),
        (["a", 3], ["O", "O"], "found 3"),
        (["\ud83d"], ["O"], "none with half a character"),
        ("a b", ["O"], "a list of words, found 'a b'"),
    ],
)
def test_rows_that_are_none_of_words_are_refused_with_their_line(
    tmp_path: Path, words: Any, tags: Any, said: str
) -> None:
    path = jsonl(tmp_path / "train.jsonl", [["a"], words], [["O"], tags])
    with pytest.raises(SpecError, match=f"line 2: expected .*{said}"):
        load(str(path), tmp_path)


def test_a_task_that_the_data_is_not_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match="columns of lists: words and their labels, found text, label"
    ):
        load({"text": ["a", "b"], "label": [0, 1]}, tmp_path, task="token-classification")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    # most words are pieces
    return build_tokenizer(["an old bridge"], 40, 64, tmp_path_factory.mktemp("tokenizer"))


WORD = st.text("abdegilnor", min_size=1, max_size=6)


@settings(deadline=None, max_examples=examples(15, 40))
@given(st.lists(st.lists(WORD, max_size=8), min_size=1, max_size=4), st.integers(3, 20))
def test_a_word_is_kept_at_its_first_piece(
    tokenizer: Any, tmp_path_factory: pytest.TempPathFactory, words: list[list[str]], limit: int
) -> None:
    path = jsonl(
        tmp_path_factory.mktemp("words") / "train.jsonl",
        [["a"], *words],
        [["O"], *(["O"] * len(w) for w in words)],
    )
    rows = load(str(path), path.parent).table("train")
    examples = prepare(tokenizer, rows, limit)
    found = TokenClassification.positions(examples, np.arange(len(rows)))
    for row, own in enumerate([["a"], *words]):
        hand = tokenizer(own, is_split_into_words=True, truncation=True, max_length=limit)
        first = {
            word: token
            for token, word in reversed(list(enumerate(hand.word_ids())))
            if word is not None
        }
        here = slice(found.indptr[row], found.indptr[row + 1])
        assert (
            dict(zip(found.index[here].tolist(), found.token[here].tolist(), strict=True)) == first
        )
        assert sorted(first) == list(range(len(first)))


def entities(tags: list[str]) -> set[tuple[int, int, str]]:
    """As ``seqeval`` has them, word by word."""
    found, start = set(), None
    for i, tag in enumerate([*tags, "O"]):
        before = tags[i - 1] if i else "O"
        inside = tag != "O" and tag[0] == "I" and before != "O" and before[2:] == tag[2:]
        if start is not None and not inside:
            found.add((start, i, tags[start][2:]))
            start = None
        if tag != "O" and not inside:
            start = i
    return found


@settings(deadline=None, max_examples=examples(20, 60))
@given(
    st.lists(st.lists(st.tuples(*[st.integers(0, 4)] * 2), max_size=8), min_size=1, max_size=5),
    st.integers(0, 5),
)
def test_entities_are_counted_as_seqeval_counts_them(
    rows: list[list[tuple[int, int]]], cut: int
) -> None:
    counts = np.array([len(row) for row in rows])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    pairs = np.array([pair for row in rows for pair in row], np.int64).reshape(-1, 2)
    logits = np.eye(5, dtype=np.float32)[pairs[:, 1]]
    answers = Answers(
        np.arange(len(rows)), indptr, np.zeros(len(pairs), np.int64), {LOGITS: Dense(logits)}
    )
    block = Block(np.arange(len(rows)), 0, answers, pairs[:, 0])
    task = TokenClassification(5, NAMES)
    found = task.score(block)
    named = [
        [[NAMES[label] for label in side] for side in zip(*row, strict=True)] if row else [[], []]
        for row in rows
    ]
    gold, said = ([entities(row[side]) for row in named] for side in (0, 1))
    right = sum(len(a & b) for a, b in zip(gold, said, strict=True))
    by_row = [[len(a), len(b), len(a & b)] for a, b in zip(gold, said, strict=True)]
    assert task.scores().of_rows(pairs[:, 0], pairs[:, 1], indptr).tolist() == by_row
    size = sum(map(len, gold)) + sum(map(len, said))
    if len(pairs):
        assert found["entity_f1"] == pytest.approx(2 * right / max(1, size))
    parts = [task.scores(), task.scores()]
    for part, mine in zip(
        parts, (np.arange(len(rows)) < cut, np.arange(len(rows)) >= cut), strict=True
    ):
        part.add(block.select(mine))
    parts[0].merge(parts[1])
    assert parts[0].result() == pytest.approx(found)


def test_labels_that_are_no_entities_are_judged_by_words() -> None:
    assert TokenClassification(2, ("NOUN", "VERB")).own_metric("accuracy") == "accuracy"
    assert TokenClassification(5, NAMES).own_metric("accuracy") == "entity_f1"
