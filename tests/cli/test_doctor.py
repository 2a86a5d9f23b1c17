from __future__ import annotations

import json
from typing import Any


def test_doctor_knows_the_machine(burnish: Any) -> None:
    found = json.loads(burnish("doctor", "--speed", "--json").out)
    assert found["versions"]["torch"][0].isdigit()
    assert "cpu" in found["machine"]["devices"]
    assert found["machine"]["cores"] >= 1
    speed, unit = found["machine"]["f32 multiply"].split()
    assert float(speed) > 0.1
    assert unit == "GFLOP/s"
    assert "devices" in burnish("doctor").out
