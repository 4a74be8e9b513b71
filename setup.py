"""Which packages a wheel holds: every one of logitcache's own, and the command line, which lives in ``cli/``.

Everything else is in pyproject.toml, whose ``packages`` can find packages or name one that is mapped to another folder,
not both.
"""

from __future__ import annotations

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["logitcache", "logitcache.*"]), "logitcache_cli"])
