"""What went wrong with a name on the hub, on one line: errors as the libraries make them of the
hub's answers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants, errors
from huggingface_hub.utils import hf_raise_for_status, httpx
from hypothesis import given
from hypothesis import strategies as st

from logitcache import hub
from logitcache.data.sources.datasets import HubName, commit_of
from logitcache.errors import SpecError

TOKEN = "hf_thisIsASecret"
KINDS = ("model", "dataset")


def answer(status: int, path: str = "/api/models/org/name", **headers: str) -> BaseException:
    """The error that the hub's library raises for an answer to a request that carried a token."""
    sent = httpx.Request(
        "GET", f"https://huggingface.co{path}", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    named = {f"X-Error-{name.title()}": value for name, value in headers.items()}
    with pytest.raises(errors.HfHubHTTPError) as caught:
        hf_raise_for_status(httpx.Response(status, headers=named, request=sent))
    return caught.value


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def suppressed(error: BaseException, context: BaseException) -> BaseException:
    error.__context__, error.__suppress_context__ = context, True
    return error


CASES: dict[str, tuple[BaseException, str]] = {
    "gated": (
        answer(403, code="GatedRepo"),
        "is restricted. Ask for it on https://huggingface.co/",
    ),
    "missing": (
        answer(401, message="Invalid username or password."),
        "https://huggingface.co has no",
    ),
    "missing for a member": (answer(404, code="RepoNotFound"), "or a private one"),
    "revision": (
        answer(404, "/api/models/org/name/revision/refs%2Fpr%2F7", code="RevisionNotFound"),
        "'refs/pr/7'",
    ),
    "revision of a file": (
        answer(404, "/org/name/resolve/v1.2/a.json", code="RevisionNotFound"),
        "no revision 'v1.2'",
    ),
    "file": (
        answer(404, "/org/name/resolve/main/deep/a%20b.json", code="EntryNotFound"),
        "no file 'deep/a b.json'",
    ),
    "token": (
        answer(401, message="Invalid credentials in Authorization header"),
        "the token in use is not valid",
    ),
    "busy": (answer(429), "answered with status 429. Try again later."),
    "down": (answer(503), "answered with status 503. Try again later."),
    "no network": (
        httpx.ConnectError("[Errno -2] Name or service not known"),
        "cannot be reached (ConnectError: [Errno",
    ),
    "slow network": (httpx.ReadTimeout(""), "cannot be reached (ReadTimeout), and no copy"),
    "not kept": (errors.LocalEntryNotFoundError("not in the cache"), "is kept here. "),
    "no name": (
        errors.HFValidationError("Repo id must not hold '..'\nand more"),
        "can have this name: Repo id must not",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("wrap", [None, caused, suppressed])
def test_every_answer_is_one_line_that_says_what_to_do(
    case: str, kind: str, wrap: Callable[..., BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrapped by another library or not, of a model or a data set; and no word of the token that
    was sent.
    """
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    error, expected = CASES[case]
    explained = hub.explain(
        "org/name", error if wrap is None else wrap(OSError("so it goes"), error), kind
    )
    assert explained is not None
    said = str(explained)
    assert expected in said
    assert "\n" not in said
    assert said.endswith(".")
    assert TOKEN not in said
    noun = {"model": "data set", "dataset": "model"}[kind]
    assert noun not in said.replace("answered", "")


@pytest.mark.parametrize(
    ("kind", "page", "command"),
    [
        ("model", "https://huggingface.co/org/name,", "`hf download org/name --local-dir FOLDER`"),
        (
            "dataset",
            "https://huggingface.co/datasets/org/name,",
            "`hf download org/name --repo-type dataset --local-dir FOLDER`",
        ),
    ],
)
def test_pages_and_commands_are_those_of_the_kind(kind: str, page: str, command: str) -> None:
    assert page in str(hub.explain("org/name", CASES["gated"][0], kind))
    assert command in str(hub.explain("org/name", CASES["no network"][0], kind))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        (
            HubName("org/name"),
            "`hf download org/name --repo-type dataset --local-dir FOLDER`; then `--data FOLDER`",
        ),
        (
            HubName("org/name", "one", "v1"),
            "`hf download org/name --repo-type dataset --revision v1 --local-dir FOLDER`; then `--data FOLDER` "
            "(or what in it holds the files of one)",
        ),
        (
            HubName("nyu-mll/glue", "cola", None, "glue/cola"),
            "`hf download nyu-mll/glue --repo-type dataset --include 'cola/*' --local-dir FOLDER`; then "
            "`--data glue/cola=FOLDER`",
        ),
        (
            HubName("thunlp/few_rel", None, "refs/convert/parquet", "fewrel"),
            "`hf download thunlp/few_rel --repo-type dataset --revision refs/convert/parquet --local-dir FOLDER`; then "
            "`--data fewrel=FOLDER`",
        ),
    ],
)
def test_the_whole_command_for_a_data_set_is_told_and_what_to_do_then(
    name: HubName, how: str
) -> None:
    assert name.how() == how
    with pytest.raises(SpecError) as caught:
        commit_of(name)  # offline, as all tests are
    assert str(caught.value).endswith(f"here the hub can be reached: {how}.")


def test_the_command_for_a_model_names_its_revision() -> None:
    with pytest.raises(SpecError) as caught:
        hub.resolve("org/surely-not-kept-here", "v1")
    assert (
        "`hf download org/surely-not-kept-here --revision v1 --local-dir FOLDER`; then give"
        in str(caught.value)
    )


def test_data_sets_whose_library_hides_the_hubs_error_are_told_by_its_own() -> None:
    class DatasetNotFoundError(FileNotFoundError):
        """By the name that the library of data sets gives it."""

    def said(error: BaseException) -> str:
        return str(
            hub.explain("org/name", suppressed(error, FileNotFoundError("not cached")), "dataset")
        )

    assert "access to this data set is restricted" in said(
        DatasetNotFoundError("'a' is a gated dataset on the Hub.")
    )
    assert "has no data set of this name" in said(
        DatasetNotFoundError("'a' doesn't exist on the Hub")
    )
    assert "no copy of the data set is kept" in said(
        ConnectionError("Couldn't reach 'a' (OfflineModeIsEnabled)")
    )


def test_offline_is_told_from_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    error = errors.OfflineModeIsEnabled("offline mode is enabled")
    assert "in offline mode" in str(hub.explain("org/name", error, "model"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert "in offline mode" not in str(hub.explain("org/name", CASES["no network"][0], "model"))


@pytest.mark.parametrize(
    "error", [ValueError("bad"), OSError("disk"), KeyError("k"), FileNotFoundError("f")]
)
def test_what_is_not_the_hubs_is_not_explained(error: BaseException) -> None:
    assert hub.explain("org/name", error, "model") is None
    assert hub.explain("org/name", caused(error, RuntimeError("deeper")), "model") is None


def test_errors_that_came_from_each_other_end() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__context__, second.__context__ = second, first
    assert hub.explain("org/name", first, "model") is None


def test_a_password_in_the_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "https://me:secret@mirror.example")
    for error, _ in CASES.values():
        assert "secret" not in str(hub.explain("org/name", error, "model"))
    assert hub.endpoint() == "https://mirror.example"


def test_a_name_that_is_not_kept_is_refused_in_offline_mode() -> None:
    """The tests' own state: nothing is asked."""
    with pytest.raises(
        SpecError, match=r"offline mode, and no copy of the data set is kept here\. Leave"
    ):
        hub.resolve("org/surely-not-kept-here", kind="dataset")
    with pytest.raises(SpecError, match="no model can have this name"):
        hub.resolve("a..b")


@given(st.from_regex(r"[\w-][\w.-]{0,8}(/[\w.-]{1,8})?", fullmatch=True))
def test_names_are_the_hubs_unless_they_lie_here(name: str) -> None:
    assert hub.on_hub(name) is not Path(name).exists()


@pytest.mark.parametrize(
    "path", ["/abs/olute", "./org/name", "a/b/c", "org/name/", "two words", "", "~"]
)
def test_paths_are_no_names(path: str) -> None:
    assert not hub.on_hub(path)
