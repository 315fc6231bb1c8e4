"""The record of the prediction benchmark, from made-up times: ratios by hand, missing contestants."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support import benchmarks

from bnnlib.benchmark.prediction import record
from bnnlib.benchmark.timing import Key

RATIOS = {
    "torch_fp32": 18.0,  # channels_last 180 / 10
    "onnxruntime_fp32": 13.0,
    "onnxruntime_int8": 7.0,
    "torch_fp32_latency": 15.0,  # channels_last 300 / 20
    "two_cores": 1.8,  # 9 / 5
}


def test_ratios_computed_by_hand() -> None:
    found = benchmarks.as_json()
    assert found["ratios"] == RATIOS
    assert found["masked"]["ratios"] == {"torch_fp32": 8.0}
    assert found["ratio_details"]["torch_fp32"] == {
        "low": 18.0,
        "high": 18.0,
        "peer": {"name": "torch_fp32_channels_last", "threads": 1, "batch": 64},
        "ours": {"name": "fast", "threads": 1, "batch": 64},
        "reason": None,
    }
    assert found["ratio_details"]["two_cores"]["ours"] == {"name": "fast", "threads": 2, "batch": 512}
    assert [time["us_per_image"]["median"] for time in found["alone"]] == [9.0, 5.0]


def test_a_ratio_compares_each_at_its_best_batch_size() -> None:
    found = benchmarks.found()
    times = {**found.times, Key("torch_fp32", 1, 256): benchmarks.same(90.0), Key("fast", 1, 256): [5.0, 6.0, 7.0]}
    ratio = record.ratios(dataclasses.replace(found, times=times))["torch_fp32"]
    assert ratio.of == (Key("torch_fp32", 1, 256), Key("fast", 1, 256))
    assert ratio.value == 15.0
    # Rounds: 18, 15, 90 / 7; the quartiles are half way between neighbours.
    assert (ratio.low, ratio.high) == (pytest.approx((90 / 7 + 15) / 2, abs=5e-4), 16.5)


def test_a_missing_ratio_is_null_and_has_a_reason() -> None:
    found = benchmarks.as_json_without_peers()
    missing = {
        "onnxruntime_fp32": "no onnxruntime",
        "onnxruntime_int8": "no onnxruntime",
        "two_cores": "this process may use one core only",
    }
    assert found["ratios"] == {name: None if name in missing else value for name, value in RATIOS.items()}
    assert {name: each["reason"] for name, each in found["ratio_details"].items() if each["reason"]} == missing
    assert found["contestants"]["onnxruntime_int8"]["missing"] == "no onnxruntime"
    assert found["contestants"]["onnxruntime_int8"]["times"] == []
    assert (found["masked"]["ratios"], found["masked"]["reason"]) == ({"torch_fp32": None}, "no AVX2")


def test_the_record_is_complete_json() -> None:
    found = benchmarks.as_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["date"] == "2026-01-02"
    assert found["effort"]["rounds"] == benchmarks.ROUNDS
    assert found["contestants"].keys() == benchmarks.MEDIANS.keys()
    fast = found["contestants"]["fast"]
    assert [(time["threads"], time["batch"]) for time in fast["times"]] == [(1, 1), (1, 64), (2, 64)]
    assert fast["times"][0]["us_per_image"] == {"median": 20.0, "low": 20.0, "high": 20.0}
    assert found["contestants"]["reference"]["largest_batch"] == 64
