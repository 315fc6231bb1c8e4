"""Seeds, comparison, flips and mistakes as they are shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import reports, sweeps

from bnnlib.report.parts import evidence
from bnnlib.report.parts.source import Source
from bnnlib.sweeps import tables


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(reports.write(tmp_path), "mnist")


def seeds(source: Source) -> str:
    """The part on seeds, from tables as they are now."""
    return evidence.seeds(Source(source.reports, source.data))


def test_without_a_sweep_the_part_says_how_to_fill_it(source: Source) -> None:
    missing = seeds(source)
    assert missing.startswith("Not measured yet: the commands of the frozen stage `sweep` in [dvc.yaml](dvc.yaml)")
    assert "| data set |" not in missing
    tables.Tables(source.reports / "sweep.csv").write()
    assert seeds(source) == missing
    sweeps.write_baseline(source.reports / tables.BASELINE_TABLE)
    old = seeds(source)
    assert old.startswith(missing)
    assert "| MNIST | baseline |  | 4 |" in old


def test_a_sweep_gives_a_row_for_each_data_set_topology_width_and_surrogate(source: Source) -> None:
    """Those of the baseline follow, without the profile `record`."""
    sweeps.write(source.reports / "sweep.csv")
    sweeps.write_baseline(source.reports / tables.BASELINE_TABLE)
    text = seeds(source)
    assert "From [reports/sweep.csv](reports/sweep.csv). Rows with a commit " in text
    assert "Not measured yet" not in text
    assert text.splitlines()[4:] == [
        "| Fashion-MNIST | pooled | ste | 1 | 1 | 0.8700 | 0.1300 | 0.8701 | 0.8690 | 6,964 |  |",
        "| MNIST | large | ste | 1 | 1 | 0.9920 | 0.0080 | 0.9921 | 0.9910 | 6,964 |  |",
        "| MNIST | pooled | approx | 1 | 1 | 0.9750 | 0.0250 | 0.9751 | 0.9740 | 6,964 |  |",
        "| MNIST | pooled | ste | 1 | 3 "
        "| 0.9860 ± 0.0053 | 0.0140 ± 0.0053 | 0.9861 ± 0.0053 | 0.9850 ± 0.0053 | 6,964 |  |",
        "| MNIST | pooled |  | 2 | 1 | 0.9910 | 0.0090 | 0.9911 | 0.9900 | 13,928 |  |",
        "| MNIST | pooled |  | 16 | 2 "
        "| 0.9950 ± 0.0007 | 0.0050 ± 0.0007 | 0.9951 ± 0.0007 | 0.9940 ± 0.0007 | 111,424 |  |",
        "| Fashion-MNIST | baseline | ste | 1 | 1 | 0.8300 | 0.1700 | 0.8301 | 0.8290 | 6,964 | `59841fe` |",
        "| MNIST | baseline | ste | 1 | 2 "
        "| 0.9860 ± 0.0014 | 0.0140 ± 0.0014 | 0.9861 ± 0.0014 | 0.9850 ± 0.0014 | 6,964 | `59841fe` |",
        "| MNIST | baseline |  | 4 | 1 | 0.9925 | 0.0075 | 0.9926 | 0.9915 | 27,856 | `59841fe` |",
        "| MNIST | baseline |  | 16 | 2 "
        "| 0.9950 ± 0.0014 | 0.0050 ± 0.0014 | 0.9951 ± 0.0014 | 0.9940 ± 0.0014 | 111,424 | `59841fe` |",
    ]


def test_networks_of_several_passes_are_listed_by_their_bytes(source: Source) -> None:
    assert "no network of 1 bit that made several passes" in evidence.passes(source)
    made = tables.Tables(source.reports / "sweep.csv")
    for key, topology, size in (("a", "large", 9_000), ("b", "small", 1_000)):
        changes = {"topology": topology, "weight_bytes": size, "passes_macro_f1": 0.75, "passes_loss": 0.5}
        made.add(sweeps.run(key=key, **changes), [])
    made.add(sweeps.run(key="c", bits=16, surrogate="none"), [])
    assert evidence.passes(Source(source.reports, source.data)).splitlines()[2:] == [
        "| small | 1,000 | 1 | 0.5000 | 1.0000 | 0.7500 | 0.5000 |",
        "| large | 9,000 | 1 | 0.5000 | 1.0000 | 0.7500 | 0.5000 |",
    ]


def test_networks_from_the_literature_are_named_on_mnist_alone(source: Source) -> None:
    assert f"[{evidence.LITERATURE}]({evidence.LITERATURE})" in evidence.frontier(source)
    other = evidence.frontier(Source(source.reports, "fashion_mnist"))
    assert "reports/figures/frontier.png" in other
    assert "literature" not in other


def test_wider_weights_flip_no_signs(source: Source) -> None:
    assert "](reports/figures/flips.png)" in evidence.flips(source)
    reports.change(source.reports, "binary", bits=2)
    text = evidence.flips(Source(source.reports, "mnist"))
    assert "has 2 bits" in text
    assert "flips.png" not in text


def test_mistakes_are_counted_and_the_confused_pairs_named(source: Source) -> None:
    text = evidence.mistakes(source)
    assert "Of 7 test images the binary network gets 5 wrong and the full network 2; 1 are wrong in both." in text
    assert "](reports/figures/mistakes.png)" in text
    assert text.endswith(
        "| true | predicted | binary | full |\n| --- | --- | ---: | ---: |\n| 4 | 9 | 4 | 1 |\n| 0 | 6 | 1 | 0 |"
    )


def test_another_data_set_has_its_classes(source: Source) -> None:
    assert "| Coat | Ankle boot | 4 | 1 |" in evidence.mistakes(Source(source.reports, "fashion_mnist"))


def test_without_mistakes_there_is_no_table_of_them(source: Source) -> None:
    (source.reports / "predictions.csv").write_text("label,full,binary\n4,4,4\n")
    text = evidence.mistakes(source)
    assert "gets 0 wrong and the full network 0; 0 are wrong in both." in text
    assert "| true |" not in text
