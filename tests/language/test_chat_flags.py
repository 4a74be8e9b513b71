"""Which messages are learnt as others flag them, and messages that hold more than text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.data.sources.chats import checked
from logitcache.errors import SpecError
from logitcache.reporter import SILENT
from tests.language.small_lms import CHAT
from tests.language.test_chat import conversation, template, written

FLAGS = [
    ("train", True),
    ("training", True),
    ("loss", True),
    ("weight", True),
    ("loss_weight", True),
    ("masked", False),
]


@given(st.sampled_from(FLAGS), st.booleans(), st.sampled_from([bool, int, float]))
def test_flags_of_others_say_what_is_learnt(
    flag: tuple[str, bool], is_learnt: bool, kind: type
) -> None:
    key, of_learnt = flag
    chat = conversation(["w1", "w2", "w3", "w4"])
    chat[1][key] = kind(is_learnt is of_learnt)
    chat[3][key] = None  # says nothing
    expected = ["w2 <|end|>"] * is_learnt + ["w4 <|end|>"]
    assert written(template(CHAT), json.loads(checked(chat, ""))) == expected


@pytest.mark.parametrize(
    "flags", [{"loss": 0.5}, {"train": "false"}, {"train": True, "weight": 0}, {"mask": "User"}]
)
def test_what_is_no_flag_is_refused(flags: dict[str, Any]) -> None:
    chat = conversation(["w1", "w2"])
    chat[1].update(flags)
    with pytest.raises(SpecError, match=re.escape(f"found message 1: {flags}")):
        checked(chat, "")


TEXT_PART = {"type": "text", "text": "w1"}
TURN = {
    "messages": {"role": "assistant", "content": [TEXT_PART]},
    "conversations": {"from": "gpt", "value": [TEXT_PART]},
    "contents": {"role": "model", "parts": [{"text": "w1"}]},
}
IMAGE = {"type": "image_url", "image_url": {"url": "u"}}
MEDIA: list[tuple[dict[str, Any], str]] = [
    (
        {"messages": [{"role": "user", "content": [IMAGE, TEXT_PART]}]},
        "a part of the type image_url",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "image", "text": None}]}]}, "type image"),
    ({"conversations": [{"from": "human", "value": [{"type": "audio"}]}]}, "type audio"),
    ({"contents": [{"role": "user", "parts": [{"inlineData": "x"}]}]}, "type inlineData"),
    ({"messages": [TURN["messages"]], "images": ["a.png"]}, "a column 'images'"),
    ({"prompt": "w1", "completion": "w2", "image": "a.png"}, "a column 'image'"),
]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize(("row", "found"), MEDIA)
def test_rows_with_images_are_left_out_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: dict[str, Any], found: str, ending: str
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = {key: "w1" if isinstance(value, str) else [TURN[key]] for key, value in row.items()
             if key not in ("image", "images")}  # fmt: skip
    frame = pandas.DataFrame([row, plain, plain])
    if ending == ".parquet":
        frame.to_parquet("chats.parquet")
    else:
        frame.to_json("chats.jsonl", orient="records", lines=True)
    with pytest.raises(SpecError, match=found) as caught:
        load(f"chats{ending}", Columns(task="causal-lm"), tmp_path, SILENT)
    command = re.search('python -c "(.*)"$', str(caught.value))
    assert command is not None
    exec(command[1], {})
    assert len(load("OUT.jsonl", Columns(task="causal-lm"), tmp_path, SILENT).table("train")) == 2
