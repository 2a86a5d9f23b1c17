"""The fault fixtures of the storage floor."""

from tests.store.conftest import kill_everywhere, small_disk

__all__ = ["kill_everywhere", "small_disk"]
