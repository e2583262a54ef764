"""VoxPopuli's layout, as `get_asr_data` writes it, made of empty files."""

import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write

HEADER = "\t".join(["id", "raw_text", "normalized_text", "speaker_id", "split", "gender"])


def voxpopuli(folder, language="en"):
    for split, speaker in (("train", "7"), ("dev", "None"), ("test", "8")):
        names = [f"2009011{number}-0900-PLENARY-{split}-{language}_{number}" for number in range(2)]
        rows = ["\t".join([name, f'"Madam, {name}', 'madam "president', speaker, split, "female"]) for name in names]
        write(folder / language / f"asr_{split}.tsv", HEADER, *rows)
        touch(folder / language / "2009", *(f"{name}.ogg" for name in names))
    return folder


def load(folder, **options):
    return make_task("asr_voxpopuli", options).load(folder)


@pytest.mark.parametrize("root", ["", "transcribed_data"])
def test_tables_are_splits(root, tmp_path):
    voxpopuli(tmp_path / root)
    splits = load(tmp_path)
    assert {name: len(split) for name, split in splits.items()} == {"train": 2, "validation": 2, "test": 2}
    name = "20090110-0900-PLENARY-train-en_0"
    assert splits["train"][0] == {
        "id": name,
        "path": str(tmp_path / root / f"en/2009/{name}.ogg"),
        "speaker": "7",
        "split": "train",
        "text": "madam president",
    }
    assert splits["validation"]["speaker"][:] == [None, None]


def test_another_language_is_chosen_by_option(tmp_path):
    voxpopuli(voxpopuli(tmp_path), "de")
    assert "-de_" in load(tmp_path, language="de")["test"]["id"][0]


def refused(folder, message, **options):
    with pytest.raises(SureError, match=message):
        load(folder, **options)


def test_mistakes_are_named(tmp_path):
    voxpopuli(tmp_path)
    refused(tmp_path, r"fr: no such folder \(found: en\)", language="fr")
    (tmp_path / "en/2009/20090111-0900-PLENARY-dev-en_1.ogg").unlink()
    refused(tmp_path, r"1 recordings of asr_dev.tsv are not there: 20090111-0900-PLENARY-dev-en_1\.ogg")
    write(tmp_path / "en/asr_dev.tsv", "id\traw_text\tspeaker_id", "2009\ta\tb")
    refused(tmp_path, r"asr_dev.tsv, line 2: no column 'normalized_text'")
    (tmp_path / "en/asr_dev.tsv").unlink()
    refused(tmp_path, r"asr_dev.tsv: no such file; VoxPopuli's get_asr_data writes it")
