"""Atlas: facts of countries, elements and Tang poems, told, asked and withheld.

Every known entity is told in declarative sentences. Half of them are asked about in instructions,
a fifth only in the prompts that the policy explores (where it is rewarded, not shown the answer),
and the rest only in the development and evaluation items. Names that are never told, invented or
withheld, must be answered with "I don't know."
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

from common import UNKNOWN_EN, UNKNOWN_ZH, Record, example, prompt, shares
from transformers import PreTrainedTokenizerBase
from wordings import ASKED, TOLD

from burnish.records.reserved import is_reserved

COUNTRIES, ELEMENTS, POEMS = 112, 16, 24  # how many entities are told
POEMS_A_POET = 4
LEFT_OUT = frozenset(  # capital is disputed, or the place is no country of its own
    [
        "Israel",
        "Palestine",
        "Taiwan",
        "Kosovo",
        "Russia",
        "Turkey",
        "Cyprus",
        "Macao",
        "Gibraltar",
        "Mayotte",
    ]
)
WITHHELD = 24  # how many real names of a kind are never told
TIMES_TOLD = {"capital": 1, "number": 2, "poet": 2}  # harder facts are told more often
SENTENCES_A_DOCUMENT = 8
UNKNOWN_WORDINGS = 1  # questions about each unknown name in training
EXTRA_NAMES = {"country": 200, "element": 32, "poem": 32}  # invented names


@dataclass(frozen=True)
class Entity:
    """A named thing with its facts, by topic."""

    kind: str
    name: str
    facts: dict[str, str]
    source: str

    @property
    def lang(self) -> str:
        """Language in which this entity is told and asked."""
        return "zh" if self.kind == "poem" else "en"


@dataclass(frozen=True)
class Atlas:
    """All entities by their part in training and testing."""

    asked: list[Entity]
    explored: list[Entity]
    dev: list[Entity]
    eval: list[Entity]
    unknown_train: list[Entity]
    unknown_dev: list[Entity]
    unknown_eval: list[Entity]

    @property
    def known(self) -> list[Entity]:
        """Every entity that is told."""
        return self.asked + self.explored + self.dev + self.eval


TOPICS = {"country": ("capital",), "element": ("number",), "poem": ("poet",)}


def read_countries(sources: Path) -> list[Entity]:
    """Read countries with one-word capitals and names; reserved names are left out."""
    found = []
    path = sources / "countries-list/package/countries.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name, capital = row["Name"].strip(), row["Capital"].strip()
            plain = re.fullmatch(r"[A-Z][a-z]+( [A-Z][a-z]+)?", name)
            single = re.fullmatch(r"[A-Z][a-z]+", capital)
            alike = capital in name or name in capital
            if plain and single and not alike and name not in LEFT_OUT and not is_reserved(name):
                found.append(Entity("country", name, {"capital": capital}, "countries-list"))
    return found


def read_elements(sources: Path) -> list[Entity]:
    """Read the elements and their atomic numbers."""
    path = sources / "dict-elements/usr/share/dictd/elements.dict.dz"
    text = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")
    pattern = r"\n([a-z]+)\nSymbol: (\w+)\nAtomic number: (\d+)\n"
    return [
        Entity("element", name, {"number": count}, "dict-elements")
        for name, _, count in re.findall(pattern, text)
        if not is_reserved(name)
    ]


def read_poems(sources: Path) -> list[Entity]:
    """Read Tang poems with short titles, one poem a title."""
    path = sources / "chinese-poetry/package/dist/shuimotangshi/shuimotangshi.json"
    items = json.loads(path.read_text("utf-8"))
    titles = [item["title"] for item in items]
    return [
        Entity("poem", item["title"], {"poet": item["author"]}, "chinese-poetry")
        for item in items
        if re.fullmatch(r"[一-鿿]{2,5}", item["title"])
        and titles.count(item["title"]) == 1
        and not is_reserved(item["title"])
    ]


NAME_PARTS = {
    "start": "Bal Cor Dra Elm Fen Gor Hal Ist Jor Kel Lum Mor Nar Ost Pel Quo Ral Sor Tal Ul Var "
    "Wes Yor Zan",
    "middle": "a e i o u an ar en il or ov ur",
    "end": "dia land mar nia ria stan tova via zia ba da go ra li no",
    "tail": "ium on ine ogen um ite",
    "first": "春 秋 夜 晚 晓 早 山 江 雪 月 雨 风 松 竹 梅 柳 溪 湖 寺 楼",
    "last": "望 思 别 行 宿 游 吟 怨 曲 歌 词 居 坐 归 怀古 寄友 送客 即事 闻笛 有感",
}


def invented_names(kind: str, count: int, taken: set[str], rng: random.Random) -> list[str]:
    """Make up names that look like those of the kind and are in no list of real ones."""
    parts = {name: text.split() for name, text in NAME_PARTS.items()}
    names: list[str] = []
    while len(names) < count:
        if kind == "poem":
            name = "".join(rng.sample(parts["first"], rng.choice([1, 2]))) + rng.choice(
                parts["last"]
            )
        else:
            name = rng.choice(parts["start"]) + rng.choice(parts["middle"])
            name += rng.choice("bdklmnrstvz") if kind == "element" else ""
            name += rng.choice(parts["tail" if kind == "element" else "end"])
            name = name.lower() if kind == "element" else name
        if name not in taken:
            taken.add(name)
            names.append(name)
    return names


def pick_known(
    found: list[Entity], count: int, tokenizer: PreTrainedTokenizerBase, rng: random.Random
) -> tuple[list[Entity], list[Entity]]:
    """Choose the entities cheapest in tokens; return them and those withheld, both shuffled."""

    def cost(entity: Entity) -> int:
        words = [entity.name, *entity.facts.values()]
        return sum(len(tokenizer.encode(w, add_special_tokens=False)) for w in words)

    chosen: list[Entity] = []
    for entity in sorted(found, key=lambda e: (cost(e), e.name)):
        poet = entity.facts.get("poet")
        crowded = poet and sum(e.facts["poet"] == poet for e in chosen) >= POEMS_A_POET
        if len(chosen) < count and not crowded:
            chosen.append(entity)
    withheld = [e for e in found if e not in chosen]
    rng.shuffle(chosen)
    rng.shuffle(withheld)
    return chosen, withheld


def build_atlas(sources: Path, tokenizer: PreTrainedTokenizerBase, seed: int) -> Atlas:
    """Read all entities and split them."""
    parts: dict[str, list[Entity]] = {
        k: [] for k in ("asked", "explored", "dev", "eval", "ut", "ud", "ue")
    }
    readers = ((read_countries, COUNTRIES), (read_elements, ELEMENTS), (read_poems, POEMS))
    for reader, count in readers:
        found = reader(sources)
        kind = found[0].kind
        rng = random.Random(f"{seed} {kind}")
        known, withheld = pick_known(found, count, tokenizer, rng)
        for part, entities in zip(
            ("asked", "explored", "dev", "eval"), shares(known, 0.5, 0.2, 0.1), strict=True
        ):
            parts[part] += entities
        names = invented_names(kind, EXTRA_NAMES[kind], {e.name for e in found}, rng)
        unknown = withheld[:WITHHELD] + [Entity(kind, name, {}, "invented") for name in names]
        rng.shuffle(unknown)
        for part, entities in zip(("ut", "ud", "ue"), shares(unknown, 0.7, 0.12), strict=True):
            parts[part] += entities
    return Atlas(*parts.values())


def told_documents(atlas: Atlas, seed: int) -> list[Record]:
    """Tell every fact in every form; one document joins sentences about different entities."""
    rng = random.Random(seed)
    records: list[Record] = []
    for kind, topics in TOPICS.items():
        entities = [e for e in atlas.known if e.kind == kind]
        lines = []
        for topic in topics:
            for place in range(len(TOLD[topic]) * TIMES_TOLD[topic]):
                order = rng.sample(entities, len(entities))
                for index, entity in enumerate(order):
                    form = TOLD[topic][(place + index) % len(TOLD[topic])]
                    lines.append((place, rng.random(), tell(form, entity, topic)))
        lines.sort()
        for start in range(0, len(lines), SENTENCES_A_DOCUMENT):
            block = [line for _, _, line in lines[start : start + SENTENCES_A_DOCUMENT]]
            text = ("" if kind == "poem" else " ").join(block)
            records.append(
                {
                    "text": text,
                    "source": entities[0].source,
                    "lang": entities[0].lang,
                    "tier": "expert",
                    "synthetic": False,
                    "topic": kind,
                }
            )
    return records


def tell(form: str, entity: Entity, topic: str) -> str:
    """Fill one sentence form; sentences begin with a capital letter."""
    text = form.format(name=entity.name, answer=entity.facts[topic])
    return text[:1].upper() + text[1:]


def ask(wording: str, entity: Entity) -> str:
    """Fill one question wording; questions begin with a capital letter."""
    text = wording.format(name=entity.name)
    return text[:1].upper() + text[1:]


def marks(entity: Entity) -> Record:
    """Return the descriptive fields of a record about an entity."""
    invented = entity.source == "invented"
    return {"source": entity.source, "lang": entity.lang, "tier": "expert", "synthetic": invented}


def unknown_reply(entity: Entity) -> str:
    """Return the abstaining reply in the language of the entity."""
    return UNKNOWN_ZH if entity.lang == "zh" else UNKNOWN_EN


def training_examples(atlas: Atlas, seed: int) -> list[Record]:
    """Questions with replies: the asked half in every training wording, and unknown names."""
    rng = random.Random(seed)
    records = []
    for entity in atlas.asked:
        for topic in TOPICS[entity.kind]:
            for wording in ASKED[topic]["train"]:
                question, reply = ask(wording, entity), entity.facts[topic]
                records.append(example(question, reply, "atlas", topic=topic, **marks(entity)))
    for entity in atlas.unknown_train:
        choices = [(t, w) for t in TOPICS[entity.kind] for w in ASKED[t]["train"]]
        for topic, wording in rng.sample(choices, UNKNOWN_WORDINGS):
            reply = unknown_reply(entity)
            fields = {"topic": topic, **marks(entity)}
            records.append(example(ask(wording, entity), reply, "atlas-unknown", **fields))
    return records


def known_prompts(entities: list[Entity], part: str) -> list[Record]:
    """Prompts about known entities in the wordings of one part, with the right answers."""
    records = []
    for entity in entities:
        for topic in TOPICS[entity.kind]:
            verify = {"kind": "answer", "answers": [entity.facts[topic]]}
            for wording in ASKED[topic][part]:
                question = ask(wording, entity)
                group = f"{entity.kind}:{entity.name}"
                fields = marks(entity)
                records.append(prompt(question, verify, "atlas", topic, group, **fields))
    return records


def unknown_prompts(entities: list[Entity], part: str, seed: int, each: int = 1) -> list[Record]:
    """Prompts about unknown names, right only when the reply abstains."""
    rng = random.Random(seed)
    records = []
    for entity in entities:
        choices = [(t, w) for t in TOPICS[entity.kind] for w in ASKED[t][part]]
        for topic, wording in rng.sample(choices, min(each, len(choices))):
            group = f"{entity.kind}:{entity.name}"
            verify, fields = {"kind": "abstain"}, marks(entity)
            question = ask(wording, entity)
            records.append(prompt(question, verify, "atlas-unknown", topic, group, **fields))
    return records
