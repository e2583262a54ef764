import sys

from tests.benchmarks import __main__ as bench


def test_figures_of_benchmarks_that_do_not_run_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(bench, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text(f"Before.\n{bench.BEGIN}\nold\n{bench.END}\nAfter.\n")

    for name, value in (("scaling", "1 / 2"), ("runner_overhead", 1.0312), ("runner_overhead", 1.0211)):
        bench.write({name: bench.result(bench.BENCHMARKS[name], name, {"cost": value}, load=0.0)})

    written = (tmp_path / "README.md").read_text()
    before, overhead, scaling = written.partition(bench.END)[0].split("### ")
    assert before.startswith("Before.\n") and "old" not in written and written.endswith(f"{bench.END}\nAfter.\n")
    assert "1.02 " in overhead and "1.03 " not in written
    assert "1 / 2" in scaling and "python -m tests.benchmarks.scaling" in scaling


def test_a_benchmark_says_which_corpus_it_misses(monkeypatch):
    monkeypatch.delenv("EMODB", raising=False)
    assert bench.BENCHMARKS["frozen_cache"].missing == ["EMODB"]
    monkeypatch.setenv("EMODB", "/data/my corpora/emodb")
    assert "/data/my corpora/emodb" in bench.BENCHMARKS["frozen_cache"].given()


def test_a_benchmark_is_left_out_where_its_package_is_not_installed(monkeypatch, capsys):
    monkeypatch.setitem(bench.BENCHMARKS, "against_speechbrain", bench.Benchmark(package="no_such_package"))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "against_speechbrain"])
    bench.main()
    assert capsys.readouterr().out == "against_speechbrain is left out: pip install no_such_package\n"
