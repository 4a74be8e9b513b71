"""Bad input about teachers, caches, folds and unlabelled rows: one line, its exit code, nothing
left behind.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from logitcache.config.teacher import DumpSettings
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from logitcache_cli.main import cli
from tests.cli.desk import Desk, the_error
from tests.conftest import singles
from tests.shortly import fast


def pickled(folder: str) -> str:
    """A checkpoint whose weights are a pickle alone."""
    path = Path(folder)
    (path / "pytorch_model.bin").write_bytes((path / "model.safetensors").read_bytes())
    (path / "model.safetensors").unlink()
    return folder


def test_weights_that_are_a_pickle(desk: Desk) -> None:
    teacher = pickled(desk.at("teacher"))
    for arguments in (desk.dump(), desk.train("--student", teacher)):
        desk.refused(
            arguments,
            2,
            "SpecError",
            teacher,
            "expected model.safetensors",
            "found pytorch_model.bin",
        )


def test_a_revision_of_a_folder(desk: Desk) -> None:
    desk.refused(
        desk.dump("--revision", "v1"), 2, "SpecError", desk.at("teacher"), "--revision", "folder"
    )
    arguments = desk.train("--revision", "v1", "--student", desk.at("teacher"))
    desk.refused(arguments, 2, "SpecError", desk.at("teacher"), "--revision", "folder")


def test_a_head_that_was_never_trained(desk: Desk) -> None:
    arguments = desk.dump("--finetune", "never", teacher="headless")
    desk.refused(arguments, 2, "UntrainedHead", desk.at("headless"), "--finetune")
    arguments[2] = "1x32"
    desk.refused(arguments, 2, "SpecError", "1x32", "--finetune never: a shape has no weights yet")


def test_folds_of_a_teacher_with_a_trained_head(desk: Desk) -> None:
    desk.refused(
        desk.dump("--folds", "2"),
        2,
        "SpecError",
        desk.at("teacher"),
        "--folds",
        "--finetune always",
    )
    desk.refused(
        desk.dump("--folds", "2", "--finetune", "never"),
        2,
        "SpecError",
        "--finetune never: folds need",
    )


def test_a_class_that_is_all_in_one_fold(desk: Desk) -> None:
    data = desk.data(
        [{"text": f"row {i}", "label": "neg"} for i in range(9)] + [{"text": "one", "label": "pos"}]
    )
    for arguments in (
        desk.dump("--folds", "2", data=data, teacher="headless"),
        desk.train("--folds", "2", data=data, method="self-kd"),
    ):
        desk.refused(
            arguments,
            2,
            "SpecError",
            "mine: --folds 2",
            "all 1 of 'pos' in fold",
            "another number of folds",
        )


def test_folds_that_nothing_is_cut_into(desk: Desk) -> None:
    for method, more in (("base", ()), ("kd", ()), ("self-kd", ("--cache", desk.at("cache")))):
        desk.refused(
            desk.train("--folds", "2", *more, method=method),
            2,
            "SpecError",
            "--folds: expected self-kd",
        )
    desk.refused(
        desk.dump("--folds", "101", teacher="headless"),
        2,
        "SpecError",
        "--folds: expected a whole number from 2 to 100",
    )


def test_reuse_of_what_cannot_be_reused(desk: Desk, checkpoint: Callable[..., Path]) -> None:
    desk.refused(
        desk.dump("--reuse", desk.at("nowhere")), 3, "FormatError", "nowhere", "expected a cache"
    )
    shutil.copytree(checkpoint(dropout=0.0), desk.folder / "other")
    weights = desk.folder / "other" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    arguments = desk.dump("--reuse", desk.at("cache"), "--max-length", "48", teacher="other")
    desk.refused(
        arguments,
        4,
        "FingerprintMismatch",
        desk.at("cache"),
        "--reuse: expected",
        "teacher.",
        "named by its",
    )
    itself = [*desk.dump("--reuse", desk.at("cache")), "--out", desk.at("cache")]
    desk.refused(
        itself, 2, "SpecError", desk.at("cache"), "--reuse: expected another folder", "--out"
    )
    shard = desk.folder / "cache" / "shards" / "00001.arrow"
    shard.write_bytes(shard.read_bytes().replace(shard.read_bytes()[1000:1004], b"\1\2\3\4", 1))
    desk.refused(desk.dump("--reuse", desk.at("cache")), 3, "CorruptShard", "00001.arrow")


@pytest.mark.parametrize("method", ["base", "ls", "tf-reg"])
def test_a_cache_for_a_method_without_a_teacher(desk: Desk, method: str) -> None:
    arguments = desk.train("--cache", desk.at("cache"), method=method)
    desk.refused(arguments, 2, "SpecError", f"--cache: {method} has no teacher")


def test_several_caches_that_nobody_asked_to_average_and_the_reverse(desk: Desk) -> None:
    shutil.copytree(desk.at("cache"), desk.at("again"))
    one, two = ("--cache", desk.at("cache")), ("--cache", desk.at("again"))
    for caches in ((), one):
        desk.refused(
            desk.train("--teachers", "mean", *caches, method="kd"),
            2,
            "SpecError",
            "--teachers",
            "several",
        )
    said = ("expected one cache of the train rows, found 2", "--teachers mean")
    desk.refused(desk.train(*one, *two, method="kd"), 2, "SpecError", *said)


@pytest.fixture
def more_cache(desk: Desk, load_source: Callable[[Path], Any], unlabelled_data: Path) -> str:
    """The teacher's answers to unlabelled rows."""
    assert CliRunner().invoke(cli, desk.dump("--unlabelled", str(unlabelled_data))).exit_code == 0
    shutil.move(desk.at("out-unlabelled"), desk.at("more"))
    shutil.rmtree(desk.at("out"))
    return desk.at("more")


def test_a_cache_of_unlabelled_rows_that_are_not_named(desk: Desk, more_cache: str) -> None:
    arguments = desk.train("--cache", desk.at("cache"), "--cache", more_cache, method="kd")
    desk.refused(arguments, 2, "SpecError", more_cache, "unlabelled rows", "--unlabelled")


def test_unlabelled_rows_without_a_cache(desk: Desk, unlabelled_data: Path) -> None:
    arguments = desk.train(
        "--unlabelled", str(unlabelled_data), "--cache", desk.at("cache"), method="kd"
    )
    desk.refused(arguments, 2, "SpecError", "expected a cache of the unlabelled rows, found none")


def test_unlabelled_rows_that_are_not_there(desk: Desk) -> None:
    for arguments in (
        desk.dump("--unlabelled", "gone.jsonl"),
        desk.train("--unlabelled", "gone.jsonl"),
    ):
        desk.refused(arguments, 2, "SpecError", "gone.jsonl: no such file or folder")


def test_base_has_no_use_for_unlabelled_rows_and_says_so(desk: Desk, unlabelled_data: Path) -> None:
    found = CliRunner().invoke(cli, desk.train("--unlabelled", str(unlabelled_data)))
    assert (found.exit_code, found.stdout) == (0, f"{desk.at('out')}\n")
    assert (
        "singles: 30 unlabelled rows are left out: base learns from labels alone\n" in found.stderr
    )
    told = json.loads((desk.folder / "out" / "result.json").read_text())
    assert told["data"]["train_rows"] == 60


def test_a_seed_of_data_that_is_not_drawn(desk: Desk) -> None:
    """It changes nothing: only presets of a larger set are drawn."""
    outs = []
    for seed in ("0", "5"):
        assert (
            CliRunner()
            .invoke(cli, [*desk.train("--data-seed", seed), "--out", desk.at(seed)])
            .exit_code
            == 0
        )
        outs.append(load_file(desk.folder / seed / "model.safetensors"))
    assert all((outs[0][name] == outs[1][name]).all() for name in outs[0])
    for bad in ("x", "1.5"):
        assert CliRunner().invoke(cli, desk.train("--data-seed", bad)).exit_code == 2


def test_a_cache_with_other_labels(
    desk: Desk, checkpoint: Callable[..., Path], load_source: Any
) -> None:
    """As a preset's or a corrected data set's may be."""
    source = load_source(desk.folder / "singles")
    assert source.label_names == ("neg", "pos")
    dump_split(
        load_teacher(str(checkpoint())), source, "train", desk.folder / "named", DumpSettings(48)
    )
    rows = [{**row, "label": {"neg": "bad", "pos": "good"}[row["label"]]} for row in singles(60, 0)]
    arguments = desk.train("--cache", desk.at("named"), data=desk.data(rows), method="kd")
    desk.refused(
        arguments,
        4,
        "FingerprintMismatch",
        desk.at("named"),
        "neg, pos",
        "bad, good",
        "--label-map bad=neg",
    )


@pytest.mark.parametrize("written", fast([0, 2, 20], 20))
def test_a_disk_that_is_full_while_a_teacher_is_fine_tuned(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Whichever file it is; the same command then goes on."""
    left, sync = iter(range(written)), os.fsync

    def full(file: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    arguments = desk.dump("--finetune-epochs", "1", "--shard-rows", "10", teacher="headless")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        found = CliRunner().invoke(cli, arguments)
    assert (found.exit_code, found.stdout) == (7, ""), found.output
    assert "Make room and run the same command again." in the_error(found.stderr, "OutOfSpace")
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 0, again.output
