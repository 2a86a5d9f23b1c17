"""The killer of the storage tests."""

from tests.store.conftest import kill_everywhere

__all__ = ["kill_everywhere"]
