"""fit.reward: heads of several objectives, ensembles, sets that training never sees."""

from __future__ import annotations

import json
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests import tiny
from tests.stages.fits import context, saved_model
from transformers import AutoModelForCausalLM

from burnish.config import InputError, Interrupted
from burnish.models.heads import ScalarHead
from burnish.models.load import load_model, save_model
from burnish.records import Preference, Prompt, Rollout
from burnish.rewards.reward_model import RewardModel
from burnish.stages import ranking, training
from burnish.stages.base import Inputs
from burnish.stages.fit import reward
from burnish.stages.rewarding import RewardMix, reward_function
from burnish.stages.unseen import Unseen, take_out
from burnish.store import manifest, tables


def said(number: int, reply: str) -> Any:
    return ([{"role": "user", "content": f"the {number}"}], reply)


def record(number: int, **objectives: float) -> Preference:
    """A pair whose chosen reply is "hello" and whose rejected one is "ant"."""
    prompt, _ = said(number, "")
    return Preference(
        id=f"p{number}",
        prompt=prompt,
        chosen=[{"role": "assistant", "content": "hello"}],
        rejected=[{"role": "assistant", "content": "ant"}],
        group=f"g{number}",
        objectives=objectives,
    )


def fitted(
    folder: Path,
    records: list[Preference],
    more: dict[str, list[str]] | None = None,
    **settings: Any,
) -> Any:
    tables.write(folder / "pairs.jsonl", records)
    named = {"model": [saved_model(folder)], "data": [str(folder / "pairs.jsonl")]}
    quick = {"max_steps": 15, "learning_rate": 3e-3, "segments_per_step": 8, "epochs": 9}
    value = {"model": "m", "data": ["d"], "heldout": 0.4, "train": quick}
    config = reward.Config.model_validate(value | settings)
    return reward.run(config, Inputs(named | (more or {})), context(folder))


def test_heads_of_two_objectives_may_disagree_about_one_reply(tmp_path: Path) -> None:
    """helpful wants the chosen reply, harmless the rejected one; some pairs speak of one only."""
    both = [record(n, helpful=1.0, harmless=-0.5) for n in range(16)]
    one = [record(n, helpful=1.0) for n in range(16, 24)]
    silent = [record(n, honest=1.0) for n in range(24, 28)]
    outcome = fitted(tmp_path, both + one + silent, objectives=["helpful", "harmless"])
    helpful = outcome.figures["heldout_accuracy.helpful"]
    harmless = outcome.figures["heldout_accuracy.harmless"]
    assert (helpful.value, harmless.value) == (1.0, 1.0)
    assert helpful.n > harmless.n > 0
    assert outcome.details["pairs"] + outcome.details["heldout"] == 24
    about = outcome.details["objectives"]
    assert about["helpful"] + helpful.n == 24
    assert about["harmless"] + harmless.n == 16

    model = RewardModel.load(tmp_path / "output", "cpu")
    replies = [said(90, "hello"), said(90, "ant")]
    good, bad = model.score_each(replies)
    assert good["helpful"] > bad["helpful"]
    assert good["harmless"] < bad["harmless"]
    mean = [(each["helpful"] + each["harmless"]) / 2 for each in (good, bad)]
    assert model.score(replies) == pytest.approx(mean)

    rollouts = [
        Rollout(id=reply, prompt_id="q", prompt=prompt, completion=reply, tokens=[1],
                logprobs=[0.0], finish="stop", temperature=1.0, top_p=1.0, seed=0, scores={})
        for prompt, reply in replies
    ]  # fmt: skip
    asked = [Prompt(id="q", messages=replies[0][0])]
    mix = RewardMix(model=2.0, objectives={"helpful": 0.5, "harmless": 3.0})
    score = reward_function(asked, mix, str(tmp_path / "output"), "cpu")
    expected = [2 * (0.5 * each["helpful"] + 3 * each["harmless"]) for each in (good, bad)]
    assert score(rollouts) == pytest.approx(expected)
    assert score(rollouts, now=mix.at(1.0)) == score(rollouts)  # it stays where nothing is said
    moving = mix.model_copy(update={"until": {"model": 0.0}})
    halves = score(rollouts, now=moving.at(0.5))
    assert halves == pytest.approx([one / 2 for one in expected])
    silent = RewardMix(model=0.0, until={"model": 1.0})  # loaded, since it will count
    late = reward_function(asked, silent, str(tmp_path / "output"), "cpu")
    assert late(rollouts) == [0.0, 0.0]
    assert late(rollouts, now=silent.at(1.0)) == pytest.approx(mean)
    with pytest.raises(InputError, match="no objective 'honest'"):
        RewardModel.load(tmp_path / "output", "cpu", {"honest": 1.0})


def test_without_objectives_the_head_is_the_one_it_was(tmp_path: Path) -> None:
    outcome = fitted(tmp_path, [record(n, helpful=-1.0) for n in range(24)])
    assert outcome.figures["heldout_accuracy"].value == 1.0
    assert not any("." in name for name in outcome.figures)
    model = RewardModel.load(tmp_path / "output", "cpu")
    assert model.head.names == ("score",)
    ((each,), total) = model.score_each([said(1, "hello")]), model.score([said(1, "hello")])
    assert total == [each["score"]]


def test_an_objective_that_no_pair_speaks_of_is_refused(tmp_path: Path) -> None:
    """0 says nothing, as does a name that is not there."""
    records = [record(n, helpful=1.0, harmless=0.0) for n in range(8)]
    with pytest.raises(InputError, match="'harmless'"):
        fitted(tmp_path, records, objectives=["helpful", "harmless"])
    with pytest.raises(ValidationError, match="once"):
        reward.Config(model="m", data=["d"], objectives=["helpful", "helpful"])


def hash_of(folder: Path) -> dict[str, str]:
    """Every weight file below a folder, by its hash."""
    return {
        path.relative_to(folder).as_posix(): manifest.file_hash(path)
        for path in sorted(folder.rglob("*.safetensors"))
    }


@pytest.mark.parametrize("vary", ["seed", "fold"])
def test_members_differ_and_are_measured_as_they_were_saved(tmp_path: Path, vary: str) -> None:
    outcome = fitted(tmp_path, [record(n) for n in range(24)], members=3, vary=vary)
    folder = tmp_path / "output"
    model = RewardModel.load(folder, "cpu")
    replies = [said(90, "hello"), said(90, "ant"), said(91, "helling")]
    each = model.sums(model.outputs(replies))
    assert each.shape == (3, 3)
    assert len({tuple(column.tolist()) for column in each.T}) == 3
    spread = [statistics.pstdev(row) for row in each.tolist()]
    assert model.spread(replies) == pytest.approx(spread, abs=1e-5)
    assert min(spread) > 0
    held = outcome.details["sets"]["heldout"]
    assert [figure["value"] for figure in held["members"]] == [1.0, 1.0, 1.0]
    assert held["agreement"]["all_agree"]["value"] == 1.0
    assert outcome.figures["steps"].value >= 3 * 9  # epochs of each member
    # The folder alone is a language model with a head, as any other reward model's.
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    assert ScalarHead.load(folder).names == ("score",)


def test_members_start_from_their_own_bases(tmp_path: Path) -> None:
    other = str(save_model(tiny.model(seed=5), tiny.tokenizer(), tmp_path / "other"))
    still = {"train": {"max_steps": 1, "learning_rate": 1e-9}, "heldout": 0.4}
    rows = [record(n) for n in range(24)]
    fitted(tmp_path, rows, {"bases": [other]}, members=2, vary="base", bases=["b"], **still)
    model = RewardModel.load(tmp_path / "output", "cpu")
    starts = [str(tmp_path / "model"), other]
    for member, start in zip(model.members, starts, strict=True):
        weights = load_model(start, "cpu").model.get_input_embeddings().weight
        own = member.model.get_input_embeddings().weight
        torch.testing.assert_close(own, weights, atol=1e-6, rtol=0)
    assert not torch.allclose(*(m.model.get_input_embeddings().weight for m in model.members))


def test_bases_go_with_members_and_share_their_vocabulary(tmp_path: Path) -> None:
    for wrong in ({"members": 3, "vary": "base", "bases": ["b"]}, {"members": 2, "bases": ["b"]}):
        with pytest.raises(ValidationError, match="vary: base needs one for each member after"):
            reward.Config.model_validate({"model": "m", "data": ["d"]} | wrong)
    with pytest.raises(InputError, match="bases: another vocabulary"):
        fitted(tmp_path, [record(n) for n in range(8)], {"bases": ["burnish-tiny"]}, members=2,
               vary="base", bases=["b"])  # fmt: skip


def test_a_member_goes_without_its_fold() -> None:
    config = reward.Config(model="m", data=["d"], members=3, vary="fold")
    records = [record(n) for n in range(30)]
    parts = [{r.id for r in reward.without_fold(config, records, k)} for k in range(3)]
    left = [{r.id for r in records} - part for part in parts]
    assert all(left)
    assert sum(map(len, left)) == 30
    assert len(set.union(*left)) == 30
    number = next(k for k, part in enumerate(parts) if "p7" not in part)
    with pytest.raises(InputError, match=f"one group, which is fold {number + 1}"):
        reward.without_fold(config, [record(7)], number)
    with pytest.raises(ValidationError, match="at least 2 members"):
        reward.Config(model="m", data=["d"], vary="fold")


def test_an_interrupted_ensemble_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [record(n) for n in range(12)]
    (tmp_path / "whole").mkdir()
    fitted(tmp_path / "whole", records, members=2)
    plain, count = training.fit, 0

    def fails_second(*args: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise Interrupted("stopped")
        return plain(*args, **named)

    broken = tmp_path / "broken"
    broken.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", fails_second)
        with pytest.raises(Interrupted):
            fitted(broken, records, members=2)
    shutil.rmtree(broken / "output")  # a draft is thrown away, the scratch folder stays
    rows = (broken / "metrics.jsonl").read_text().count("fit.1")
    fitted(broken, records, members=2)
    assert hash_of(broken / "output") == hash_of(tmp_path / "whole" / "output")
    assert (broken / "metrics.jsonl").read_text().count("fit.1") == rows > 0


def other(number: int, **changes: Any) -> Preference:
    return replace(record(number), id=f"o{number}", group=f"o{number}", **changes)


def test_sets_that_training_never_sees(tmp_path: Path) -> None:
    plain = [replace(record(n), topic="known") for n in range(20)]
    long = [{"role": "assistant", "content": "hello hello hello"}]
    far = [other(n, topic="far") for n in range(4)]
    lengthy = [other(n, chosen=long) for n in range(10, 13)]
    chinese = [other(n, lang="zh") for n in range(20, 23)]
    swapped = [
        other(n, chosen=record(n).rejected, rejected=record(n).chosen) for n in range(30, 35)
    ]
    tables.write(tmp_path / "odd.jsonl", swapped)
    ood = {"longest": 0.1, "languages": ["zh"], "files": {"odd": ["odd.jsonl"]}}
    files = {"ood.files.odd.0": [str(tmp_path / "odd.jsonl")]}
    records = plain + far + lengthy + chinese
    outcome = fitted(tmp_path, records, files, leave_out=["far"], ood=ood)
    sets = outcome.details["sets"]
    counts = {name: report["accuracy"]["n"] for name, report in sets.items()}
    held = counts.pop("heldout")
    assert counts == {"left_out": 4, "longest": 3, "language_zh": 3, "odd": 5}
    assert outcome.details["pairs"] + held == 20
    assert outcome.figures["left_out_accuracy"].value == 1.0
    assert outcome.figures["ood_accuracy.odd"].value == 0.0
    assert outcome.figures["ood_accuracy.odd"].n == 5
    # "hello" has one token less than "hello hello hello", so that all longer ones were right.
    assert sets["longest"]["length"]["accuracy"]["longer"]["value"] == 1.0


def test_pairs_of_the_policys_own_replies(tmp_path: Path) -> None:
    """One word at most is right: some of a random model's replies are, some are not."""
    rules = [{"rule": "max_words", "n": 1}]
    prompts = [
        Prompt(id=f"q{n}", messages=said(n, "")[0], verify={"kind": "format", "rules": rules})
        for n in range(6)
    ]
    tables.write(tmp_path / "prompts.jsonl", [*prompts, Prompt(id="bare", messages=said(9, "")[0])])
    own = {"model": "m", "prompts": ["p"], "per_prompt": 6, "sampling": {"max_new_tokens": 8}}
    outcome = fitted(
        tmp_path,
        [record(n) for n in range(12)],
        {"ood.own.model": [str(tmp_path / "model")],
         "ood.own.prompts.0": [str(tmp_path / "prompts.jsonl")]},
        ood={"own": own},
    )  # fmt: skip
    best = outcome.details["best_of_n"]
    assert best["n"] == 6
    assert best["average"]["n"] == best["picked"]["n"] == 6  # prompts; the bare one is left out
    assert -1 <= best["average"]["value"] < best["best"]["value"] <= 1
    assert best["picked"]["value"] <= best["best"]["value"]
    assert outcome.figures["ood_accuracy.own"].n == outcome.details["sets"]["own"]["accuracy"]["n"]
    assert outcome.figures["ood_accuracy.own"].n > 0


@pytest.mark.parametrize(
    ("ood", "expected"),
    [
        ({"files": {"heldout": ["x"]}}, "no other set"),
        ({"files": {"a-b": ["x"]}}, "letters, digits"),
        ({"files": {"odd": []}}, "no file"),
        ({"longest": 0.5}, "less than 0.5"),
    ],
)
def test_bad_sets_are_refused(ood: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        reward.Config.model_validate({"model": "m", "data": ["d"], "ood": ood})


def test_leaving_everything_out_is_refused() -> None:
    with pytest.raises(InputError, match="all 2 pairs are left out"):
        take_out([record(1), record(2)], [""], Unseen())


def test_scores_that_are_all_equal_are_reported_as_knowing_nothing() -> None:
    """The head is zero: all pairs are ties, and nothing is divided by zero."""
    model = RewardModel(tiny.model(), tiny.tokenizer(), ScalarHead(32))
    figures, details = ranking.measure(model, {"heldout": [record(n) for n in range(12)]}, 2000)
    held = details["sets"]["heldout"]
    assert figures["heldout_accuracy"].value == 0.0
    assert details["temperature"] is None
    assert held["calibration"]["before"]["error"] == 0.0
    assert "gaps" not in held["length"]
    json.dumps(details, allow_nan=False)
