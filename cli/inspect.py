"""``logitcache inspect``: what a cache holds. Reads one JSON file and at most one row; no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from logitcache.config.data import Columns
from logitcache.config.report import InspectConfig
from logitcache.targets.nothing import NoLogits

from .options import CACHE, Command, as_json, options, typed
from .progress import first_few, lines, show

POSITIONS = 20  # of one row that are listed
UNITS = {"entropy": " nats", "top p": ""}


@click.command(cls=Command)
@click.argument("cache", type=CACHE)
@options("inspect")
@as_json
def command(cache: Path | str, as_json: bool, **values: Any) -> None:
    """Print what a cache is: teacher, data, shards, codecs, how sure the teacher was. CACHE is a
    folder or a URL.
    """
    config = typed(InspectConfig, values)
    from logitcache.cache.cache import Cache
    from logitcache.cache.inspect import describe, row_of

    opened = Cache.open(cache)
    document = describe(opened)
    if config.row is not None:
        columns = Columns(
            config.text,
            config.text_pair,
            encoding=config.encoding,
            delimiter=config.delimiter,
            header=config.header,
        )
        document["row"] = row_of(opened, config.row, config.data, columns, config.workspace.data)
    show(document, as_json, render)


def render(document: dict[str, Any]) -> str:
    """The document as lines of `name value`."""
    pairs = [
        *_contents(document),
        *_teacher(document),
        *_conditions(document),
        *_quantiles(document["quantiles"]),
    ]
    if "row" in document:
        pairs += [("", ""), *_row(document["row"])]
    return lines(pairs)


def _contents(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Rows, records, store and codecs."""
    data = document["data"]
    source = f"{data.get('source')}/{data.get('split')} (digest {_short(data.get('digest'))})"
    yield "rows", f"{document['rows']:,} of {source}"
    below = [f"{count:,} {level}" for level, count in document["records"].items() if level != "row"]
    if document["views"] > 1 or below:
        views = f"{document['views']} views of each row"
        yield "records", f"{views}; {', '.join(below)}" if below else views
    shards = f"{document['shards']} shards of {document['shard_rows']:,} rows"
    yield "store", f"{document['store']}: {shards}, {document['bytes']:,} bytes"
    codecs: list[str] = []
    for name, codec in document["codecs"].items():
        if codec["kind"] == NoLogits.kind:
            codecs.insert(0, f"no {name}, vectors alone")
            continue
        settings = ", ".join(f"{key} {value}" for key, value in codec.items())
        codecs.append(f"{name}: {settings}")
    yield "codecs", "; ".join(codecs)


def _teacher(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The teacher, its labels and its tokenizer."""
    teacher = document["teacher"]
    labels = teacher["label_names"]
    digest = _short(teacher.get("weights"))
    answers = teacher.get("answers")
    if answers:
        origin = f"{answers} that lay there, digest {digest}"
    else:
        origin = f"{teacher.get('dtype')}, weights {digest}"
    yield "teacher", f"{teacher.get('name')} ({origin})"
    yield "labels", f"{len(labels)}: {first_few(labels)}" if labels else "none"
    order = teacher.get("label_order")
    if order:
        yield "label order", f"the teacher's own columns, as they stand here: {first_few(order)}"
    folds = teacher.get("folds")
    if folds:
        yield (
            "folds",
            f"{folds['count']} teachers: no row was answered by one that was trained on it",
        )
    if document["preprocessor"].get("kind") != "none":
        yield "tokenizer", _short(document["preprocessor"].get("vocabulary"))
        yield "max length", f"{document['preparation'].get('max_length')} tokens"
    yield "fingerprint", document["fingerprint"]


def _conditions(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Under which conditions the shards were made, and which rows were copied or skipped."""
    conditions = document["conditions"]
    for condition in conditions:
        facts = []
        for name, value in condition.items():
            if name != "shards" and value is not None:
                facts.append(f"{name} {value}")
        text = ", ".join(facts)
        if len(conditions) > 1:
            text += f" (shards {', '.join(_range(*shards) for shards in condition['shards'])})"
        yield "made under", text
    if document["reused_rows"]:
        yield "copied", f"{document['reused_rows']:,} rows, from an older cache"
    skipped = document["skipped"]
    if skipped:
        yield "skipped", f"{len(skipped):,} rows have no answer: {first_few(skipped, 5)}"


def _range(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def _quantiles(quantiles: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How sure the teacher was, by shares of the rows."""
    for key, name in (("entropy", "entropy"), ("top_probability", "top p")):
        if key not in quantiles:
            continue
        sketch = quantiles[key]
        shares = []
        for share, value in zip(sketch["at"], sketch["value"], strict=True):
            shares.append(f"{share:.0%} {value:.3f}")
        bounds = zip(sketch["low"], sketch["high"], strict=True)
        error = max(high - low for low, high in bounds)
        bound = f" (off by {error:.3f} at most)" if error else ""
        yield name, f"{', '.join(shares)}{UNITS[name]}{bound}"


def _row(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "row", f"{row['row_id']} (hash {row['row_hash']})"
    if "positions" in row:
        for entry in row["positions"][:POSITIONS]:
            yield (
                f"at {entry['position']}",
                f"{_label(entry)}; answer {_answer(entry, row['skipped'])}",
            )
        if len(row["positions"]) > POSITIONS:
            yield "", f"and {len(row['positions']) - POSITIONS:,} positions more (--json lists all)"
    else:
        yield "label", _label(row)
        yield "answer", _answer(row, row["skipped"])
    if row["text"] is None:
        yield "text", f"not shown: {row['text_note']}"
        return
    yield "text", " ".join(row["text"].splitlines())
    if row["text_pair"] is not None:
        yield "text pair", " ".join(row["text_pair"].splitlines())


def _label(entry: dict[str, Any]) -> str:
    if entry["label"] < 0:
        return "none"
    if entry["label_name"] is None:
        return str(entry["label"])
    return f"{entry['label_name']} ({entry['label']})"


def _answer(entry: dict[str, Any], skipped: bool) -> str:
    """The most probable classes of one position, and its entropy."""
    if entry["entropy"] is None:
        return "none: the dump skipped it" if skipped else "none: it keeps vectors, no logits"
    top = ", ".join(f"{answer['label']} {answer['probability']:.4f}" for answer in entry["top"])
    return f"{top} (entropy {entry['entropy']:.4f} nats)"


def _short(digest: Any) -> str:
    return str(digest)[:12]
