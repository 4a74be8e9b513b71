"""The Hugging Face hub: names, the commits that they stand for, and its errors in one line."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from logitcache.errors import LogitCacheError, SpecError

HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
NOUNS = {"model": "model", "dataset": "data set"}
POINTER = b"version https://git-lfs.github.com/spec/"
SECONDS = ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")  # read when its library is imported
LOG_IN = "log in (`hf auth login`, or a token in HF_TOKEN)"


def check_environment() -> None:
    """Raises SpecError for a variable with which the hub's library cannot be imported."""
    for name in SECONDS:
        value = os.environ.get(name, "0")
        try:
            int(value)
        except ValueError:
            raise SpecError(
                expected=f"a whole number of seconds in {name}",
                found=repr(value),
                advice="Correct it in the environment, or unset it.",
            ) from None


def on_hub(path: str) -> bool:
    """Whether a path does not exist on this machine, but could be a name on the hub. One that ends
    in .gguf is a file's.
    """
    is_file = path.lower().endswith(".gguf")
    return not is_file and HUB_NAME.fullmatch(path) is not None and not Path(path).exists()


@dataclass(frozen=True)
class Commit:
    """A commit of a repository. ``local``: the hub is not reached; cached files are read."""

    sha: str  # 40 hexadecimal digits
    local: bool

    def settings(self) -> dict[str, Any]:
        """Arguments of `from_pretrained`."""
        return {"revision": self.sha, "local_files_only": self.local}


def checkpoint(path: str, revision: str | None) -> Commit | None:
    """The commit to load a checkpoint at; None for a local one. Raises SpecError for a bad one."""
    if on_hub(path):
        return resolve(path, revision)
    if revision is not None and Path(path).exists():
        raise SpecError(
            expected=f"a hub name beside --revision {revision}",
            found="a path",
            advice="Leave --revision out.",
        )
    return None


def download(
    name: str,
    kind: str = "model",
    revision: str | None = None,
    include: str | None = None,
    then: str = "give that folder in place of the name",
) -> str:
    """Advice: the command that fetches a repository where the hub can be reached, and what to do
    ``then``. ``include`` is a pattern of files.
    """
    options = ""
    if kind == "dataset":
        options += " --repo-type dataset"
    if revision:
        options += f" --revision {revision}"
    if include:
        options += f" --include '{include}'"
    return f"`hf download {name}{options} --local-dir FOLDER`; then {then}"


def resolve(
    name: str, revision: str | None = None, kind: str = "model", how: str | None = None
) -> Commit:
    """The commit that a branch, tag or commit stands for; None is the main branch. ``how`` is
    advice on fetching the repository otherwise (:func:`download`). Raises SpecError.

    Call this before anything is loaded. It fails within seconds where the hub is out of reach,
    while the libraries try file after file for half a minute each; and all files are then loaded
    from one commit.
    """
    try:
        return _resolved(name, revision, kind, how or download(name, kind, revision))
    except LogitCacheError:
        raise
    except (ImportError, OSError, ValueError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _not_asked(error) from error


def _not_asked(error: Exception) -> SpecError:
    """The error over a variable that keeps the hub's library from asking: a proxy that needs a
    package, a certificate that is not there, a token that no header can hold, a missing folder.
    """
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else ""
    return SpecError(
        f"the hub cannot be asked ({type(error).__name__}: {line})",
        advice="Correct the variable that this is about: HTTPS_PROXY, SSL_CERT_FILE, HF_TOKEN, HF_HOME, ...",
    )


def _resolved(name: str, revision: str | None, kind: str, how: str) -> Commit:
    from huggingface_hub import HfApi, constants, errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # httpx or httpx2: the one that it uses

    arguments: dict[str, Any] = {"repo_type": kind, "revision": revision}
    api = HfApi()
    try:
        try:
            api.repo_info(name, **arguments, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            # This call also stores the commit, for a time without the hub.
            return Commit(api.resolve_revision(name, **arguments).resolved, local=False)
        except (ConnectionError, httpx.TransportError, errors.HfHubHTTPError) as error:
            if isinstance(error, errors.HfHubHTTPError) and error.response.status_code < 500:
                raise
            return Commit(
                api.resolve_revision(name, **arguments, local_files_only=True).resolved, local=True
            )
    except (
        errors.RevisionResolutionError,
        errors.HFValidationError,
        errors.HfHubHTTPError,
    ) as error:
        cause = explain(name, error, kind, how)
        assert cause is not None, error
        raise cause from error


def files(name: str, revision: str | None) -> list[str]:
    """Paths of a model's files on the hub; none where the hub cannot be reached."""
    from huggingface_hub import HfApi, errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        return HfApi().list_repo_files(name, revision=revision)
    except (errors.HFValidationError, OSError, httpx.HTTPError):
        return []


def own_code() -> SpecError:
    """The error of a checkpoint whose own code would have to run, without its path."""
    return SpecError(
        expected="a checkpoint of a kind that transformers knows",
        found="one that brings its own code",
        advice="Read that code; --trust-remote-code runs it on this machine.",
    )


def needs_own_code(error: BaseException) -> bool:
    """Whether a checkpoint's own code would have to run. transformers has no kind of error for that:
    it raises a ValueError that names the argument to give, so that name is searched for.
    """
    return isinstance(error, ValueError) and "trust_remote_code=True" in str(error)


def explain(name: str, error: BaseException, kind: str, how: str | None = None) -> SpecError | None:
    """What an error of transformers, datasets or huggingface_hub for a hub name means, with advice.

    ``kind`` is "model" or "dataset", ``how`` advice from :func:`download`. None for an error that
    is not the hub's.
    """
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    chain = list(_chain(error))

    def first(*kinds: type[BaseException]) -> BaseException | None:
        return next((e for e in chain if isinstance(e, kinds)), None)

    noun = NOUNS[kind]
    page = f"{endpoint()}/datasets/{name}" if kind == "dataset" else f"{endpoint()}/{name}"
    files_page = f"See {page}/tree/main for its own."
    # datasets raises one type for both cases and hides the hub's error, so its message has to be
    # searched
    not_found = next((str(e) for e in chain if type(e).__name__ == "DatasetNotFoundError"), "")
    if first(errors.GatedRepoError) or "is a gated dataset" in not_found:
        return SpecError(
            f"access to this {noun} is restricted", advice=f"Ask for it on {page}, then {LOG_IN}."
        )
    if refusal := first(errors.RevisionNotFoundError):
        revision = _quoted(refusal, r"revision|resolve|tree")
        return SpecError(f"the {noun} has no revision {revision}", advice=files_page)
    if first(errors.RepositoryNotFoundError) or not_found:
        advice = f"Check the name; for a private one {LOG_IN}."
        return SpecError(
            f"{endpoint()} has no {noun} of this name, or a private one", advice=advice
        )
    if refusal := first(errors.RemoteEntryNotFoundError):
        file = _quoted(refusal, r"resolve/[^/]+|tree/[^/]+")
        return SpecError(f"the {noun} has no file {file}", advice=files_page)
    if refusal := first(errors.HfHubHTTPError):
        return _failed_request(refusal)
    if first(
        errors.LocalEntryNotFoundError,
        errors.RevisionResolutionError,
        ConnectionError,
        httpx.TransportError,
    ):
        return _out_of_reach(kind, how or download(name, kind), chain, first(httpx.TransportError))
    if refusal := first(errors.HFValidationError):
        return SpecError(
            f"no {noun} can have this name: {str(refusal).splitlines()[0].rstrip('.')}."
        )
    return None


def endpoint() -> str:
    """The hub's address, without a password in it."""
    from huggingface_hub import constants

    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes, each once, with those that the hub's libraries suppress."""
    visited: list[BaseException] = []
    while error is not None and error not in visited:
        visited.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _quoted(error: BaseException, before: str) -> str:
    """The part behind ``before`` (a pattern) of the address of a failed request, quoted."""
    address = str(error.response.request.url)  # type: ignore[attr-defined]
    after = r"/([^?]+)" if "/" in before else r"/([^/?]+)"
    match = re.search(rf"/(?:{before}){after}", address)
    return repr(unquote(match[1])) if match else "of that name"


def _failed_request(error: BaseException) -> SpecError:
    status = error.response.status_code  # type: ignore[attr-defined]
    answer = f"{endpoint()} answered with status {status}"
    if status in (401, 403):
        return SpecError(
            f"{answer}: the token in use is not valid or not enough", advice=f"To go on, {LOG_IN}."
        )
    return SpecError(answer, advice="Try again later.")


def _out_of_reach(
    kind: str, how: str, chain: list[BaseException], failure: BaseException | None
) -> SpecError:
    from huggingface_hub import is_offline_mode

    is_offline = is_offline_mode() or any(
        "OfflineModeIsEnabled" in f"{type(e).__name__} {e}" for e in chain
    )
    no_copy = f"and no copy of the {NOUNS[kind]} is kept here"
    if is_offline:
        return SpecError(
            f"the hub is not asked in offline mode, {no_copy}",
            advice=f"Leave the offline mode (unset HF_HUB_OFFLINE), or where the hub can be reached: {how}.",
        )
    reason = ""
    if failure is not None:
        if str(failure):
            reason = f" ({type(failure).__name__}: {failure})"
        else:
            reason = f" ({type(failure).__name__})"
    return SpecError(
        f"{endpoint()} cannot be reached{reason}, {no_copy}",
        advice=f"Where the hub can be reached: {how}.",
    )


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer of Git LFS, in place of a file that was not fetched."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def pointer_in_place_of(expected: str) -> SpecError:
    """The error of such a file, without its path."""
    return SpecError(
        expected=expected,
        found="a Git LFS pointer, which stands for a file that was not fetched",
        advice="Run `git lfs pull` in the repository, or download the file.",
    )


def first_line(error: BaseException) -> str:
    """The first line of a library's message, for one clear line of ours."""
    return str(error).strip().split("\n")[0]
