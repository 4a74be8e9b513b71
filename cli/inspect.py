"""``logitcache inspect``: what a cache holds. No torch; one JSON file read, and with ``--row`` one row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from logitcache.config.data import Columns
from logitcache.config.report import InspectConfig
from logitcache.errors import visible

from .options import CACHE, Command, as_json, options, typed
from .progress import print_json


@click.command(cls=Command, short_help="Say what a cache holds.")
@click.argument("cache", type=CACHE)
@options("inspect")
@as_json
def command(cache: Path | str, as_json: bool, **values: Any) -> None:
    """Print what a cache is: teacher, data, shards, codecs, how sure the teacher was. CACHE is a folder or a URL."""
    config = typed(InspectConfig, values)
    from logitcache.cache.cache import Cache
    from logitcache.cache.inspect import describe, row_of

    opened = Cache.open(cache)
    shown = describe(opened)
    if config.row is not None:
        columns = Columns(text=config.text, text_pair=config.text_pair)
        shown["row"] = row_of(opened, config.row, config.data, columns, config.workspace.data)
    print_json(shown) if as_json else click.echo(render(shown))


def render(shown: dict[str, Any]) -> str:
    """The document as lines of `name value`."""
    lines = [*_identity(shown), *_making(shown), *_sureness(shown["quantiles"])]
    if "row" in shown:
        lines += [("", ""), *_row(shown["row"])]
    return "\n".join(visible(f"{name:<12} {value}".rstrip()) for name, value in lines)


def _identity(shown: dict[str, Any]) -> Iterator[tuple[str, str]]:
    teacher, data, prepared = shown["teacher"], shown["data"], shown["preparation"]
    labels = teacher["label_names"]
    codecs = (f"{name}: " + ", ".join(f"{k} {v}" for k, v in spec.items()) for name, spec in shown["codecs"].items())
    below = ", ".join(f"{n:,} {level}" for level, n in shown["records"].items() if level != "row")
    yield "rows", f"{shown['rows']:,} of {data.get('source')}/{data.get('split')} (digest {_short(data.get('digest'))})"
    if shown["views"] > 1 or below:
        yield "records", f"{shown['views']} views of each row" + (f"; {below}" if below else "")
    yield (
        "store",
        f"{shown['store']}: {shown['shards']} shards of {shown['shard_rows']:,} rows, {shown['bytes']:,} bytes",
    )
    yield "codecs", "; ".join(codecs)
    digest = _short(teacher.get("weights"))
    if kind := teacher.get("answers"):
        yield "teacher", f"{teacher.get('name')} ({kind} that lay there, digest {digest})"
    else:
        yield "teacher", f"{teacher.get('name')} ({teacher.get('dtype')}, weights {digest})"
    yield "labels", f"{len(labels)}: {', '.join(labels[:8])}{', …' if len(labels) > 8 else ''}"
    if order := teacher.get("label_order"):
        places = ", ".join(map(str, order[:8])) + (", …" if len(order) > 8 else "")
        yield "label order", f"the teacher's own columns, as they stand here: {places}"
    if folds := teacher.get("folds"):
        yield "folds", f"{folds['count']} teachers: no row was answered by one that was trained on it"
    if shown["preprocessor"].get("kind") != "none":
        yield "tokenizer", _short(shown["preprocessor"].get("vocabulary"))
        yield "max length", f"{prepared.get('max_length')} tokens"
    yield "fingerprint", shown["fingerprint"]


def _making(shown: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for each in shown["conditions"]:
        shards = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in each["shards"])
        made = ", ".join(f"{name} {value}" for name, value in each.items() if name != "shards" and value is not None)
        yield "made under", f"{made} (shards {shards})" if len(shown["conditions"]) > 1 else made
    if shown["reused_rows"]:
        yield "copied", f"{shown['reused_rows']:,} rows, from an older cache"
    if shown["skipped"]:
        first = ", ".join(map(str, shown["skipped"][:5])) + (", …" if len(shown["skipped"]) > 5 else "")
        yield "skipped", f"{len(shown['skipped']):,} rows have no answer: {first}"


def _sureness(quantiles: dict[str, Any]) -> Iterator[tuple[str, str]]:
    units = {"entropy": ("entropy", " nats"), "top_probability": ("top p", "")}
    for name, found in quantiles.items():
        named = [f"{share:.0%} {value:.3f}" for share, value in zip(found["at"], found["value"], strict=True)]
        off = max(high - low for low, high in zip(found["low"], found["high"], strict=True))
        yield units[name][0], ", ".join(named) + units[name][1] + (f" (off by {off:.3f} at most)" if off else "")


def _row(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    label = "none" if row["label"] < 0 else f"{row['label_name']} ({row['label']})"
    yield "row", f"{row['row_id']} (hash {row['row_hash']})"
    yield "label", label
    if row["skipped"]:
        yield "answer", "none: the dump skipped it"
    else:
        yield "answer", ", ".join(f"{each['label']} {each['probability']:.4f}" for each in row["top"])
        yield "entropy", f"{row['entropy']:.4f} nats"
    if row["text"] is None:
        yield "text", f"not shown: {row['text_note']}"
        return
    yield "text", " ".join(row["text"].splitlines())
    if row["text_pair"] is not None:
        yield "text pair", " ".join(row["text_pair"].splitlines())


def _short(digest: Any) -> str:
    return str(digest)[:12]
