"""``logitcache reshape``: what a refusal advises is run, and writes the rows that are meant."""

from __future__ import annotations

import ast
import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import logitcache
from logitcache.config.data import Columns
from logitcache.config.reshape import ReshapeConfig
from logitcache.data.reshape.table import KINDS, reshape
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.reporter import SILENT
from logitcache_cli.main import cli
from tests.advice import reshaped
from tests.data.advice_cases import changed
from tests.data.reshape_cases import FOREIGN, Foreign
from tests.data.test_looked_up import answered


def rows_of(path: Path) -> list[dict[str, Any]]:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return [
        json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()
    ]


@pytest.mark.parametrize("case", FOREIGN, ids=lambda case: f"{case.kind}-{min(case.files)}")
def test_an_advised_command_writes_the_rows(tmp_path: Path, case: Foreign) -> None:
    data = tmp_path / "data"
    changed(data, case.files)
    with pytest.raises(SpecError) as caught:
        load(data / case.name, Columns(**case.options), tmp_path, SILENT)
    message = str(caught.value)
    before, command, _ = message.partition("logitcache reshape ")
    assert command, message
    assert case.advice in before
    assert message.count(f"logitcache reshape {case.kind} ") == message.count("logitcache reshape ")
    out = tmp_path / "out"
    out.mkdir()
    written = reshaped(message, out)
    assert rows_of(written) == case.rows
    has_label = "label" in case.rows[0] or "tags" in case.rows[0]
    if has_label and case.kind != "rows-under-keys":  # these hold objects still
        assert sum(map(len, load(written, Columns(), tmp_path, SILENT).splits.values())) > 0


def test_an_advised_command_says_the_encoding(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes("x a café\ny a film\n".encode("cp1252"))
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "r.txt", Columns(), tmp_path, SILENT)
    assert "With --encoding cp1252: " in str(caught.value)
    out = reshaped(str(caught.value), tmp_path)
    assert rows_of(out)[0] == {"text": "a café", "label": "x"}


def test_log_probabilities_of_tokens_become_shares_of_classes(tmp_path: Path) -> None:
    """As OpenAI answers: the first token's candidates, of which several may begin a class's name."""
    answers = [
        [("pos", 0.6), ("neg", 0.2)],
        [("Neg", 0.5), (" po", 0.25), ("n", 0.1), ("The", 0.1)],
    ]
    rows = []
    for number, answer in enumerate(answers):
        top = [{"token": token, "logprob": math.log(share)} for token, share in answer]
        content = [{"token": answer[0][0], "logprob": 0, "top_logprobs": top}]
        rows.append(
            {"text": f"a film {number}", "label": ("pos", "neg")[number], "answer": content}
        )
    changed(tmp_path, {"r.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows)})
    with pytest.raises(SpecError, match="log-probabilities of tokens") as caught:
        answered(tmp_path / "r.jsonl", "answer.top_logprobs", tmp_path)
    out = reshaped(str(caught.value).replace("CLASS,CLASS", "pos,neg"), tmp_path)
    dump, _ = answered(out, "probs", tmp_path)
    shares = np.exp(dump.logits) / np.exp(dump.logits).sum(axis=1, keepdims=True)
    neg_then_pos = [[0.25, 0.75], [0.6 / 0.85, 0.25 / 0.85]]
    np.testing.assert_allclose(shares, neg_then_pos, atol=1e-6)
    config = ReshapeConfig(out=tmp_path / "o.jsonl", columns=("answer.top_logprobs", "yes", "no"))
    with pytest.raises(
        SpecError, match=r"r\.jsonl line 1: expected a token of one of the classes yes, no"
    ):
        reshape("token-logprobs", [tmp_path / "r.jsonl"], config)


def test_each_kind_that_is_advised_is_there() -> None:
    """And each that is there is advised, as nobody would look for it."""
    package = Path(logitcache.__file__).parent
    files = [*package.glob("data/**/*.py"), package / "report" / "check.py"]
    kinds = set()
    codes = [path.read_text(encoding="utf-8") for path in files]
    for code in codes:
        for node in ast.walk(ast.parse(code)) if "reshape(" in code else ():
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if is_call and node.func.id == "reshape":
                constants = [
                    part for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)
                ]
                kinds |= {constant.value for constant in constants}
    assert kinds == set(KINDS)


def test_the_reference_has_every_kind() -> None:
    page = Path(logitcache.__file__).parents[1] / "docs" / "cli.md"
    rows = [f"| `{name}` | {kind.about} | {kind.named or '–'} |" for name, kind in KINDS.items()]
    assert "\n".join(rows) in page.read_text(encoding="utf-8")


def refused(tmp_path: Path, kind: str, *files: str, **options: Any) -> SpecError:
    config = ReshapeConfig(**{"out": tmp_path / "OUT.jsonl", **options})
    with pytest.raises(SpecError) as caught:
        reshape(kind, [tmp_path / name for name in files], config)
    assert not list(tmp_path.glob("OUT*"))
    assert not list(tmp_path.glob(".OUT*"))
    return caught.value


@pytest.mark.parametrize(
    ("kind", "files", "options", "message"),
    [
        ("tree", ["r.txt"], {}, "Did you mean trees?"),
        ("trees", ["no.txt"], {}, "expected a file, found none"),
        ("batch", ["r.txt"] * 3, {}, "expected files for batch: 1 to 2, found 3"),
        ("trees", ["r.txt"], {"columns": ("a",)}, "Leave --columns out."),
        ("join", ["r.txt", "r.txt"], {}, "expected for join the key"),
        ("trees", ["r.txt"], {}, "r.txt line 1: expected a tree"),
        ("first-word", ["one.txt"], {}, "one.txt line 2: expected a label and a text"),
        ("parallel-lines", ["r.txt", "one.txt"], {}, "expected files of equally many lines"),
        ("rows-under-keys", ["r.txt"], {}, "expected JSON"),
        ("rows-under-keys", ["list.json"], {}, "expected an object with rows under its keys"),
        ("batch", ["list.json"], {}, "list.json line 1: expected a request and its answer"),
        ("trees", ["empty.txt"], {}, "found no row. Mend the file, or name another kind."),
        ("trees", ["r.txt"], {"out": Path("OUT.csv")}, "Name it OUT.jsonl."),
        (
            "join",
            ["k.csv", "twice.csv"],
            {"columns": ("k",)},
            "expected each k once, found 1 twice",
        ),
        ("join", ["k.csv", "k.csv"], {"columns": ("z",)}, "expected the column 'z', found k, v"),
    ],
)
def test_what_is_of_another_kind_is_refused_and_nothing_is_written(
    tmp_path: Path, kind: str, files: list[str], options: dict[str, Any], message: str
) -> None:
    contents = {
        "r.txt": "a film\n",
        "one.txt": "a b\nc\nd e\n",
        "list.json": "[1]\n",
        "empty.txt": "",
        "k.csv": "k,v\n1,a\n",
        "twice.csv": "k,w\n1,a\n1,b\n",
    }
    changed(tmp_path, contents)
    assert message in str(refused(tmp_path, kind, *files, **options))


ODD = {
    "object.json": '{"a": {"text": "x"}, "b": ["y", null], "c": 3}',
    "array.json": '[["a", 1], {"data": [{"text": 5}]}, null]',
    "lines.jsonl": '{"custom_id": 1, "body": {}}\n{"custom_id": 1, "response": {"status_code": 200}}\n',
    "table.csv": 'id,text\n07,one\n8,"two, three"\n',
    "words.tsv": "# a\nb\tX\tO\n\n\tc\n1|t|d\n1\t0\tz\te\tf\n",
    "tree.xml": "<a><b>c</b><d><e f='g'/></d></a>",
    "bytes.txt": b"caf\xe9 \x00\xff\n",
    "empty.csv": "",
}


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_other_kinds_are_written_or_refused(tmp_path: Path, kind: str) -> None:
    changed(tmp_path, ODD)
    fewest, _ = KINDS[kind].files
    number = min(KINDS[kind].columns)
    for name, others in product(ODD, ODD if fewest > 1 else [""]):
        files = [tmp_path / name, *([tmp_path / others] if others else [])]
        for columns in {("text", "id", "b", "c")[:number], ("1", "2", "3", "4")[:number]}:
            config = ReshapeConfig(out=tmp_path / "OUT.jsonl", columns=columns)
            try:
                count = reshape(kind, files, config)
            except SpecError:
                assert not config.out.exists()
            else:
                assert len(rows_of(config.out)) == count > 0
                config.out.unlink()


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    changed(tmp_path, {"r.txt": "x a film\n", "o.jsonl": "mine"})
    command = ["reshape", "first-word", str(tmp_path / "r.txt"), "--out", str(tmp_path / "o.jsonl")]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    assert "--out: expected a file that is not there yet" in result.stderr
    assert (tmp_path / "o.jsonl").read_text() == "mine"


def test_what_it_prints(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes("x café\n".encode("cp1252"))
    command = ["reshape", "first-word", str(tmp_path / "r.txt"), "--encoding", "cp1252"]
    out = tmp_path / "new" / "o.jsonl"
    result = CliRunner().invoke(cli, [*command, "--out", str(out)])
    assert result.stdout == f"{out}: 1 row. Next: logitcache check {out}\n"
    assert rows_of(out) == [{"text": "café", "label": "x"}]
    further = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "p.jsonl"), "--json"])
    assert json.loads(further.stdout) == {
        "out": str(tmp_path / "p.jsonl"),
        "kind": "first-word",
        "rows": 1,
    }


def test_words_that_share_a_label_and_parts_of_words_of_webanno(tmp_path: Path) -> None:
    words = (
        ("1-1", "Ann", "PER"),
        ("1-2", "New", r"GEO\_X[1]"),
        ("1-3", "York", r"GEO\_X[1]"),
        ("1-4", "Oslo", "*[2]"),
        ("1-5", "lies", "_"),
        ("1-6", "Bonn", "LOC[3]"),
        ("1-7", "Rome", "LOC[4]"),
        ("1-7.1", "Ro", "_"),
    )
    tags = ["B-PER", "B-GEO_X", "I-GEO_X", "O", "O", "B-LOC", "B-LOC"]
    lines = "".join(f"{number}\t0-1\t{word}\t*\t{value}\t\n" for number, word, value in words)
    (tmp_path / "r.tsv").write_text(f"#Text=x\n{lines}")
    config = ReshapeConfig(out=tmp_path / "o.jsonl", columns=("5",))
    assert reshape("webanno", [tmp_path / "r.tsv"], config) == 1
    assert rows_of(config.out)[0]["tags"] == tags
    for more in ("1-8\t0-1\tY\t*\tPER[5]|LOC[6]\t\n", "1-7.1\t0-1\tRo\t*\tLOC[5]\t\n"):
        (tmp_path / "r.tsv").write_text(f"#Text=x\n{lines}{more}")
        error = refused(tmp_path, "webanno", "r.tsv", columns=("5",))
        assert "expected at most one label of a whole word" in str(error)
