"""Bad input: one line on stderr that names kind, place and remedy; the exit code of its kind;
nothing left behind.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from logitcache_cli.main import cli
from tests.cli.desk import GOOD, SMALL, Desk, Rows, the_error


def both(desk: Desk, *more: str, data: str) -> list[list[str]]:
    return [desk.dump(*more, data=data), desk.train(*more, data=data)]


def test_no_such_file(desk: Desk) -> None:
    for arguments in both(desk, data="nowhere.jsonl"):
        desk.refused(arguments, 2, "SpecError", "nowhere.jsonl", "no such file or folder", "--data")


@pytest.mark.parametrize("option", ["--text", "--text-pair", "--label"])
def test_no_such_column(desk: Desk, option: str) -> None:
    for arguments in both(desk, option, "nope", data="singles"):
        desk.refused(
            arguments, 2, "SpecError", "singles", f"no column 'nope' for {option}", "text, label"
        )


def test_no_text_column(desk: Desk) -> None:
    for arguments in both(
        desk, data=desk.data([{"words": "a", "label": 1}, {"words": "b", "label": 0}])
    ):
        desk.refused(arguments, 2, "SpecError", "expected a text column", "words, label", "--text")


def test_an_empty_split(desk: Desk) -> None:
    desk.data(GOOD)
    data = desk.data([], "dev")
    desk.refused(desk.dump("--split", "dev", data=data), 2, "SpecError", "mine", "'dev' is empty")
    desk.data([])
    desk.data(GOOD, "dev")
    for arguments in both(desk, data=data):
        desk.refused(arguments, 2, "SpecError", "mine", "'train' is empty")


def test_no_such_split(desk: Desk) -> None:
    desk.refused(
        desk.dump("--split", "validation"), 2, "SpecError", "'validation'", "train, dev, test"
    )


def test_labels_are_missing_where_they_are_needed(desk: Desk) -> None:
    data = desk.data([{"text": row["text"]} for row in GOOD])
    desk.refused(
        desk.train(data=data), 2, "SpecError", "mine: expected labelled training rows, found none"
    )
    desk.refused(
        desk.dump(data=data, teacher="headless"), 2, "SpecError", "expected labelled training rows"
    )
    desk.refused(desk.train("--label", "gold"), 2, "SpecError", "no column 'gold' for --label")


def test_a_label_out_of_range(desk: Desk) -> None:
    data = desk.data([{"text": "a", "label": 0}, {"text": "b", "label": 5}])
    for arguments in both(desk, "--labels", "neg,pos", data=data):
        desk.refused(
            arguments,
            2,
            "SpecError",
            "train.jsonl",
            "expected a label from 0 to 1",
            "found 5",
            "--labels",
        )
    data = desk.data([*GOOD, {"text": "b", "label": "other"}], name="named")
    for arguments in both(desk, "--labels", "neg,pos", data=data):
        desk.refused(
            arguments, 2, "SpecError", "train.jsonl", "expected a label among neg, pos", "'other'"
        )


def test_labels_of_mixed_type(desk: Desk) -> None:
    for arguments in both(desk, data=desk.data([*GOOD, {"text": "b", "label": 1}])):
        desk.refused(
            arguments, 2, "SpecError", "train.jsonl", "column 'label'", "all strings, all integers"
        )


def test_one_class_only(desk: Desk) -> None:
    data = desk.data([{"text": "a", "label": 1}, {"text": "b", "label": 1}])
    desk.refused(desk.train(data=data), 2, "SpecError", "at least two classes")


@pytest.mark.parametrize("value", [3, None, 2.5, ["a"]])
def test_a_text_that_is_a_number_or_null(desk: Desk, value: object) -> None:
    for arguments in both(desk, data=desk.data([*GOOD, {"text": value, "label": "pos"}])):
        desk.refused(
            arguments,
            2,
            "SpecError",
            "train.jsonl",
            "expected a string",
            "null" if value is None else "",
        )


def test_a_teacher_of_another_number_of_classes(desk: Desk) -> None:
    data = desk.data([*GOOD, {"text": "of it", "label": "third"}])
    desk.refused(
        desk.dump(data=data),
        4,
        "FingerprintMismatch",
        "answers 2 classes",
        "neg, pos, third",
        "--labels",
    )


def test_a_teacher_of_other_label_names(desk: Desk) -> None:
    data = desk.data([{**row, "label": f"very {row['label']}"} for row in GOOD])
    advice = "--label-map 'very neg=neg,very pos=pos'"
    desk.refused(
        desk.dump(data=data), 4, "FingerprintMismatch", "neg, pos", "very neg, very pos", advice
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_teacher_that_answers_no_numbers(desk: Desk, value: float) -> None:
    weights = load_file(desk.at("teacher/model.safetensors"))
    weights["classifier.bias"] = torch.full_like(weights["classifier.bias"], value)
    save_file(weights, desk.at("teacher/model.safetensors"), {"format": "pt"})
    desk.refused(
        desk.dump(),
        2,
        "SpecError",
        "NaN or infinity in 60 rows (row 0, 1, 2, 3, 4, …)",
        "--dtype float32",
    )


def test_no_teacher(desk: Desk) -> None:
    desk.refused(
        desk.dump(teacher="nobody"), 2, "SpecError", "nobody", "no such folder", "--teacher"
    )
    desk.refused(
        desk.dump(teacher="singles"), 2, "SpecError", "singles", "no teacher can be loaded"
    )


def test_no_student(desk: Desk) -> None:
    for student, said in (
        (desk.at("nobody"), "no such folder"),
        ("2x193", "LAYERSxWIDTH"),
        (desk.at("cache"), ""),
    ):
        desk.refused(desk.train("--student", student), 2, "SpecError", said)


def changed(desk: Desk, change: Callable[[Rows], Rows]) -> None:
    file = desk.folder / "singles" / "train.jsonl"
    desk.write(file, change([json.loads(line) for line in file.read_text().splitlines()]))


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        *(("kd", "--alpha", value) for value in ("1.5", "-0.1", "nan")),
        *(("kd", "--temperature", value) for value in ("0", "-1", "nan", "inf")),
        *(("tf-reg", "--a", value) for value in ("0", "1", "2")),
        *((method, "--temperature", "2") for method in ("base", "ls", "tf-reg")),
        *((method, "--a", "0.9") for method in ("base", "ls", "kd", "self-kd")),
        ("base", "--alpha", "0.5"),
        ("base", "--seed", "-1"),
        ("base", "--learning-rate", "nan"),
        ("base", "--epochs", "nan"),
        ("base", "--epochs", "inf"),
        ("base", "--weight-decay", "nan"),
        ("base", "--warmup", "nan"),
        ("base", "--report-to", "paper"),
    ],
)
def test_a_number_out_of_range_or_without_a_use(
    desk: Desk, method: str, option: str, value: str
) -> None:
    desk.refused(desk.train(option, value, method=method), 2, "SpecError", option)


@pytest.mark.parametrize("method", ["base", "ls", "tf-reg"])
def test_a_squared_temperature_without_a_temperature(desk: Desk, method: str) -> None:
    desk.refused(
        desk.train("--no-tau-squared", method=method), 2, "SpecError", "--tau-squared", method
    )


def test_best_without_a_dev_split(desk: Desk) -> None:
    arguments = desk.train("--select", "best", data=desk.data(GOOD))
    desk.refused(
        arguments, 2, "SpecError", "--select best needs a labelled dev split", "--select last"
    )


def test_pretrained_weights_of_a_shape(desk: Desk) -> None:
    desk.refused(desk.train("--init", "pretrained"), 2, "SpecError", "1x32", "--init random")


def test_a_batch_that_cannot_be_cut(desk: Desk) -> None:
    desk.refused(
        desk.train("--batch-size", "10", "--accumulate", "4"),
        2,
        "SpecError",
        "--accumulate, found 10 and 4",
    )


def test_f1_of_three_classes(desk: Desk) -> None:
    data = desk.data([*GOOD, {"text": "of it", "label": "third"}])
    desk.refused(desk.train("--metric", "f1", data=data), 2, "SpecError", "macro_f1")


def test_a_device_that_is_not_there(desk: Desk) -> None:
    desk.refused(desk.dump("--device", "banana"), 2, "SpecError", "--device", "banana", "cpu")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--method", "nonsense"),
        ("--epochs", "0"),
        ("--warmup", "1"),
        ("--rows", "1"),
        ("--select", "middle"),
    ],
)
def test_wrong_usage_is_two_and_names_the_option(desk: Desk, option: str, value: str) -> None:
    before = desk.tree()
    found = CliRunner().invoke(cli, desk.train(option, value))
    assert (found.exit_code, found.stdout) == (2, "")
    assert option in found.stderr.splitlines()[-1]
    assert desk.tree() == before


@pytest.mark.slow
def test_in_a_process_of_its_own(desk: Desk) -> None:
    """Nothing that libraries print by themselves stands beside the line; no traceback."""
    changed(desk, lambda rows: [*rows[:7], {**rows[7], "text": "unheard of"}, *rows[8:]])
    arguments = desk.train("--cache", desk.at("cache"), method="kd")
    command = [sys.executable, "-c", "from logitcache_cli.main import cli; cli()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    the_error(done.stderr, "AlignmentError")
    shared = (
        "singles: 1 of 24 dev texts also stand in train (first: dev row 5): these rows do not measure "
        "generalisation"
    )
    assert [line for line in done.stderr.splitlines()[:-1] if "logitcache check" not in line] == [
        shared
    ]


def test_a_place_that_only_the_system_knows_to_be_bad_is_one_line_too(
    singles_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_text("mine")
    for out in (tmp_path / "file.txt" / "x", Path("/proc/no-such-place")):
        places = [
            "--data",
            str(singles_data),
            "--workspace",
            str(tmp_path / "work"),
            "--out",
            str(out),
        ]
        result = CliRunner().invoke(cli, ["train", "--method", "base", *SMALL, *places])
        assert result.exit_code == 2, result.output
        assert the_error(result.stderr, "SpecError").endswith("Choose another place.")
    assert (tmp_path / "file.txt").read_text() == "mine"
