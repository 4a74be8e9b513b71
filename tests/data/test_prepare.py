from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows
from logitcache.errors import OutOfSpace, SpecError
from logitcache.identity import row_hashes
from logitcache.models.load import load_tokenizer
from logitcache.models.vocabulary import build_tokenizer
from logitcache.records import Examples

WORDS = ["the", "river", "runs", "under", "an", "old", "bridge", "near", "mill", "unbelievably"]
TEXTS = [" ".join(WORDS[i % 10 : i % 10 + n] or ["mill"]) for i in range(10) for n in (1, 3, 7)]
FIELD = st.lists(st.sampled_from([*WORDS, "xylophone", "É", "."]), max_size=12).map(" ".join)
LIMIT = 16


def rows_of(texts: list[str], pairs: list[str] | None = None) -> Rows:
    n = np.arange(len(texts))
    second = None if pairs is None else pa.array(pairs, pa.large_string())
    return Rows(pa.array(texts, pa.large_string()), second, n % 2, n, row_hashes(texts, pairs))


def as_lists(rows: Examples) -> list[list[int]]:
    ids = rows.inputs["input_ids"]
    return [ids.values[a:b].tolist() for a, b in zip(ids.indptr[:-1], ids.indptr[1:], strict=True)]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_tokenizer(TEXTS, 120, LIMIT, tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer that opens and closes no text, names no padding token and asks for no segments."""
    from transformers import GPT2Tokenizer

    letters = "abcdefghijklmnopqrstuvwxyzĠÉ.,"
    vocabulary = {letter: i for i, letter in enumerate(dict.fromkeys(["<|endoftext|>", *letters]))}
    made = GPT2Tokenizer(vocab=vocabulary, merges=[], model_max_length=LIMIT)
    folder = tmp_path_factory.mktemp("bare")
    made.save_pretrained(folder)
    return load_tokenizer(str(folder))


@settings(deadline=None)
@given(
    st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=6), st.booleans(), st.integers(5, LIMIT)
)
def test_ids_are_those_of_the_tokenizer_called_by_hand(
    bert: Any, fields: list[tuple[str, str]], paired: bool, limit: int
) -> None:
    texts = [a for a, _ in fields]
    pairs = [b for _, b in fields] if paired else None
    made = prepare(bert, rows_of(texts, pairs), limit)
    # Lists of one: called with two bare strings, the tokenizer takes an empty second text for none.
    hand = [
        bert(*([[a], [b]] if paired else [[a]]), truncation=True, max_length=limit)
        for a, b in fields
    ]
    assert as_lists(made) == [one["input_ids"][0] for one in hand]
    assert made.inputs["token_type_ids"].values.tolist() == [
        s for one in hand for s in one["token_type_ids"][0]
    ]
    assert made.inputs["input_ids"].values.dtype == np.int32
    assert made.inputs["token_type_ids"].values.dtype == np.uint8
    longer = [
        len(bert(*([[a], [b]] if paired else [[a]]))["input_ids"][0]) > limit for a, b in fields
    ]
    assert made.cut.tolist() == longer
    assert made.lengths().max() <= limit


def test_a_pair_has_two_segments(bert: Any) -> None:
    made = prepare(bert, rows_of(["the river"], ["old mill"]), LIMIT)
    assert made.inputs["token_type_ids"].values.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_identity_and_labels_stand_beside(bert: Any) -> None:
    rows = rows_of(TEXTS)
    part = prepare(bert, rows, LIMIT, 3, 8)
    assert len(part) == 5
    assert part.row_id.tolist() == [3, 4, 5, 6, 7]
    assert part.row_hash.tolist() == rows.row_hash[3:8].tolist()
    assert part.label.tolist() == rows.label[3:8].tolist()
    assert as_lists(part) == as_lists(prepare(bert, rows, LIMIT))[3:8]


def test_an_empty_text_keeps_one_position(bare: Any) -> None:
    made = prepare(bare, rows_of(["old", "", "mill"]), LIMIT)
    assert "token_type_ids" not in made.inputs
    assert bare.pad_token_id == bare.eos_token_id
    assert as_lists(made)[1] == [bare.pad_token_id]
    assert made.lengths().tolist() == [3, 1, 4]


def test_an_empty_text_and_an_empty_pair(bert: Any) -> None:
    assert as_lists(prepare(bert, rows_of([""]), LIMIT)) == [[bert.cls_token_id, bert.sep_token_id]]
    ids = [bert.cls_token_id, bert.sep_token_id, bert.sep_token_id]
    assert as_lists(prepare(bert, rows_of([""], [""]), LIMIT)) == [ids]


@settings(deadline=None)
@given(st.lists(st.integers(0, len(TEXTS) - 1), max_size=40))
def test_select_carries_every_column(bert: Any, chosen: list[int]) -> None:
    whole = prepare(bert, rows_of(TEXTS, TEXTS[::-1]), LIMIT)
    some = whole.select(np.array(chosen, np.int64))
    assert len(some) == len(chosen)
    assert as_lists(some) == [as_lists(whole)[i] for i in chosen]
    assert some.row_id.tolist() == chosen
    assert some.row_hash.tolist() == whole.row_hash[chosen].tolist()
    assert some.label.tolist() == whole.label[chosen].tolist()
    assert some.inputs["token_type_ids"].indptr.tolist() == some.inputs["input_ids"].indptr.tolist()
    assert some.padding == whole.padding
    assert some.cut.tolist() == whole.cut[chosen].tolist()


def test_a_vocabulary_that_finds_no_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library raises an Exception of no kind."""

    def full(*args: Any, **settings: Any) -> None:
        raise Exception("No space left on device (os error 28)")

    monkeypatch.setattr("transformers.BertTokenizer.save_pretrained", full)
    with pytest.raises(OutOfSpace, match="disk full: the vocabulary could not be written"):
        build_tokenizer(TEXTS, 120, LIMIT, tmp_path / "learnt")
    assert not list((tmp_path / "learnt").glob("*"))


def test_a_built_tokenizer_is_learnt_once_from_its_texts(bert: Any, tmp_path: Path) -> None:
    made = build_tokenizer(TEXTS, 120, LIMIT, tmp_path)
    assert made.model_max_length == LIMIT
    assert len(made) <= 120 + 1000  # beyond its size, only characters
    assert made.unk_token_id not in made(" ".join(WORDS))["input_ids"]
    assert made("RIVER")["input_ids"] == made("river")["input_ids"]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = build_tokenizer(["other texts"], 120, LIMIT, tmp_path)
    assert again.get_vocab() == made.get_vocab() == bert.get_vocab()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_several_that_learn_one_vocabulary_leave_one(tmp_path: Path) -> None:
    """One learns, the others wait; what a killed one has left beside its place goes."""
    (tmp_path / "several" / ".learnt-left").mkdir(parents=True)
    alone = build_tokenizer(TEXTS, 120, LIMIT, tmp_path / "alone" / "learnt")
    with ThreadPoolExecutor(4) as pool:
        several = [
            pool.submit(build_tokenizer, TEXTS, 120, LIMIT, tmp_path / "several" / "learnt")
            for _ in range(4)
        ]
    assert all(made.result().get_vocab() == alone.get_vocab() for made in several)
    trees = [
        {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (tmp_path / "alone", tmp_path / "several")
    ]
    assert trees[0] == trees[1]
    assert [path.name for path in (tmp_path / "several").iterdir()] == ["learnt"]


@pytest.mark.slow
def test_a_built_tokenizer_is_the_same_in_every_process(bert: Any) -> None:
    script = (
        "import json, sys; from logitcache.models.vocabulary import _learn_vocabulary\n"
        "print(json.dumps(_learn_vocabulary(json.loads(sys.argv[1]), 120)))"
    )
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(TEXTS)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == bert.get_vocab()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", "utf-8")
    with pytest.raises(SpecError) as caught:
        load_tokenizer(str(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path}: no tokenizer can be loaded: ")
    assert "\n" not in str(caught.value)


def edited(tokenizer: Any, folder: Path, **settings: object) -> str:
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **settings}), "utf-8")
    return str(folder)


def test_inputs_that_nobody_knows_are_refused(bert: Any, tmp_path: Path) -> None:
    path = edited(bert, tmp_path, model_input_names=["input_ids", "bbox"])
    with pytest.raises(SpecError, match="found one that gives bbox too"):
        load_tokenizer(path)


def test_no_token_to_pad_with_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    make: Any = PreTrainedTokenizerFast
    made = make(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")))
    made.save_pretrained(tmp_path)
    with pytest.raises(SpecError, match="a special token to pad with, found none"):
        load_tokenizer(str(tmp_path))


def test_a_length_that_leaves_no_room_for_text_is_refused(bert: Any) -> None:
    with pytest.raises(SpecError, match=r"over 2, .* found 2"):
        prepare(bert, rows_of(["a river"]), 2)
    with pytest.raises(SpecError, match=r"over 3, .* found 3"):
        prepare(bert, rows_of(["a river"], ["a mill"]), 3)
