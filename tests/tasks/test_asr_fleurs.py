"""FLEURS in its raw release's layout, made of empty files, and as it is."""

from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
import soundfile

from sure.corpus.cache import decode, fingerprint
from sure.errors import SureError
from sure.task import make_task
from tests.factories import RECORDINGS
from tests.factories.corpora import touch, write

DIGITS = RECORDINGS / "digits_fleurs_layout"
TEXTS = {"train": ['Say "yes"!', "Où ?"], "dev": ['A quote" ends'], "test": ["Don't."]}


def line(number, name, text):
    return "\t".join([str(number), name, f"Raw {text}", text, "c h | a r |", "32000", "FEMALE"])


def fleurs(folder, language="en_us"):
    for split, texts in TEXTS.items():
        names = [f"{split}{number}.wav" for number in range(len(texts))]
        # Sentences have ids, and are read by several speakers.
        write(folder / language / f"{split}.tsv", *(line(7, *pair) for pair in zip(names, texts, strict=True)))
        touch(folder / language / "audio" / split, *names)
    return folder


def load(folder, **options):
    return make_task("asr_fleurs", options).load(folder)


@pytest.mark.parametrize("inside", [".", "en_us"])
def test_the_language_lies_in_the_folder_or_is_it(inside, tmp_path):
    splits = load(fleurs(tmp_path) / inside)
    assert {name: split["id"][:] for name, split in splits.items()} == {
        "train": ["train/train0.wav", "train/train1.wav"],
        "validation": ["validation/dev0.wav"],
        "test": ["test/test0.wav"],
    }
    assert splits["train"]["text"][:] == ["say yes", "où"]
    assert splits["validation"]["text"][:] == ["a quote ends"]
    assert splits["test"][0] == {
        "id": "test/test0.wav",
        "path": str(tmp_path / inside / ("." if inside == "en_us" else "en_us") / "audio/test/test0.wav"),
        "speaker": None,
        "split": "test",
        "text": "don't",
    }


def test_the_vocabulary_is_of_the_training_texts(tmp_path):
    task = make_task("asr_fleurs", {})
    task.load(fleurs(tmp_path))
    assert task.vocabulary == ["<blank>", " ", "a", "e", "o", "s", "y", "ù"]


def test_another_language_is_chosen_by_option(tmp_path):
    fleurs(fleurs(tmp_path), "fr_fr")
    assert "fr_fr" in load(tmp_path, language="fr_fr")["test"]["path"][0]


def test_the_hub_s_repository_has_the_release_in_a_folder_of_its_own(tmp_path):
    fleurs(tmp_path / "clone" / "data")
    assert load(tmp_path / "clone")["train"]["text"][:] == load(tmp_path / "clone" / "data")["train"]["text"][:]


def refused(folder, message, **options):
    with pytest.raises(SureError, match=message):
        load(folder, **options)


def test_mistakes_are_named(tmp_path):
    refused(fleurs(tmp_path), r"no de_de/train.tsv \(folders found: en_us\)", language="de_de")
    refused(tmp_path / "en_us", r"en_us is the folder of en_us, not de_de.*language=en_us", language="de_de")
    (tmp_path / "en_us/audio/train/train1.wav").unlink()
    refused(tmp_path, r"audio/train: 1 files of train.tsv are not there: train1.wav")
    write(tmp_path / "en_us/train.tsv", line(1, "train0.wav", "yes"), "", "1\ttrain0.wav\tyes")
    refused(tmp_path, r"train.tsv, line 3: 3 columns, expected 7 separated by tabs: id, file name")
    (tmp_path / "en_us/train.tsv").write_bytes("é".encode("latin-1"))
    refused(tmp_path, r"train.tsv: not a text file in UTF-8")
    fleurs(tmp_path)
    (tmp_path / "en_us/dev.tsv").unlink()
    refused(tmp_path, r"dev.tsv: no such file")


@pytest.mark.skipif(not DIGITS.is_dir(), reason=f"no recordings in {DIGITS}")
def test_real_recordings_load_with_the_words_of_the_release():
    splits = load(DIGITS)
    assert {name: len(split) for name, split in splits.items()} == {"train": 600, "validation": 80, "test": 120}
    words = {word for split in splits.values() for text in split["text"] for word in text.split()}
    assert words == set("zero one two three four five six seven eight nine".split())


def as_datasets(folder, paths_only=False):
    """The raw release in `folder` as `datasets` holds it: audio as bytes with a path, or as paths."""
    features = datasets.Features(
        {"id": datasets.Value("int32"), "audio": datasets.Audio(16_000), "transcription": datasets.Value("string")}
    )
    splits = datasets.DatasetDict()
    for name, raw in {"train": "train", "validation": "dev", "test": "test"}.items():
        rows = []
        for number, text in enumerate(TEXTS[raw]):
            path = folder / f"en_us/audio/{raw}/{raw}{number}.wav"
            audio = (
                {"bytes": None, "path": str(path)} if paths_only else {"bytes": path.read_bytes(), "path": path.name}
            )
            rows.append({"id": 7, "audio": audio, "transcription": text})
        # `Dataset.from_list` would encode the audio anew, with a library that nothing else here needs.
        table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
        splits[name] = datasets.Dataset(datasets.table.InMemoryTable(table))
    return splits


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """The raw release with a moment of noise in each file."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = fleurs(tmp_path / "raw")
    for number, path in enumerate(sorted(folder.rglob("*.wav"))):
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, size=800), 16_000)
    return folder


def same_as_raw(folder, raw, tmp_path):
    """Wherever a corpus comes from, it is the same one: ids, texts and bytes."""
    one, other = (decode(load(source), cache_dir=tmp_path / "decoded") for source in (folder, raw))
    assert fingerprint(one) == fingerprint(other)
    for split in one:
        assert one[split]["id"][:] == other[split]["id"][:]


@pytest.mark.parametrize("paths_only", [False, True])
def test_a_dataset_saved_to_disk_is_the_same_corpus(paths_only, raw, tmp_path):
    as_datasets(raw, paths_only).save_to_disk(tmp_path / "saved")
    same_as_raw(tmp_path / "saved", raw, tmp_path)


def test_where_the_hub_has_a_script_its_conversion_is_loaded(raw, tmp_path, monkeypatch):
    asked = []

    def load_dataset(name, *configuration, **options):
        asked.append((name, *configuration, options))
        if "revision" not in options:
            raise RuntimeError("Dataset scripts are no longer supported, but found fleurs.py")
        return as_datasets(raw)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert len(load(Path("google/fleurs"))["train"]) == len(TEXTS["train"])
    assert asked == [
        ("google/fleurs", "en_us", {}),
        ("google/fleurs", {"data_dir": "en_us", "revision": "refs/convert/parquet"}),
    ]


def test_a_saved_dataset_of_another_language_is_refused(raw, tmp_path):
    saved = as_datasets(raw)
    for rows in saved.values():
        rows.info.config_name = "fr_fr"
    saved.save_to_disk(tmp_path / "saved")
    refused(tmp_path / "saved", "saved from the configuration 'fr_fr', not 'en_us'")
    assert len(load(tmp_path / "saved", language="fr_fr")["test"])


def test_so_is_a_clone_of_a_hub_repository(raw, tmp_path):
    clone = tmp_path / "clone"
    for name, rows in as_datasets(raw).items():
        (clone / "en_us").mkdir(parents=True, exist_ok=True)
        rows.to_parquet(clone / "en_us" / f"{name}-00000-of-00001.parquet")
    write(
        clone / "README.md",
        "---",
        "configs:",
        "- config_name: en_us",
        "  data_files:",
        *(
            line
            for name in ("train", "validation", "test")
            for line in (f"  - split: {name}", f"    path: en_us/{name}-*")
        ),
        "---",
    )
    same_as_raw(clone, raw, tmp_path)
    refused(clone, r"not readable as a dataset with 'de_de': BuilderConfig 'de_de' not found", language="de_de")


def test_the_second_time_it_is_there_already(raw, tmp_path):
    as_datasets(raw).save_to_disk(tmp_path / "saved")
    path = Path(load(tmp_path / "saved")["test"]["path"][0])
    written = path.stat().st_mtime_ns
    assert Path(load(tmp_path / "saved")["test"]["path"][0]) == path
    assert path.stat().st_mtime_ns == written


def test_a_hub_id_that_cannot_be_read_is_named(tmp_path):
    refused(Path("nobody/fleurs"), r"--data_dir nobody/fleurs: no such folder, and not readable as a dataset")
    refused(tmp_path / "nowhere", r"--data_dir .*nowhere: no such folder\.")


def test_a_dataset_without_the_texts_is_named(raw, tmp_path):
    as_datasets(raw).rename_column("transcription", "sentence").save_to_disk(tmp_path / "saved")
    refused(tmp_path / "saved", r"split 'train' has the columns id, audio, sentence; expected .* 'transcription'")
