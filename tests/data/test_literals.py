"""Literals in texts: those of Python, and arrays as numpy and torch print them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.literals import python_value
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.reporter import SILENT

TEXTS = st.lists(
    st.text(st.characters(codec="ascii", exclude_characters="\n\r\0"), min_size=1), min_size=1
)


@given(TEXTS)
def test_lists_of_strings_are_read_as_python_and_numpy_print_them(words: list[str]) -> None:
    assert python_value(str(words)) == words
    with np.printoptions(threshold=10_000):
        assert python_value(str(np.array(words, object))) == words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tensor([0.5, 0.5], device='cuda:0', grad_fn=<SoftmaxBackward0>)", [0.5, 0.5]),
        ("array([0.25, 0.75], dtype=float32)", [0.25, 0.75]),
        ("np.array(['a', ' ', 'b'])", ["a", " ", "b"]),
        ("('a', 1)", ("a", 1)),
    ],
)
def test_arrays_are_read_with_their_calls(text: str, value: object) -> None:
    assert python_value(text) == value


@pytest.mark.parametrize("text", ["pos", "['a' 1]", "['a' ... 'b']", "f(1)", "[1, 2", "['a' 'b"])
def test_other_texts_are_no_values(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        python_value(text)


def test_labels_that_numpy_has_printed_are_several(tmp_path: Path) -> None:
    """`['a' 'b']` is one string, 'ab', for Python, which became a class."""
    file = tmp_path / "r.csv"
    file.write_text("text,label\nt,['a' 'b']\nu,['a']\n")
    with pytest.raises(SpecError, match=r"line 2: .*several labels a row"):
        load(str(file), Columns(), tmp_path, SILENT)
