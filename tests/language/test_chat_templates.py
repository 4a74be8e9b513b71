"""What the assistant wrote, by templates in the manner of those of popular models: exactly, or
refused by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from logitcache.api import load
from logitcache.config.sequences import Sequences
from logitcache.data.preprocess import chat_dates
from logitcache.data.preprocess.chat import Template
from logitcache.data.preprocess.chat_answers import documents
from logitcache.data.tasks.causal_lm import CausalLM
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes
from tests.conftest import write_rows
from tests.language.small_lms import CHAT, make_tokenizer
from tests.language.test_chat import runs

HEAD = "<|start|> {{ role }} <|body|> "
ASKED = "{% if add_generation_prompt %}<|start|> assistant <|body|> {% endif %}"
EACH = "{% for m in messages %}{% set role = m.role %}"
# texts are trimmed, and a conversation begins with a token of its own
TRIMS = "</s> " + EACH + HEAD + "{{ m.content | trim }} <|end|>\n{% endfor %}" + ASKED
# a conversation without a system's message gets one
HAS_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|start|> system <|body|> w9 <|end|>\n{% endif %}"
)
DEFAULT_SYSTEM = HAS_SYSTEM + EACH + HEAD + "{{ m.content }} <|end|>\n{% endfor %}" + ASKED
# the thought of all answers but those behind the last question is left out
FORGETS = (
    "{% set last = namespace(user=-1) %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% set last.user = loop.index0 %}{% endif %}{% endfor %}"
    + EACH + HEAD + "{% set said = m.content %}{% set thought = m.reasoning_content or '' %}"
    "{% if '</think>' in said %}{% set thought = said.split('</think>')[0].split('<think>')[-1].strip() %}"
    "{% set said = said.split('</think>')[-1].strip() %}{% endif %}"
    "{% if role == 'assistant' and loop.index0 > last.user %}<think> {{ thought }} </think> {% endif %}"
    "{{ said }} <|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|> assistant <|body|> "
    "{% if enable_thinking is false %}<think>  </think> {% endif %}{% endif %}"
)  # fmt: skip
ALTERNATES = (
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
)
# the system's message is part of the first question, and the assistant has another name
MERGES = (
    "{% set first = '' %}{% set rest = messages %}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content + ' ' %}{% set rest = messages[1:] %}{% endif %}"
    "{% for m in rest %}" + ALTERNATES + "<|start|> {{ 'w8' if m.role == 'assistant' else m.role }} <|body|> "
    "{{ first if loop.first }}{{ m.content | trim }} <|end|>\n{% endfor %}"
    + ASKED.replace("assistant", "w8")
)  # fmt: skip
# no generation prompt; the system's message stands in the question that is the last message
NO_PROMPT = (
    "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}"
    "{% for m in rest %}{% if m.role == 'user' %}<|start|> "
    "{{ messages[0].content + ' ' if loop.last and messages[0].role == 'system' }}{{ m.content }} <|body|>"
    "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}"
)
# a thought is opened by the prompt, and none is rendered
OPENS = (
    EACH + HEAD + "{{ m.content.split('</think>')[-1] }} <|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|> assistant <|body|> <think> {% endif %}"
)  # fmt: skip
# an answer ends with a token of its own and that of every turn
TWO_ENDS = (
    EACH + HEAD + "{{ m.content }}{{ ' <|stop|>' if role == 'assistant' }} <|end|>{% endfor %}" + ASKED
)  # fmt: skip
# the last message has no end unless another is asked for; the prompt is left out behind an answer
UNENDED = (
    EACH + HEAD + "{{ m.content }}{% if not loop.last or add_generation_prompt %} <|end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt and messages[-1].role != 'assistant' %}<|start|> assistant <|body|> {% endif %}"
)  # fmt: skip
# the marks have the header and the end of texts
MARKS_ALL = (
    EACH + "{% if role == 'assistant' %}{% generation %}<|start|> assistant <|body|> {{ m.content }} <|end|>"
    "{{ ' </s>' if loop.last }}{% endgeneration %}\n"
    "{% else %}" + HEAD + "{{ m.content }} <|end|>\n{% endif %}{% endfor %}" + ASKED
)  # fmt: skip
# and the prompt supplies more than the header
MARKS_HEADER = MARKS_ALL.replace(
    "assistant <|body|> {% endif %}", "assistant <|body|> <think> {% endif %}"
)
DATED = "{{ strftime_now('%Y-%m-%d') }} " + TRIMS
THOUGHT = "<think> w5 </think> w6"


def template(text: str) -> Template:
    tokenizer = make_tokenizer(limit=1000)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|stop|>"]}, replace_extra_special_tokens=False
    )
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = text
    return Template(tokenizer)


def chat(*contents: Any, system: str = "") -> list[dict[str, Any]]:
    """Questions and answers in turn; an answer may be a message's fields."""
    messages = [{"role": "system", "content": system}] if system else []
    for turn, content in enumerate(contents):
        fields = {"content": content} if isinstance(content, str) else content
        messages.append({"role": ("user", "assistant")[turn % 2], **fields})
    return messages


def written(text: str, messages: list[dict[str, Any]]) -> list[str]:
    """The learnt tokens of a conversation that is one document, run by run."""
    (document,) = documents(template(text), messages)
    return runs(template(text), document)


def behind_prompts(text: str, messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The documents of one answer that a conversation becomes: what stands before it, and it."""
    pairs = []
    for ids, learnt in documents(template(text), messages):
        words = template(text).tokenizer.convert_ids_to_tokens(ids)
        start = learnt.index(1)
        pairs.append((" ".join(words[:start]), " ".join(words[start : start + sum(learnt)])))
    return pairs


EXACT = {
    "trims": (TRIMS, chat("  w1 ", "\n w2 \n", "w3", " w4", system="w7"), ["w2 <|end|>", "w4 <|end|>"]),
    "default system": (DEFAULT_SYSTEM, chat("w1", "w2", "w3", "w4"), ["w2 <|end|>", "w4 <|end|>"]),
    "own system": (DEFAULT_SYSTEM, chat("w1", "w2", system="w7"), ["w2 <|end|>"]),
    "a last thought": (FORGETS, chat("w1", "w2", "w3", THOUGHT), ["w2 <|end|>", f"{THOUGHT} <|end|>"]),
    "no thought": (FORGETS, chat("w1", "w2", "w3", "w4"), ["w2 <|end|>", "w4 <|end|>"]),
    "a field of thought": (
        FORGETS, chat("w1", {"content": "w6", "reasoning_content": "w5"}), [f"{THOUGHT} <|end|>"]),
    "a thought of history": (
        FORGETS, chat("w1", {"content": THOUGHT, "train": False}, "w3", THOUGHT), [f"{THOUGHT} <|end|>"]),
    "merged system": (MERGES, chat("w1", " w2 ", "w3", "w4", system="w7"), ["w2 <|end|>", "w4 <|end|>"]),
    "no prompt": (NO_PROMPT, chat("w1", "w2", "w3", "w4"), ["w2 </s>", "w4 </s>"]),
    "two ends": (TWO_ENDS, chat("w1", "w2", "w3", "w4"), ["w2 <|stop|> <|end|>", "w4 <|stop|> <|end|>"]),
    "two ends and that of texts": (
        TWO_ENDS + "{{ '' if add_generation_prompt else '</s>' }}", chat("w1", "w2"), ["w2 <|stop|>"]),
    "unended": (UNENDED, chat("w1", "w2"), ["w2"]),
    "marks of all": (MARKS_ALL, chat("w1", "w2", "w3", "w4"), ["w2 <|end|>", "w4 <|end|>"]),
    "marks with a header": (MARKS_HEADER, chat("w1", "w2", "w3", "w4"), ["w2 <|end|>", "w4 <|end|>"]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_answers_and_their_ends_are_learnt_and_no_more(name: str) -> None:
    text, messages, expected = EXACT[name]
    assert written(text, messages) == expected


HEADER = "<|start|> assistant <|body|>"
ASKS = "<|start|> user <|body|>"
# the last answer ends with another token, and earlier ones have no thought, as in harmony
HARMONY = (
    EACH + HEAD + "{% if m.reasoning_content and loop.last %}w9 {{ m.reasoning_content }} <|stop|> " + HEAD
    + "{% endif %}"
    "{{ m.content }} {{ '<|stop|>' if loop.last and role == 'assistant' else '<|end|>' }}{% endfor %}" + ASKED
)  # fmt: skip
# the arguments of a call are added to a text
CALLS_AS_TEXT = CHAT.replace(
    "{{ m.content }}",
    "{{ m.content }}{% for call in m.tool_calls or [] %}{{ call.function.name + ' ' + call.function.arguments }}"
    "{% endfor %}",
)
DIVIDED = {
    "thoughts": (FORGETS, chat("w1", THOUGHT, "w3", THOUGHT), [
        (f"{ASKS} w1 <|end|> {HEADER}", f"{THOUGHT} <|end|>"),
        (f"{ASKS} w1 <|end|> {HEADER} w6 <|end|> {ASKS} w3 <|end|> {HEADER}", f"{THOUGHT} <|end|>")]),
    "an earlier field of thought": (
        FORGETS, chat("w1", {"content": "w2", "reasoning_content": "w5"}, "w3", {"content": "w4", "train": False}),
        [(f"{ASKS} w1 <|end|> {HEADER}", "<think> w5 </think> w2 <|end|>")]),
    "an opened thought": (OPENS, chat("w1", THOUGHT, "w3", "w5 </think> w6"), [
        (f"{ASKS} w1 <|end|> {HEADER} <think>", "w5 </think> w6 <|end|>"),
        (f"{ASKS} w1 <|end|> {HEADER} w6 <|end|> {ASKS} w3 <|end|> {HEADER} <think>", "w5 </think> w6 <|end|>")]),
    "a system of the last question": (NO_PROMPT, chat("w1", "w2", "w3", "w2", system="w7"), [
        ("<|start|> w7 w1 <|body|>", "w2 </s>"),
        ("<|start|> w1 <|body|> w2 </s> <|start|> w7 w3 <|body|>", "w2 </s>")]),
    "other ends": (HARMONY, chat("w1", {"content": "w2", "reasoning_content": "w5"}, "w3", "w4"), [
        (f"{ASKS} w1 <|end|> {HEADER}", f"w9 w5 <|stop|> {HEADER} w2 <|stop|>"),
        (f"{ASKS} w1 <|end|> {HEADER} w2 <|end|> {ASKS} w3 <|end|> {HEADER}", "w4 <|stop|>")]),
}  # fmt: skip


@pytest.mark.parametrize("name", DIVIDED)
def test_answers_that_a_template_renders_otherwise_later_are_learnt_behind_their_prompts(
    name: str,
) -> None:
    text, messages, expected = DIVIDED[name]
    assert behind_prompts(text, messages) == expected


def test_arguments_of_calls_are_text_where_a_template_adds_them_to_one() -> None:
    call = {"function": {"name": "w8", "arguments": {"w1": 1}}}
    messages = chat("w1", {"content": "", "tool_calls": [call]})
    assert written(CALLS_AS_TEXT, messages) == ["w8 <unk> <unk> <|end|>"]


REFUSED = {
    "a field that no template knows": (
        TRIMS, chat("w1", {"content": "w2", "reasoning": "w5"}), "leaves out that of message 1"),
    "a thought that is not rendered": (
        OPENS.replace("<think> {% endif %}", "{% endif %}"), chat("w1", THOUGHT), "leaves out that of message 1"),
    "a field of an opened thought": (
        OPENS, chat("w1", {"content": "w2", "reasoning_content": "w5"}), "leaves out that of message 1"),
    "an opened thought": (OPENS, chat("w1", "w2"), "or begin the answer with its thought"),
    "a system that is dropped": (
        NO_PROMPT.replace("loop.last and", "false and"), chat("w1", "w2", system="w7"),
        r"drops or rewrites message 0 \(system: 'w7'"),
    "roles": (MERGES, chat("w1", "w2")[:1] * 2, "found its error: roles must alternate"),
    "a header behind an answer": (
        UNENDED, [*chat("w1", "w2"), *chat("w3", "w4")[1:]], "its first 2 messages, rendered with the gener"),
    "nothing to learn": (CHAT, chat("w1", {"content": "w2", "train": False}), "an assistant message to learn"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_template_does_not_say_is_refused(name: str) -> None:
    text, messages, words = REFUSED[name]
    with pytest.raises(SpecError, match=words):
        documents(template(text), messages)


def advice(text: str, messages: list[dict[str, Any]]) -> str:
    with pytest.raises(SpecError) as refused:
        documents(template(text), messages)
    return str(refused.value.advice)


def test_the_advice_of_a_thought_in_a_field_works() -> None:
    for text in (TRIMS, OPENS):
        messages = chat("w1", {"content": "w6", "reasoning_content": "w5"})
        assert "Write it in the content, between <think> and </think>" in advice(text, messages)
        assert behind_prompts(text, chat("w1", THOUGHT))[0][1].endswith("w5 </think> w6 <|end|>")


def test_the_advice_of_an_opened_thought_works() -> None:
    assert "begin the answer with its thought, <think></think> if it has none" in advice(
        OPENS, chat("w1", "w2")
    )
    (pair,) = behind_prompts(OPENS, chat("w1", "<think></think> w2"))
    assert pair == (f"{ASKS} w1 <|end|> {HEADER} <think>", "</think> w2 <|end|>")
    assert "or let that prompt supply what its answers begin with" in advice(
        OPENS, chat("w1", "w2")
    )
    header = "{% if add_generation_prompt %}<|start|> assistant <|body|> "
    assert written(OPENS.replace(f"{header}<think> ", header), chat("w1", "w2")) == ["w2 <|end|>"]


def test_the_advice_of_a_system_that_is_dropped_works() -> None:
    text = NO_PROMPT.replace("loop.last and", "false and")
    assert "Write it at the beginning of the first question" in advice(
        text, chat("w1", "w2", system="w7")
    )
    assert behind_prompts(text, chat("w7 w1", "w2")) == [("<|start|> w7 w1 <|body|>", "w2 </s>")]


def test_the_advice_of_answers_that_follow_one_another_works() -> None:
    messages = [*chat("w1", "w2"), *chat("w3", "w4")[1:]]
    assert "make one message of the assistant's that follow one another" in advice(
        UNENDED, messages
    )
    assert written(UNENDED, chat("w1", "w2 w4")) == ["w2 w4"]


def notes_of(tmp_path: Path, text: str, messages: list[dict[str, Any]]) -> str:
    write_rows(tmp_path / "chats.jsonl", [{"messages": messages}] * 4)
    source = load(
        str(tmp_path / "chats.jsonl"), task="causal-lm", workspace=tmp_path, reporter=SILENT
    )
    notes: list[str] = []
    CausalLM.tokenised(source, template(text).tokenizer, Sequences(), 64, Notes(notes.append))
    return "\n".join(notes)


def test_conversations_that_are_divided_are_counted(tmp_path: Path) -> None:
    notes = notes_of(tmp_path, FORGETS, chat("w1", THOUGHT, "w3", THOUGHT))
    assert "4 of 4 conversations become one document for each answer" in notes


def test_answers_without_an_end_are_counted_and_the_advice_works(tmp_path: Path) -> None:
    endless = CHAT.replace(" <|end|>", "")
    notes = notes_of(tmp_path, endless, chat("w1", "w2"))
    assert (
        "in 4 of 4 conversations the chat template puts no special token behind an answer" in notes
    )
    assert "put {{ eos_token }} behind the assistant's content" in notes
    ended = endless.replace(
        "{{ m.content }}",
        "{{ m.content }}{% if m.role == 'assistant' %} {{ eos_token }}{% endif %}",
    )
    assert "no special token" not in notes_of(tmp_path, ended, chat("w1", "w2"))
    assert written(ended, chat("w1", "w2")) == ["w2 </s>"]


def test_the_date_is_one_for_all_rows_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(chat_dates.FIXED_DATE, "86400")
    one = template(DATED)
    assert one.text(chat("w1", "w2")).startswith("1970-01-02 ")
    assert written(DATED, chat("w1", "w2")) == ["w2 <|end|>"]
    write_rows(tmp_path / "chats.jsonl", [{"messages": chat("w1", "w2")}] * 4)
    source = load(
        str(tmp_path / "chats.jsonl"), task="causal-lm", workspace=tmp_path, reporter=SILENT
    )
    notes: list[str] = []
    CausalLM.tokenised(source, one.tokenizer, Sequences(), 64, Notes(notes.append))
    assert any("writes the date into rows (1970-01-02)" in note for note in notes)
    assert any("unless SOURCE_DATE_EPOCH=86400 is set" in note for note in notes)
    monkeypatch.setenv(chat_dates.FIXED_DATE, "today")
    with pytest.raises(
        SpecError, match=r"SOURCE_DATE_EPOCH: expected seconds since 1970, found 'today'"
    ):
        template(DATED)
