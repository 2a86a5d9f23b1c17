"""From a teacher to its student, and the student as a draft for its teacher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests import tiny

from burnish.models.save import save_model


def test_a_student_goes_ahead_of_its_teacher(burnish: Any) -> None:
    save_model(tiny.model(1, num_hidden_layers=3), tiny.tokenizer(), "teacher")
    rows = [
        {"id": f"e{n}", "messages": [{"role": "user", "content": f"the {n}?"},
                                     {"role": "assistant", "content": "hell an"}]}
        for n in range(12)
    ]  # fmt: skip
    Path("examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    teacher = str(Path("teacher").resolve())
    done = burnish(
        "fit", "distill", "--model", teacher, "--data", "examples.jsonl", "--out", "student",
        "--set", f"teacher={teacher}", "--set", "depth=2", "--set", "train.epochs=3", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["figures"]["steps"]["value"] == 3
    assert json.loads(Path("student/config.json").read_text())["num_hidden_layers"] == 2
    ask = ["generate", "--model", "teacher", "--prompt", "the 3?", "--max-tokens", "12"]
    plain = burnish(*ask)
    helped = burnish(*ask, "--draft", "student", "--ahead", "2")
    assert helped.out.startswith(plain.out)
    assert "proposed tokens stayed" in helped.out
    told = json.loads(burnish(*ask, "--draft", "student", "--json").out)
    assert (
        told["replies"][0]["reply"]
        == json.loads(burnish(*ask, "--json").out)["replies"][0]["reply"]
    )
    assert 0 <= told["draft"]["accepted"] <= told["draft"]["proposed"]
    assert told["draft"]["proposed"] > 0
    save_model(tiny.model(vocab_size=300), tiny.tokenizer(extra=["<|x|>"]), "other")
    refused = burnish(*ask, "--draft", "other")
    assert refused.code == 2
    assert "another vocabulary" in refused.err
    served = burnish("generate", "--model", "http://127.0.0.1:9/v1#x", "--prompt", "a",
                     "--draft", "student")  # fmt: skip
    assert served.code == 2
    assert "--draft: the model is served elsewhere" in served.err
