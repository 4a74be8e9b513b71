"""The demo of language models on a small stand-in for the built-in corpus, and the corpus itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logitcache.api import load
from logitcache.cache.cache import Cache
from logitcache.data.sources import corpus, docstrings
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes
from logitcache.study import language_demo
from logitcache.study.language_demo import LanguageSize
from logitcache_cli.main import cli
from tests.language.small_lms import document

SMALL = LanguageSize("1x32", "1x16", 40, 8, 1, 1, (0,))


def test_a_teacher_is_trained_dumped_and_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(0)
    texts = [document(draw, draw.randint(20, 40)) for _ in range(80)]
    monkeypatch.setattr(docstrings, "running_text", lambda least: texts)
    monkeypatch.setattr(language_demo, "QUICK", SMALL)
    found = CliRunner().invoke(
        cli, ["demo", "--task", "causal-lm", "--quick", "--out", str(tmp_path), "--json"]
    )
    assert found.exit_code == 0, (found.output, found.exception)
    told = json.loads(found.stdout)
    assert {row["method"] for row in told["rows"]} == set(language_demo.METHODS)
    assert {row["metric"] for row in told["rows"]} == {"nll"}
    folder = tmp_path / "quick-causal-lm"
    assert (folder / "verdict.png").is_file()
    (train, *_) = sorted((folder / "caches").glob("corpus-train-*"))
    plan = Cache.open(train).manifest.plan
    assert plan.targets["logits"]["kind"] == "varopt"
    assert plan.preparation["sequences"]["seq_len"] == language_demo.SEQ_LEN


def test_the_corpus_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(
        docstrings, "running_text", lambda least: calls.append(least) or ["a text", "another"]
    )
    for _ in range(2):
        found = corpus.find("corpus", tmp_path, SILENT)
        assert found is not None
        assert found.tables[None]().columns["text"] == ["a text", "another"]
    assert calls == [corpus.MIN_CHARACTERS]


def test_running_text_is_the_docstrings_of_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = (
        '"""A module of long text that says enough."""\n\n\ndef f() -> None:\n    """Short."""\n'
    )
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").write_text(module)
    monkeypatch.setattr(docstrings, "PACKAGES", ("package",))
    monkeypatch.setattr(docstrings, "_installed", lambda name: tmp_path / name)
    assert docstrings.running_text(20) == ["A module of long text that says enough."]


def test_text_files_are_decoded_as_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes("na\xefve\n".encode("cp1252"))
    with pytest.raises(
        SpecError, match=r"book.txt line 1: expected UTF-8, .* --encoding cp1252 the line reads: na"
    ):
        load(path, task="causal-lm", workspace=tmp_path / "w")
    source = load(path, task="causal-lm", encoding="cp1252", workspace=tmp_path / "w")
    assert source.splits["train"].texts()[0] == ["na\xefve"]


def test_text_files_with_a_delimiter_are_tables(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("text|year\none|1\ntwo|2\n")
    source = load(path, task="causal-lm", delimiter="|", workspace=tmp_path / "w")
    assert source.splits["train"].texts()[0] == ["one", "two"]


def test_a_folder_of_text_files_names_its_splits_or_its_files(tmp_path: Path) -> None:
    for folder, names in {
        "split": ("train", "dev"),
        "whole": ("one", "two"),
        "single": ("book",),
    }.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.txt").write_text(f"{name}\n")
    notes: list[str] = []
    how: dict[str, Any] = {
        "task": "causal-lm",
        "workspace": tmp_path / "w",
        "reporter": Notes(notes.append),
    }
    splits = load(tmp_path / "split", **how).splits
    assert {name: rows.texts()[0] for name, rows in splits.items()} == {
        "train": ["train"],
        "dev": ["dev"],
    }
    assert not any("text files" in note for note in notes)
    assert load(tmp_path / "whole", **how).splits["train"].texts()[0] == ["one", "two"]
    assert any(note.endswith("2 text files: one.txt, two.txt") for note in notes)
    assert load(tmp_path / "single", **how).splits["train"].texts()[0] == ["book"]


@pytest.mark.parametrize("ending", [".txt", ".md"])
def test_a_text_file_is_cut_at_empty_lines(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "DOCUMENT", 20)
    monkeypatch.setattr(corpus, "LONGEST", 60)
    path = tmp_path / f"book{ending}"
    path.write_text("\ufeffone line\nand one more line\n\nlast\n\n" + "no end\n" * 12)
    table = corpus.read_text(path)
    assert table.columns["text"][0] == "one line\nand one more line"
    assert table.columns["text"][1].startswith("last\n\nno end")
    assert max(map(len, table.columns["text"])) < 80
    assert table.lines[1] == 4
