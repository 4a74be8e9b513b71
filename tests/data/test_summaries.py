"""Which docstrings of a package are read, and what becomes of one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.data.sources import summaries
from tests.data.docstring_packages import built, module


def test_own_name_is_left_out_and_another_is_kept(tmp_path: Path) -> None:
    found = built(
        tmp_path,
        riverlib={
            "a.py": module(
                "A queue for use with Riverlib only.", "A queue that forestlib does not have."
            )
        },
        pandas={
            "a.py": module(
                "Call pd.concat on all of the parts.", "Keep the updates of all of the parts."
            )
        },
        np={
            "a.py": module("An np array of the given shape.", "An input array of the given shape.")
        },
    )
    assert set(found) == {
        "A queue that forestlib does not have.",
        "Keep the updates of all of the parts.",
        "An input array of the given shape.",
    }


def test_modules_classes_functions_are_read_wherever_they_stand(tmp_path: Path) -> None:
    source = '''
"""The module has a docstring of its own."""
class A:
    """The class has a docstring of its own."""
    async def _method(self):
        """The private method has a docstring of its own."""
        "A string that is no docstring stays out."
if True:
    pass
else:
    try:
        pass
    except ValueError:
        def f():
            """The function in a handler has one too."""
match 1:
    case 1:
        def g():
            """The function in a case has one too."""
raise SystemExit("sources are parsed, never executed")
'''
    found = built(tmp_path, riverlib={"a/b.py": source})
    assert len(found) == 5
    assert all("has" in text for text in found)


def test_files_that_are_not_python_and_tests_are_skipped(tmp_path: Path) -> None:
    kept = "The only summary that should be kept."
    left = module("A summary that should be left out.")
    found = built(
        tmp_path,
        riverlib={
            "good.py": module(kept),
            "syntax.py": left + "\ndef (:\n",
            "bytes.py": left.encode() + b"\nx = '\xff\xfe'\n",
            "null.py": left + "\0",
            "template.txt": left,
            "tests/helper.py": left,
            "deep/_testing/helper.py": left,
            "externals/other.py": left,
            "_vendor/other.py": left,
            "test_a.py": left,
            "conftest.py": left,
            "folder.py/__init__.txt": left,
        },
    )
    assert found == {kept: "riverlib"}


def test_invalid_escapes_in_sources_do_not_warn(tmp_path: Path) -> None:
    assert built(tmp_path, riverlib={"a.py": '"""A summary with a stray \\d escape in it."""'})


@pytest.mark.parametrize(
    ("docstring", "summary"),
    [
        (
            "One summary\n    over two   lines here.\n\n    A second paragraph.",
            "One summary over two lines here.",
        ),
        ("Return the :func:`~a.b.queue` of ``n`` items.", "Return the a.b.queue of n items."),
        (
            "Wrap the [`Queue`](../queue) and **all** of [`Other`].",
            "Wrap the Queue and all of Other.",
        ),
        (
            "Read `the long manual <https://example.org>`__ about queues.",
            "Read the long manual about queues.",
        ),
        ("A title of at least five words\n===========\nMore.", "A title of at least five words"),
        (
            "Sort the items of the queue.\nArgs:\n    n: the number of items",
            "Sort the items of the queue.",
        ),
        ("Sort the items of the queue:\n- by their age\n- by name", "Sort the items of the queue:"),
        (
            "Short sentence number one here. " + "Many " * 58 + "words.",
            "Short sentence number one here.",
        ),
        ("word " * 61, None),
        ("Too short to keep.", None),
        ("a b c d e f", None),
        ("=====\nTitle of some five words\n=====", None),
        (">>> queue.push(1) and then some words", None),
        (".. deprecated:: 1.2 use the other queue instead", None),
        (":param n: the number of items in the queue", None),
        ("Parameters\n----------\nn : int\n    The number of items", None),
        ("Returns: the number of items in the queue", None),
        ("hidden (`Tensor` of shape `(a, b)`): the states of the layer", None),
        ("n : int, the number of items in the queue", None),
        ("f(x) = 1 + 2*x - 3/(y**2) == g(1, 2, 3)", None),
        ("A lone surrogate \ud800 is not a character.", None),
        ("", None),
    ],
)
def test_summary(docstring: str, summary: str | None) -> None:
    assert summaries._summary(docstring) == summary


@given(st.text())
def test_summary_is_one_line_of_bounded_length(docstring: str) -> None:
    summary = summaries._summary(docstring)
    if summary is not None:
        words = summary.split()
        assert summaries.MIN_WORDS <= len(words) <= summaries.MAX_WORDS
        assert summary == " ".join(words)
        assert summary.encode().decode() == summary
