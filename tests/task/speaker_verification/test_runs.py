"""Speaker verification from recordings to records."""

import hashlib
import json
from itertools import combinations, pairwise

import numpy as np
import pytest
import soundfile

from sure import leaderboard, registry
from sure.errors import SureError
from sure.leaderboard.submission import rescore
from sure.predict import predict
from sure.record import Result, read_predictions
from sure.runner.run import main
from tests.factories.encoders import save_backbone
from tests.factories.speakers import cosine


def voices(folder, speakers, utterances, seconds=0.6, seed=0):
    """`<speaker>/<video>/<file>.wav`: pulses at a pitch through a resonance, both the speaker's own, in some noise."""
    generator = np.random.default_rng(seed)
    for speaker in speakers:
        pitch, resonance = generator.uniform(80, 300), generator.uniform(500, 3500)
        for number in range(utterances):
            time = np.arange(int(16_000 * seconds * generator.uniform(0.8, 1.4))) / 16_000
            wave = sum(
                np.sin(2 * np.pi * pitch * k * time + generator.uniform(0, 6)) / (1 + abs(pitch * k - resonance) / 200)
                for k in range(1, 25)
            )
            path = folder / f"id{speaker:05d}" / f"video{number % 2}" / f"{number:05d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.05 * (wave + 0.1 * generator.normal(size=len(wave))), 16_000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    voices(folder / "dev" / "wav", range(20), 4)
    voices(folder / "test" / "wav", range(50, 62), 3, seed=1)
    paths = sorted(path.relative_to(folder / "test/wav").as_posix() for path in folder.glob("test/wav/*/*/*.wav"))
    trials = [(int(a[:7] == b[:7]), a, b) for n, a in enumerate(paths) for b in paths[n + 1 :: 5]]
    trials += [(1, a, b) for a, b in pairwise(paths) if a[:7] == b[:7]]
    (folder / "veri_test.txt").write_text("".join(f"{label} {a} {b}\n" for label, a, b in trials))
    return folder


@pytest.fixture
def command(corpus, tmp_path):
    backbone = save_backbone(tmp_path / "backbone", "wav2vec2")

    def words(output_dir, *options, method="lora", epochs=1):
        command = f"--task sv_voxceleb1 --data_dir {corpus} --backbone {backbone} --method {method} --use_cpu True"
        command += f" --output_dir {output_dir} --num_train_epochs {epochs} --report_to none --disable_tqdm True"
        return [*command.split(), "--task_options", "crop_seconds=0.5", "head=ecapa", *options]

    return words


@pytest.mark.slow
def test_a_run_leaves_a_record_that_can_be_scored_again_and_predicts_what_it_scored(command, corpus, tmp_path):
    result = main(command(tmp_path / "out", "segments=[0.2,0.4]", "layers=weighted_sum"))
    assert result.status == "complete"
    assert result.metric == "equal_error_rate"
    assert set(result.scores) == {"validation", "test", "test_0.2s", "test_0.4s"}
    listed = (corpus / "veri_test.txt").read_text().splitlines()
    assert result.run.data.trials == {
        "validation": 2 * 10 * 6,
        "test": len(listed),
        "test_0.2s": len(listed),
        "test_0.4s": len(listed),
    }
    assert result.run.data.splits["train"].speakers == 10
    assert result.run.task_options["training_speakers"] == 10
    # Ten speakers and twelve are drawn with all of their trials.
    assert set(result.interval.resampled.values()) == {"speaker"}
    rows = rescore(tmp_path / "out" / "result.json", Result.read(tmp_path / "out" / "result.json"))
    assert {name: len(members) for name, members in rows.items()} == result.run.data.trials
    assert result.scores["test"] != result.scores["test_0.2s"] != result.scores["test_0.4s"]
    leaderboard.add(tmp_path / "out", tmp_path / "board")
    leaderboard.build(tmp_path / "board")
    assert leaderboard.validate(tmp_path / "board") == 1
    assert "equal error rate" in leaderboard.show(tmp_path / "board")

    for row in rows["test"][:4]:
        recordings = [corpus / "test" / "wav" / identity for identity in row["id"].split()[:2]]
        first, second = predict(tmp_path / "out", recordings)
        assert first["cosine_with_first"] == pytest.approx(1)
        assert second["cosine_with_first"] == pytest.approx(row["prediction"], abs=1e-4)
        assert len(second["embedding"]) == 192
        assert second["path"] == str(recordings[1])
    lost, heard = predict(tmp_path / "out", [tmp_path / "none.wav", recordings[1]])
    assert set(lost) == {"path", "error"}
    # There is nothing to compare it with.
    assert set(heard) == {"path", "embedding"}


@pytest.mark.slow
def test_a_record_of_other_trials_is_refused(command, tmp_path):
    main(command(tmp_path / "out", method="linear_probe"))
    record = tmp_path / "out" / "result.json"
    result = Result.read(record)
    path = tmp_path / "out" / result.predictions["test"].path
    fewer = path.read_text().splitlines(keepends=True)[1:]
    path.write_text("".join(fewer))
    content = json.loads(record.read_text())
    content["predictions"]["test"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    record.write_text(json.dumps(content))
    with pytest.raises(SureError, match=r"predictions for \d+ trials"):
        rescore(record, Result.read(record))


def rate_among_training_speakers(output_dir, corpus):
    """The equal error rate over all pairs of their utterances."""
    recordings = [path for speaker in range(10) for path in corpus.glob(f"dev/wav/id{speaker:05d}/*/*")]
    embeddings = [row["embedding"] for row in predict(output_dir, recordings)]
    heard = [(path.parts[-3], embedding) for path, embedding in zip(recordings, embeddings, strict=True)]
    trials = [(cosine(one[1], other[1]), one[0] == other[0]) for one, other in combinations(heard, 2)]
    metric = registry.get("metric", "equal_error_rate")()
    return metric.score(*metric.prepare(*map(np.array, zip(*trials, strict=True))))


@pytest.mark.slow
def test_training_tells_speakers_apart_and_normalisation_changes_only_the_scores_in_the_end(command, corpus, tmp_path):
    flags = ["--learning_rate", "2e-3", "--early_stopping_patience", "0", "--load_best_model_at_end", "False"]
    main([*command(tmp_path / "trained", method="full_finetuning", epochs=25), *flags])
    plain = main([*command(tmp_path / "plain", method="full_finetuning"), "--learning_rate", "0"])
    before, after = (rate_among_training_speakers(tmp_path / name, corpus) for name in ("plain", "trained"))
    assert after < 0.6 * before

    words = command(tmp_path / "adaptive", "score_normalization=adaptive", method="full_finetuning")
    adaptive = main([*words, "--learning_rate", "0"])
    scores = [
        {row["id"]: row["prediction"] for row in read_predictions(tmp_path / name, result.predictions["test"])}
        for name, result in (("plain", plain), ("adaptive", adaptive))
    ]
    values = np.array([[score[name] for score in scores] for name in scores[0]])
    assert np.abs(values[:, 0]).max() <= 1 < np.abs(values[:, 1]).max()
    assert np.corrcoef(values.T)[0, 1] > 0.5
