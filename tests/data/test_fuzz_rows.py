"""Rows of any values under the names that columns usually have: read, or refused in one line."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logitcache.config.answers import answer_source
from logitcache.config.data import Columns
from logitcache.config.teacher import DumpSettings
from logitcache.data.doctor import examine
from logitcache.data.source import Source, load
from logitcache.data.tasks.table import TASKS
from logitcache.errors import LogitCacheError
from logitcache.reporter import SILENT
from logitcache.teacher.column import recorded
from tests.shortly import examples

NAMES = (
    *("text", "label", "labels", "content", "role", "id", "messages", "conversations", "weight"),
    *("prompt", "completion", "chosen", "rejected", "system", "history", "instruction", "input"),
    *("output", "data", "tools", "response", "message", "chat_history", "scores", "features"),
    *("rows", "entities", "annotation", "aspect", "response_a", "response_b", "votes", "segments"),
)
TURNS = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "train": False}]
VALUES: list[Any] = [
    *(None, "", 0, 1, True, 2.5, 10**30, float("nan"), "x", "\ud800", "N/A"),
    *("Human: a\n\nAssistant: b", "a film of old days", [], ["a", "b"], [["a", "b"]], {}),
    *({"role": "user", "content": "x"}, {"from": "human", "value": "q"}, {"text": "t"}, TURNS),
    *({"type": "image_url"}, {"label": "a", "score": 0.5}, {"X": {"a": [[0, 1]]}}, [0.1, 0.9]),
    *([{"label": "a", "points": [{"start": 0, "end": 1, "text": "x"}]}], ["0.1", "0.9"]),
    *([["-1.2", "True"], ["-2", "False"]], {"a": 0.2, "b": 0.8}, [{"role": "user"}, "x"]),
]
NAMED = st.sampled_from(NAMES)
ROW = st.dictionaries(NAMED, st.sampled_from(VALUES), max_size=6)
CLASSES = st.fixed_dictionaries({"text": st.just("a film"), "label": st.sampled_from("ab")})
ROWS = st.lists(st.builds(lambda row, more: row | more, ROW, st.just({}) | CLASSES), max_size=6)


def answers_of(source: Source, folder: Path, names: list[str]) -> None:
    """Every column as a teacher."""
    for name in names:
        for prefix in ("column", "logits"):
            answers = answer_source(f"{prefix}:{name}")
            assert answers is not None
            with suppress(LogitCacheError):
                recorded(answers, source, "train", DumpSettings(), None, folder, SILENT)


@settings(
    max_examples=examples(50, 2000), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ROWS, st.sampled_from([None, *TASKS]), st.none() | NAMED, st.none() | NAMED)
def test_rows_of_any_values_are_read_or_refused(
    tmp_path: Path, rows: list[Any], task: str | None, text: str | None, label: str | None
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        source = load(str(path), Columns(task=task, text=text, label=label), tmp_path, SILENT)
        examine(source)
    except LogitCacheError:
        return
    if source.task == "classification":
        answers_of(source, tmp_path, sorted({name for row in rows for name in row}))
