"""logitcache: run the teacher once, store what it said, distil from the store."""

__version__ = "0.1.0"
