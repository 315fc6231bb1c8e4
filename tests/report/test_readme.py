"""The generated parts of the page, and that nothing else of it is touched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import benchmarks, sweeps, trainings

from bnnlib.report import readme
from bnnlib.report.readme import EVIDENCE, RESULTS, SPEED, TRAINING, ReadmeError
from bnnlib.sweeps import tables

BEGIN, END = RESULTS

PAGE = f"# Title\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n"


def test_only_the_part_between_the_markers_changes() -> None:
    assert readme.updated(PAGE, "new", "page") == f"# Title\n\nbefore\n\n{BEGIN}\n\nnew\n{END}\n\nafter\n"


def test_writing_twice_changes_nothing() -> None:
    once = readme.updated(PAGE, "a\n\nb\n", "page")
    assert once != PAGE
    assert readme.updated(once, "a\n\nb\n", "page") == once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"page: the marker {BEGIN} stands there 0 times, not once"),
        (f"{BEGIN}\n", f"page: the marker {END} stands there 0 times, not once"),
        (f"{END}\n", f"page: the marker {BEGIN} stands there 0 times, not once"),
        (f"{BEGIN}{END}{BEGIN}", f"page: the marker {BEGIN} stands there 2 times, not once"),
        (f"{BEGIN}{END}{END}", f"page: the marker {END} stands there 2 times, not once"),
        (f"{END}\n{BEGIN}", f"page: the marker {END} stands before {BEGIN}"),
    ],
)
def test_markers_that_are_missing_doubled_or_swapped(text: str, message: str) -> None:
    with pytest.raises(ReadmeError) as caught:
        readme.updated(text, "new", "page")
    way_out = "; put it right, or take the last commit's page, without your edits: `git checkout -- page`"
    assert str(caught.value) == message + way_out


def reports_in(folder: Path) -> Path:
    scores = {"macro_f1": 0.98765, "loss": 0.04321, "accuracy": 0.5}
    metrics = {"full": {"bits": 16, "epoch": 7, "test": scores}, "binary": {"bits": 1, "epoch": 9, "test": scores}}
    sizes = {
        "full": {"weight_bytes": 111_424, "file_bytes": 113_656, "packed_bytes": None},
        "binary": {"weight_bytes": 6_964, "file_bytes": 58_424, "packed_bytes": 7_311},
    }
    pairs = {
        "a and b": {"images": 1_000, "dots": 2, "logits": 3, "predictions": 1},
        "a and c": {"images": 1_000, "dots": 0, "logits": 0, "predictions": 0},
    }
    reports = folder / "reports"
    (reports / "figures").mkdir(parents=True)
    (reports / "metrics.json").write_text(json.dumps(metrics))
    (reports / "sizes.json").write_text(json.dumps(sizes))
    (reports / "agreement.json").write_text(json.dumps({"train": pairs, "test": pairs}))
    (reports / "predictions.csv").write_text("label,full,binary\n" + "4,4,9\n" * 3 + "4,9,9\n6,0,6\n0,0,6\n1,1,1\n")
    for name in ("kernel_full_1", "kernel_full_2", "kernel_binary_1", "kernel_binary_2", "loss"):
        (reports / "figures" / f"{name}.png").write_bytes(b"")
    return reports


def test_the_table_holds_the_numbers_of_the_reports(tmp_path: Path) -> None:
    lines = readme.generate(reports_in(tmp_path), "mnist").splitlines()
    assert lines[2:4] == [
        "| [full](models/full.safetensors) | 16 | 7 | 0.9877 | 0.0432 | 0.5000 | 111,424 | 113,656 |",
        "| [binary](models/binary.safetensors), [packed](models/binary.bnn) | 1 | 9 | 0.9877 | 0.0432 | 0.5000 | 6,964 "
        "| 7,311 |",
    ]
    assert lines[4] == ""


def test_the_means_of_the_seeds_follow_those_of_the_baseline_with_the_commit_that_gave_them(tmp_path: Path) -> None:
    """Groups of one seed, of another data set or of a width that is not published have no row."""
    reports = reports_in(tmp_path)
    sweeps.write(reports / "sweep.csv", (*sweeps.ROWS, ("mnist", "pooled", 2, "none", 1, 0.99)))
    sweeps.write_baseline(reports / tables.BASELINE_TABLE)
    lines = readme.generate(reports, "mnist").splitlines()
    assert lines[4:9] == [
        "| pooled, 2 seeds | 16 | | 0.9950 ± 0.0007 | 0.0050 ± 0.0007 | 0.9951 ± 0.0007 | 111,424 | |",
        "| pooled, 3 seeds | 1 | | 0.9860 ± 0.0053 | 0.0140 ± 0.0053 | 0.9861 ± 0.0053 | 6,964 | |",
        "| baseline, 2 seeds, `59841fe` | 16 | | 0.9950 ± 0.0014 | 0.0050 ± 0.0014 | 0.9951 ± 0.0014 | 111,424 | |",
        "| baseline, 2 seeds, `59841fe` | 1 | | 0.9860 ± 0.0014 | 0.0140 ± 0.0014 | 0.9861 ± 0.0014 | 6,964 | |",
        "",
    ]
    assert lines[9].startswith("Rows with seeds are means ± standard deviations")
    assert lines[9].endswith("([reports/baseline_sweep_59841fe.csv](reports/baseline_sweep_59841fe.csv)).")
    assert len({line.count("|") for line in lines[:8]}) == 1
    assert not any("seeds" in line for line in readme.generate(reports, "fashion_mnist").splitlines())


def test_means_of_several_surrogates_name_theirs_and_without_the_baseline_there_is_no_commit(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    rows = [("mnist", "pooled", 1, name, seed, 0.98) for name in ("ste", "approx") for seed in (0, 1)]
    sweeps.write(reports / "sweep.csv", tuple(rows))
    lines = readme.generate(reports, "mnist").splitlines()
    assert [line.partition(" | ")[0] for line in lines[4:6]] == ["| pooled, approx, 2 seeds", "| pooled, ste, 2 seeds"]
    assert lines[7] == "Rows with seeds are means ± standard deviations of networks that differ by the seed alone."


def test_what_differs_is_added_up_for_each_pair_of_engines(tmp_path: Path) -> None:
    text = readme.generate(reports_in(tmp_path), "mnist")
    assert "compared on 2,000 images (1,000 train, 1,000 test)" in text
    assert "| a and b | 4 | 6 | 2 |\n| a and c | 0 | 0 | 0 |\n" in text


def test_a_network_that_is_not_packed_is_compared_with_nothing(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    (reports / "agreement.json").write_text("{}")
    assert "\nNo engines were compared: only a 1-bit network has a packed form.\n" in readme.generate(reports, "mnist")


@pytest.mark.parametrize("content", ["[1]", '{"train": {}}', '{"train": {"a and b": {"images": 3}}}', '{"train": 1}'])
def test_a_report_that_lacks_what_the_page_shows(content: str, tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    (reports / "agreement.json").write_text(content)
    with pytest.raises(ReadmeError, match=r"reports: metrics.json, sizes.json or agreement.json lacks what the page"):
        readme.generate(reports, "mnist")


def test_figures_are_linked_from_the_page_beside_the_reports(tmp_path: Path) -> None:
    text = readme.generate(reports_in(tmp_path), "mnist")
    for name in ("loss", "macro_f1", "confusion_full", "confusion_binary"):
        assert text.count(f"](reports/figures/{name}.png)") == 1
    assert "| first-layer kernel | 1 | 2 |" in text
    for variant in ("full", "binary"):
        cells = [f"![kernel_{variant}_{number}](reports/figures/kernel_{variant}_{number}.png)" for number in (1, 2)]
        assert f"| {variant} | {' | '.join(cells)} |" in text


def test_a_network_with_fewer_kernels_has_empty_cells(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    (reports / "figures/kernel_binary_2.png").unlink()
    text = readme.generate(reports, "mnist")
    assert "| first-layer kernel | 1 | 2 |" in text
    assert "| binary | ![kernel_binary_1](reports/figures/kernel_binary_1.png) |  |" in text


def test_tables_have_as_many_cells_in_every_row(tmp_path: Path) -> None:
    for block in readme.generate(reports_in(tmp_path), "mnist").split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_the_generated_text_depends_on_the_reports_alone(tmp_path: Path) -> None:
    first, second = reports_in(tmp_path / "a"), reports_in(tmp_path / "b")
    assert readme.generate(first, "mnist") == readme.generate(second, "mnist")
    metrics = json.loads((second / "metrics.json").read_text())
    metrics["full"]["test"]["loss"] = 0.04326
    (second / "metrics.json").write_text(json.dumps(metrics))
    assert readme.generate(first, "mnist") != readme.generate(second, "mnist")


def record_in(reports: Path, **changes: Any) -> None:
    """Write the fabricated record, except the changes."""
    (reports / "benchmark.json").write_text(json.dumps({**benchmarks.as_json(), **changes}))


def test_without_a_record_the_part_says_how_to_make_one(tmp_path: Path) -> None:
    assert readme.speed(reports_in(tmp_path)) == (
        "Nothing measured yet: `bnn benchmark --save` writes reports/benchmark.json.\n"
    )


def test_the_speed_is_that_of_the_record(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    record_in(reports)
    lines = readme.speed(reports).splitlines()
    assert lines[0].startswith(
        "A Processor, 2 cores (x86_64: avx2, avx512_vpopcntdq), 16.0 GiB, load average 0.1 before; "
    )
    assert "| contestant | batch 1 | batch 64 | 2 threads, best batch | validation accuracy |" in lines
    assert "| torch_fp32 | 400.0 | 200.0 | 150.0 | 99.00% |" in lines
    assert "| reference | 6,000.0 |  |  | 98.00% |" in lines
    assert "| fast | 20.0 | 10.0 | 5.0 | 98.00% |" in lines
    assert "![Time an image of each contestant](reports/benchmark.png)" in lines
    assert "| throughput, PyTorch float32 | 18.0 | 18.0 to 18.0 |" in lines
    assert "| one image alone, PyTorch float32 | 15.0 | 15.0 to 15.0 |" in lines


def test_what_was_not_measured_says_why(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    (reports / "benchmark.json").write_text(json.dumps(benchmarks.as_json_without_peers()))
    lines = readme.speed(reports).splitlines()
    assert "| onnxruntime_int8 (missing: no onnxruntime) | | | | |" in lines
    assert "| throughput, onnxruntime int8 | not measured | no onnxruntime |" in lines
    assert "| throughput, PyTorch float32, both without AVX-512 (AVX2 only) | not measured | no AVX2 |" in lines
    for block in "\n".join(lines).split("\n\n"):
        assert len({line.count("|") for line in block.splitlines() if line.startswith("|")}) <= 1


def test_a_record_that_lacks_something(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    record_in(reports, ratios={})
    with pytest.raises(ReadmeError, match=r"benchmark.json: lacks what the page shows \(KeyError: 'torch_fp32'\)"):
        readme.speed(reports)


# Our training of the full network: batch size to images/s.
OURS = f"{trainings.PARAMS.full.batch_size} | 9.6 | 7.2 to 14.4 | 5,000"


def trained_in(reports: Path, record: dict[str, Any]) -> None:
    """Write a record of the training."""
    (reports / "benchmark_training.json").write_text(json.dumps(record))


def test_without_a_record_the_part_on_training_says_how_to_make_one(tmp_path: Path) -> None:
    assert readme.training(reports_in(tmp_path)) == (
        "Nothing measured yet: `bnn benchmark --training --save` writes reports/benchmark_training.json.\n"
    )


def test_the_speed_of_training_is_that_of_the_record(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    trained_in(reports, trainings.as_json())
    text = readme.training(reports)
    assert "A Processor, 2 cores (x86_64: avx2, avx512f), 16.0 GiB, load average 0.1 before; " in text
    assert "2 threads of torch, device cpu. Seconds an epoch of 48,000 images: medians of 3 interleaved turns" in text
    lines = text.splitlines()
    reference = "reference | 128 | 48.0 | 48.0 to 48.0 | 1,000"
    assert f"| full | ours | {OURS} | 2 | 20.0 |" in lines
    assert f"| full | {reference} | 3 | 350.0 |" in lines
    assert f"| binary | {reference} | not within 9 | more than 500.0 |" in lines
    quicker = "an epoch 5.0 times quicker than the reference's (half of the turns: 3.8 to 7.5)"
    assert f"- full: {quicker}; macro-F1 0.991 17.5 times sooner." in lines
    [binary] = [line for line in lines if line.startswith(f"- binary: {quicker}; macro-F1 0.978 more than 25.0 times")]
    assert binary.endswith("the reference does not reach it within 9 epochs.")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_a_score_that_our_training_does_not_reach(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    trained_in(reports, trainings.as_json(trainings.found_that_fell_short()))
    text = readme.training(reports)
    assert f"| full | ours | {OURS} | not within 4 | more than 40.0 |" in text
    assert "; ours does not reach macro-F1 0.991 within 4 epochs.\n" in text


def test_a_record_of_the_training_that_lacks_something(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    trained_in(reports, {**trainings.as_json(), "networks": {"full": {}}})
    missing = r"benchmark_training.json: lacks what the page shows \(KeyError: 'batch_size'\)"
    message = f"{missing}; `bnn benchmark --training --save`"
    with pytest.raises(ReadmeError, match=message):
        readme.training(reports)


def test_the_page_holds_all_parts_and_nothing_else_changes(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    record_in(reports)
    markers = (EVIDENCE, SPEED, TRAINING)
    text = f"a\n{BEGIN}\nold\n{END}\nb\n" + "c\n".join(f"{each.begin}\n{each.end}\n" for each in markers)
    found = readme.page(text, reports, "page", "mnist")
    assert found == (
        f"a\n{BEGIN}\n\n{readme.generate(reports, 'mnist')}\n{END}\nb\n"
        f"{EVIDENCE.begin}\n\n{readme.evidence(reports, 'mnist')}\n{EVIDENCE.end}\nc\n"
        f"{SPEED.begin}\n\n{readme.speed(reports)}\n{SPEED.end}\nc\n"
        f"{TRAINING.begin}\n\n{readme.training(reports)}\n{TRAINING.end}\n"
    )
    assert readme.page(found, reports, "page", "mnist") == found
    with pytest.raises(ReadmeError, match=re.escape(f"page: the marker {EVIDENCE.begin} stands there 0 times")):
        readme.page(PAGE, reports, "page", "mnist")


def test_without_a_sweep_the_evidence_says_how_to_fill_it(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    missing = readme.evidence(reports, "mnist")
    assert "### Other seeds, other widths\n\nNot measured yet: the commands of the frozen stage `sweep` in " in missing
    assert "| data set |" not in missing
    (reports / "sweep.csv").write_text(f"{sweeps.HEAD}\n")
    assert readme.evidence(reports, "mnist") == missing
    sweeps.write_baseline(reports / tables.BASELINE_TABLE)
    old = readme.evidence(reports, "mnist")
    assert old.startswith(missing.partition("\n\n### Beside")[0])
    assert "| MNIST | baseline | 4 |" in old


def test_a_sweep_gives_a_row_for_each_data_set_topology_width_and_surrogate(tmp_path: Path) -> None:
    """Those of the baseline follow, without the profile `record`."""
    reports = reports_in(tmp_path)
    sweeps.write(reports / "sweep.csv")
    sweeps.write_baseline(reports / tables.BASELINE_TABLE)
    lines = readme.evidence(reports, "mnist").splitlines()
    first = lines.index(
        "| data set | topology | bits | surrogate | seeds | macro-F1 | loss | accuracy "
        "| validation macro-F1 | weight bytes | measured at |"
    )
    assert lines[first + 2 : first + 13] == [
        "| Fashion-MNIST | pooled | 1 | ste | 1 | 0.8700 | 0.1300 | 0.8701 | 0.8690 | 6,964 |  |",
        "| MNIST | large | 1 | ste | 1 | 0.9920 | 0.0080 | 0.9921 | 0.9910 | 6,964 |  |",
        "| MNIST | pooled | 1 | approx | 1 | 0.9750 | 0.0250 | 0.9751 | 0.9740 | 6,964 |  |",
        "| MNIST | pooled | 1 | ste | 3 "
        "| 0.9860 ± 0.0053 | 0.0140 ± 0.0053 | 0.9861 ± 0.0053 | 0.9850 ± 0.0053 | 6,964 |  |",
        "| MNIST | pooled | 2 |  | 1 | 0.9910 | 0.0090 | 0.9911 | 0.9900 | 13,928 |  |",
        "| MNIST | pooled | 16 |  | 2 "
        "| 0.9950 ± 0.0007 | 0.0050 ± 0.0007 | 0.9951 ± 0.0007 | 0.9940 ± 0.0007 | 111,424 |  |",
        "| Fashion-MNIST | baseline | 1 | ste | 1 | 0.8300 | 0.1700 | 0.8301 | 0.8290 | 6,964 | `59841fe` |",
        "| MNIST | baseline | 1 | ste | 2 "
        "| 0.9860 ± 0.0014 | 0.0140 ± 0.0014 | 0.9861 ± 0.0014 | 0.9850 ± 0.0014 | 6,964 | `59841fe` |",
        "| MNIST | baseline | 4 |  | 1 | 0.9925 | 0.0075 | 0.9926 | 0.9915 | 27,856 | `59841fe` |",
        "| MNIST | baseline | 16 |  | 2 "
        "| 0.9950 ± 0.0014 | 0.0050 ± 0.0014 | 0.9951 ± 0.0014 | 0.9940 ± 0.0014 | 111,424 | `59841fe` |",
        "",
    ]
    origin = (
        "From [reports/sweep.csv](reports/sweep.csv). Rows with a commit are what it measured with the topology that"
    )
    assert origin in lines[first - 2]
    assert not any("Not measured yet" in line for line in lines)


def test_the_evidence_shows_its_figures_with_their_sources(tmp_path: Path) -> None:
    text = readme.evidence(reports_in(tmp_path), "mnist")
    links = re.findall(r"^!\[[^\]]{15,}\]\((.*)\)$", text, flags=re.MULTILINE)  # each with a text instead of it
    assert links == [f"reports/figures/{name}.png" for name in ("frontier", "flips", "mistakes")]
    assert "[docs/anchors.md](docs/anchors.md)" in text


def test_mistakes_are_counted_and_the_confused_pairs_named(tmp_path: Path) -> None:
    text = readme.evidence(reports_in(tmp_path), "mnist")
    assert "Of 7 test images the binary network gets 5 wrong, the full one 2, both 1. " in text
    assert (
        "| true | predicted | binary | full |\n| --- | --- | ---: | ---: |\n| 4 | 9 | 4 | 1 |\n| 0 | 6 | 1 | 0 |\n"
        in text
    )


def test_another_data_set_has_its_classes_and_no_published_networks(tmp_path: Path) -> None:
    text = readme.evidence(reports_in(tmp_path), "fashion_mnist")
    assert "| Coat | Ankle boot | 4 | 1 |" in text
    assert "### Score and size\n" in text
    assert "anchors" not in text


def test_without_errors_there_is_no_table_of_them(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    (reports / "predictions.csv").write_text("label,full,binary\n4,4,4\n")
    text = readme.evidence(reports, "mnist")
    assert "gets 0 wrong, the full one 0, both 0." in text
    assert "| true |" not in text


def test_wider_weights_flip_no_signs(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    metrics = json.loads((reports / "metrics.json").read_text())
    metrics["binary"]["bits"] = 2
    (reports / "metrics.json").write_text(json.dumps(metrics))
    text = readme.evidence(reports, "mnist")
    assert "\nNone: the binary network of these reports has 2 bits, and only 1-bit weights are signs.\n" in text
    assert "flips.png" not in text


def test_reports_that_lack_the_evidence(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    (reports / "predictions.csv").write_text("label,full\n4,4\n")
    with pytest.raises(
        ReadmeError, match=r"reports: metrics.json, predictions.csv or sweep.csv lacks what .* \(KeyError: 'binary'\)"
    ):
        readme.evidence(reports, "mnist")
