"""What somebody has, the advice that they must be given, and what they have when they follow it."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from logitcache.data.sources.content import AS_ROWS

GOOD = "text,label\na,x\nb,y\n"
TABS = GOOD.replace(",", "\t")
JSONL = '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'
ROWS = json.loads(f"[{JSONL.strip().replace(chr(10), ',')}]")
CONLL = "a x\nb y\n\nc x\n"
Files = Mapping[str, str | bytes | None]


def parquet(names: list[str] | None = None, columns: Mapping[str, Any] | None = None) -> bytes:
    table = pa.table(columns or {"text": ["a", "b"], "label": [0, 1] if names else ["x", "y"]})
    if names:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def not_utf8() -> bytes:
    """Parquet whose second text is Latin-1: arrow does not look at what its writer calls a string."""
    texts = pa.StringArray.from_buffers(
        2, pa.array([0, 1, 5], pa.int32()).buffers()[1], pa.py_buffer(b"acaf\xe9")
    )
    return parquet(columns={"text": texts, "label": pa.array(["x", "y"])})


def zipped(*names: str, locked: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name in names:
            packed.writestr(name, GOOD)
    content = bytearray(file.getvalue())
    if locked:  # as an archive with a password says it
        content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


@dataclass(frozen=True)
class Case:
    """Files (and options) before and after the advice was followed; a file that is None is taken
    away.
    """

    advice: str
    before: Files
    then: Files = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)  # options that are given then
    name: str = ""  # which of them is named; the folder without it
    then_name: str | None = None
    rows: int = 2


def changed(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


VERTEX = "".join(
    f"{split},the film {number} was {label},{label}\n"
    for number, (split, label) in enumerate(
        (split, label)
        for split in ("TRAIN", "TRAIN", "TEST")
        for label in ("good", "bad", "good", "bad")
    )
)
OF_VERTEX = {"header": ("split", "text", "label"), "split_column": "split"}


def csv(advice: str, before: str | bytes, then: str | bytes = GOOD, **more: Any) -> Case:
    """A case of one csv."""
    return Case(advice, {"r.csv": before}, {"r.csv": then}, name="r.csv", **more)


def labels(advice: str, before: list[Any], then: list[Any] | None = None, **more: Any) -> Case:
    """A case of one jsonl with such labels."""
    files = ["".join(json.dumps({"text": f"text {i}", "label": label}) + "\n" for i, label in enumerate(column))
             for column in (before, then or before)]  # fmt: skip
    return Case(
        advice, {"r.jsonl": files[0]}, {"r.jsonl": files[1]}, rows=len(then or before), **more
    )


NO_HEADER = "name the columns with --header, for example --header text,label"
FORMS = [
    csv(
        "Name it with --text",
        "tweet,label\na,x\nb,y\n",
        "tweet,label\na,x\nb,y\n",
        more={"text": "tweet"},
    ),
    csv(
        "say with --delimiter",
        "text^label\na^x\nb^y\n",
        "text^label\na^x\nb^y\n",
        more={"delimiter": "^"},
    ),
    csv(NO_HEADER, "x,a\ny,b\n", "x,a\ny,b\n", more={"header": ("label", "text")}),
    csv(
        "--header label,c2,text",
        "0,0,a\n1,0,b\n",
        "0,0,a\n1,0,b\n",
        more={"header": ("label", "c2", "text")},
    ),
    csv("--header label,text", "0,a\n1,0,b\n", "0,a\n1,b\n", more={"header": ("label", "text")}),
    csv("Leave --header out.", GOOD, options={"header": ("Text", "label")}, more={"header": None}),
    Case(
        "Name the columns in order with --header",
        {"r.json": '[["a", "x"], ["b", "y"]]'},
        more={"header": ("text", "label")},
    ),
    csv("Fetch or save it again.", ""),
    csv("Give one of these.", GOOD, options={"text": "body"}, more={"text": "text"}),
    csv(
        "sed '1s/.*/text,label,text.1/'",
        "text,label,text\na,x,b\nb,y,c\n",
        "text,label,text.1\na,x,b\nb,y,c\n",
    ),
    csv("--header split,text,label --split-column split", VERTEX, VERTEX, more=OF_VERTEX, rows=12),
    csv("Rename one.", "text,label,text\na,x,b\nb,y,c\n", "text,label,other\na,x,b\nb,y,c\n"),
    csv(
        "Name another column with --label",
        *["text,label,label,kind\na,x,x,y\nb,y,y,x\n"] * 2,
        more={"label": "kind"},
    ),
    csv("Mend the line.", "text,label,id\na,x,1\nb\n", "text,label,id\na,x,1\nb,y,2\n"),
    csv(
        "Give --delimiter ';'",
        "text;label,fold\na;x\nb;y\n",
        "text;label,fold\na;x\nb;y\n",
        more={"delimiter": ";"},
    ),
    csv("Remove what stands above the header", f"exported\n{GOOD}"),
    csv("Remove the delimiter at the end of the lines.", "text,label\na,x,\nb,y,\n"),
    csv(
        "put a name for it into the header",
        "text,label\n1,a,x\n2,b,y\n",
        "id,text,label\n1,a,x\n2,b,y\n",
    ),
    csv("Remove the line.", f"{GOOD}text,label\n"),
    csv(
        "Remove the spaces behind the delimiters",
        'text,label\n"a", "x"\nb,y\n',
        'text,label\n"a","x"\nb,y\n',
    ),
    csv(
        "Close the quotes and double those inside",
        'text,label\n"a "c"",x\nb,y\n',
        'text,label\n"a ""c""",x\nb,y\n',
    ),
    csv("Put quotes around the field", "text,label\na\rc,x\nb,y\n", 'text,label\n"a\rc",x\nb,y\n'),
    csv("or remove the byte", "text,label\na\0,x\nb,y\n"),
    csv(
        "give --encoding utf-16-le",
        f"text,label\n{'映' * 99},x\nb,y\n".encode("utf-16-le"),
        f"text,label\n{'映' * 99},x\nb,y\n".encode("utf-16-le"),
        more={"encoding": "utf-16-le"},
    ),
    csv(
        "with --encoding cp1252 the line reads: é,x",
        "text,label\né,x\nb,y\n".encode("cp1252"),
        "text,label\né,x\nb,y\n".encode("cp1252"),
        more={"encoding": "cp1252"},
    ),
    csv(
        "--encoding (gb18030, shift_jis",
        "text,label\n、,x\nb,y\n".encode("shift_jis"),
        "text,label\n、,x\nb,y\n".encode("shift_jis"),
        more={"encoding": "shift_jis"},
    ),
    csv(
        "Correct or remove the line",
        "text,label\né,x\n".encode() + b"\xe9,y\nb,y\n",
        "text,label\né,x\nb,y\n",
    ),
    csv(
        "Give another --encoding",
        b"text,label\n\xe9,x\nb,y\n",
        b"text,label\n\xe9,x\nb,y\n",
        options={"encoding": "ascii"},
        more={"encoding": "cp1252"},
    ),
    csv("Save it as UTF-8.", GOOD.encode("utf-16")[:-1]),
    csv(
        "Save the file again, as UTF-8.", GOOD.encode("utf-16")[:20] + GOOD.encode("utf-16")[21:-1]
    ),
    csv("Fetch or pack it again.", gzip.compress(GOOD.encode())[:-9], gzip.compress(GOOD.encode())),
    csv("Save it as CSV (UTF-8) in the spreadsheet program", zipped("[Content_Types].xml", "xl/x")),
    csv("Save it as CSV (UTF-8) in the spreadsheet program", b"\xd0\xcf\x11\xe0"),
    csv("Unpack it, and name the file", zipped("a.csv", "b.csv")),
    csv("Unpack it.", zipped("r.csv", locked=True)),
    csv("Download the file itself (on GitHub: Raw).", "<!DOCTYPE html>"),
    csv(f"Save its rows {AS_ROWS}.", "%PDF-1.4"),
    Case("Name it .parquet.", {"r.csv": parquet()}, {"r.csv": None, "r.parquet": parquet()}),
    Case("Name it .jsonl.", {"r.csv": JSONL}, {"r.csv": None, "r.jsonl": JSONL}),
    Case("Write or fetch it again.", {"r.parquet": b"PAR1"}, {"r.parquet": parquet()}),
    Case(
        "Write or fetch it again.",
        {"r.arrow": b"ARROW1"},
        {"r.arrow": None, "r.parquet": parquet()},
    ),
    Case("name the file .csv or .tsv", {"r.jsonl": GOOD}, {"r.jsonl": None, "r.csv": GOOD}),
    Case("Mend or remove it.", {"r.jsonl": JSONL + "{\n"}, {"r.jsonl": JSONL}),
    Case("Mend it.", {"r.json": f"{json.dumps(ROWS)[:-1]}, {{]"}, {"r.json": json.dumps(ROWS)}),
    Case(
        "Mend or remove it.",
        {"r.json": '[{"text": "a", "text": "b"}]'},
        {"r.json": json.dumps(ROWS)},
    ),
    Case("Remove it.", {"r.json": json.dumps(ROWS) + "[]"}, {"r.json": json.dumps(ROWS)}),
    Case(
        "Save one object for each row",
        {"r.json": '["a", "x"]'},
        {"r.json": json.dumps(ROWS)},
    ),
    Case(
        "Save the rows of each list in a file of their own",
        {"r.json": json.dumps({"train": ROWS, "test": ROWS})},
        {"r.json": None, "train.json": json.dumps(ROWS), "test.json": json.dumps(ROWS)},
    ),
    Case(
        f"Save one object for each row, {AS_ROWS}, each split in its own file",
        {"r.json": '{"train": [["a", 1]], "test": []}'},
        {"r.json": None, "train.jsonl": JSONL, "test.jsonl": JSONL},
    ),
    Case("Give --delimiter", {"train.txt": GOOD}, more={"delimiter": ","}),
    Case(
        "Keep one label a row.",
        {"train.txt": "__label__x __label__y a\n"},
        {"train.txt": "__label__x a\n__label__y b\n"},
    ),
    Case(
        "If each line is a word and its tag, name the files .conll.",
        {"r.txt": "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n"},
        {
            "r.txt": None,
            "r.conll": "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n",
        },
        then_name="r.conll",
    ),
    Case("else put the words first", {"r.conll": "1 a x\n2 b y\n"}, {"r.conll": CONLL}),
    Case("Correct or remove the line.", {"r.conll": "a x\nb\n\nc x"}, {"r.conll": CONLL}),
    Case(
        "Correct the line",
        {"r.tsv": f'{TABS}"c ""d"""\tx\n"e\ty\n'},
        {"r.tsv": f'{TABS}"c ""d"""\tx\ne\ty\n'},
        rows=4,
    ),
    Case(
        "Correct the line",
        {"r.tsv": f'{TABS}"c ""d"""\tx\ne "f"\ty\n'},
        {"r.tsv": f'{TABS}"c ""d"""\tx\n"e ""f"""\ty\n'},
        rows=4,
    ),
    Case(
        "Correct the line",
        {"r.tsv": f'{TABS}"c\tx\nd"\ty\n'},
        {"r.tsv": f"{TABS}c\tx\nd\ty\n"},
        rows=4,
    ),
    Case(
        "Double it",
        {"r.tsv": f'{TABS}"c \\"d\\""\tx\n'},
        {"r.tsv": f'{TABS}"c ""d"""\tx\n'},
        rows=3,
    ),
]
