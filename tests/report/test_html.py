"""The page: whole without a network, honest about what was not measured, and text where a document
has text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logitcache.errors import SpecError
from logitcache.report import html, overhead, words
from logitcache.report.charts import Curves, Dots, RatioBars, Stacks
from logitcache.report.documents import Bench, Part, load
from logitcache.report.dump import dump_section
from logitcache.report.plan import plan_section
from logitcache.report.read import read_section
from logitcache_cli.main import cli
from logitcache_cli.report import command
from tests.report import fake_benches as fakes
from tests.report.fake_benches import Told
from tests.report.seen import Seen
from tests.shortly import fast

HOSTILE = "<script>alert('$x_$')</script>&\"'\u202e\ud800\x00"
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All four benches on one page."""
    folder = tmp_path_factory.mktemp("benches")
    paths = [folder / f"{name}.json" for name in reversed(fakes.ALL)]
    for path in paths:
        path.write_text(json.dumps(fakes.ALL[path.stem]()))
    html.report(paths, folder / "report.html")
    return (folder / "report.html").read_text("utf-8")


def shown(*documents: Told) -> str:
    """A page of these documents."""
    return html.page(
        [Bench(Part(told, Path(f"{place}.json"))) for place, told in enumerate(documents)]
    )


def hostile(value: Any, key: str = "") -> Any:
    """The same document with every text another, and every name that a bench may choose."""
    if isinstance(value, dict):
        before = (
            HOSTILE
            if key in ("methods", "phases", "pieces", "where", "share", "bytes", "setting")
            else ""
        )
        return {before + name: hostile(inside, name) for name, inside in value.items()}
    if isinstance(value, list):
        return [hostile(inside) for inside in value]
    return HOSTILE if isinstance(value, str) else value


def test_nothing_is_fetched_and_nothing_runs(page: str) -> None:
    seen = Seen(page)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    places = [value for name in ("href", "src", "xlink:href") for value in seen.all(name)]
    assert places
    assert all(place.startswith("#") for place in places)
    assert re.findall(r"url\((?!#)|@import|https?://", page) == []
    assert "default-src 'none'; style-src 'unsafe-inline'" in seen.all("content")


def test_every_reference_leads_to_the_one_thing_of_that_name(page: str) -> None:
    seen = Seen(page)
    ids = seen.all("id")
    assert len(ids) == len(set(ids))
    used = {value[1:] for value in seen.all("href")} | set(re.findall(r"url\(#([^)]*)\)", page))
    assert used <= set(ids)


def test_sections_come_in_the_order_of_a_study_each_picture_with_words_and_figures(
    page: str,
) -> None:
    seen = Seen(page)
    titles = [text for tag, text in seen.texts if tag == "h2"]
    assert titles == [
        "What a training step costs", "What a dump costs", "What reading costs", "What the plan foresaw",
    ]  # fmt: skip
    said = [text for tag, text in seen.texts if tag == "figcaption"]
    assert len(said) == seen.tags.count("figure") == seen.tags.count("table")
    assert all(re.search(r"\d", text) and text.endswith(".") for text in said)
    assert set(seen.all("aria-label")) - {"Sections"} <= set(said)
    assert seen.tags.count("svg") == 2 * 8  # wide and narrow
    assert seen.tags.count("th") > 50


def test_it_is_light_and_dark_wide_and_narrow_and_prints(page: str) -> None:
    assert all(
        rule in page for rule in ("prefers-color-scheme:dark", "max-width:560px", "@media print")
    )
    drawn = "".join(re.findall("<svg.*?</svg>", page, re.S))
    assert not re.findall("#[0-9a-f]{6}(?![0-9a-f-])", drawn), (
        "a colour that does not follow the page's"
    )
    assert all(f"{name}:" in page for name in set(re.findall(r"var\((--\w+)\)", page)))


def test_the_headline_and_the_captions_say_the_documents_figures(page: str) -> None:
    page = page.replace("\N{NO-BREAK SPACE}", " ")
    for said in (
        "Cached KD costs 1.01 [0.94, 1.17] of a label-smoothing step and KD with the teacher in the loop 2.37 [2.24",
        "label smoothing against itself measures 1.00 [0.96, 1.04]",
        "takes 118 µs, 0.17 % of a label-smoothing step.",
        "The cache has paid for itself after 1.53 epochs × students",
        "take 2.51 h from a cache and 3.63 h with the teacher in the loop",
        "batches of 8,192 tokens are fastest, with 613 rows/s.",
        "The dump reaches 61 % of the 96.0 GFLOP/s",
        "A dump of 1,000,000 rows holds 419 MiB at most, 17.0 MiB more than one of 10,000.",
        "32 random rows of width 64 take 27.0 µs from logitcache, 0.71 times that from numpy memmap, 21 times",
        "A cache of 10,000,000 rows is open after 41.0 ms.",
        "1.05 [0.94, 1.08] for the time of a dump",
    ):
        assert said in page, said


def test_what_a_document_says_stays_text(write: Write, tmp_path: Path) -> None:
    paths = []
    for name, made in fakes.ALL.items():
        told = made()
        kept = {key: told[key] for key in ("schema", "bench", "complete", "seed")}
        paths.append(write({**hostile(told), **kept}, name))
    html.report(paths, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    seen = Seen(page)
    assert "script" not in seen.tags
    assert "alert" in page
    assert not [c for c in ("\x00", "\u202e") if c in page]
    assert not [
        value for name, value in seen.attributes if "alert" in value and name not in ("aria-label",)
    ]


def test_a_method_that_failed_is_named_and_not_drawn(undrawn: None) -> None:
    told = fakes.overhead()
    told["methods"]["kd-online"] = fakes.failed()
    told["methods"]["kd"] |= {"error": "interrupted"}
    section = overhead.overhead_section(Part(told, Path("a.json")))
    bars, stacks = section.blocks[0].picture, section.blocks[1].picture
    assert isinstance(bars, RatioBars)
    assert isinstance(stacks, Stacks)
    assert {"kd", "kd-online"}.isdisjoint({bar.key for bar in bars.bars})
    assert {"Cached KD", "Online KD"}.isdisjoint({label for label, _ in stacks.rows})
    page = shown(told)
    assert "Online KD was not measured: needs 91.2 GiB, the device has 79.2 GiB" in page
    assert "Online KD (failed)" in page


def test_a_control_that_is_not_1_is_said_to_be_unsteady(undrawn: None) -> None:
    told = fakes.overhead()
    assert "within which this machine shows no difference" in shown(told)
    told["methods"]["ls-control"]["ratio_to_ls"] = fakes.ratio(0.8, 0.7, 0.9)
    assert "0.80 [0.70, 0.90], and not 1: the machine was too unsteady" in shown(told)


def test_a_case_that_failed_is_named_and_not_drawn(undrawn: None) -> None:
    told = fakes.dump()
    told["cases"][4] = {
        "name": "pipeline",
        "seconds": None,
        "ratio_to_dump": None,
        "error": "out of memory",
    }
    picture = dump_section(Part(told, Path("a.json"))).blocks[0].picture
    assert isinstance(picture, RatioBars)
    assert [bar.key for bar in picture.bars] == [
        "dump",
        "bare forward",
        "file order",
        "padded to maximum",
    ]
    assert "pipeline was not measured: out of memory" in shown(told)


def test_beside_a_reader_stands_the_ratio_of_its_table(undrawn: None) -> None:
    told = fakes.read()
    for part in told["cases"]:
        if (part["name"], part["order"]) == ("datasets", "random"):
            # of the rounds, and not of the medians
            part["ratio_to_logitcache"] = fakes.ratio(14.3, 12.0, 30.1)
    block = read_section(Part(told, Path("a.json"))).blocks[0]
    assert isinstance(block.picture, Dots)
    assert block.table is not None
    beside = {
        title: {line.key: line.text for line in lines} for title, lines in block.picture.panels
    }
    assert list(beside) == [
        "width 2", "width 64", "width 1,000", "width 64, DataLoader, 0 workers", "width 64, DataLoader, 2 workers",
    ]  # fmt: skip
    assert all(
        texts["datasets"] == "14.3 ×" and not texts["logitcache"] for texts in beside.values()
    )
    assert any(row[0] == "datasets" and row[4] == "14.3 [12.0, 30.1]" for row in block.table.rows)


def test_a_ratio_of_rows_in_order_does_not_stand_where_that_of_random_ones_would(
    undrawn: None,
) -> None:
    told = fakes.read()
    told["cases"] = [part for part in told["cases"] if part["order"] == "sequential"]
    picture = read_section(Part(told, Path("a.json"))).blocks[0].picture
    assert isinstance(picture, Dots)
    assert not any(line.text for _, lines in picture.panels for line in lines)


def test_a_round_of_steps_is_not_called_one_step(undrawn: None) -> None:
    told = fakes.plan()
    told["setting"]["steps"] = 64
    block = plan_section(Part(told, Path("a.json"))).blocks[0]
    assert block.table is not None
    assert {row[0] for row in block.table.rows} == {"time of a dump", "time of 64 training steps"}


def test_each_section_says_how_sure_its_intervals_are(undrawn: None) -> None:
    told = fakes.dump()
    told["cases"][1]["ratio_to_dump"] |= {"confidence": 0.75, "rounds": 3}
    texts = [text for _, text in Seen(shown(fakes.overhead(), told, fakes.plan())).texts]
    sure = "Intervals hold the true median with 93 % confidence at least (5 rounds)."
    less = "Intervals hold the true median with 75 % confidence at least (3 to 5 rounds)."
    # one under the headline
    assert [text for text in texts if text.startswith("Intervals")] == [sure, sure, less, sure]


@pytest.mark.parametrize("bench", list(fakes.ALL))
def test_an_interrupted_bench_says_so_whatever_it_has(bench: str) -> None:
    whole = fakes.ALL[bench]() | {"complete": False}
    results = [key for key in whole if key not in fakes.document(bench, {}, {})]
    for kept in ([], results[:1]):
        page = shown(
            {key: value for key, value in whole.items() if key not in results or key in kept}
        )
        assert "This bench was interrupted" in page
        assert ("Nothing was measured." in page) is (not kept)


def test_a_cache_that_never_pays_has_no_mark(undrawn: None) -> None:
    told = fakes.overhead()
    told["costs"] = fakes.costs(online=0.9)
    section = overhead.overhead_section(Part(told, Path("a.json")))
    (curves,) = [block for block in section.blocks if isinstance(block.picture, Curves)]
    assert isinstance(curves.picture, Curves)
    assert curves.picture.mark is None
    assert curves.caption.startswith("A cache never pays for itself here")


@pytest.mark.parametrize("even", fast([0.4, 20.0, 90.0, 600.0], 0.4, 600.0))
def test_a_break_even_is_drawn_wherever_it_lies(even: float) -> None:
    costs = fakes.costs() | {"break_even_epochs": even}
    page = shown(fakes.document("overhead", {}, {"costs": costs}))
    assert page.count(f"paid for itself after {words.digits(even)}") >= 2


def test_numbers_that_are_none_are_left_out(write: Write, undrawn: None) -> None:
    told = fakes.overhead()
    for value in (float("nan"), float("inf"), 10**400):
        told["methods"]["base"] |= {"rows_per_second": value, "step_seconds": {"median": value}}
        told["methods"]["ls"]["ratio_to_ls"] = {"median": value, "low": 0, "high": -1}
        assert not re.findall(r"\b(?:nan|inf)\b", html.page(load([write(told)])))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("methods", [1], "an object"),
        ("methods", {"ls": 3}, "an object"),
        ("machine", "x", "an object"),
        ("costs", {"hours": {"epochs": 3}}, "a list"),
        ("added_work", {"seconds": "much"}, "a number"),
    ],
)
def test_another_type_is_refused_by_file_and_key(
    write: Write, key: str, value: object, expected: str
) -> None:
    path = write(fakes.overhead() | {key: value})
    with pytest.raises(
        SpecError, match=rf"bench\.json: {key}.*: expected {expected}, found .*Run the bench again"
    ):
        html.page(load([path]))


def test_the_command_writes_a_page_and_says_where(
    write: Write, tmp_path: Path, undrawn: None
) -> None:
    out = tmp_path / "page.html"
    out.write_text("older")
    result = CliRunner().invoke(
        command, [str(write(fakes.plan())), "--out", str(out)], catch_exceptions=False
    )
    assert result.stdout.split() == [str(out)]
    assert out.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["page.htm", "page", "nowhere/page.html"])
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(SpecError, match=r"expected a (page ending in \.html|folder)"):
        html.report([tmp_path / "none.json"], tmp_path / name)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "logitcache-bench/0"}', None])
def test_what_no_bench_wrote_ends_with_2(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)
    result = CliRunner().invoke(cli, ["report", str(path), "--out", str(tmp_path / "page.html")])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_ratio_picture_is_the_same_each_time(tmp_path: Path, suffix: str) -> None:
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    overhead.ratio_picture(fakes.overhead(), one)
    overhead.ratio_picture(fakes.overhead(), other)
    assert one.read_bytes() == other.read_bytes()
    if suffix == ".png":
        assert int.from_bytes(one.read_bytes()[16:20]) == 1600


def test_a_ratio_picture_needs_ratios_and_a_place(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="with ratios, found none"):
        overhead.ratio_picture(fakes.dump(), tmp_path / "a.png")
    with pytest.raises(SpecError, match=r"ending in \.png or \.svg"):
        overhead.ratio_picture(fakes.overhead(), tmp_path / "a.jpg")
