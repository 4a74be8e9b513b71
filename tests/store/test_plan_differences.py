"""What is said where a cache was begun with another plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.errors import FingerprintMismatch
from logitcache.store.writer import check_same_plan


@pytest.mark.parametrize(
    ("teacher", "advice"), [({}, "--reuse of this cache"), ({"answers": "votes"}, "another --out.")]
)
def test_corrected_labels_are_led_to_another_cache(
    tmp_path: Path, teacher: dict[str, str], advice: str
) -> None:
    """A column of answers takes no --reuse."""
    before, now = ({"data": {"labels": labels}, "teacher": teacher} for labels in "ab")
    with pytest.raises(FingerprintMismatch) as caught:
        check_same_plan(tmp_path, before, now)
    assert advice in caught.value.advice
    assert ("--reuse" in caught.value.advice) == (not teacher)
