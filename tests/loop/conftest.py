"""The mini recipe and its data, written once a test file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.loop.mini import recipe_value


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder that holds model and data, and the recipe as a mapping."""
    folder = tmp_path_factory.mktemp("mini")
    return folder, recipe_value(folder)
