"""Scores, agreement and figures as they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import reports, sweeps

from bnnlib.report.parts import results
from bnnlib.report.parts.source import Source
from bnnlib.sweeps import tables

FULL = (
    "| ours, [full.safetensors](models/full.safetensors) | 16 | 7 | 0.9877 (0.0417) | 0.0432 | 0.5000 (0.1890) "
    "| 111,424 | 113,656 |"
)
BINARY = (
    "| ours, [binary.bnn](models/binary.bnn) | 1 | 9 | 0.9877 (0.0417) | 0.0432 | 0.5000 (0.1890) | 6,964 | 7,311 |"
)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(reports.write(tmp_path), "mnist")


def scores(source: Source) -> list[str]:
    """The lines of the table of scores, from reports as they are now."""
    return results.scores(Source(source.reports, source.data, source.up)).splitlines()


def test_the_table_holds_the_numbers_of_the_reports_and_their_standard_errors(source: Source) -> None:
    """Of seven images: sqrt(0.98765 * 0.01235 / 7) = 0.0417 and sqrt(0.5 * 0.5 / 7) = 0.1890."""
    lines = scores(source)
    assert lines[0].startswith("| model | bits | epoch | macro-F1 | loss | ")
    assert lines[2:5] == [FULL, BINARY, ""]
    assert lines[5] == "In parentheses: the standard error of one network's score on 7 test images."


def test_several_passes_have_a_row_of_their_own(source: Source) -> None:
    passes = {"macro_f1": 0.99, "loss": 0.03, "accuracy": 0.75}
    metrics = json.loads((source.reports / "metrics.json").read_text())
    metrics["binary"]["passes"] = {"count": 3, "validation": passes, "test": passes}
    (source.reports / "metrics.json").write_text(json.dumps(metrics))
    row = "| the same, 3 passes | 1 | 9 | 0.9900 (0.0376) | 0.0300 | 0.7500 (0.1637) |  |  |"
    assert scores(source)[2:6] == [FULL, BINARY, row, ""]


def test_a_network_without_a_packed_form_links_to_its_weights(source: Source) -> None:
    (source.reports / "sizes.json").write_text(
        (source.reports / "sizes.json").read_text().replace('"packed_bytes": 7311', '"packed_bytes": null')
    )
    assert "ours, [binary.safetensors](models/binary.safetensors) | 1 |" in scores(source)[3]
    assert scores(source)[3].endswith("| 6,964 | 58,424 |")


def test_the_means_of_the_seeds_follow_their_width_with_the_commit_of_the_baseline(source: Source) -> None:
    """Groups of one seed, of another data set or of a width that is not published have no row."""
    sweeps.write(source.reports / "sweep.csv", (*sweeps.ROWS, ("mnist", "pooled", 2, "none", 1, 0.99)))
    sweeps.write_baseline(source.reports / tables.BASELINE_TABLE)
    lines = scores(source)
    assert lines[2:9] == [
        FULL,
        "| ours (pooled), 2 seeds | 16 |  | 0.9950 ± 0.0007 | 0.0050 ± 0.0007 | 0.9951 ± 0.0007 | 111,424 |  |",
        "| baseline, 2 seeds, `59841fe` | 16 |  | 0.9950 ± 0.0014 | 0.0050 ± 0.0014 | 0.9951 ± 0.0014 | 111,424 |  |",
        BINARY,
        "| ours (pooled), 3 seeds | 1 |  | 0.9860 ± 0.0053 | 0.0140 ± 0.0053 | 0.9861 ± 0.0053 | 6,964 |  |",
        "| baseline, 2 seeds, `59841fe` | 1 |  | 0.9860 ± 0.0014 | 0.0140 ± 0.0014 | 0.9861 ± 0.0014 | 6,964 |  |",
        "",
    ]
    assert " ±: the standard deviation over the seeds. Rows with a commit " in lines[9]
    assert lines[9].endswith("([reports/baseline_sweep_59841fe.csv](reports/baseline_sweep_59841fe.csv)).")
    assert not any("seeds" in line for line in scores(Source(source.reports, "fashion_mnist")))


def test_only_topologies_of_the_published_size_and_the_baseline_have_a_row_of_means(source: Source) -> None:
    """Also that of today's recipe, which is of another size here."""
    rows = [("mnist", name, 1, "ste", seed, 0.98) for name in ("baseline", "pooled", "small") for seed in (0, 1)]
    sweeps.write(source.reports / "sweep.csv", tuple(rows[:4]), {1: 6_964})
    small = tables.Tables(source.reports / "sweep.csv")
    for seed in (0, 1):
        small.add(sweeps.run(topology="small", seed=seed, weight_bytes=1_000, key=f"s{seed}"), [])
    names = [line.split(" | ")[0] for line in scores(source)[2:6]]
    assert names[2:] == ["| ours (pooled), 2 seeds", "| baseline, 2 seeds, today's recipe"]


def test_several_passes_of_the_seeds_have_a_row_of_their_own(source: Source) -> None:
    passes = {"macro_f1": 0.99, "loss": 0.03, "accuracy": 0.75}
    metrics = json.loads((source.reports / "metrics.json").read_text())
    metrics["binary"]["passes"] = {"count": 3, "validation": passes, "test": passes}
    (source.reports / "metrics.json").write_text(json.dumps(metrics))
    made = tables.Tables(source.reports / "sweep.csv")
    for seed, score in enumerate((0.98, 1.0)):
        made.add(sweeps.run(seed=seed, key=f"{seed}", passes_macro_f1=score, passes_loss=0.02), [])
    assert scores(source)[6] == "| the same, 3 passes | 1 |  | 0.9900 ± 0.0141 | 0.0200 ± 0.0000 |  |  |  |"


def test_means_of_several_surrogates_name_theirs_and_without_the_baseline_there_is_no_commit(source: Source) -> None:
    rows = [("mnist", "pooled", 1, name, seed, 0.98) for name in ("ste", "approx") for seed in (0, 1)]
    sweeps.write(source.reports / "sweep.csv", tuple(rows))
    lines = scores(source)
    assert [line.partition(" | ")[0] for line in lines[4:6]] == [
        "| ours (pooled), approx, 2 seeds",
        "| ours (pooled), ste, 2 seeds",
    ]
    assert lines[7].endswith("±: the standard deviation over the seeds.")


def test_links_lead_from_the_page_to_the_root(tmp_path: Path) -> None:
    source = Source(reports.write(tmp_path), "mnist", up="../")
    assert "[full.safetensors](../models/full.safetensors)" in results.scores(source)
    assert source.report("sweep.csv") == "[reports/sweep.csv](../reports/sweep.csv)"
    assert "](../reports/figures/loss.png)" in results.curves(source)
    assert "](../reports/figures/kernel_full_1.png)" in results.kernels(source)


def test_what_differs_is_added_up_for_each_pair_of_engines(source: Source) -> None:
    text = results.agreement(source)
    assert "on 2,000 images (1,000 train, 1,000 test)" in text
    assert text.endswith("| a and b | 4 | 6 | 2 |\n| a and c | 0 | 0 | 0 |")


def test_a_network_that_is_not_packed_is_compared_with_nothing(source: Source) -> None:
    (source.reports / "agreement.json").write_text("{}")
    assert results.agreement(source) == "No engines were compared: only a 1-bit network has a packed form."


def test_figures_are_shown_once_each(source: Source) -> None:
    text = results.curves(source) + results.confusion(source)
    for name in ("loss", "macro_f1", "confusion_full", "confusion_binary"):
        assert text.count(f"](reports/figures/{name}.png)") == 1


def test_a_network_with_fewer_kernels_has_empty_cells(source: Source) -> None:
    (source.reports / "figures/kernel_binary_2.png").unlink()
    heads, _, full, binary = results.kernels(source).splitlines()
    assert heads == "| network | 1 | 2 |"
    assert full.count("![Kernel ") == 2
    assert binary == "| binary | ![Kernel 1 of the binary network](reports/figures/kernel_binary_1.png) |  |"
