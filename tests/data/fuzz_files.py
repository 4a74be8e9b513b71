"""Well-formed data files of every kind, and what may befall them: the makers and the oracle of
``test_fuzz_files``.

A case is made by a seed. Where the mutation is one with a known result, the rows that must be read
come with it; the oracle is the list of rows that was written, and never a file that was read back.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from logitcache.config.data import Columns

Rows = list[tuple[str, Any]]
WORDS = (
    "a warm film",
    "cold, and dull",
    'he said "so"',
    "naïve café",
    "x; y",
    "映画 です",
    "it's",
    "100 %",
    "a|b",
    "N/A",
)
LABELS: tuple[tuple[Any, ...], ...] = (
    ("pos", "neg"),
    (0, 1),
    (1, 2, 3),
    ("very good", "bad", "so-so"),
    ("World", "Sci/Tech"),
)


@dataclass(frozen=True)
class File:
    """A file to be read: its name, its bytes, and the rows in it where they are known (labels as
    they are written).
    """

    name: str
    content: bytes
    rows: Rows | None
    what: str
    columns: Columns = field(default_factory=Columns)

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        path.write_bytes(self.content)
        return path


def rows_of(draw: random.Random) -> Rows:
    labels = draw.choice(LABELS)
    count = draw.randint(len(labels), 9)
    kinds = [labels[i] if i < len(labels) else draw.choice(labels) for i in range(count)]
    return [(f"{draw.choice(WORDS)} {number}", kind) for number, kind in enumerate(kinds)]


def delimited(delimiter: str, end: str, draw: random.Random, rows: Rows) -> str:
    """As the csv module writes it; the columns in any order, with others among them."""
    columns: list[tuple[str, list[Any]]] = [
        ("text", [text for text, _ in rows]),
        ("label", [kind for _, kind in rows]),
    ]
    if draw.random() < 0.3:
        columns.append(("score", [f"0.{i}" for i in range(len(rows))]))
    if draw.random() < 0.3:
        columns.insert(0, ("", list(range(len(rows)))))
    draw.shuffle(columns)
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=draw.choice((0, 1)))
    writer.writerow([name for name, _ in columns])
    writer.writerows(zip(*(values for _, values in columns), strict=True))
    return file.getvalue()


def records(rows: Rows) -> list[dict[str, Any]]:
    return [{"text": text, "label": kind} for text, kind in rows]


def table_bytes(rows: Rows, write: Callable[[pa.Table, io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    write(pa.Table.from_pylist(records(rows)), file)
    return file.getvalue()


def _write_stream(table: pa.Table, file: io.BytesIO) -> None:
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def document(draw: random.Random, rows: Rows) -> str:
    indent = draw.choice((None, 1))
    columns = {"text": [text for text, _ in rows], "label": [kind for _, kind in rows]}
    numbered = {
        name: {str(i): value for i, value in enumerate(values)} for name, values in columns.items()
    }
    value: Any = draw.choice(
        (records(rows), {"version": 1, "data": records(rows)}, columns, numbered)
    )
    return json.dumps(value, indent=indent, ensure_ascii=draw.random() < 0.5)


def lines(draw: random.Random, rows: Rows) -> str:
    comma = draw.choice(("", "", "", ","))
    return "".join(json.dumps(row, ensure_ascii=False) + comma + "\n" for row in records(rows))


TEXT_KINDS: dict[str, Callable[[random.Random, Rows], str]] = {
    ".csv": lambda draw, rows: delimited(",", draw.choice(("\n", "\r\n")), draw, rows),
    ".tsv": lambda draw, rows: delimited("\t", "\n", draw, rows),
    ".jsonl": lines,
    ".ndjson": lines,
    ".json": document,
    ".txt": lambda draw, rows: "".join(
        f"__label__{str(kind).replace(' ', '_')} {text}\n" for text, kind in rows
    ),
}
TABLE_KINDS: dict[str, Callable[[pa.Table, io.BytesIO], None]] = {
    ".parquet": pq.write_table,
    ".arrow": _write_stream,
}


def _zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def packed(draw: random.Random, file: File) -> File:
    """The file, now and then packed; its name in capitals or not."""
    pack = draw.choice(("", "", "", ".gz", ".bz2", ".xz", ".zip"))
    content = file.content
    if pack == ".zip":
        content = _zipped(file.name, content)
    elif pack:
        content = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[pack](content)
    name = file.name + pack
    return replace(file, name=name.upper() if draw.random() < 0.1 else name, content=content)


def well_formed(draw: random.Random) -> File:
    """A file as somebody may have it: its rows must be read."""
    rows = rows_of(draw)
    kind = draw.choice((*TEXT_KINDS, *TABLE_KINDS))
    if kind in TABLE_KINDS:
        return File(f"r{kind}", table_bytes(rows, TABLE_KINDS[kind]), rows, f"as written {kind}")
    change = draw.choice((_as_it_is, _doubled, _dropped, _blank_lines))
    rows = change(draw, rows) if change is not _blank_lines else rows
    text = TEXT_KINDS[kind](draw, rows)
    if change is _blank_lines and kind != ".json":
        text = _with_blank_lines(draw, text)
    if kind == ".txt":
        rows = [(" ".join(text.split()), str(label).replace(" ", "_")) for text, label in rows]
    encoding = draw.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"))
    return File(
        f"r{kind}", text.encode(encoding), rows, f"{change.__name__.strip('_')} {kind} {encoding}"
    )


def _as_it_is(draw: random.Random, rows: Rows) -> Rows:
    return rows


def _doubled(draw: random.Random, rows: Rows) -> Rows:
    place = draw.randrange(len(rows))
    return [*rows[: place + 1], *rows[place:]]


def _dropped(draw: random.Random, rows: Rows) -> Rows:
    """Without a row whose class others have too, if there is one."""
    kinds = [kind for _, kind in rows]
    several = [place for place, kind in enumerate(kinds) if kinds.count(kind) > 1]
    place = draw.choice(several) if several else -1
    return [row for number, row in enumerate(rows) if number != place]


def _blank_lines(draw: random.Random, rows: Rows) -> Rows:
    return rows


def _with_blank_lines(draw: random.Random, text: str) -> str:
    ended = text.splitlines(keepends=True)
    end = "\r\n" if ended[0].endswith("\r\n") else "\n"
    for _ in range(draw.randint(1, 3)):
        ended.insert(draw.randint(0, len(ended)), end)
    return "".join(ended)


# Mutations without a known result: the file is read, or refused on one line.


def _bytes_changed(draw: random.Random, content: bytearray) -> None:
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(content) + 1)
        byte = (
            draw.choice(b'"\t\n\r,; \\\x00\xff{}[]:a0')
            if draw.random() < 0.8
            else draw.randrange(256)
        )
        if draw.random() < 0.5:
            content[place:place] = bytes([byte])
        else:
            content[place : place + 1] = bytes([byte])


def _cut(draw: random.Random, content: bytearray) -> None:
    del content[draw.randrange(len(content)) :]


def _piece_taken_out(draw: random.Random, content: bytearray) -> None:
    place = draw.randrange(len(content))
    del content[place : place + draw.randint(1, 20)]


def _piece_doubled(draw: random.Random, content: bytearray) -> None:
    place = draw.randrange(len(content))
    content[place:place] = content[place : place + draw.randint(1, 40)]


def _other_encoding(draw: random.Random, content: bytearray) -> None:
    place = draw.randrange(len(content) + 1)
    content[place:place] = draw.choice(
        ("é".encode("cp1252"), "映".encode("gb18030"), "é".encode("utf-16"), b"\xed\xa0\x80")
    )


def _written_over(draw: random.Random, content: bytearray) -> None:
    """A value, a name or a mark is another."""
    pairs = (
        (b"text", b"label"), (b"label", b"text"), (b'"label":', b'"label":[[]],"x":'), (b'"text":', b'"text":1,"y":'),
        (b"pos", b"1.5"), (b"neg", b"NaN"), (b"0", b"-100"), (b"1", b"9" * 20), (b'"', b""), (b'"', b"'"),
        (b",", b";"), (b",", b"\t"), (b"\n", b"\r"), (b"}", b""), (b"{", b"{{"), (b"film", b"\\ud800"), (b" ", b"\xa0"),
        (b'"pos"', b'{"a": [1]}'), (b'"neg"', b"true"), (b'"bad"', b'["x", "y"]'), (b"__label__", b""), (b"x", b"\0"),
    )  # fmt: skip
    old, new = draw.choice(pairs)
    places = [place for place in range(len(content)) if content.startswith(old, place)]
    if places:
        place = draw.choice(places)
        content[place : place + len(old)] = new


def _turned(draw: random.Random, content: bytearray) -> None:
    """Lines in another order, the header among them."""
    parts = bytes(content).splitlines(keepends=True)
    draw.shuffle(parts)
    content[:] = b"".join(parts)


MUTATIONS = (
    _bytes_changed,
    _bytes_changed,
    _cut,
    _piece_taken_out,
    _piece_doubled,
    _other_encoding,
    _written_over,
    _written_over,
    _turned,
)


def mutated(draw: random.Random, file: File) -> File:
    content = bytearray(file.content)
    names = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        if content:
            mutation = draw.choice(MUTATIONS)
            mutation(draw, content)
            names.append(mutation.__name__.strip("_"))
    name = file.name
    if draw.random() < 0.05:
        name = f"r{draw.choice((*TEXT_KINDS, *TABLE_KINDS))}"
        names.append("another ending")
    return replace(
        file, name=name, content=bytes(content), rows=None, what=f"{'+'.join(names)} {file.what}"
    )


def case(seed: int) -> File:
    """One in four is well-formed and must be read; the others are mutated before or after they are
    packed.
    """
    draw = random.Random(seed)
    file = well_formed(draw)
    if seed % 4 == 0:
        return packed(draw, file)
    if draw.random() < 0.1:
        encoding = draw.choice(
            (None, "cp1252", "utf-16-le", "gb18030", "shift_jis", "utf-7", "ascii")
        )
        delimiter = draw.choice((None, ";", "\t", "|", "a"))
        file = replace(file, columns=Columns(encoding=encoding, delimiter=delimiter))
    if draw.random() < 0.2:
        return mutated(draw, packed(draw, file))
    return packed(draw, mutated(draw, file))
