"""Advice about results, targets and reports is followed to the letter."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from logitcache.report.documents import _FORECAST, load
from logitcache.report.drawing import save
from logitcache.study.results import TRAIN_AGAIN
from logitcache.study.tables import compare
from logitcache.targets.table import parse
from tests.advice import Attempts, Cases, arrives, not_followed
from tests.fake_results import answers, gold, write_result
from tests.report.fake_benches import dump

CASES = Cases()
follow = CASES.follow
OTHER_DATA = {"source": "b", "digest": "e" * 32, "train_rows": 9, "unlabelled_rows": 0}


def results(*folders: Path, **how: str) -> Callable[[], object]:
    return partial(compare, folders, resamples=100, **how)


def pair(folder: Path, **changes: object) -> tuple[Path, Path]:
    """Two results, of which the second is made otherwise."""
    return write_result(folder / "base"), write_result(folder / "ls", "ls", **changes)


@follow("Make one with `logitcache train`.")
def a_folder_without_results(folder: Path) -> Attempts:
    base = write_result(folder / "runs" / "base")
    (folder / "ls").mkdir()
    yield results(base, folder / "ls")
    shutil.rmtree(folder / "ls")
    yield results(base, write_result(folder / "ls", "ls"))


@follow(TRAIN_AGAIN)
def predictions_that_are_broken(folder: Path) -> Attempts:
    base, ls = pair(folder)
    (ls / "predictions.parquet").write_text("")
    yield results(base, ls)
    shutil.rmtree(ls)  # as --overwrite does
    yield results(base, write_result(ls, "ls"))


@follow(TRAIN_AGAIN)
def predictions_of_another_student(folder: Path) -> Attempts:
    base, ls = pair(folder, accuracy=0.9)
    shutil.copy(base / "predictions.parquet", ls)
    yield results(base, ls)
    shutil.rmtree(ls)
    yield results(base, write_result(ls, "ls"))


@follow("Leave one of them out.")
def results_of_other_data(folder: Path) -> Attempts:
    base, ls = pair(folder, data=OTHER_DATA)
    third = write_result(folder / "kd", "kd")
    yield results(base, ls, third)
    yield results(base, third)


@follow("Leave one of them out, or train both with the same --data.")
def results_of_other_rows(folder: Path) -> Attempts:
    labels = gold(100)
    base, ls = pair(folder, splits={"test": (labels, answers(labels, 0.6, 0))})
    yield results(base, ls)
    shutil.rmtree(ls)
    yield results(base, write_result(ls, "ls"))


@follow("Leave one of them out.")
def results_without_a_common_split(folder: Path) -> Attempts:
    labels = gold()
    base, ls = pair(folder, splits={"dev": (labels, answers(labels, 0.6, 0))})
    third = write_result(folder / "kd", "kd")
    yield results(base, ls, third)
    yield results(base, third)


@follow("Choose one of these.")
def a_split_that_is_not_there(folder: Path) -> Attempts:
    runs = pair(folder)
    yield results(*runs, split="dev")
    yield results(*runs, split="test")


@follow("Choose with --metric.")
def results_of_two_metrics(folder: Path) -> Attempts:
    runs = pair(folder, metric="macro_f1")
    yield results(*runs)
    yield results(*runs, metric="accuracy")


@follow("Leave one out.")
def one_result_twice(folder: Path) -> Attempts:
    base, ls = pair(folder)
    shutil.copytree(base, folder / "copy")
    yield results(base, ls, folder / "copy")
    yield results(base, ls)


# Codecs


def codec(text: str, width: int = 50) -> Callable[[], object]:
    def made() -> object:
        spec = parse(text)
        spec.check_answers()
        return spec.codec(width)

    return made


@follow("Did you mean topk")
def a_codec_of_another_name(folder: Path) -> Attempts:
    yield codec("topq:k=4")
    yield codec("topk:k=4")


@follow("Give --codec topk:k=NUMBER.")
def a_codec_without_its_number(folder: Path) -> Attempts:
    yield codec("topk")
    yield codec("topk:k=4")


@follow("Give --codec float16 alone.")
def a_codec_with_a_setting_that_it_has_not(folder: Path) -> Attempts:
    yield codec("float16:k=4")
    yield codec("float16")


@follow("Choose a smaller one; of a few classes keep all logits (--codec float16).")
def more_words_than_there_are(folder: Path) -> Attempts:
    yield codec("topk:k=100")
    yield codec("topk:k=4")


@follow("Give it once.")
def a_setting_given_twice(folder: Path) -> Attempts:
    yield codec("topk:k=4,k=5")
    yield codec("topk:k=5")


@follow("Choose another, such as --codec float16.")
def a_codec_of_a_model(folder: Path) -> Attempts:
    yield codec("replay")
    yield codec("float16")


@follow("Choose another tail.")
def a_tail_of_words(folder: Path) -> Attempts:
    yield codec("topk:k=4,tail=unigram")
    yield codec("topk:k=4,tail=bucket")


# Reports


def bench(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps({**dump(), **changes}))
    return path


@follow("Name one.")
def no_bench(folder: Path) -> Attempts:
    yield lambda: load([])
    yield lambda: load([bench(folder / "a.json")])


@follow("Give what `logitcache bench plan --out FILE` writes.")
def a_forecast(folder: Path) -> Attempts:
    path = folder / "plan.json"
    path.write_text(json.dumps({name: {} for name in _FORECAST}))
    yield lambda: load([path])
    yield lambda: load([bench(folder / "a.json")])


@follow("Run the bench again.")
def a_changed_bench(folder: Path) -> Attempts:
    yield lambda: load([bench(folder / "a.json", cases=5)])[0].document.rows("cases")
    yield lambda: load([bench(folder / "a.json")])[0].document.rows("cases")


@follow("Run the bench again with this version.")
def a_bench_of_another_version(folder: Path) -> Attempts:
    yield lambda: load([bench(folder / "a.json", schema="logitcache-bench/9")])
    yield lambda: load([bench(folder / "a.json")])


@follow("or say --mixed.")
def benches_of_two_machines(folder: Path) -> Attempts:
    other = {**dump()["machine"], "processor": "another"}
    paths = [bench(folder / "a.json"), bench(folder / "b.json", machine=other)]
    yield lambda: load(paths)
    yield lambda: load(paths, mixed=True)


@follow("Leave one of them out.")
def one_bench_twice(folder: Path) -> Attempts:
    paths = [bench(folder / "a.json"), bench(folder / "b.json")]
    yield lambda: load(paths)
    yield lambda: load(paths[:1])


class Line:
    """A picture."""

    def draw(self, figure: Any, look: Any) -> None:
        figure.add_subplot().plot([0, 1])


@follow("Name it so.")
def a_picture_of_another_kind(folder: Path) -> Attempts:
    yield lambda: save(Line(), folder / "a.jpeg")
    yield lambda: save(Line(), folder / "a.svg")


@follow("Make it first.")
def a_picture_in_no_folder(folder: Path) -> Attempts:
    yield lambda: save(Line(), folder / "new" / "a.svg")
    (folder / "new").mkdir()
    yield lambda: save(Line(), folder / "new" / "a.svg")


ELSEWHERE = {
    "stored targets have one temperature.": "tests/language/test_codecs.py",
    "targets/nothing.py:unpack": "tests/language/test_signals.py",
    "targets/table.py:codec_of_logits": "tests/language/test_signals.py",
    "targets/sparse.py:check_sample": "tests/language/test_bad_input.py",
    "report/html.py:check_out": "tests/report/test_html.py",
    "report/overhead.py:ratio_picture": "tests/report/test_html.py",
}


@pytest.mark.parametrize(("advice", "case"), CASES.parameters())
def test_advice_about_results_is_followed(
    tmp_path: Path, advice: str, case: Callable[[Path], Attempts]
) -> None:
    arrives(case(tmp_path), advice)


def test_no_advice_about_results_is_left_out() -> None:
    rooms = ["study/results.py", "study/rows.py", "study/tables.py", "targets", "report"]
    assert not_followed(rooms, CASES.advice, ELSEWHERE) == []
