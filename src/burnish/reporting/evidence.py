"""The lower half of the report: answers, gate, honest notes, how to reproduce."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from burnish.reporting.findings import promoted, reason
from burnish.reporting.markup import Markup, el, join
from burnish.reporting.names import figure_name, show
from burnish.reporting.rundata import Answer, Row, RunData, outcome, reply_text, value_of
from burnish.reporting.strings import Lang, text

SHOWN_REGRESSED, SHOWN_IMPROVED, SHOWN_SAME = 4, 6, 2
ALPHA = 0.05
STATES = ("improved", "regressed", "noise")
OUTCOMES = ("right", "wrong", "abstained")


def answers(run: RunData, lang: Lang) -> Markup:
    """The same prompts before and after, regressions first, spread over the tasks."""
    found = run.answers.compared
    if not found:
        return Markup("")
    kinds = Counter(answer.change for answer in found)
    chosen = []
    for change, count in ((-1, SHOWN_REGRESSED), (1, SHOWN_IMPROVED), (0, SHOWN_SAME)):
        chosen += _spread((a for a in found if a.change == change), count)
    counts = text(
        lang, "answers_counts",
        better=kinds[1], worse=kinds[-1], same=kinds[0], all=len(found),
    )  # fmt: skip
    return el(
        "section",
        el("h2", text(lang, "answers")),
        el(
            "p",
            text(lang, "answers_note"),
            " ",
            counts,
            "" if run.answers.promoted else " ",
            None if run.answers.promoted else text(lang, "candidate_shown"),
            class_="note",
        ),
        el("div", [_answer(answer, lang) for answer in chosen], class_="grid two"),
        id="answers",
    )


def _spread(found: Iterable[Answer], count: int) -> list[Answer]:
    """Up to ``count`` answers, taking turns between tasks so that none crowds out the rest."""
    tasks: dict[str, list[Answer]] = defaultdict(list)
    for answer in found:
        tasks[answer.task].append(answer)
    turns = [
        (place, order, answer)
        for order, listed in enumerate(tasks.values())
        for place, answer in enumerate(listed)
    ]
    return [answer for _, _, answer in sorted(turns, key=lambda turn: turn[:2])[:count]]


def _answer(answer: Answer, lang: Lang) -> Markup:
    key, css = {-1: ("regressed", "bad"), 1: ("improved", "good"), 0: ("unchanged", "flat")}[
        answer.change
    ]
    return el(
        "article",
        el("div", el("span", text(lang, key), class_=f"delta {css}"), " ",
           el("span", answer.task, class_="tag") if answer.task else None),
        el("div", answer.prompt, class_="prompt"),
        el("div", _reply(answer.before, "before", lang), _reply(answer.after, "after", lang),
           class_="answer"),
        class_="card",
    )  # fmt: skip


def _reply(row: Row, when: str, lang: Lang) -> Markup:
    judged = outcome(row)
    said = f" · {text(lang, judged)}" if judged in OUTCOMES else ""
    css = judged if judged in OUTCOMES else None
    reply = reply_text(row).strip() or text(lang, "empty_reply")
    return el("div", el("small", text(lang, when), said), el("div", reply, class_="reply"),
              class_=css)  # fmt: skip


def gate(run: RunData, lang: Lang) -> Markup:
    """Every verdict: decision, reason and the comparisons behind it."""
    verdicts = run.summary.get("verdicts", [])
    if not verdicts:
        return Markup("")
    return el(
        "section",
        el("h2", text(lang, "gate")),
        el("p", text(lang, "gate_note"), class_="note"),
        [_verdict(v, run, lang, folded=len(verdicts) > 2 and v is not verdicts[-1])
         for v in verdicts],
        id="gate",
    )  # fmt: skip


def _verdict(verdict: Row, run: RunData, lang: Lang, folded: bool) -> Markup:
    good = promoted(verdict)
    failed = verdict.get("decision") == "failed"
    key = "promote" if good else str(verdict.get("decision"))
    key = key if key in ("promote", "failed", "undecided") else "keep"
    decision = text(lang, f"decision_{key}")
    css = "badge good" if good else "badge bad" if failed else "badge"
    title = el("p", text(lang, "round_n", round=verdict.get("round", "?")), " ",
               el("span", decision, class_=css), " ",
               reason(verdict, lang))  # fmt: skip
    detectable, power = value_of(verdict.get("detectable")), value_of(verdict.get("power"))
    if detectable is not None and power is not None:
        found = {"detectable": f"{detectable:.3f}", "power": show(power, "share")}
        title = join(title, el("p", text(lang, "gate_power", **found), class_="note"))
    compared = list(verdict.get("comparisons") or [])
    if not compared:
        return title
    columns = ("metric", "role", "before", "after", "change", "p", "ok")
    numeric = ("before", "after", "change", "p")
    head = el("tr", [el("th", text(lang, f"col_{c}"), class_="num" if c in numeric else None)
                     for c in columns])  # fmt: skip
    sides = run.judged(int(verdict.get("round", 0)))
    rows = [_comparison(row, sides, run.aliases, lang) for row in compared]
    rows += [_saving(row, sides, lang) for row in verdict.get("saved") or ()]
    table = el("div", el("table", head, rows), class_="scroll")
    summary = el("summary", text(lang, "comparisons_of", round=verdict.get("round", "?")))
    return join(title, el("details", summary, table) if folded else table)


def _comparison(row: Row, sides: tuple[Row, Row], aliases: Row, lang: Lang) -> Markup:
    """One metric of a verdict. The gate's changes are oriented: above 0 is better."""
    metric = str(row.get("metric", ""))
    naming = figure_name(aliases.get(metric, metric))
    before, after = (value_of(side.get(metric)) for side in sides)
    found = row.get("comparison") or {}
    difference, low, high = (value_of(found.get(key)) for key in ("difference", "low", "high"))
    points = naming.unit == "share"
    change = _signed(difference, points)
    if low is not None and high is not None:
        change += f" [{_signed(low, points)}, {_signed(high, points)}]"
    p, margin = value_of(row.get("adjusted_p")), value_of(row.get("margin"))
    role = text(lang, "role_target" if row.get("role") == "target" else "role_guard")
    if margin is not None:
        role += f" ({text(lang, 'role_margin', margin=show(margin, naming.unit))})"
    return el(
        "tr",
        el("td", naming.label(lang)),
        el("td", role),
        el("td", show(before, naming.unit), class_="num"),
        el("td", show(after, naming.unit), class_="num"),
        el("td", change, class_="num"),
        el("td", _p(p), class_="num"),
        _result(row, lang),
    )


def _saving(row: Row, sides: tuple[Row, Row], lang: Lang) -> Markup:
    """One figure that had to be cheaper, by its factor: above 1 is better."""
    naming = figure_name(row["figure"])
    change = f"×{row['factor']:.3g}"
    if row["low"] != row["high"]:
        change += f" [{row['low']:.3g}, {row['high']:.3g}]"
    numbers = [show(value_of(side.get(row["figure"])), naming.unit) for side in sides]
    css, said = {
        "shown": ("good", f"✓ {text(lang, 'passed')}"),
        "missed": ("bad", f"✕ {text(lang, 'failed')}"),
        "unclear": ("warn", text(lang, "not_decided")),
    }[row["state"]]
    return el(
        "tr",
        el("td", naming.label(lang)),
        el("td", text(lang, "role_cheaper", factor=f"{row['asked']:g}")),
        [el("td", one, class_="num") for one in (*numbers, change, _p(row["p_shown"]))],
        el("td", said, class_=css),
    )


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _signed(value: float | None, points: bool) -> str:
    """A change in points of a share, or as it is."""
    if value is None:
        return "–"
    return f"{value * 100:+.1f}" if points else f"{value:+.3f}"


def _result(row: Row, lang: Lang) -> Markup:
    """Whether a guard held; for targets, what the corrected p-value says."""
    if row.get("role") == "guard":
        held, failed = value_of(row.get("p_held")), value_of(row.get("p_failed"))
        if failed is not None and failed <= ALPHA:
            return el("td", f"✕ {text(lang, 'failed')}", class_="bad")
        if held is not None and held <= ALPHA:
            return el("td", f"✓ {text(lang, 'passed')}", class_="good")
        return el("td", text(lang, "not_decided"), class_="warn")
    state = str(row.get("state"))
    css = {"improved": "good", "regressed": "bad"}.get(state, "flat")
    return el("td", text(lang, f"state_{state}") if state in STATES else state, class_=css)


def notes(run: RunData, lang: Lang) -> Markup:
    """What a reader must know before quoting the figures."""
    figures = run.figures
    said = [text(lang, "note_generated"), text(lang, "note_intervals")]
    random, left_out = (
        figures.get("reward_heldout_accuracy"),
        figures.get("reward_left_out_accuracy"),
    )
    if random and left_out:
        shares = {"random": show(random.value, "share"), "left_out": show(left_out.value, "share")}
        said.insert(0, text(lang, "note_source", **shares))
    if "burnish-tiny" in run.recipe:
        said.append(text(lang, "note_size"))
    if any(stage.get("stage") == "curate.constitution" for stage in run.summary.get("stages", [])):
        said.append(text(lang, "note_rules_critic"))
    marked = [el("li", sentence, class_="flat", data_mark="!") for sentence in said]
    return el(
        "section",
        el("h2", text(lang, "notes")),
        el("div", el("ul", marked, class_="list"), class_="card"),
        id="notes",
    )


def reproduce(run: RunData, lang: Lang) -> Markup:
    """The command that makes this run again."""
    name = run.summary.get("recipe", "")
    command = (
        f"burnish run {name}\nburnish run {run.folder.name}/recipe.yaml   # all defaults filled in"
    )
    return el(
        "section",
        el("h2", text(lang, "reproduce")),
        el("p", text(lang, "reproduce_note"), class_="note"),
        el("pre", el("code", command)),
        el("details", el("summary", "recipe.yaml"), el("pre", el("code", run.recipe)))
        if run.recipe
        else None,
        id="reproduce",
    )


def all_figures(run: RunData, lang: Lang) -> Markup:
    """Every figure of the run with its interval, folded away."""
    head = el("tr", el("th", text(lang, "col_metric")), el("th"),
              el("th", text(lang, "col_value"), class_="num"),
              el("th", text(lang, "col_interval"), class_="num"))  # fmt: skip
    rows = []
    for name, point in run.figures.items():
        naming = figure_name(name)
        low, value, high = (show(v, naming.unit) for v in (point.low, point.value, point.high))
        rows.append(
            el("tr", el("td", naming.label(lang)), el("td", el("code", name)),
               el("td", value, class_="num"), el("td", f"{low} – {high}", class_="num"))
        )  # fmt: skip
    if not rows:
        return Markup("")
    table = el("div", el("table", head, rows), class_="scroll")
    return el("details", el("summary", text(lang, "all_figures")), table)
