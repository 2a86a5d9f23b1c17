"""The recipe on docs/distilling.md can run."""

from __future__ import annotations

import re
from pathlib import Path

from burnish.loop.check import check
from burnish.loop.recipe import load

PAGE = Path(__file__).parents[2] / "docs" / "distilling.md"


def test_the_recipe_is_whole(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "small.yaml"
    path.write_text(text, encoding="utf-8")
    recipe = load(path, [])
    assert check(recipe) == []
    assert [call.name for call in recipe.stages()][:3] == ["teacher", "plain", "student"]
