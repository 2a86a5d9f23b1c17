from __future__ import annotations

import json
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.reporting import render, write_reports
from burnish.reporting.names import FIGURES, METRICS
from burnish.reporting.rundata import outcome
from burnish.reporting.strings import STRINGS

VOID = {"meta", "br", "hr", "img"}


class Balanced(HTMLParser):
    """Collects text and checks that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    assert parser.stack == []
    return parser


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_page_is_well_formed_and_complete(run_folder: Path, lang: str) -> None:
    page = parsed(render(run_folder, lang))  # type: ignore[arg-type]
    text = " ".join(page.text)
    place = ["en", "zh"].index(lang)
    for key in ("findings", "before_after", "trend", "pipeline", "curves", "funnel", "reward"):
        assert STRINGS[key][place] in text
    for key in ("answers", "gate", "notes", "lineage", "reproduce", "all_figures"):
        assert STRINGS[key][place] in text
    assert "1,804" in text
    assert "Lima" in text


@pytest.mark.parametrize(("lang", "cost"), [("en", "grpo · Cost"), ("zh", "grpo · 代价")])
def test_a_constraint_is_drawn_with_its_budget(run_folder: Path, lang: str, cost: str) -> None:
    # C-27
    page = render(run_folder, lang)  # type: ignore[arg-type]
    budget = STRINGS["budget"][["en", "zh"].index(lang)]
    card = page.split(f"<h3>{cost}</h3>")[1].split("</svg>")[0]
    assert f">{budget}<" in card
    assert METRICS["lambda"][["en", "zh"].index(lang)] in page
    reward = page.split("<h3>ppo · ")[1].split("</svg>")[0]
    assert f">{budget}<" not in reward


@pytest.mark.parametrize(
    ("lang", "told"),
    [("en", ["replay 1 : 4", "rate × 0.5", "rolled back"]),
     ("zh", ["回放升至 1 : 4", "学习率 × 0.5", "已回滚"])],
)  # fmt: skip
def test_what_the_guard_did_is_drawn_on_its_curves(
    run_folder: Path, lang: str, told: list[str]
) -> None:
    guard = {
        "bound": 1.3,
        "tasks": {"sums": {"start": 0.6, "bound": 0.55}},
        "readings": [
            {"step": 10, "ratio": 1.1, "tasks": {"sums": 0.6}, "action": "mark",
             "replay": 1.0, "rate": 1.0},
            {"step": 20, "ratio": 1.5, "tasks": {"sums": 0.5}, "action": "raise_replay",
             "replay": 4.0, "rate": 1.0},
            {"step": 30, "ratio": None, "tasks": {"sums": 0.4}, "action": "lower_rate",
             "replay": 4.0, "rate": 0.5},
            {"step": 40, "ratio": 1.6, "tasks": {"sums": 0.3}, "action": "rollback",
             "replay": 4.0, "rate": 0.5},
        ],
    }  # fmt: skip
    path = run_folder / "artifacts/pretrain@1/artifact.json"
    path.write_text(json.dumps({"name": "pretrain", "details": {"guard": guard}}))
    page = render(run_folder, lang)  # type: ignore[arg-type]
    cards = [card.split("</svg>")[0] for card in page.split("<h3>pretrain@1 · ")[1:]]
    assert len(cards) == 2
    ratio, sums = cards
    # There is no finite ratio at the second.
    assert [f">{words}<" in ratio for words in told] == [True, False, True]
    assert all(f">{words}<" in sums for words in told)
    bound = escape(STRINGS["guard_bound"][["en", "zh"].index(lang)])
    assert all(f">{bound}<" in card for card in cards)


def test_nothing_is_loaded_from_the_network(run_folder: Path) -> None:
    page = render(run_folder)
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"<link|@import|url\(|<img|<iframe", page)


def test_model_output_is_shown_as_text(run_folder: Path) -> None:
    page = render(run_folder)
    tags = parsed(page).tags
    assert tags.count("script") == 1  # the theme switch
    assert "img" not in tags
    assert "&lt;script&gt;alert(" in page


def test_hostile_names_anywhere_in_the_summary_are_text(run_folder: Path) -> None:
    path = run_folder / "summary.json"
    hostile = "<img src=x onerror=alert(1)>"
    summary = json.loads(path.read_text())
    summary["recipe"] = summary["run"] = summary["verdicts"][0]["reason"] = hostile
    summary["figures"][hostile] = 0.5
    summary["series"][hostile] = [0.1, 0.2, 0.3]
    summary["stages"][0] |= {"name": hostile, "stage": hostile, "state": hostile}
    summary["artifacts"][0] |= {"name": hostile, "kind": hostile}
    path.write_text(json.dumps(summary))
    assert "img" not in parsed(render(run_folder)).tags


def test_regressions_come_first_among_answers(run_folder: Path) -> None:
    text = " ".join(parsed(render(run_folder)).text)
    assert text.index("Sort: 3 1 2") < text.index("What is the capital of Peru?")
    assert "4 improved, 1 regressed, 1 unchanged in outcome, of 6" in text


def test_figures_show_before_after_and_the_reward_models_two_accuracies(run_folder: Path) -> None:
    text = " ".join(parsed(render(run_folder)).text)
    assert "Confident wrong answers: 41 % → 22 %" in text
    assert "91 % on a random split, 74 % on a source left out" in text
    assert "Round 1 was promoted; round 2 did not beat it" in text


def test_the_recipes_names_are_used_for_the_final_evaluations_figures(run_folder: Path) -> None:
    recipe = "figures: {knowledge_heldout_exact: final.atlas, confident_wrong_after: final.wrong}"
    (run_folder / "recipe.yaml").write_text(recipe)
    path = run_folder / "summary.json"
    summary = json.loads(path.read_text())
    atlas = summary["series"]["knowledge_heldout_exact"]
    summary["series"] = {"atlas": atlas, "wrong": [0.5, 0.3]}
    path.write_text(json.dumps(summary))
    text = " ".join(parsed(render(run_folder)).text)
    assert "Knowledge, held-out entities: 1 % → 58 %" in text
    assert text.count("Confident wrong answers:") == 1


def test_gate_table_says_what_held_and_what_was_not_shown(run_folder: Path) -> None:
    text = " ".join(parsed(render(run_folder)).text)
    assert "must improve 41 % 55 % +14.0 [+9.0, +19.0] < 0.001 improved" in text
    assert "must not worsen (may lose 5 %) – – -1.0 [-6.0, +4.0] 0.800 ✓ pass" in text
    assert "[-7.0, +3.0] 0.500 not shown" in text
    assert "Size on disk (bytes) must be ×2 better – – ×3.97 < 0.001 ✓ pass" in text
    assert "must be ×1.25 better – – ×1.31 [1.05, 1.6] 0.210 not shown" in text


def test_answers_of_a_rejected_candidate_say_so(run_folder: Path) -> None:
    path = run_folder / "summary.json"
    sentence = STRINGS["candidate_shown"][0]
    assert sentence not in render(run_folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), "champion": "sft@1"}))
    assert sentence in render(run_folder)


def test_a_bare_summary_is_enough(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"run": "x", "recipe": "x", "status": "failed"}')
    text = " ".join(parsed(render(tmp_path)).text)
    assert "Not finished: failed" in text


def test_missing_summary_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"summary\.json: no such file"):
        render(tmp_path)


def test_both_languages_are_written_and_linked(run_folder: Path) -> None:
    path = write_reports(run_folder)
    assert path == run_folder / "report.html"
    assert 'href="report.zh.html"' in path.read_text(encoding="utf-8")
    assert 'href="report.html"' in (run_folder / "report.zh.html").read_text(encoding="utf-8")


def test_every_string_has_both_languages_with_the_same_values() -> None:
    for key, (english, chinese) in STRINGS.items():
        fields = [sorted(re.findall(r"\{(\w+)\}", sentence)) for sentence in (english, chinese)]
        assert english, key
        assert chinese, key
        assert fields[0] == fields[1], key
    assert all(name.en and name.zh for name in FIGURES.values())
    assert all(bool(name.about_en) == bool(name.about_zh) for name in FIGURES.values())
    assert all(all(pair) for pair in METRICS.values())


def test_refusals_are_right_where_they_are_wanted() -> None:
    wanted = {"metric": "refused", "refused": True, "higher_is_better": True}
    assert outcome(wanted) == "right"
    assert outcome({**wanted, "higher_is_better": False}) == "wrong"
    assert outcome({**wanted, "refused": False, "outcome": "right"}) == "wrong"
    assert outcome({"metric": "wrong", "outcome": "abstained"}) == "abstained"


@pytest.mark.parametrize(
    ("lang", "told"),
    [("en", ["tokens trained on 33.9k", "tokens sampled 1.2M", "cost 0.4213"]),
     ("zh", ["训练词元 33.9k", "采样词元 1.2M", "费用 0.4213"])],
)  # fmt: skip
def test_what_the_run_took(run_folder: Path, lang: str, told: list[str]) -> None:
    path = run_folder / "summary.json"
    summary = json.loads(path.read_text())
    summary["spent"] = {"trained_tokens": 33_915, "sampled_tokens": 1_200_000,
                        "served_tokens": {"judge": [900, 100]}, "money": 0.42131}  # fmt: skip
    path.write_text(json.dumps(summary))
    text = " ".join("".join(parsed(render(run_folder, lang)).text).split())  # type: ignore[arg-type]
    assert all(words in text for words in told)


def test_the_last_mix_is_shown_by_tier_beside_what_was_asked_for(run_folder: Path) -> None:
    for number, expert in ((1, 50), (2, 5)):
        after = {"counts": {"expert": expert, "selected": 25, "bulk": 70}, "synthetic": 0.748,
                 "wanted": {"expert": 0.05, "selected": 0.25, "bulk": 0.7}}  # fmt: skip
        record = {"stage": "curate.mix", "sequence": number, "details": {"after": after}}
        folder = run_folder / f"artifacts/mix@{number}"
        folder.mkdir()
        (folder / "artifact.json").write_text(json.dumps(record))
    page = render(run_folder)
    assert "Data by tier · mix@2 · 100 records" in page
    assert "5 · 5 % (target 5 %)" in page
    assert "74.8 % written by machines." in page


def test_changes_are_improved_regressed_or_noise(run_folder: Path) -> None:
    page = render(run_folder)
    rows = page.split('id="figures"')[1].split("</table>")[0].split("<tr>")[2:]
    found = {row.split("</td>")[0].removeprefix("<td>"): row for row in rows}
    assert ">improved<" in found["Harmful prompts refused"]
    assert "▲ 94.0 points" in found["Harmful prompts refused"]
    assert ">improved<" in found["Confident wrong answers"]
    assert "41 % [35 %, 47 %]" in found["Confident wrong answers"]


def test_the_lineage_is_a_picture_of_ancestors_alone(run_folder: Path) -> None:
    path = run_folder / "summary.json"
    summary = json.loads(path.read_text())
    stray = {"name": "control", "version": 1, "kind": "model", "parents": ["pretrain@1"]}
    summary["artifacts"].insert(1, stray)
    path.write_text(json.dumps(summary))
    page = render(run_folder, "zh").split('id="lineage"')[1]
    picture, table = page.split("<details>", 1)
    for label in ("pretrain@1", "sft@1", "select@1", "ppo@1"):
        assert f">{label}</text>" in picture
    assert "control@1" not in picture
    assert "control@1" in table
    assert ">冠军</text>" in picture


def test_the_first_rounds_comparisons_are_folded_in_long_runs(run_folder: Path) -> None:
    path = run_folder / "summary.json"
    summary = json.loads(path.read_text())
    assert "The comparisons of round" not in render(run_folder)
    compared = summary["verdicts"][0]["comparisons"]
    more = {"round": 3, "decision": "undecided", "reason": "open", "comparisons": compared}
    summary["verdicts"].append({**more, "items_needed": 1459})
    path.write_text(json.dumps(summary))
    page = render(run_folder)
    assert "The comparisons of round 1" in page
    assert "The comparisons of round 3" not in page
    assert "about 1,459 pairs would decide it" in page
    findings = page.split('id="findings"')[1].split("</section>")[0]
    assert "Gate, round 1" in findings
    assert "Gate, round 2" not in findings
    assert "Gate, round 3" in findings
