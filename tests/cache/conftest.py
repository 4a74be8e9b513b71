"""Plans of every layout; caches of several teachers."""

from __future__ import annotations

import pytest

from logitcache.cache.cache import Cache
from logitcache.store.manifest import Plan
from tests.cache.split_caches import SETS, make
from tests.fake_caches import plan, ragged

PLANS = {"dense": plan(50, 20), "float32": plan(50, 20, dtype="float32"), "ragged": ragged(50, 20)}


@pytest.fixture(params=PLANS)
def of(request: pytest.FixtureRequest) -> Plan:
    return PLANS[request.param]


@pytest.fixture(scope="module")
def split_caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Cache]]:
    """Three teachers of each split."""
    folder = tmp_path_factory.mktemp("caches")
    return {split: [make(folder, split, seed) for seed in range(3)] for split in SETS}
