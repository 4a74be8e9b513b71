"""The picture: drawn for every shape of comparison, the same bytes each time, refused before
anything is written.
"""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from logitcache.errors import SpecError
from logitcache.report.plots import dots
from logitcache.study.tables import Comparison, compare

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_results.py"))
write_result = fakes["write_result"]


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    for method in ("base", "ls", "kd", "mixup"):
        for seed in range(3):
            write_result(tmp_path / "runs" / f"{method}-{seed}", method, seed)
    return compare([tmp_path / "runs"], resamples=200)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_comparison_gives_the_same_bytes(
    comparison: Comparison, tmp_path: Path, suffix: str
) -> None:
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    dots(comparison, one)
    dots(comparison, other)
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_size > 5000


def test_a_png_is_twice_eight_hundred_wide(comparison: Comparison, tmp_path: Path) -> None:
    dots(comparison, tmp_path / "picture.png")
    header = (tmp_path / "picture.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(header[16:20]) == 1600


def test_an_svg_says_metric_split_seeds_and_differences(
    comparison: Comparison, tmp_path: Path
) -> None:
    dots(comparison, tmp_path / "picture.svg")
    root = ET.parse(tmp_path / "picture.svg").getroot()
    # text is drawn as shapes; each is preceded by what it says
    comments = (tmp_path / "picture.svg").read_text()
    assert root.tag.endswith("svg")
    for text in (
        "accuracy on test (200 rows), 3 seeds",
        "minus base",
        "KD",
        "LS",
        "mixup",
        "dot: one seed",
    ):
        assert f"<!-- {text}" in comments
    assert comments.count("<!-- p = ") == 3


@pytest.mark.parametrize("methods", [["base"], ["kd", "ls"], ["base", "kd"]])
@pytest.mark.parametrize("metric", ["accuracy", "nll"])
def test_small_comparisons_are_drawn_too(tmp_path: Path, methods: list[str], metric: str) -> None:
    for method in methods:
        write_result(tmp_path / "runs" / method, method)
    dots(compare([tmp_path / "runs"], metric=metric, resamples=100), tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").exists()


def test_unlike_numbers_of_seeds_and_two_baselines_are_drawn(tmp_path: Path) -> None:
    for seed, rate in [(0, 1e-3), (1, 1e-3), (0, 1e-4)]:
        write_result(
            tmp_path / "runs" / f"base-{rate}-{seed}", "base", seed, config={"learning_rate": rate}
        )
    dots(compare([tmp_path / "runs"], resamples=100), tmp_path / "picture.svg")
    text = (tmp_path / "picture.svg").read_text()
    assert "1–2 seeds" in text
    assert "(learning_rate=0.001)" in text


def test_a_line_for_every_number_of_unlabelled_rows(tmp_path: Path) -> None:
    write_result(tmp_path / "runs" / "base", **fakes["with_unlabelled"]("base", 0))
    for count in (0, 7000):
        write_result(
            tmp_path / "runs" / f"kd-{count}", "kd", **fakes["with_unlabelled"]("kd", count)
        )
    dots(compare([tmp_path / "runs"], resamples=100), tmp_path / "picture.svg")
    text = (tmp_path / "picture.svg").read_text()
    assert all(f"(unlabelled_rows={count})" in text for count in (0, 7000))


@pytest.mark.parametrize("name", ["picture.jpg", "picture", "nowhere/picture.png"])
def test_a_place_that_cannot_be_drawn_to_is_refused(
    comparison: Comparison, tmp_path: Path, name: str
) -> None:
    with pytest.raises(SpecError, match=r"expected a (picture ending in \.png or \.svg|folder)"):
        dots(comparison, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
