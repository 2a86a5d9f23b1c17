"""What is wrong with a run, in sentences: alarms of fits, failed stages, failed rounds."""

from __future__ import annotations

from burnish.reporting.alarms import sentence
from burnish.reporting.strings import Lang
from burnish.rollouts.constraint import ConstraintSettings
from burnish.stages.alarms import Alarms, AlarmSettings, recorded
from burnish.web.i18n import text
from burnish.web.run_view import RunView, StageView

COMPARING = frozenset({"fit.grpo", "fit.online_dpo"})
WRONG = frozenset({"failed", "died"})


def alerts(view: RunView, lang: Lang) -> list[str]:
    """Everything to be told, the latest stage first. A fit under way is looked at as it logs."""
    said: list[str] = []
    details = view.details()
    for stage in reversed(view.stages()):
        place = f"{stage.name} · {text(lang, 'round_n', round=stage.round)}: "
        if stage.state in WRONG:
            said.append(place + (stage.cause or text(lang, f"state_{stage.state}")))
        if stage.artifact is None:
            found = _under_way(view, stage)
        else:
            found = details.get(stage.artifact, {}).get("details", {}).get("alarms") or []
        said += [place + sentence(alarm, lang) for alarm in found]
    for row in reversed(view.rounds()):
        if row.get("stopped"):
            said.append(f"{text(lang, 'round_n', round=row['round'])}: {row['stopped']}")
    return said


def _under_way(view: RunView, stage: StageView) -> list[dict[str, object]]:
    rows = view.curves().get((stage.name, stage.round), [])
    calls = view.recipe.stages() if view.recipe else ()
    config = next((call.config for call in calls if call.name == stage.name), None)
    settings = getattr(getattr(config, "watch", None), "alarms", None)
    if not rows or not isinstance(settings, AlarmSettings):
        return []
    bound = getattr(config, "constraint", None)
    limits = bound if isinstance(bound, ConstraintSettings) else None
    return recorded(Alarms(settings, stage.run in COMPARING, limits).found(rows))
