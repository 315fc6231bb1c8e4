"""Both benchmarks as they are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import benchmarks, reports, trainings

from bnnlib.core import records
from bnnlib.report.parts import speed
from bnnlib.report.parts.source import Source

# Our training of the full network: batch size to images/s.
OURS = f"{trainings.PARAMS.full.batch_size} | 9.6 | 7.2 to 14.4 | 5,000"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(reports.write(tmp_path), "mnist")


def record_in(source: Source, record: dict[str, Any], name: str = speed.PREDICTION) -> None:
    (source.reports / name).write_text(json.dumps(record))
    records.note(source.reports / name)


def test_without_a_record_the_part_says_how_to_make_one(source: Source) -> None:
    assert speed.prediction(source) == "Not measured yet: `bnn benchmark --save` writes reports/benchmark.json."
    missing = "Not measured yet: `bnn benchmark --training --save` writes reports/benchmark_training.json."
    assert speed.training(source) == missing
    assert speed.sentences(source) == f"{speed.prediction(source)}\n{missing}"


def test_the_speed_of_prediction_is_that_of_the_record(source: Source) -> None:
    record_in(source, benchmarks.as_json())
    lines = speed.prediction(source).splitlines()
    assert lines[0].startswith(
        "A Processor, 2 cores (x86_64: avx2, avx512_vpopcntdq), 16.0 GiB, load average 0.1 before; "
    )
    assert "| contestant | batch 1 | batch 64 | 2 threads, best batch | validation accuracy |" in lines
    assert "| torch_fp32 | 400.0 | 200.0 | 150.0 | 99.00% |" in lines
    assert "| reference | 6,000.0 |  |  | 98.00% |" in lines
    assert "| fast | 20.0 | 10.0 | 5.0 | 98.00% |" in lines
    assert "![Time per image of each contestant](reports/benchmark.png)" in lines
    assert "| throughput, PyTorch float32 | 18.0 | 18.0 to 18.0 |" in lines
    assert "| one image alone, PyTorch float32 | 15.0 | 15.0 to 15.0 |" in lines


def test_on_the_command_line_there_is_no_picture() -> None:
    assert "![" not in speed.prediction_markdown(benchmarks.as_json())


def test_what_was_not_measured_says_why(source: Source) -> None:
    record_in(source, benchmarks.as_json_without_peers())
    text = speed.prediction(source)
    assert "| onnxruntime_int8 (missing: no onnxruntime) |  |  |  |  |" in text
    assert "| throughput, onnxruntime int8 | not measured | no onnxruntime |" in text
    assert "| throughput, PyTorch float32, both without AVX-512 (AVX2 only) | not measured | no AVX2 |" in text
    for block in text.split("\n\n"):
        assert len({line.count("|") for line in block.splitlines() if line.startswith("|")}) <= 1
    assert "10.0 µs per image: 18 times faster than PyTorch float32, which run" in speed.sentences(source)


def test_the_speed_of_training_is_that_of_the_record(source: Source) -> None:
    record_in(source, trainings.as_json(), speed.TRAINING)
    text = speed.training(source)
    assert "A Processor, 2 cores (x86_64: avx2, avx512f), 16.0 GiB, load average 0.1 before; " in text
    assert "torch on 1 thread, device cpu. Seconds per epoch of 48,000 images: medians of 3 interleaved rounds" in text
    lines = text.splitlines()
    baseline = "baseline | 128 | 48.0 | 48.0 to 48.0 | 1,000"
    assert f"| full | ours | {OURS} | 2 | 20.0 |" in lines
    assert f"| full | {baseline} | 3 | 350.0 |" in lines
    assert f"| binary | {baseline} | not within 9 | more than 500.0 |" in lines
    faster = "an epoch 5.0 times faster than the baseline's (middle half of the rounds: 3.8 to 7.5)"
    assert f"- full: {faster}; macro-F1 0.991 17.5 times sooner." in lines
    [binary] = [line for line in lines if line.startswith(f"- binary: {faster}; macro-F1 0.978 more than 25.0 times")]
    assert binary.endswith("the baseline does not reach it within 9 epochs.")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_a_score_that_our_training_does_not_reach(source: Source) -> None:
    record_in(source, trainings.as_json(trainings.found_that_fell_short()), speed.TRAINING)
    text = speed.training(source)
    assert f"| full | ours | {OURS} | not within 4 | more than 40.0 |" in text
    assert "; ours does not reach macro-F1 0.991 within 4 epochs.\n" in text


def test_the_readme_has_a_sentence_on_each(source: Source) -> None:
    record_in(source, benchmarks.as_json())
    record_in(source, trainings.as_json(), speed.TRAINING)
    assert speed.sentences(source).splitlines() == [
        "On one thread (A Processor) the packed network takes 10.0 µs per image: 18 times faster than PyTorch float32, "
        "7 times faster than onnxruntime int8, which run the 16-bit network.",
        "A training epoch takes 9.6 s (16 bits) and 9.6 s (1 bit) on 1 thread, 5.0 and 5.0 times faster than the "
        "baseline's loop with its topology.",
    ]
