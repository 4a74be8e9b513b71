"""The command line on text files and on conversations: every command that takes a cache takes one
of tokens.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from logitcache.api import dump, repair, verify_live
from logitcache.cache.cache import Cache
from logitcache.data.sources import corpus
from logitcache.reporter import SILENT
from logitcache_cli.main import cli
from tests.language.small_lms import document

Lm = Callable[..., Path]


def called(*words: object) -> Any:
    """The document of a command that ends well."""
    found = CliRunner().invoke(cli, [str(word) for word in words])
    assert found.exit_code == 0, (found.output, found.exception)
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def text_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two text files whose names tell no split."""
    folder = tmp_path_factory.mktemp("books") / "books"
    folder.mkdir()
    draw = random.Random(3)
    for name in ("one", "two"):
        paragraphs = [document(draw, 30) for _ in range(24)]
        (folder / f"{name}.txt").write_text("\n\n".join(paragraphs))
    return folder


@pytest.fixture(scope="module", params=["text", "chat"])
def work(
    request: Any, lm: Lm, text_files: Path, chats: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """A dump and two runs. Text files are cut into small documents."""
    patch = pytest.MonkeyPatch()
    patch.setattr(corpus, "DOCUMENT", 150)
    folder = tmp_path_factory.mktemp("commands")
    data = text_files if request.param == "text" else chats
    common = ["--task", "causal-lm", "--data", data, "--workspace", folder, "--json"]
    dumped = called("dump", "--teacher", lm("gpt2"), "--seq-len", 32, "--device", "cpu", *common)
    runs = {}
    for method in ("base", "kd"):
        student = [
            "--student",
            lm("gpt2", config_only=True),
            "--init",
            "random",
            "--epochs",
            1,
            "--batch-size",
            32,
        ]
        runs[method] = called("train", "--method", method, *student, *common)
    yield {
        "folder": folder,
        "data": data,
        "dump": dumped,
        "runs": runs,
        "kind": request.param,
        "common": common,
    }
    patch.undo()


def test_a_dump_holds_out_documents_and_dumps_them_too(work: dict[str, Any]) -> None:
    dumped = work["dump"]
    assert dumped["complete"]
    assert dumped["num_labels"] == 48
    splits = [Cache.open(part["cache"]).manifest.plan.data["split"] for part in dumped["held_out"]]
    assert splits == (["dev", "test"] if work["kind"] == "text" else ["dev"])
    if work["kind"] == "chat":
        assert dumped["positions"] < dumped["rows"] * 31 / 2  # what the assistant said alone
    for part in (dumped, *dumped["held_out"]):
        assert part["scores"]["nll"] > 0


def test_students_are_compared(work: dict[str, Any]) -> None:
    assert {run["cache_fingerprint"] for run in work["runs"].values()} != {None}
    told = called("compare", work["folder"] / "runs", "--json")
    assert {row["method"] for row in told["rows"]} == {"base", "kd"}
    assert {row["metric"] for row in told["rows"]} == {"nll"}


def test_a_cache_of_tokens_is_looked_at_and_carried_over(
    work: dict[str, Any], tmp_path: Path
) -> None:
    cache = work["dump"]["cache"]
    assert called("verify", cache, "--json")["ok"]
    looked = called("inspect", cache, "--json")
    assert looked["rows"] == work["dump"]["rows"]
    row = called("inspect", cache, "--row", 1, "--json")
    assert row["row"]["positions"][0]["top"]
    called("convert", cache, tmp_path / "zarr", "--to", "zarr", "--json")
    assert called("diff", cache, tmp_path / "zarr", "--json")
    one, other = (Cache.open(place).tokens(np.arange(3)) for place in (cache, tmp_path / "zarr"))
    assert all(one[name].values.tolist() == other[name].values.tolist() for name in one)


def test_a_cache_of_another_tokenizer_than_the_teachers_own_is_asked_again(
    lm: Lm, text_files: Path, tmp_path: Path
) -> None:
    """The option that the dump was given is one of whatever asks the teacher again."""
    shutil.copytree(lm("gpt2"), tmp_path / "t")
    (tmp_path / "words").mkdir()
    for file in (tmp_path / "t").glob("*token*"):
        file.rename(tmp_path / "words" / file.name)
    named = {
        "tokenizer": str(tmp_path / "words"),
        "device": "cpu",
        "workspace": tmp_path / "w",
        "reporter": SILENT,
    }
    teacher, data = str(tmp_path / "t"), str(text_files)
    cache = dump(teacher, data, task="causal-lm", seq_len=32, **named).cache
    shard = cache / "shards" / "00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    assert repair(cache, teacher, data, **named).repaired == [0]
    assert verify_live(cache, 2, teacher, data, **named).agrees


def test_the_report_is_for_people_too(work: dict[str, Any], lm: Lm) -> None:
    again = [word for word in work["common"] if word != "--json"]
    words = ["dump", "--teacher", lm("gpt2"), "--seq-len", 32, "--device", "cpu", *again]
    found = CliRunner().invoke(cli, [str(word) for word in words])
    assert found.exit_code == 0
    assert "teacher    perplexity" in found.stdout
    assert "0 saw the teacher now" in found.stdout
