"""Packages that only some commands need, and the extra of `logitcache[EXTRA]` that brings each."""

from __future__ import annotations

from logitcache.errors import SpecError

EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "accelerate": "train",
    "tokenizers": "train",
    "safetensors": "train",
    "sklearn": "demo",
    "huggingface_hub": "train",
    "datasets": "data",
    "zarr": "zarr",
    "matplotlib": "plots",
    "tensorboard": "tensorboard",
    "s3fs": "s3",
    "gcsfs": "gs",
    "ray": "ray",
}


def not_installed(error: ImportError) -> SpecError | None:
    """The error over a package of an extra that is not installed; None for another module."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    if extra is None or not isinstance(error, ModuleNotFoundError):
        return None
    advice = f"Install it: pip install 'logitcache[{extra}]'"
    return SpecError(expected=f"the package {package}", found="none installed", advice=advice)
