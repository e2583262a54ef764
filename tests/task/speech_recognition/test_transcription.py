"""Slot filling and phoneme recognition from a synthetic corpus to a record, and to new recordings."""

import pytest

from sure import leaderboard, synth
from sure.predict import predict
from sure.record import read_predictions
from sure.runner.run import main
from tests.factories.encoders import save_backbone

pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')

RUNS = {
    "sf_snips": ("snips", {"train": 1, "valid": 1, "test": 1}, ""),
    "pr_librispeech": (
        "librispeech",
        {"speakers": 2, "chapters": 1, "utterances": 3, "test": 1},
        "--task_options lexicon={}/lexicon.txt",
    ),
}


@pytest.mark.parametrize("task", RUNS)
def test_from_a_synthetic_corpus_to_the_board_and_new_recordings(task, tmp_path):
    corpus, sizes, options = RUNS[task]
    folder = tmp_path / corpus
    synth.CORPORA[corpus](folder, **sizes)
    words = f"--task {task} --data_dir {folder} --backbone {save_backbone(tmp_path / 'backbone', 'wav2vec2')}"
    words += f" --method lora --max_steps 2 --eval_strategy steps --eval_steps 2 --output_dir {tmp_path / 'run'}"
    words += f" --use_cpu True --report_to none --disable_tqdm True {options.format(folder)}"
    result = main(words.split())
    metrics = ("slot_type_f1", "slot_value_cer") if task == "sf_snips" else ("phoneme_error_rate",)
    assert tuple(result.scores["test"]) == metrics
    assert result.run.data.synthetic
    rows = read_predictions(tmp_path / "run", result.predictions["test"])
    leaderboard.add(tmp_path / "run" / "result.json", tmp_path / "board")
    assert task in leaderboard.show(tmp_path / "board")
    paths = {path.stem: path for path in folder.rglob("*.*") if path.suffix in (".wav", ".flac")}
    (folder / "lexicon.txt").unlink(missing_ok=True)
    heard = predict(tmp_path / "run", [paths[row["id"]] for row in rows], batch_size=2)
    assert [row["prediction"] for row in heard] == [row["prediction"] for row in rows]
