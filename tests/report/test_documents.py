"""Which documents may stand on one page, and what the page says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from logitcache.errors import SpecError
from logitcache.forecast.forecast import Dumped, Forecast, Totals
from logitcache.report import html, words
from logitcache.report.documents import Bench, Part, differences, load
from logitcache_cli.report import command
from tests.report import fake_benches as fakes
from tests.report.fake_benches import Told
from tests.report.seen import Seen

Write = Callable[..., Path]


def test_several_settings_of_one_bench_have_sections_that_say_which(
    write: Write, undrawn: None
) -> None:
    one, other = fakes.read(), fakes.read()
    other["setting"]["rows"] = 1000
    page = html.page(load([write(one, "one"), write(other, "other")]))
    titles = [text for tag, text in Seen(page).texts if tag == "h2"]
    assert titles == ["What reading costs: rows 200,000", "What reading costs: rows 1,000"]


def test_the_same_setting_twice_is_refused(write: Write) -> None:
    with pytest.raises(
        SpecError,
        match=r"one bench of each setting, found bench read .*one\.json and in .*other\.json",
    ):
        load(
            [write(fakes.read(), "one"), write(fakes.dump(), "dump"), write(fakes.read(), "other")],
            mixed=True,
        )


def test_two_machines_are_refused_unless_mixed(write: Write, undrawn: None) -> None:
    gpu = fakes.dump() | {"machine": fakes.MACHINE | {"device": fakes.GPU}}
    paths = [write(fakes.overhead(), "one"), write(gpu, "other")]
    with pytest.raises(
        SpecError,
        match=r"of one machine, found AMD.* in .*one\.json and AMD.* with NVIDIA H100.*other",
    ):
        load(paths)
    page = html.page(load(paths, mixed=True))
    assert page.count(f"Measured on {words.plain('AMD EPYC 9B14')}") == 2
    assert "each section names its machine" in page


def shape(name: str, parameters: float, embeddings: float = 1e6) -> Told:
    return {"name": name, "parameters": parameters, "embedding_parameters": embeddings}


def of(bench: str, teacher: object, student: object = None, data: str = "sst5") -> Bench:
    """A bench of these models and data."""
    setting = {"teacher": teacher, "student": student, "data": data}
    told = fakes.document(
        bench, {key: value for key, value in setting.items() if value is not None}, {}
    )
    return Bench(Part(told, Path("folder") / f"{bench}.json"))


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (of("dump", shape("large", 300e6)), of("plan", shape("large", 300e6)), ""),
        (of("dump", shape("org/large", 300e6)), of("plan", shape("large", 300e6)), ""),
        (
            of("dump", shape("here", 300e6)),
            of("plan", shape("large", 300e6)),
            "",
        ),  # a copy by another name
        (
            of("dump", shape("4x256", 5e6)),
            of("plan", shape("4x256", 5.1e6, 1.1e6)),
            "",
        ),  # a vocabulary that is learnt
        (of("dump", shape("bert", 300e6)), of("plan", shape("roberta", 330e6, 31e6)), "models"),
        (of("dump", shape("model", 300e6)), of("plan", shape("model", 22e6)), "models"),
        (of("dump", "here"), of("plan", "there"), "models"),
        (of("dump", "here"), of("plan", "here", data="docstrings"), "data"),
        (of("dump", "here"), of("plan", "there", data="docstrings"), "models and data"),
        (of("overhead", "here", "small"), of("plan", "here", "tiny"), "models"),
        (of("dump", "here"), of("plan", "here", "tiny"), ""),  # a dump has no student
        (of("dump", "here"), Bench(Part(fakes.read(), Path("read.json"))), ""),
        (of("dump", "here"), Bench(Part(fakes.document("plan", {}, {}), Path("plan.json"))), ""),
    ],
)
def test_files_of_different_models_or_data_are_told_apart(
    one: Bench, other: Bench, what: str
) -> None:
    told = f"These files are of different {what}: {one.kind}.json: {one.subject}; {other.kind}.json: {other.subject}."
    assert differences([one, other]) == (told if what else "")
    assert bool(differences([other, one])) is bool(what)


def test_a_page_of_different_models_says_so_at_its_top_and_on_stderr(
    write: Write, tmp_path: Path, undrawn: None
) -> None:
    student, small, large = (
        shape("2x128", 1.46e6),
        shape("4x256", 5.3e6, 2e6),
        shape("model", 22.7e6, 12e6),
    )
    settings = {"overhead": {"student": student, "teacher": small, "data": "docstrings"}}
    settings |= {"dump": {"teacher": large, "data": "sst5"}, "read": {"rows": 32}}
    paths = [
        str(write(fakes.ALL[name]() | {"setting": setting}, name))
        for name, setting in settings.items()
    ]
    out = tmp_path / "page.html"
    done = CliRunner().invoke(command, [*paths, "--out", str(out)], catch_exceptions=False)
    said = "These files are of different models and data: overhead.json: 4x256 (5.3 M) into 2x128 (1.5 M), docstrings; "
    said += "dump.json: model (22.7 M), sst5."
    assert done.stderr.replace("\N{NO-BREAK SPACE}", " ").splitlines() == [said]
    texts = [
        text.replace("\N{NO-BREAK SPACE}", " ") for _, text in Seen(out.read_text("utf-8")).texts
    ]
    assert texts.index(said) < texts.index("What a dump costs")
    assert (
        not CliRunner()
        .invoke(command, [*paths[1:], "--out", str(out)], catch_exceptions=False)
        .stderr
    )
    assert "These files" not in out.read_text("utf-8")


def test_a_forecast_is_no_bench_and_told_as_what_it_is(write: Write) -> None:
    totals = Totals(5.0, 1, 60.0, 0.1, 0.2, None, None)
    forecast = Forecast(
        {"data": "sst5"},
        10,
        {"float16": 100},
        {"float16": 10.0},
        Dumped(1.0, 10.0, 9, None),
        {},
        totals,
        1.0,
        "flops",
        (),
    )
    with pytest.raises(
        SpecError,
        match=r"bench\.json: expected .*, found the output of `logitcache plan --json`: .*Give ",
    ):
        load([write(forecast.to_dict())])
    with pytest.raises(
        SpecError, match="expected schema 'logitcache-bench/1', found 'logitcache-bench/0'"
    ):
        load([write(forecast.to_dict() | {"schema": "logitcache-bench/0"})])


def test_the_reader_stands_beside_any_device_of_its_machine(write: Write) -> None:
    gpu = fakes.overhead() | {"machine": fakes.MACHINE | {"device": fakes.GPU}}
    assert len(load([write(gpu, "one"), write(fakes.read(), "other")])) == 2
    slower = fakes.read() | {"machine": fakes.MACHINE | {"threads": 1}}
    with pytest.raises(SpecError, match="one machine"):
        load([write(gpu, "one"), write(slower, "other")])
