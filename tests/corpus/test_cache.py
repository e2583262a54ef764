"""The cache: what it holds, when it is made anew, and that nothing half made is ever taken for whole."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from datasets import Dataset, DatasetDict

from sure import audio
from sure.corpus import cache
from sure.errors import SureError
from tests.factories import REPOSITORY

COUNTS = {"train": 5, "validation": 2, "test": 3}


def write_corpus(folder, counts=COUNTS):
    """Recordings of different lengths and rates; gives their splits."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    rows = {split: [] for split in counts}
    for split, count in counts.items():
        for number in range(count):
            path = folder / f"{split}{number}.wav"
            rate = (8000, 16_000)[number % 2]
            soundfile.write(path, generator.uniform(-0.5, 0.5, rate // 4 + 40 * number), rate)
            rows[split].append({"id": path.stem, "path": str(path), "split": split, "label": "ab"[number % 2]})
    return DatasetDict({split: Dataset.from_list(members) for split, members in rows.items()})


@pytest.fixture
def splits(tmp_path):
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def cache_dir(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def decoded_files(monkeypatch):
    """The names of all files decoded from here on."""
    names, load = [], audio.load_or_error
    monkeypatch.setattr(audio, "load_or_error", lambda job: names.append(Path(job[0]).name) or load(job))
    return names


@pytest.fixture
def hashed_files(monkeypatch):
    """The names of all files hashed from here on."""
    names, digest = [], audio.digest
    monkeypatch.setattr(audio, "digest", lambda path: names.append(Path(path).name) or digest(path))
    return names


def changed(splits, change):
    """The splits with every row as `change` gives it."""
    return DatasetDict(
        {name: Dataset.from_list([change(dict(row)) for row in split]) for name, split in splits.items()}
    )


def moved(splits, folder):
    return changed(splits, lambda row: row | {"path": str(folder / Path(row["path"]).name)})


def set_value(splits, column, value, split="train", number=0):
    """The splits with one value replaced."""
    name = splits[split][number]["id"]
    return changed(splits, lambda row: row | {column: value} if row["id"] == name else row)


def everything(decoded):
    return {name: split.to_list() for name, split in decoded.items()}


def entries(cache_dir):
    return sorted(path for path in (cache_dir / "audio").iterdir() if path.is_dir())


def snapshot(cache_dir):
    return {path: path.stat().st_mtime_ns for path in cache_dir.rglob("*") if path.suffix != ".lock"}


def test_rows_keep_their_columns_and_gain_what_load_gives(splits, cache_dir):
    decoded = cache.decode(splits, cache_dir=cache_dir, workers=1)
    assert list(decoded) == list(splits)
    for name, split in splits.items():
        assert decoded[name].remove_columns(["waveform", "samples", "sha256"]).to_list() == split.to_list()
        for row in decoded[name].with_format("numpy"):
            assert row["waveform"].dtype == np.float32
            np.testing.assert_array_equal(row["waveform"], audio.load(row["path"]))
            assert row["samples"] == len(row["waveform"])
            assert row["sha256"] == audio.digest(row["path"])


def test_workers_change_nothing_and_more_rows_than_are_held_at_once_keep_their_order(tmp_path):
    splits = write_corpus(tmp_path / "corpus", {"train": 2 * cache._ROWS_AT_A_TIME + 3, "validation": 1, "test": 1})
    one = cache.decode(splits, cache_dir=tmp_path / "one", workers=1)
    assert everything(one) == everything(cache.decode(splits, cache_dir=tmp_path / "four", workers=4))
    # Many rows in a record batch: one each would take as long to open, and as much memory, as to read them.
    (arrow,) = (tmp_path / "one" / "audio").glob("*/*.arrow")
    assert len(list(pa.ipc.open_stream(arrow))) == 3
    for row in one["train"].select([0, 63, 64, 127, 128, 130]).with_format("numpy"):
        np.testing.assert_array_equal(row["waveform"], audio.load(row["path"]))


def test_audio_is_decoded_once_and_mapped_from_disk(splits, cache_dir, decoded_files, hashed_files):
    first = cache.decode(splits, cache_dir=cache_dir)
    assert len(decoded_files) == len(hashed_files) == 10
    before = snapshot(cache_dir)
    second = cache.decode(splits, cache_dir=cache_dir)
    assert everything(second) == everything(first)
    assert snapshot(cache_dir) == before
    assert len(decoded_files) == len(hashed_files) == 10
    (entry,) = entries(cache_dir)
    assert {"filename": str(entry / "audio.arrow")} in second["train"].cache_files


def test_the_cache_lies_where_the_environment_says(splits, tmp_path, monkeypatch):
    monkeypatch.setenv("SURE_CACHE", str(tmp_path / "named"))
    cache.decode(splits)
    assert len(entries(tmp_path / "named")) == 1
    monkeypatch.delenv("SURE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    cache.decode(splits)
    assert len(entries(tmp_path / ".cache" / "sure")) == 1


def test_a_moved_corpus_is_not_decoded_again(splits, cache_dir, tmp_path, decoded_files):
    first = cache.decode(splits, cache_dir=cache_dir)
    (tmp_path / "corpus").rename(tmp_path / "elsewhere")
    again = cache.decode(moved(splits, tmp_path / "elsewhere"), cache_dir=cache_dir)
    assert len(decoded_files) == 10
    assert cache.fingerprint(again) == cache.fingerprint(first)
    assert again["test"]["waveform"][:] == first["test"]["waveform"][:]


def test_relative_and_absolute_paths_share_a_cache(
    splits, cache_dir, tmp_path, monkeypatch, decoded_files, hashed_files
):
    first = cache.decode(splits, cache_dir=cache_dir)
    monkeypatch.chdir(tmp_path)
    again = cache.decode(moved(splits, Path("corpus")), cache_dir=cache_dir)
    assert len(decoded_files) == len(hashed_files) == 10
    assert cache.fingerprint(again) == cache.fingerprint(first)
    assert again["test"]["waveform"][:] == first["test"]["waveform"][:]


def test_labels_and_splits_change_the_fingerprint_but_not_the_audio(splits, cache_dir, decoded_files):
    first = cache.decode(splits, cache_dir=cache_dir)
    relabelled = cache.decode(set_value(splits, "label", "c"), cache_dir=cache_dir)
    rows = [*splits["train"], *splits["validation"], *splits["test"]]
    resplit = DatasetDict(
        {"train": Dataset.from_list(rows[:4]), "validation": Dataset.from_list(rows[4:7]), "test": splits["test"]}
    )
    resplit = cache.decode(resplit, cache_dir=cache_dir)
    assert len(decoded_files) == 10
    assert relabelled["train"][0]["label"] == "c"
    assert resplit["validation"][0]["waveform"] == first["train"][4]["waveform"]
    assert len({cache.fingerprint(decoded) for decoded in (first, relabelled, resplit)}) == 3


def test_a_changed_file_is_decoded_again_even_with_its_old_time_and_size(splits, cache_dir, decoded_files):
    first = cache.decode(splits, cache_dir=cache_dir)
    path = Path(splits["test"][1]["path"])
    content, times = bytearray(path.read_bytes()), path.stat()
    content[-2:] = b"\x12\x34"
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = cache.decode(splits, cache_dir=cache_dir)
    assert len(decoded_files) == 20
    assert again["test"][1]["waveform"][-1] == pytest.approx(0x3412 / 32768)
    assert again["test"][0] == first["test"][0]
    assert cache.fingerprint(again) != cache.fingerprint(first)


def test_max_seconds_has_a_cache_of_its_own(splits, cache_dir, decoded_files):
    whole = cache.decode(splits, cache_dir=cache_dir)
    short = cache.decode(splits, cache_dir=cache_dir, max_seconds=0.1)
    assert len(entries(cache_dir)) == 2
    assert set(short["train"]["samples"]) == {1600}
    assert short["train"][1]["waveform"] == whole["train"][1]["waveform"][:1600]
    assert (
        cache.decode(splits, cache_dir=cache_dir, max_seconds=1)["train"]["samples"][:] == whole["train"]["samples"][:]
    )
    assert len(decoded_files) == 30
    # The same number, as a command line or as Python has it.
    cache.decode(splits, cache_dir=cache_dir, max_seconds=1.0)
    assert len(decoded_files) == 30


def test_start_and_end_cut_rows_out_of_one_file(splits, cache_dir, hashed_files):
    path = splits["train"][1]["path"]
    times = {"train": [(0.0, 0.1), (0.1, 0.2)], "validation": [(0.05, None)], "test": [(None, 0.1)]}
    cuts = DatasetDict(
        {
            name: Dataset.from_list(
                [{"id": f"{name}{start}", "path": path, "start": start, "end": end} for start, end in members]
            )
            for name, members in times.items()
        }
    )
    decoded = cache.decode(cuts, cache_dir=cache_dir)
    assert hashed_files == ["train1.wav"]
    whole = audio.load(path).tolist()
    assert decoded["train"]["waveform"][:] == [whole[:1600], whole[1600:3200]]
    assert decoded["validation"][0]["waveform"] == whole[800:]
    assert decoded["test"][0]["waveform"] == whole[:1600]
    for column, value, samples in [("end", 0.15, 800), ("start", 0.05, 2400)]:
        other = cache.decode(set_value(cuts, column, value, number=1), cache_dir=cache_dir)
        assert other["train"][1]["samples"] == samples
        assert cache.fingerprint(other) != cache.fingerprint(decoded)


def test_every_unusable_file_is_told_at_once_and_nothing_is_left(tmp_path, cache_dir):
    splits = write_corpus(tmp_path / "corpus", {"train": 80, "validation": 1, "test": 1})
    paths = [Path(path) for path in splits["train"]["path"]]
    # On both sides of what is written to disk at once.
    bad = [*paths[:11], paths[70]]
    whole = {path: path.read_bytes() for path in bad}
    for path in bad:
        path.write_bytes(b"text")
    bad[0].write_bytes(b"")
    bad[1].unlink()
    with pytest.raises(SureError) as caught:
        cache.decode(splits, cache_dir=cache_dir)
    lines = str(caught.value).splitlines()
    assert lines[0] == "12 of 82 utterances cannot be used:"
    assert lines[1] == f"{bad[0]}: the file is empty (0 bytes)."
    assert lines[2] == f"{bad[1]}: no such audio file."
    assert [line.split(":")[0] for line in lines[1:11]] == [str(path) for path in bad[:10]]
    assert lines[11:] == ["... and 2 more"]
    assert not entries(cache_dir)
    assert not (cache_dir / "index").exists()

    for path in bad[:11]:
        path.write_bytes(whole[path])
    with pytest.raises(SureError) as caught:
        cache.decode(splits, cache_dir=cache_dir)
    assert str(caught.value).startswith(f"1 of 82 utterances cannot be used:\n{paths[70]}: not readable as audio")
    assert "more" not in str(caught.value)
    paths[70].write_bytes(whole[paths[70]])
    assert cache.decode(splits, cache_dir=cache_dir)["train"].num_rows == 80


def test_a_file_that_changes_while_it_is_decoded_is_not_kept(splits, cache_dir, monkeypatch):
    path, load = Path(splits["test"][0]["path"]), audio.load_or_error

    def load_as_it_is_copied(job):
        if job[0] == str(path):
            path.write_bytes(path.read_bytes())
        return load(job)

    monkeypatch.setattr(audio, "load_or_error", load_as_it_is_copied)
    with pytest.raises(SureError, match=f"^{path}: changed while the corpus was being decoded; run again"):
        cache.decode(splits, cache_dir=cache_dir)
    assert not entries(cache_dir)
    monkeypatch.undo()
    assert cache.decode(splits, cache_dir=cache_dir)["test"].num_rows == 3


def test_a_cache_that_cannot_be_written_names_the_flag(splits, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SureError, match=r"^The cache .*/file/cache cannot be written .*--cache_dir or SURE_CACHE\.$"):
        cache.decode(splits, cache_dir=tmp_path / "file" / "cache")


@pytest.mark.parametrize("content", [b"", b'["abc', b"\0" * 40, b"\xff\xfe"])
def test_a_damaged_index_is_made_anew(content, splits, cache_dir, decoded_files, hashed_files):
    first = cache.decode(splits, cache_dir=cache_dir)
    (index,) = (cache_dir / "index").iterdir()
    whole = index.read_bytes()
    index.write_bytes(content)
    assert everything(cache.decode(splits, cache_dir=cache_dir)) == everything(first)
    assert len(decoded_files) == 10
    assert len(hashed_files) == 20
    assert index.read_bytes() == whole


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99, "batches", "nothing"])
def test_damaged_audio_is_told(kept, tmp_path, cache_dir):
    splits = write_corpus(tmp_path / "corpus", {"train": 70, "validation": 1, "test": 1})
    first = everything(cache.decode(splits, cache_dir=cache_dir))
    (entry,) = entries(cache_dir)
    arrow = entry / "audio.arrow"
    if kept == "nothing":
        arrow.unlink()
    else:
        content = arrow.read_bytes()
        size = second_batch(content) if kept == "batches" else round(kept * len(content))
        arrow.unlink()
        arrow.write_bytes(content[:size])
    with pytest.raises(SureError) as caught:
        cache.decode(splits, cache_dir=cache_dir)
    assert str(caught.value) == f"{entry}: this cached audio is damaged. Delete the folder and run again."
    shutil.rmtree(entry)
    assert everything(cache.decode(splits, cache_dir=cache_dir)) == first


def second_batch(stream):
    """Where the last batch of an Arrow stream begins."""
    with pa.BufferReader(stream) as buffer:
        messages, positions = pa.ipc.MessageReader.open_stream(buffer), []
        while True:
            positions.append(buffer.tell())
            try:
                messages.read_next_message()
            except StopIteration:
                return positions[-2]


def run(script, *arguments):
    """A Python process that decodes the corpus named first into the cache named second."""
    prelude = f"""
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {str(REPOSITORY)!r})
from datasets import load_from_disk
from sure import audio
from sure.corpus import cache
splits, cache_dir = load_from_disk(sys.argv[1]), Path(sys.argv[2])
load = audio.load_or_error
"""
    command = [sys.executable, "-c", prelude + script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("moment", ["decoding", "renaming"])
def test_a_killed_build_is_not_taken_for_whole(moment, tmp_path, cache_dir, decoded_files):
    splits = write_corpus(tmp_path / "corpus", {"train": 70, "validation": 1, "test": 1})
    splits.save_to_disk(tmp_path / "splits")
    process = run(
        f"""
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if {moment!r} == "renaming":
    Path.rename = kill
else:
    audio.load_or_error = lambda job: kill() if job[0].endswith("train66.wav") else load(job)
cache.decode(splits, cache_dir=cache_dir, workers=1)
""",
        tmp_path / "splits",
        cache_dir,
    )
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (left,) = entries(cache_dir)
    assert left.suffix == ".building"
    decoded = cache.decode(splits, cache_dir=cache_dir)
    assert len(decoded_files) == 72
    assert everything(decoded) == everything(cache.decode(splits, cache_dir=tmp_path / "fresh"))
    (entry,) = entries(cache_dir)
    assert entry == left.with_suffix("")


def test_of_two_processes_one_decodes_and_both_read(splits, tmp_path, cache_dir):
    splits.save_to_disk(tmp_path / "splits")
    script = """
def slow(job):
    with open(sys.argv[3], "a") as file:
        file.write(job[0] + "\\n")
    time.sleep(0.1)
    return load(job)
audio.load_or_error = slow
Path(sys.argv[4]).touch()
while len(list(Path(sys.argv[4]).parent.glob("ready*"))) < 2:
    time.sleep(0.001)
print(cache.fingerprint(cache.decode(splits, cache_dir=cache_dir, workers=1)))
"""
    processes = [
        run(script, tmp_path / "splits", cache_dir, tmp_path / "decoded", tmp_path / f"ready{number}")
        for number in (1, 2)
    ]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1] == [cache.fingerprint(cache.decode(splits, cache_dir=cache_dir))]
    decoded = (tmp_path / "decoded").read_text().split()
    assert len(decoded) == len(set(decoded)) == 10
    assert len(entries(cache_dir)) == 1


def test_a_fingerprint_does_not_know_paths_order_or_what_is_not_said(splits, cache_dir):
    first = cache.decode(splits, cache_dir=cache_dir)
    expected = cache.fingerprint(first)
    assert len(expected) == 64
    assert cache.fingerprint(moved(first, Path("/nowhere"))) == expected
    backwards = {name: split.select(range(len(split))[::-1]) for name, split in reversed(first.items())}
    assert cache.fingerprint(DatasetDict(backwards)) == expected
    assert cache.fingerprint(changed(first, lambda row: row | {"page": None})) == expected
    assert cache.fingerprint(changed(first, lambda row: row | {"samples": 3})) == expected
    turned = {name: split.select_columns(split.column_names[::-1]) for name, split in first.items()}
    assert cache.fingerprint(DatasetDict(turned)) == expected


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("id", "other"), ("label", "other"), ("text", "other"), ("sha256", "0" * 64), ("start", 0.0), ("end", 0.2)),
        *(("speaker", "other"), ("page", 4), ("page", None), ("location", "other"), ("split", "other")),
    ],
)
def test_a_fingerprint_depends_on_every_value_that_counts(column, value, splits, cache_dir):
    first = cache.decode(splits, cache_dir=cache_dir)
    more = {"text": "a", "start": 0.1, "end": 0.3, "speaker": "a", "page": 3, "location": "a"}
    with_all = changed(first, lambda row: more | row)
    assert cache.fingerprint(set_value(with_all, column, value)) != cache.fingerprint(with_all)


def test_a_fingerprint_does_not_know_how_much_is_heard(splits, cache_dir):
    whole, cut = (cache.decode(splits, cache_dir=cache_dir, max_seconds=seconds) for seconds in (None, 0.1))
    assert whole["train"]["samples"][:] != cut["train"]["samples"][:]
    assert cache.fingerprint(whole) == cache.fingerprint(cut)


def test_a_fingerprint_knows_which_row_and_column_holds_a_value(splits, cache_dir):
    first = cache.decode(splits, cache_dir=cache_dir)
    one, other = (changed(first, lambda row, said=said: row | {said: "on"}) for said in ("action", "object"))
    assert cache.fingerprint(one) != cache.fingerprint(other)
    one, other = (first["train"][number]["sha256"] for number in (0, 1))
    exchanged = set_value(set_value(first, "sha256", other, number=0), "sha256", one, number=1)
    assert cache.fingerprint(exchanged) != cache.fingerprint(first)
    renamed = DatasetDict({"train": first["train"], "validation": first["test"], "test": first["validation"]})
    assert cache.fingerprint(renamed) != cache.fingerprint(first)


def test_a_fingerprint_depends_on_trials_but_not_on_their_order_or_repetition(splits, cache_dir):
    first = cache.decode(splits, cache_dir=cache_dir)
    trials = [["test0", "test1", "same"], ["test0", "test2", "different"]]
    with_trials = cache.fingerprint(first, {"test": trials})
    assert with_trials != cache.fingerprint(first)
    assert with_trials == cache.fingerprint(first, {"test": trials[::-1], "test_1s": trials})
    assert with_trials != cache.fingerprint(first, {"test": trials[:1]})


def test_what_takes_long_is_found_out_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SURE_CACHE", str(tmp_path))
    made = []

    def make():
        made.append(1)
        return [0.5, [1, 2]]

    assert [cache.remembered("times", ["a", 1], make) for _ in range(3)] == [[0.5, [1, 2]]] * 3
    assert len(made) == 1
    cache.remembered("times", ["a", 2], make)
    assert len(made) == 2
    monkeypatch.setenv("SURE_CACHE", "/proc/nothing")
    with pytest.raises(SureError, match="Name another folder with SURE_CACHE"):
        cache.remembered("times", ["a", 1], make)
