"""The measuring stages on a tiny model: kept replies, efficiency, lm-eval, comparison, probe."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests.loop.mini import CITIES, write_recipe, write_rows
from tests.stages.measuring import REPLIES, ROWS, evaluation, prepared

from burnish.config import InputError
from burnish.evals import consistency, efficiency, harness
from burnish.evals.compare import compare
from burnish.evals.duels import asked, by_score, duel
from burnish.evals.harness import HarnessSettings
from burnish.evals.harness_model import harness_model
from burnish.evals.tasks import Response
from burnish.loop.recipe import from_value, load
from burnish.loop.run import RunResult, run
from burnish.models.load import load_model
from burnish.rewards.candidates import Candidate
from burnish.sampling import LocalSampler
from burnish.stages.measure import compare as compare_stage
from burnish.stages.measure import gate as gate_stage

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("measure"))


def execute(folder: Path, name: str, **stages: dict[str, Any]) -> RunResult:
    recipe = from_value({"name": name, "model": "one", "prepare": stages}, folder / "r.yaml", {})
    return run(recipe, folder / "runs")


def test_other_verifiers_need_no_samples(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = str(place / "kept")
    execute(place, "first", evaluate=evaluation("one", replies=kept))
    (journal,) = Path(kept).glob("*.jsonl")
    assert len(journal.read_text().splitlines()) == len(ROWS)

    def never(*_: Any) -> None:
        raise AssertionError("the sampler was asked")

    monkeypatch.setattr(LocalSampler, "complete", never)
    again = execute(place, "again", evaluate=evaluation("one", "rules.jsonl", replies=kept))
    responses = (again.artifact("evaluate").path / "responses.jsonl").read_text().splitlines()
    first = (place / "runs/first/artifacts/evaluate@1/responses.jsonl").read_text().splitlines()
    for old, new in zip(map(json.loads, first), map(json.loads, responses), strict=True):
        assert (old["reply"], old["tokens"]) == (new["reply"], new["tokens"])
        assert 0 < new["tokens"] <= 4
    # Another model, or replies of another length, are asked for.
    longer = REPLIES | {"max_new_tokens": 5}
    for name, changes in (("two", {}), ("one", {"sampling": longer})):
        with pytest.raises(AssertionError, match="the sampler was asked"):
            execute(place, f"asks-{name}-{len(changes)}",
                    evaluate=evaluation(name, replies=kept) | changes)  # fmt: skip


def test_options_are_weighed_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"kind": "choice", "choices": ["Lima", "Quito"], "gold": 0}
    rows = [row | {"verify": spec} for row in ROWS[:3]]
    write_rows(place / "options.jsonl", rows)
    write_rows(place / "gold.jsonl", [row | {"verify": spec | {"gold": 1}} for row in rows])
    more = {"replies": str(place / "weighed")}
    first = execute(place, "w1", evaluate=evaluation("one", "options.jsonl", **more))

    def never(*_: Any) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr("burnish.evals.choices.measure", never)
    again = execute(place, "w2", evaluate=evaluation("one", "gold.jsonl", **more))
    values = [made.artifact("evaluate").figures["capitals"].value for made in (first, again)]
    assert sum(values) == 1  # what was right is wrong, and the other way round
    with pytest.raises(AssertionError, match="the model was asked"):
        execute(place, "w3", evaluate=evaluation("two", "options.jsonl", **more))


def test_efficiency_is_a_dimension(place: Path) -> None:
    settings = {"prompt_tokens": 16, "new_tokens": 4, "repeats": 3, "warmup": 1}
    made = execute(place, "cost", evaluate=evaluation("one", efficiency=settings))
    artifact = made.artifact("evaluate")
    assert set(artifact.figures) == {"capitals", *efficiency.UPWARD}
    assert {artifact.details["dimensions"][name] for name in efficiency.UPWARD} == {"efficiency"}
    found = artifact.figures
    assert found["latency_p50_seconds"].value <= found["latency_p95_seconds"].value
    assert found["decode_tokens_per_second"].low <= found["decode_tokens_per_second"].value
    size = sum(file.stat().st_size for file in (place / "one").rglob("*") if file.is_file())
    assert found["size_bytes"].value == size
    assert artifact.details["efficiency"]["dtype"] == "float32"


def lm_eval_folder(folder: Path) -> Path:
    folder.mkdir()
    rows = [{"q": f"Capital of {c}?", "options": [t, "x"], "gold": 0} for c, t in CITIES.items()]
    write_rows(folder / "capitals.jsonl", rows)
    shared = (
        "dataset_path: json\ndataset_kwargs: {data_files: {test: capitals.jsonl}}\n"
        'test_split: test\ndoc_to_text: "{{q}}"\n'
    )
    (folder / "pick.yaml").write_text(
        f"task: pick\n{shared}output_type: multiple_choice\n"
        'doc_to_choice: "{{options}}"\ndoc_to_target: gold\n'
        "metric_list: [{metric: acc}, {metric: acc_norm}]\n"
    )
    (folder / "say.yaml").write_text(
        f"task: say\n{shared}output_type: generate_until\n"
        'doc_to_target: "{{options[0]}}"\ngeneration_kwargs: {until: ["h"], max_gen_toks: 6}\n'
        "metric_list: [{metric: exact_match}]\n"
    )
    return folder


def test_lm_eval_scores_as_its_own_model_does(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C-43: the same log-probabilities, character-normalised and raw, as lm-eval's own model.
    pytest.importorskip("lm_eval")
    from lm_eval.models.huggingface import HFLM

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = lm_eval_folder(tmp_path / "tasks")
    pairs = [("Capital of Peru?", " Lima"), ("a ", "b"), ("", "hello there"), ("x", " y" * 30)]
    # Theirs counts inputs; the last token, which is none, is within ours.
    theirs = HFLM(
        pretrained=str(place / "one"), device="cpu", batch_size=1, dtype="float32", max_length=511
    )
    loaded = load_model(place / "one")

    class Instance:
        def __init__(self, *args: str) -> None:
            self.args = args

    ours = harness_model(loaded)
    requests = [Instance(*pair) for pair in pairs]
    for mine, other in zip(
        ours.loglikelihood(requests, disable_tqdm=True),
        theirs.loglikelihood(requests, disable_tqdm=True),
        strict=True,
    ):
        assert mine == (pytest.approx(other[0], abs=1e-3), other[1])
    rolling = [Instance("One sentence. " * 80)]
    assert ours.loglikelihood_rolling(rolling) == pytest.approx(
        theirs.loglikelihood_rolling(rolling, disable_tqdm=True), rel=1e-4
    )
    ids = loaded.tokenizer("Capital", add_special_tokens=False)["input_ids"]
    likeliest = int(loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
    greedy = ours._loglikelihood_tokens([(("", ""), ids, [tail]) for tail in (likeliest, 7)])
    assert [is_greedy for _, is_greedy in greedy] == [True, False]

    settings = HarnessSettings(tasks=["pick", "say"], folder="tasks")
    found = harness.measure(settings, loaded, folder)
    assert set(found.figures) == {"pick.acc", "pick.acc_norm", "say.exact_match"}
    assert found.figures["pick.acc"].n == len(CITIES)
    assert set(found.values["pick.acc"]) == {str(at) for at in range(len(CITIES))}
    with pytest.raises(InputError, match="no task 'gone'"):
        harness.measure(HarnessSettings(tasks=["gone"], folder="tasks"), loaded, folder)


def test_lm_eval_results_are_read_with_their_direction() -> None:
    samples = [
        {"doc_id": at, "filter": "none", "metrics": ["acc", "ppl", "bpb"], "acc": at % 2,
         "ppl": 2.0 + at, "bpb": (-3.0, 7)} for at in range(4)
    ]  # fmt: skip
    found = harness.read_results({
        "samples": {"t": samples},
        "higher_is_better": {"t": {"acc": True, "ppl": False, "bpb": False}},
        "results": {"t": {"acc,none": 0.5, "bpb,none": 0.7}},
        "versions": {"t": 1},
    })  # fmt: skip
    assert found.values == {"t.acc": {"0": 0, "1": 1, "2": 0, "3": 1},
                            "t.ppl": {"0": -2, "1": -3, "2": -4, "3": -5}}  # fmt: skip
    assert found.figures["t.ppl"].value == 3.5
    assert (found.figures["t.bpb"].value, found.figures["t.bpb"].high) == (0.7, math.inf)


def response(id: str, reply: str, **changes: Any) -> Response:
    made = Response(
        task="t", metric="right", dimension="capability", higher_is_better=True, item_id=id,
        group="", lang="en", source="s", category="",
        messages=[{"role": "user", "content": f"Question {id}?"}],
        verify=None, reply=reply, finish="stop", tokens=3,
    )  # fmt: skip
    return replace(made, **changes)


def test_duels_pair_replies_by_conversation() -> None:  # C-36, C-37, C-38, S-18
    short = [response(f"q{at}", f"Word {at}.") for at in range(6)]
    long = [response(f"q{at}", f"Word {at} and a good deal more.") for at in range(5)]
    null = [response(f"q{at}", ":") for at in range(6)]
    assert list(asked([*short, short[0]]).replies) == list(asked(short).replies)

    def length(some: Any) -> list[float]:
        return [float(len(one.reply)) for one in some]

    met = duel({"short": short, "long": long, "null": null}, by_score(length))
    assert (met.win_rates["long"].wins, met.win_rates["long"].raw.n) == (5, 5)
    assert met.win_rates["null"].wins == 0  # whatever the score says
    assert met.win_rates["null"].losses == 6
    itself = duel({"a": short, "b": short}, by_score(length))
    assert (itself.win_rates["b"].raw.value, itself.win_rates["b"].controlled.value) == (0.5, 0.5)
    assert itself.ratings is not None
    assert itself.ratings.ratings["a"].value == pytest.approx(1000)
    silent = duel({"a": short, "b": long}, lambda pairs: [None for _ in pairs])
    assert silent.win_rates["b"].missing == 5
    assert silent.ratings is None
    chosen = by_score(lambda some: [-float(len(one.reply)) for one in some])
    one, other = (Candidate("q", [], text) for text in ("A word.", "Two more words."))
    assert chosen([(one, other), (other, one), (one, one)]) == [0.0, 1.0, 0.5]


def test_n_models_in_one_table(place: Path) -> None:
    stages = {name: evaluation(model, "rules.jsonl") for name, model in
              (("a", "one"), ("b", "two"), ("c", "one"))}  # fmt: skip
    table = {"run": "measure.compare", "evaluations": ["@a", "@b", "@c"],
             "names": ["<base>", "other", "again"]}  # fmt: skip
    made = execute(place, "table", **stages, table=table)
    artifact = made.artifact("table")
    rows = {row["model"]: row for row in artifact.details["rows"]}
    assert set(rows) == {"other", "again"}
    again = rows["again"]
    assert (again["comparison"]["difference"], again["state"]) == (0.0, "noise")
    assert again["detectable"] > 0
    for name, word in (("comparison.html", "noise"), ("comparison.zh.html", "噪声")):
        page = (artifact.path / name).read_text(encoding="utf-8")
        assert word in page
        assert "&lt;base&gt;" in page
        assert "<base>" not in page
    first = made.artifact("a").path
    # Corrected over metrics and models together: the smaller of the two p-values is doubled.
    other, same = compare(first, {"other": made.artifact("b").path, "again": first})
    assert same.adjusted_p == 1
    assert other.adjusted_p == pytest.approx(min(1.0, 2 * other.comparison.p_two_sided))
    assert other.comparison.p_two_sided < 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"evaluations": ["a"]},
        {"names": ["only one"]},
        {"names": ["same", "same"]},
        {"judge": {"model": "m"}, "reward": "r"},
    ],
)
def test_a_comparison_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        compare_stage.Config.model_validate({"evaluations": ["a", "b"], **wrong})


def answer(reply: str, outcome: str = "", logprob: float | None = None) -> consistency.Answer:
    return consistency.Answer(reply, outcome, False, "", logprob, 4)


def version(name: str, *answers: consistency.Answer) -> consistency.Version:
    return consistency.Version(name, {f"q{at}": one for at, one in enumerate(answers)}, {})


def test_agreement_is_of_verdicts_else_of_words() -> None:
    # M8
    old = version("old", answer("Lima.", "right"), answer("Rome", "wrong"), answer("Hello!"))
    same = version("same", answer("It is Lima", "right"), answer("Oslo", "wrong"), answer("hello"))
    far = version("far", answer("No.", "wrong"), answer("Lima", "right"), answer("Bye"))
    assert consistency.drift(old, same).value == 0
    assert consistency.drift(old, far).value == 1
    assert consistency.matrix([old, same, far]) == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert consistency.matrix([old, same], same_words=True)[1][0] == pytest.approx(1 / 3)
    assert consistency.furthest([old, same, far, same]) == far
    assert consistency.furthest([old]) is None


def test_divergence_is_nats_a_token() -> None:
    earlier = {"a": answer("x", logprob=-2.0), "b": answer("y", logprob=-4.0), "c": answer("z")}
    under = {"a": (-3.0, 4), "b": (-7.0, 4), "c": (-1.0, 4)}
    assert consistency.divergence(earlier, under) == pytest.approx((1 + 3) / 8)
    assert consistency.divergence({"c": answer("z")}, under) is None


def test_a_probe_remembers_every_version_and_the_gate_bounds_drift(place: Path) -> None:
    # M8: two rounds; the second probe is compared with all that came before.
    train = {"max_steps": 2, "segments_per_step": 4, "learning_rate": 0.05}
    value = {
        "name": "drifting",
        "model": "one",
        "prepare": {"start": {"run": "fit.sft", "model": "@base", "data": ["sft.jsonl"],
                              "heldout": 0, "train": {**train, "learning_rate": 1e-4}}},
        "round": {
            "before": evaluation("@champion"),
            "fit": {"run": "fit.sft", "model": "@champion", "data": ["sft.jsonl"], "heldout": 0,
                    "train": train},
            "probe": {"run": "measure.probe", "model": "@fit", "champion": "@champion",
                      "probes": ["rules.jsonl"], "last": "@probe", "max_new_tokens": 4},
            "after": evaluation("@fit"),
            "gate": {"run": "measure.gate", "before": "@before", "after": "@after",
                     "probe": "@probe",
                     "policy": {"target": ["capitals"], "guards": {"drift": 0.2}, "max_same": 1}},
            "promote": {"run": "release.promote", "verdict": "@gate", "model": "@fit"},
        },
        "rounds": {"count": 2, "champion": "@start"},
    }  # fmt: skip
    made = run(load(write_recipe(place, value)), place / "runs")
    probe = made.artifact("probe")
    assert probe.details["versions"] == ["start@1", "fit@1", "fit@2"]
    versions = consistency.read(probe.path)
    assert list(versions[2].divergence) == ["start@1", "fit@1"]
    far = consistency.furthest(versions)
    assert far is not None
    assert probe.figures["drift"] == consistency.drift(far, versions[2])
    guard = made.artifact("gate").details["comparisons"][1]
    assert (guard["metric"], guard["margin"]) == ("drift", 0.2)
    assert guard["comparison"]["difference"] == pytest.approx(-probe.figures["drift"].value)
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    assert 'id="consistency"' in page
    assert "A cell is the share" in page
    judged = made.summary["verdicts"][-1]
    assert judged["power"] == 0.8


def test_a_probe_s_champion_may_lie_outside_the_run(place: Path) -> None:
    # A version of another run, that bears the name of one of this run, and a model's folder.
    shutil.copytree(place / "two", place / "old" / "artifacts" / "start@1")
    probe = {"run": "measure.probe", "probes": ["rules.jsonl"], "max_new_tokens": 4}
    fit = {"run": "fit.sft", "model": "@base", "data": ["sft.jsonl"], "heldout": 0,
           "train": {"max_steps": 1}}  # fmt: skip
    for champion, name in (("old/artifacts/start@1", "old/start@1"), ("two", "two")):
        made = execute(
            place, f"outside-{name[:3]}", start=fit,
            first={**probe, "model": "@start", "champion": champion},
            second={**probe, "model": "@base", "champion": champion, "last": "@first"},
        )  # fmt: skip
        # The champion is asked once, and this run's own start is another version.
        assert made.artifact("second").details["versions"] == [name, "start@1", "one"]
        last = consistency.read(made.artifact("second").path)[-1]
        assert list(last.divergence) == [name, "start@1"]
        assert last.divergence[name] != last.divergence["start@1"]


def test_a_drift_guard_and_a_probe_go_together() -> None:
    policy: dict[str, Any] = {"target": ["x"]}
    for wrong in ({"probe": "p"}, {"policy": {**policy, "guards": {"drift": 0.1}}}):
        with pytest.raises(ValidationError, match="go together"):
            gate_stage.Config.model_validate(
                {"before": "a", "after": "b", "policy": policy, **wrong}
            )
