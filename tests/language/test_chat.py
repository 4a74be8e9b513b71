"""Which tokens the assistant wrote: marked by the template, told by prefixes, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.data.preprocess.chat import Template
from logitcache.data.sources.chats import checked
from logitcache.errors import SpecError
from tests.language.small_lms import CHAT, WORDS, make_tokenizer

MARKED = (
    "{% for m in messages %}<|start|> {{ m.role }} <|body|> {% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }} <|end|>{% endgeneration %}{% else %}{{ m.content }} <|end|>{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}<|start|> assistant <|body|> {% endif %}"
)
# a thought is opened by the prompt, so nobody writes it
THINKS = CHAT.replace(
    "{{ m.content }}", "{% if m.role == 'assistant' %}w0 w0 {% endif %}{{ m.content }}"
).replace("assistant <|body|> {% endif %}", "assistant <|body|> w0 w0 {% endif %}")
# the thought of earlier turns is dropped, as some templates do
DROPS = CHAT.replace(
    "{{ m.content }}",
    "{% if not loop.last or loop.length == 1 %}{% else %}{{ m.content }}{% endif %}",
)
# the last turn is rendered otherwise than the same turn before others, as a thought is left out of
# earlier turns; its end token tells where a message ends
LAST = "{% if loop.last and m.role == 'assistant' %} w0{% endif %}"
REWRITES = CHAT.replace("{{ m.content }} <|end|>", "{{ m.content }}" + LAST + " <|end|>")
# and without an end token, where nothing tells
ENDLESS = CHAT.replace("{{ m.content }} <|end|>", "{{ m.content }}" + LAST)
# the prompt supplies an empty thought where it is asked for none
MAY_THINK = CHAT.replace(
    "{{ m.content }}",
    "{% if loop.last and m.role == 'assistant' %}w0 w0 {% endif %}{{ m.content }}",
).replace(
    "assistant <|body|> {% endif %}",
    "assistant <|body|> {% if enable_thinking is false %}w0 w0 {% endif %}{% endif %}",
)
# a conversation that is over ends with the end of texts
ENDED = CHAT.replace(
    "{% if add_generation_prompt %}", "{% if not add_generation_prompt %}</s>{% else %}"
)
# the next answer is asked for always
ALWAYS = CHAT.replace("{% if add_generation_prompt %}", "{% if true %}")

TURNS = st.lists(
    st.lists(st.sampled_from(WORDS[1:]), min_size=1, max_size=5).map(" ".join),
    min_size=2,
    max_size=6,
)


def conversation(contents: list[str]) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[turn % 2], "content": content} for turn, content in enumerate(contents)]


def template(text: str) -> Template:
    tokenizer = make_tokenizer(limit=1000)
    tokenizer.chat_template = text
    return Template(tokenizer)


def written(one: Template, messages: list[dict[str, Any]]) -> list[str]:
    """The learnt tokens of a conversation, turn by turn."""
    return runs(one, one.tokens(messages))


def runs(one: Template, document: tuple[list[int], list[int]]) -> list[str]:
    """The learnt tokens of a document, run by run."""
    ids, learnt = document
    tokens: list[list[int]] = []
    for token, flag, before in zip(ids, learnt, [0, *learnt], strict=False):
        if flag and not before:
            tokens.append([])
        if flag:
            tokens[-1].append(token)
    return [" ".join(one.tokenizer.convert_ids_to_tokens(run)) for run in tokens]


@given(TURNS)
def test_the_pieces_are_what_the_assistant_said(contents: list[str]) -> None:
    messages = conversation(contents)
    expected = [
        f"{message['content']} <|end|>" for message in messages if message["role"] == "assistant"
    ]
    for text in (CHAT, MARKED, THINKS, MAY_THINK, ENDED, ALWAYS):
        assert written(template(text), messages) == expected


@pytest.mark.parametrize("text", [CHAT, MARKED, THINKS, MAY_THINK, ENDED, ALWAYS])
def test_of_an_answer_without_a_content_its_end_is_learnt(text: str) -> None:
    messages = conversation(["w1", "", "w3", "w4"])
    assert written(template(text), messages) == ["<|end|>", "w4 <|end|>"]


@given(TURNS, st.sets(st.integers(0, 2)))
def test_a_message_that_is_not_to_be_learnt_is_not(contents: list[str], skipped: set[int]) -> None:
    messages = conversation(contents)
    turns = [message for message in messages if message["role"] == "assistant"]
    for turn in skipped & set(range(len(turns))):
        turns[turn]["train"] = False
    expected = [f"{turn['content']} <|end|>" for turn in turns if turn.get("train", True)]
    for text in (CHAT, MARKED):
        if expected:
            assert written(template(text), messages) == expected
        else:
            with pytest.raises(
                SpecError, match="expected an assistant message to learn, found none"
            ):
                template(text).tokens(messages)


def test_white_space_behind_the_end_token_is_not_learnt() -> None:
    from tokenizers import pre_tokenizers

    one = template(CHAT)
    one.tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    one.tokenizer.add_tokens(["\n"])
    ids, learnt = one.tokens(conversation(["w1", "w2"]))
    newline = one.tokenizer.convert_tokens_to_ids("\n")
    assert ids[-1] == newline
    assert learnt[-1] == 0
    assert learnt[-2] == 1


def test_a_template_without_marks_that_claims_some_is_told_by_prefixes() -> None:
    """All zeros, or all ones, is what others have been trained on."""
    empty = CHAT + "{% if false %}{% generation %}{% endgeneration %}{% endif %}"
    whole = "{% generation %}" + CHAT + "{% endgeneration %}"
    messages = conversation(["w1", "w2 w3", "w4", "w5"])
    for text in (empty, whole):
        assert written(template(text), messages) == ["w2 w3 <|end|>", "w5 <|end|>"]
        assert written(template(text), messages[:2]) == ["w2 w3 <|end|>"]


def test_a_last_turn_that_is_rendered_otherwise_ends_with_its_end_token() -> None:
    for said in ("w2", "assistant"):  # which the header of the message has too
        messages = conversation(["w1", said, "w3", "w4"])
        assert written(template(REWRITES), messages) == [f"{said} <|end|>", "w4 w0 <|end|>"]


CALLS = CHAT.replace(
    "{{ m.content }}",
    "{{ m.content }}{% for c in m.tool_calls or [] %} {{ c.function.name }} {{ c.function.arguments.x }}{% endfor %}",
)


def called(name: str, arguments: Any) -> list[dict[str, Any]]:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return [
        {"role": "user", "content": "w1"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "w6"},
        {"role": "assistant", "content": "w7"},
    ]


@pytest.mark.parametrize("arguments", [{"x": "w3"}, '{"x": "w3"}'])
def test_calls_of_tools_are_learnt(arguments: Any) -> None:
    messages = json.loads(checked(called("w2", arguments), ""))
    first = "{% if loop.last and m.role == 'assistant' %}w0 {% endif %}"
    thinks = CALLS.replace("{{ m.content }}", first + "{{ m.content }}")
    for text, last in ((CALLS, "w7 <|end|>"), (thinks, "w0 w7 <|end|>")):
        assert written(template(text), messages) == ["w2 w3 <|end|>", last]


def test_a_template_that_drops_a_call_is_refused() -> None:
    """It would teach to say nothing."""
    messages = json.loads(checked(called("w2", {}), ""))
    with pytest.raises(
        SpecError, match=r"drops or rewrites message 1 \(assistant: 'the call of w2'"
    ):
        template(CHAT).tokens(messages)


def test_tools_are_named_to_the_template() -> None:
    tools = [{"type": "function", "function": {"name": "w8"}}]
    one = template("{% for t in tools or [] %}{{ t.function.name }} {% endfor %}" + CHAT)
    for column in (tools, json.dumps(tools)):
        row = json.loads(checked(conversation(["w1", "w2"]), "", column))
        ids, learnt = one.tokens(row["messages"], row["tools"])
        assert one.tokenizer.convert_ids_to_tokens(ids)[0] == "w8"
        assert written(one, row["messages"]) == ["w2 <|end|>"]
        assert sum(learnt) == 2
    with pytest.raises(SpecError, match=r"row 3: tools: expected a list of tools"):
        checked(conversation(["w1", "w2"]), "row 3", "none")


@pytest.mark.parametrize(
    "message",
    [
        {"from": "gpt", "value": "w2"},
        {"role": "model", "content": "w2"},
        {"role": "Assistant", "content": [{"type": "text", "text": "w2"}]},
        {"role": "assistant", "content": "w2", "weight": 1},
        {"role": "assistant", "content": "w2", "weight": None, "train": None},
        {"role": "bot", "content": [{"type": "output_text", "text": "w2", "annotations": []}]},
    ],
)
def test_messages_as_others_write_them(message: dict[str, Any]) -> None:
    messages = json.loads(checked([{"from": "human", "value": "w1"}, message], ""))
    assert written(template(CHAT), messages) == ["w2 <|end|>"]


@pytest.mark.parametrize(
    "flag", [{"weight": 0}, {"loss": False}, {"training": False}, {"masked": True, "train": False}]
)
def test_a_message_with_a_flag_is_not_learnt(flag: dict[str, Any]) -> None:
    chat = conversation(["w1", "w2", "w3", "w4"])
    chat[1] |= flag
    assert written(template(CHAT), json.loads(checked(chat, ""))) == ["w4 <|end|>"]


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({"content": None}, "'content': None"),
        ({"content": "w2", "weight": 2}, "'weight': 2"),
        ({"content": "w2", "weight": 0.5}, "'weight': 0.5"),
        ({"content": "w2", "train": "false"}, "'train': 'false'"),
        ({"content": "w2", "train": True, "loss": False}, "'train': True"),
        ({"content": "w2", "mask": 1}, "'mask': 1"),
        ({"content": "w2", "train_detail": [{"begin_offset": 0}]}, "'train_detail': "),
    ],
)
def test_a_message_that_is_none_is_named(message: dict[str, Any], found: str) -> None:
    chat = [*conversation(["w1", "w2", "w3"]), {"role": "assistant", **message}]
    with pytest.raises(SpecError, match=r"weight\" 0 or 1, found message 3: .*" + found):
        checked(chat, "")


def test_the_advice_of_an_unknown_role_works() -> None:
    messages = conversation(["w1", "w2"])
    messages[1]["role"] = "Agent"
    with pytest.raises(SpecError) as refused:
        template(CHAT).tokens(messages)
    assert 'the role "assistant"' in str(refused.value.advice)
    messages[1]["role"] = "assistant"
    assert written(template(CHAT), messages) == ["w2 <|end|>"]


def test_a_conversation_that_the_assistant_begins_is_read_by_marks_alone() -> None:
    messages = conversation(["w1", "w2", "w3", "w4"])[1:]
    assert written(template(MARKED), messages) == ["w2 <|end|>", "w4 <|end|>"]
    with pytest.raises(SpecError, match="before the first one of the assistant") as refused:
        template(CHAT).tokens(messages)
    assert 'Give that message "train": false' in str(refused.value.advice)
    messages[0]["train"] = False
    assert written(template(CHAT), messages) == ["w4 <|end|>"]


def test_white_space_that_a_template_changes_is_not_dropped() -> None:
    one = template(CHAT.replace("{{ m.content }}", "{{ m.content.replace('w5', 'w5 ') }}"))
    assert written(one, conversation(["w1", "w5\nw6"])) == ["w5 w6 <|end|>"]


def test_white_space_at_the_end_of_a_prompt_may_be_split_otherwise() -> None:
    """As that of a role's header is in a byte-level vocabulary, where something follows."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    words = ("?", "user", "assistant", "w1", "w2", "\n", "\n\n", "</s>")
    one = template(
        "{% for m in messages %}{{ m.role }}\n\n{{ m.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}assistant\n\n{% endif %}"
    )
    vocabulary = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"</s>|\w+|\s+(?!\S)|\s"), "isolated")
    one.tokenizer._tokenizer = backend
    one.special = {vocabulary["</s>"]}
    assert written(one, conversation(["w1", "w2"])) == ["w2 </s>"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DROPS, "drops or rewrites message 0"),
        (ENDLESS, "another beginning: its first 2 messages, rendered alone, are other tokens"),
        (
            CHAT.replace("<|body|> {% endif %}", "w9 {% endif %}"),
            "rendered with the generation prompt alone",
        ),
        ("{{ raise_exception('roles must alternate') }}", "found its error: roles must alternate"),
    ],
)
def test_what_cannot_be_told_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        template(text).tokens(conversation(["w1", "w2", "w3", "w4"]))


def test_a_token_over_the_end_of_the_prompt_is_refused_and_the_advice_works() -> None:
    """As of a byte-level vocabulary, whose words begin with their space."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    words = {
        word: number
        for number, word in enumerate(("?", "user", "assistant", "w1", " w2", "w2", "\n", " "))
    }
    one = template(
        "{% for m in messages %}{{ m.role }} {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant {% endif %}"
    )
    backend = Tokenizer(models.WordLevel(words, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+|\s"), "isolated")
    one.tokenizer._tokenizer = backend
    with pytest.raises(SpecError, match="a token that spans 'sistant ' and 'w2"):
        one.tokens(conversation(["w1", "w2"]))
    broken = one.tokenizer.chat_template.replace("role }} ", "role }}\n").replace(
        "assistant ", "assistant\n"
    )
    one.tokenizer.chat_template = broken
    assert sum(one.tokens(conversation(["w1", "w2"]))[1]) >= 1


@pytest.mark.parametrize(
    "value", [None, [], "text", [{"role": "user"}], [{"role": "user", "content": 3}], [3]]
)
def test_what_are_no_messages_is_refused_by_its_place(value: Any) -> None:
    with pytest.raises(SpecError, match=r"chat\.jsonl line 3: expected a list of messages"):
        checked(value, "chat.jsonl line 3")
