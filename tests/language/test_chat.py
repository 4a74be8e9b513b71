"""Which tokens the assistant wrote: marked by the template, told by prefixes, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.data.preprocess.chat import Template, checked
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
# the last turn is rendered otherwise than the same turn before others
REWRITES = CHAT.replace(
    "{{ m.content }} <|end|>",
    "{{ m.content }}{% if loop.last and m.role == 'assistant' %} w0{% endif %} <|end|>",
)

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
    ids, learnt = one.tokens(messages)
    runs: list[list[int]] = []
    for token, flag, before in zip(ids, learnt, [0, *learnt], strict=False):
        if flag and not before:
            runs.append([])
        if flag:
            runs[-1].append(token)
    return [" ".join(one.tokenizer.convert_ids_to_tokens(run)) for run in runs]


@given(TURNS)
def test_the_pieces_are_what_the_assistant_said(contents: list[str]) -> None:
    messages = conversation(contents)
    expected = [
        f"{message['content']} <|end|>" for message in messages if message["role"] == "assistant"
    ]
    for text in (CHAT, MARKED, THINKS):
        assert written(template(text), messages) == expected


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DROPS, "drops or rewrites message 0"),
        (REWRITES, "another beginning: its first 2 messages, rendered alone, are other tokens"),
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
