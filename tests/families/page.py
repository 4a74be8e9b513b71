"""The page of the docs that shows what came of every family's trial, made from the committed
results.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from logitcache.errors import visible
from tests.families.trial import RIGHT, TOLERANCE, WORST

HEAD = """# Model families

What `logitcache` makes of every model family that transformers {transformers} registers for sequence classification:
{families} of {registered} families, each a tiny random model with its own kind of tokenizer, special tokens and padding
side, on {rows} rows of 1 to 40 words, as single texts and as pairs. This page is written by

```console
$ python benchmarks/bench_families.py
```

from [families.json](../benchmarks/results/families.json), which also holds the messages of all refusals.

- *By hand* is `model(**tokenizer(text, text_pair, truncation=True, max_length=64, return_tensors="pt"))`, one row at a
  time, in float32, and nothing else.
- *Teacher*: the probabilities of a cache that `dump` made in batches of mixed lengths, against those by hand.
- *Student*: loss and gradient of one batch of 12 rows of mixed lengths in training with soft targets, against the sum
  over rows asked one at a time by hand, relative to its size.
- *Saved*: the student as it is saved, by hand and in `pipeline("text-classification", batch_size=8)`, against the
  checkpoint it was made of by hand.
- **right**: within {tolerance:g} of by hand, in both kinds of rows. **refused**: one line says what is wrong and what
  to do. **wrong** and **traceback** are what must not be.
- *Batches*: the side that is filled up, chosen by evidence for each model, or batches of equal length where the model's
  answers depend on padding. `pipeline` has no such batches: the models marked * are right by hand, and wrong or not
  supported in `pipeline` with a batch size over 1, the checkpoint itself as much as the student made of it.
"""
COLUMNS = "| family | tokenizer | pads | pad token | batches | teacher | student | saved |"
SIDES = {"none": "equal lengths", None: "–"}


def page(document: Mapping[str, Any]) -> str:
    """The whole page, in Markdown."""
    families = document["families"]
    head = HEAD.format(
        transformers=document["versions"]["transformers"],
        families=len(families),
        registered=len(families) + len(document["left_out"]),
        rows=document["rows"],
        tolerance=TOLERANCE,
    )
    parts = [
        head,
        *_counts(document),
        "",
        *_table(families),
        "",
        *_refusals(families),
        *_left_out(document),
    ]
    return "\n".join(parts) + "\n"


def counts(families: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """How many families have each verdict, for each trial."""
    trials = next(iter(families.values()))["trials"]
    tallies = {
        trial: Counter(f["trials"][trial]["verdict"] for f in families.values()) for trial in trials
    }
    return {
        trial: {verdict: tally[verdict] for verdict in WORST} for trial, tally in tallies.items()
    }


def _counts(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"| trial | {' | '.join(WORST)} |"
    yield f"|---|{'---|' * len(WORST)}"
    before = document["before"]
    for trial, tally in document["counts"].items():
        yield _row(trial, *tally.values())
        if trial in before["counts"]:
            yield _row(f"{trial}, at {before['commit']}", *before["counts"][trial].values())


def _row(*cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _table(families: Mapping[str, Any]) -> Iterator[str]:
    yield COLUMNS
    yield "|---|---|---|---|---|---|---|---|"
    for name, family in families.items():
        trials = family["trials"]
        paddings = [trials["teacher"][kind].get("padding") for kind in ("single", "pair")]
        batches = " / ".join(dict.fromkeys(SIDES.get(padding, padding) for padding in paddings))
        verdicts = [_verdict(trials[trial]) for trial in ("teacher", "student", "saved")]
        yield _row(
            name,
            family["pieces"],
            family["padding_side"],
            _token(family["pad_token"]),
            batches,
            *verdicts,
        )


def _token(token: str | None) -> str:
    """A token in a cell of a table."""
    if token is None:
        return "–"
    return f"`{visible(token)}`".replace("|", "\\|")


def _verdict(trial: Mapping[str, Any]) -> str:
    outcomes = [trial[kind] for kind in ("single", "pair")]
    gaps = [outcome["gap"] for outcome in outcomes if "gap" in outcome]
    by_hand_only = trial["verdict"] == RIGHT and any("message" in outcome for outcome in outcomes)
    size = f" ({max(gaps):.0e})" if gaps else ""
    return f"{trial['verdict']}{' *' if by_hand_only else ''}{size}"


def _refusals(families: Mapping[str, Any]) -> Iterator[str]:
    """What was said where the answer was not right, once for each family and message."""
    yield "## What is said where it is not right"
    yield ""
    for name, family in families.items():
        messages: dict[str, list[str]] = {}
        for trial, result in family["trials"].items():
            for kind in ("single", "pair"):
                if "message" in result[kind] and result[kind]["verdict"] != RIGHT:
                    messages.setdefault(result[kind]["message"], []).append(f"{trial}, {kind}")
        for message, where in messages.items():
            item = f"- {name} ({'; '.join(where)}): `{message.replace('`', chr(39))}`"
            yield textwrap.fill(
                item, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
    yield ""


def _left_out(document: Mapping[str, Any]) -> Iterator[str]:
    yield "## Not counted"
    yield ""
    for name, reason in document["left_out"].items():
        yield f"- {name}: {reason}."
