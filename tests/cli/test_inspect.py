"""``logitcache inspect``: what a cache holds, and one row of it, without torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from logitcache.cache.cache import Cache
from logitcache.cache.inspect import _sketch, describe
from logitcache.errors import FormatError
from logitcache.identity import row_hashes
from logitcache_cli.inspect import render
from logitcache_cli.main import cli
from tests.commands import run_fresh
from tests.fake_caches import make, plan
from tests.shortly import fast
from tests.store import s3

KEYS = {
    *(
        "cache",
        "rows",
        "views",
        "positions",
        "records",
        "bytes",
        "shards",
        "shard_rows",
        "store",
        "columns",
        "codecs",
    ),
    *(
        "fingerprint",
        "teacher",
        "task",
        "preprocessor",
        "data",
        "preparation",
        "conditions",
        "skipped",
        "reused_rows",
        "quantiles",
    ),
}
ROW_KEYS = {
    *(
        "row_id",
        "row_hash",
        "label",
        "label_name",
        "skipped",
        "entropy",
        "top",
        "text",
        "text_pair",
        "text_note",
    ),
}


def inspect(*arguments: str | Path) -> str:
    found = CliRunner().invoke(cli, ["inspect", *map(str, arguments)])
    assert (found.exit_code, found.stderr) == (0, ""), (found.output, found.exception)
    return found.stdout


def row(*arguments: str | Path) -> dict[str, Any]:
    document = json.loads(inspect(*arguments, "--json"))
    assert set(document) == {*KEYS, "row"}
    assert set(document["row"]) == ROW_KEYS
    return dict(document["row"])


def test_one_json_document_and_nothing_else(finished: dict[str, Path]) -> None:
    document = json.loads(inspect(finished["cache"], "--json"))
    assert set(document) == KEYS
    assert (document["rows"], document["shards"], document["records"]) == (60, 3, {"row": 60})
    assert document["fingerprint"] == Cache.open(finished["cache"]).fingerprint
    assert document["codecs"] == {"logits": {"kind": "dense", "width": 2, "dtype": "float16"}}
    assert document["teacher"]["label_names"] == ["neg", "pos"]
    assert document["data"]["split"] == "train"
    (condition,) = document["conditions"]
    assert (condition["shards"], condition["device"]) == ([[0, 2]], "cpu")
    assert (document["skipped"], document["reused_rows"]) == ([], 0)


def test_quantiles_are_those_of_all_rows(finished: dict[str, Path]) -> None:
    document = json.loads(inspect(finished["cache"], "--json"))
    logits = np.concatenate(
        [block.answers.logits for block in Cache.open(finished["cache"])]
    ).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rows = {"entropy": -(p * np.log(p)).sum(1), "top_probability": p.max(1)}
    assert set(document["quantiles"]) == set(rows)
    for name, values in rows.items():
        found = document["quantiles"][name]
        for at, value, low, high in zip(
            *(found[key] for key in ("at", "value", "low", "high")), strict=True
        ):
            assert low <= value <= high
            near = 3 / 60  # one row of each shard
            assert (values < low - 1e-4).mean() <= at + near
            assert (values <= high + 1e-4).mean() >= at - near
        assert [found["value"][0], found["value"][-1]] == pytest.approx(
            [values.min(), values.max()], abs=1e-4
        )


def test_the_text_names_the_same(finished: dict[str, Path]) -> None:
    cache, shown = Cache.open(finished["cache"]), inspect(finished["cache"])
    for part in (
        "60 of singles/train",
        "neg, pos",
        "dense",
        "float16",
        "48 tokens",
        "3 shards of 25",
        "nats",
        "50% ",
    ):
        assert part in shown
    assert cache.fingerprint in shown


def test_a_row_with_its_text(finished: dict[str, Path], singles_data: Path) -> None:
    texts = [
        json.loads(line)["text"] for line in (singles_data / "train.jsonl").read_text().splitlines()
    ]
    cache = Cache.open(finished["cache"])
    logits = cache.take(np.array([17])).logits[0].astype(np.float64)
    found = row(finished["cache"], "--row", "17", "--data", singles_data)
    assert (found["row_id"], found["text"], found["text_pair"], found["text_note"]) == (
        17,
        texts[17],
        None,
        None,
    )
    assert found["row_hash"] == f"{int(row_hashes([texts[17]])[0]) % 2**64:016x}"
    assert (found["label"], found["label_name"]) == (1, "pos")
    p = np.exp(logits) / np.exp(logits).sum()
    assert [each["probability"] for each in found["top"]] == pytest.approx(sorted(p, reverse=True))
    assert found["top"][0] == {
        "class": int(p.argmax()), "label": cache.label_names[p.argmax()], "probability": pytest.approx(p.max())
    }  # fmt: skip
    assert found["entropy"] == pytest.approx(-(p * np.log(p)).sum())
    shown = inspect(finished["cache"], "--row", "17", "--data", singles_data)
    for part in (texts[17], found["row_hash"], "pos (1)", f"{p.max():.4f}"):
        assert part in shown


def test_a_source_of_the_manifests_name_in_the_working_folder(
    finished: dict[str, Path], singles_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "nothing of that name lies here" in row(finished["cache"], "--row", "3")["text_note"]
    shutil.copytree(singles_data, tmp_path / "singles")
    assert row(finished["cache"], "--row", "3")["text"] is not None
    train = tmp_path / "singles/train.jsonl"
    lines = train.read_text().splitlines()
    train.write_text(
        "\n".join(
            [*lines[:3], json.dumps({**json.loads(lines[3]), "text": "another"}), *lines[4:-1]]
        )
    )
    changed = row(finished["cache"], "--row", "3")
    assert changed["text"] is None
    assert "no row of train has this text (hash " in changed["text_note"]
    assert "not shown: " in inspect(finished["cache"], "--row", "3")
    shown = row(finished["cache"], "--row", "4")["text"]
    train.write_text("\n".join(lines[::-1]))  # in another order the same text is shown
    assert row(finished["cache"], "--row", "4")["text"] == shown == json.loads(lines[4])["text"]


@pytest.mark.parametrize("name", ["../outside", "/etc", ".", "..", "a/b", ""])
def test_a_manifest_names_no_place(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here/a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    data = {"source": name, "split": "train", "rows": 10, "digest": "ef56"}
    made = make(tmp_path / "cache", plan(data=data))
    assert "nothing of that name lies here" in row(made.folder, "--row", "3")["text_note"]


def test_what_is_refused(finished: dict[str, Path], tmp_path: Path) -> None:
    for arguments, said in (
        (["--row", "60"], "expected one of 0 to 59, found 60"),
        (["--row", "-1"], "expected one of 0 to 59, found -1"),
        (["--row", "1", "--data", "org/name"], "that lies here"),
        (["--row", "1", "--data", str(tmp_path)], "expected"),
        (["--data", "x"], "expected --row"),
    ):
        found = CliRunner().invoke(cli, ["inspect", str(finished["cache"]), *arguments])
        assert (found.exit_code, found.stdout) == (2, ""), found.output
        assert found.stderr.startswith("SpecError: ")
        assert said in found.stderr
        assert found.stderr.count("\n") == 1


def test_a_url_is_a_cache_too(
    finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGITCACHE_HOME", str(tmp_path / "home"))
    url = s3.upload(finished["cache"], "memory://inspected/cache")
    here, there = (json.loads(inspect(place, "--json")) for place in (finished["cache"], url))
    assert there == {**here, "cache": url}
    assert not (tmp_path / "home").exists()
    assert row(url, "--row", "30")["top"] == row(finished["cache"], "--row", "30")["top"]
    assert [path.name for path in (tmp_path / "home").rglob("*.arrow")] == ["00001.arrow"]
    verified = CliRunner().invoke(cli, ["verify", url])
    assert (verified.exit_code, verified.stderr) == (0, "")
    s3.change(f"{url}/shards/00001.arrow", b"")
    broken = CliRunner().invoke(cli, ["verify", url])
    assert broken.exit_code == 3
    assert broken.stdout.startswith(f"{url}/shards/00001.arrow: expected")
    s3.change(f"{url}/manifest.json", None)
    unfinished = CliRunner().invoke(cli, ["inspect", url])
    assert (unfinished.exit_code, unfinished.stderr.count("\n")) == (6, 1)


def test_the_text_tells_of_folds_and_another_order(finished: dict[str, Path]) -> None:
    plain = describe(Cache.open(finished["cache"]))
    assert not {"folds", "label order"} & {
        line.split("  ")[0] for line in render(plain).splitlines()
    }
    teacher = {
        **plain["teacher"],
        "folds": {"count": 3, "weights": ["a", "b", "c"]},
        "label_order": [1, 0],
    }
    said = render({**plain, "teacher": teacher})
    assert "folds        3 teachers: no row was answered by one that was trained on it" in said
    assert "label order  the teacher's own columns, as they stand here: 1, 0" in said


@pytest.mark.parametrize("with_text", fast([False, True], True))
def test_a_process_of_its_own_loads_no_torch(
    with_text: bool, finished: dict[str, Path], singles_data: Path
) -> None:
    script = (
        "import sys; from logitcache_cli.main import cli; cli(sys.argv[1:], standalone_mode=False); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'transformers', 'datasets', 'sklearn'}))"
    )
    text = ["--data", str(singles_data)] if with_text else []
    done = run_fresh(script, "inspect", str(finished["cache"]), "--row", "17", *text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""


@pytest.mark.parametrize("lie", [10**400, "a\nb", float(10**306), True])
def test_a_sketch_that_lies_is_refused_on_one_line(lie: object, tmp_path: Path) -> None:
    """Found by the fuzzing: a number that no float holds; a text with a line end."""
    sketch = lie if isinstance(lie, str) else [0, 0, 0, 0, 0, 0, 0, 0, lie]
    with pytest.raises(FormatError, match=r"expected 9 quantiles of shard 3, found .+") as caught:
        _sketch(sketch, 3, "cache")
    assert "\n" not in str(caught.value)
