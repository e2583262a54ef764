"""FLEURS' languages are labels."""

import datasets
import numpy as np
import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import noise_in_fleurs_layout
from tests.tasks.test_asr_fleurs import fleurs


@pytest.mark.parametrize("inside", [".", "data"])
def test_every_folder_of_a_language_is_one_or_those_that_are_named(inside, tmp_path):
    for language in ("en_us", "fr_fr", "xh_za"):
        fleurs(tmp_path / inside, language)
    task = make_task("lid_fleurs", {})
    splits = task.load(tmp_path)
    assert task.labels == ["en_us", "fr_fr", "xh_za"]
    # The same names in every language.
    assert splits["test"]["id"] == [f"{language}/test/test0.wav" for language in task.labels]
    assert splits["test"][0] == {
        "id": "en_us/test/test0.wav",
        "path": str(tmp_path / inside / "en_us/audio/test/test0.wav"),
        "speaker": None,
        "split": "test",
        "label": "en_us",
    }
    two = make_task("lid_fleurs", {"languages": ["xh_za", "en_us"]})
    assert set(two.load(tmp_path)["train"]["label"]) == {"en_us", "xh_za"}
    with pytest.raises(SureError, match=r"no de_de/train\.tsv"):
        make_task("lid_fleurs", {"languages": ["de_de", "en_us"]}).load(tmp_path)


def test_no_language_and_one_are_refused(tmp_path):
    with pytest.raises(SureError, match=r"no <language>/train\.tsv \(found: nothing\)"):
        make_task("lid_fleurs", {}).load(tmp_path)
    fleurs(tmp_path)
    with pytest.raises(SureError, match="every train utterance has the same label, 'en_us'"):
        make_task("lid_fleurs", {}).load(tmp_path)


def test_a_hub_s_languages_are_exported_each_by_itself(tmp_path, monkeypatch):
    with pytest.raises(SureError, match=r"google/fleurs: say which languages"):
        make_task("lid_fleurs", {}).load("google/fleurs")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def loaded(name, language, **_):
        noise_in_fleurs_layout(tmp_path / language, train=1, dev=1, test=1)
        rows = {
            split: datasets.Dataset.from_dict(
                {
                    "audio": [str(tmp_path / language / "audio" / folder / "0.wav")],
                    "transcription": [language],
                    "salt": [int(np.frombuffer(language.encode(), dtype=np.uint8).sum())],
                }
            ).cast_column("audio", datasets.Audio())
            for split, folder in (("train", "train"), ("validation", "dev"), ("test", "test"))
        }
        return datasets.DatasetDict(rows)

    monkeypatch.setattr(datasets, "load_dataset", loaded)
    splits = make_task("lid_fleurs", {"languages": ["en_us", "fr_fr"]}).load("google/fleurs")
    assert splits["train"]["label"] == ["en_us", "fr_fr"]
    assert [row["id"].partition("/")[0] for row in splits["test"]] == ["en_us", "fr_fr"]
