"""The command line: it answers at once, and a mistake gets a message with what would be right, and status 2."""

import csv
import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sure import cli, registry, synth
from sure.backbone import ROLES
from tests.factories.corpora import touch
from tests.factories.encoders import save_backbone

SURE = Path(sys.executable).with_name("sure")
NAMES = [(kind, name) for kind in ("task", "method", "backbone") for name in registry.names(kind)]


def shell(*words, **options):
    return subprocess.run([SURE, *words], capture_output=True, text=True, **options)


@pytest.fixture
def sure(capsys):
    """Run a command in this process; gives what it printed."""

    def run(*words):
        cli.main([str(word) for word in words])
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys):
    """Run a command that must end with status 2; gives what it said."""

    def run(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(word) for word in words])
        said = capsys.readouterr()
        assert stop.value.code == 2
        assert said.out == ""
        assert said.err.count("error: ") == 1
        return said.err

    return run


def test_help_takes_less_than_a_second():
    took = []
    for _ in range(3):
        started = time.perf_counter()
        done = shell("--help")
        took.append(time.perf_counter() - started)
        assert done.returncode == 0
        assert "sure train --task esd_emotion" in done.stdout
    assert min(took) < 1


def test_help_imports_no_torch():
    done = shell("--help", env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "sure.registry" in imported
    assert not {"torch", "transformers", "datasets", "peft", "numpy"} & imported


def test_python_m_sure_is_sure():
    done = subprocess.run([sys.executable, "-m", "sure", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == shell("--help").stdout


def test_the_version_is_the_package_s(capsys):
    import sure

    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert not stop.value.code
    assert capsys.readouterr().out == f"sure {sure.__version__}\n"


@pytest.mark.parametrize("kind", ["task", "method", "backbone"])
def test_listings_have_every_name_with_its_summary(kind, sure):
    out = sure(f"{kind}s")
    for name in registry.names(kind):
        assert any(line.split(maxsplit=1) == [name, registry.summary(kind, name)] for line in out.splitlines()), name


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_everything_listed_can_be_described(kind, name, sure):
    out = sure(f"{kind}s", name)
    assert out.startswith(registry.summary(kind, name))
    assert (f"--{kind}_options name=value" in out) == ("\nNo options." not in out)


def test_options_are_described_with_their_defaults(sure):
    assert '  language="english"  english (speakers 0011 to 0020)' in sure("tasks", "esd_emotion")
    described = sure("methods", "lora")
    assert "\n  r=8\n" in described
    assert "\n  roles=query,key,value,output,ffn_in,ffn_out  " in described
    assert "peft_type" not in described
    assert "inference_mode" not in described


def test_a_backbone_is_described_with_its_options_sizes_and_roles(sure):
    described = sure("backbones", "wav2vec2")
    assert "\nNo options." in described
    assert re.search(r"^  wav2vec2:large +24 layers, width 1,024$", described, flags=re.MULTILINE)
    assert re.search(r"^  query +the projection of attention to queries$", described, flags=re.MULTILINE)
    assert "Of one half alone" not in described
    assert re.search(
        r"Of one half alone: encoder_layer, .*decoder_ffn_norm$", sure("backbones", "whisper"), flags=re.DOTALL
    )
    assert "\n  window=null  " in sure("backbones", "whisper")


@pytest.mark.parametrize("family", registry.names("backbone"))
def test_every_role_of_a_family_is_explained(family):
    for role in registry.get("backbone", family).roles:
        assert role.removeprefix("encoder_").removeprefix("decoder_") in ROLES


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("tiny", "wav2vec2"),
        ("whisper:base", "whisper"),
        ("sure-mini-tts", "fastspeech2_conformer"),
        ("folder", "wavlm"),
    ],
)
def test_what_backbone_takes_is_described_by_its_family(name, family, sure, tmp_path):
    place = save_backbone(tmp_path / name, family) if name == "folder" else name
    title, _, described = sure("backbones", place).partition("\n\n")
    assert title == f"{place} is of this family: {family}."
    assert described == sure("backbones", family)


def test_a_method_is_described_with_its_published_count(sure):
    said = (
        "Published: 3,804,171 trainable parameters on wav2vec2:large with a head of 11 labels (SURE, Li et al. 2023)."
    )
    assert said in sure("methods", "lora")
    assert "Published" not in sure("methods", "convpass")
    assert "\nNo options." in sure("tasks", "sf_snips")


@pytest.mark.parametrize("name", registry.names("task"))
def test_what_a_task_has_from_its_corpus_is_no_option(name, sure, refused):
    learned = {
        *(
            "labels",
            "drawn",
            "vocabulary",
            "language_model_sha256",
            "training_speakers",
            "voices",
            "embeddings",
            "judges",
        ),
    } & {field.name for field in dataclasses.fields(registry.get("task", name))}
    assert learned
    described = sure("tasks", name)
    for option in learned:
        assert f"\n  {option}=" not in described
        said = refused("train", "--task", name, "--data_dir", "x", "--task_options", f"{option}=1")
        assert f"--task_options {option}: {name} has it from its corpus; it" in said


def test_methods_of_peft_that_are_named_are_known(sure):
    named = sure("methods").rpartition("Also, from PEFT: ")[2].strip(" .\n").split(", ")
    assert set(named) == set(registry.from_peft())
    for name in ("ia3", "frod"):
        assert name not in registry.names("method")
        assert "Options (--method_options" in sure("methods", name)


@pytest.mark.parametrize(
    ("words", "message", "kind"),
    [
        ("tasks esd_emotions", "Unknown task 'esd_emotions'. Did you mean 'esd_emotion'?", "task"),
        ("methods loraa", "Unknown method 'loraa'. Did you mean 'lora'?", "method"),
        ("methods quite_another", "Unknown method 'quite_another'.", "method"),
        ("backbones wav2vec", "Unknown backbone 'wav2vec'. Did you mean 'wav2vec2'?", "backbone"),
        ("backbones wavlm2:tiny", "Unknown backbone 'wavlm2:tiny'.", "backbone"),
        ("budget --methods loraa --backbone tiny", "Unknown method 'loraa'. Did you mean 'lora'?", "method"),
        ("train --task esd_emotoin --data_dir x", "Unknown task 'esd_emotoin'. Did you mean 'esd_emotion'?", "task"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_right_ones(words, message, kind, refused):
    said = refused(*words.split())
    assert message in said
    assert f"Choose one of: {', '.join(registry.names(kind))}" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("data synth esdd --output_dir x", "Unknown corpus 'esdd'. Did you mean 'esd'? Choose one of: "),
        ("budget --backbone ./nowhere", "--backbone ./nowhere: neither built in (sure-mini"),
        ("backbones wav2vec2:larg", "Unknown size of wav2vec2: 'larg'. Did you mean 'large'?"),
        ("backbones some/where", "--backbone some/where: neither built in (sure-mini"),
        ("budget --labels 0", "argument --labels: '0' is not a whole number above 0"),
        ("predict --adapter x --batch_size -3 a.wav", "argument --batch_size: '-3' is not a whole number above 0"),
        ("data synth esd --output_dir x --seed -1", "argument --seed: '-1' is not a whole number from 0 to 4294967295"),
        ("pretrain --output_dir x --seed 4294967296", "--seed: '4294967296' is not a whole number from 0 to"),
        ("pretrain --output_dir x --steps -5", "argument --steps: '-5' is not a whole number from 0 on"),
        ("pretrain --output_dir x --workers -1", "argument --workers: '-1' is not a whole number from 0 on"),
        ("pretrain --output_dir x --batch_size 0", "argument --batch_size: '0' is not a whole number above 0"),
        ("pretrain --output_dir x --save_steps 0", "argument --save_steps: '0' is not a whole number above 0"),
        ("pretrain --output_dir x --hours nan", "argument --hours: 'nan' is not a number above 0"),
        ("pretrain --output_dir x --hours inf", "argument --hours: 'inf' is not a number above 0"),
        ("pretrain --output_dir x --hours many", "argument --hours: 'many' is not a number above 0"),
        ("predict --adapter x", "the following arguments are required: RECORDING"),
        ("budget --backbone tiny --nothing", "unrecognized arguments: --nothing"),
        ("trane", "invalid choice: 'trane' (choose from"),
        ("", "the following arguments are required: COMMAND"),
        ("leaderboard", "the following arguments are required: COMMAND"),
        ("leaderboard add nothing.json", "nothing.json: no such result record"),
        ("train --data_dir x", "--task is missing. For example: sure train --task"),
        ("train --task esd_emotion", "--data_dir is missing. For example: sure train --task"),
        ("train --task esd_emotion --data_dir nowhere", "--data_dir nowhere: no such folder."),
        ("train --task esd_emotion --data_dir x --lerning_rate 1", "--lerning_rate; did you mean --learning_rate?"),
        ("train --task esd_emotion --data_dir x --seed one", "argument --seed: invalid int value: 'one'"),
        ("train --task esd_emotion --data_dir x --class_weights some", "invalid choice: 'some' (choose from"),
        (
            "train --task esd_emotion --data_dir x --task_options lang=all",
            "Unknown option of esd_emotion: 'lang'. Did you mean 'language'? Choose one of: shots, draw, language.",
        ),
        (
            "train --task esd_emotion --data_dir x --task_options language=german",
            "--task_options language=german: choose one of mandarin, english, all.",
        ),
        (
            "train --task esd_emotion --data_dir x --task_options labels=[Sad]",
            "--task_options labels: esd_emotion has it from its corpus; its options are shots, draw, language.",
        ),
        (
            "data check --task sf_snips --data_dir x --task_options vocabulary=[a]",
            "--task_options vocabulary: sf_snips has it from its corpus; it has no options.",
        ),
        (
            "train --task sf_snips --data_dir x --task_options language=german",
            "--task_options language: sf_snips has no options.",
        ),
        ("train --task esd_emotion --data_dir x --task_options language", "language: expected name=value."),
        ("train --task esd_emotion --data_dir x --task_options language=[a,b]", "['a', 'b']: Input should be a valid"),
        ("train --task sv_vctk --data_dir x --task_options noise_dir=[a,b]", "noise_dir=['a', 'b']: Input should be"),
        ("train --task sv_vctk --data_dir x --task_options segments=[1,two]", "segments=[1, 'two']: Input should be"),
        ("train --task esd_emotion --data_dir x --resume_from_checkpoint y", "a run resumes by itself"),
        (
            "train --task esd_emotion --data_dir x --gradient_accumulation_steps 0",
            "--gradient_accumulation_steps 0: give a whole number above 0",
        ),
        (
            "train --task asr_fleurs --data_dir x --use_cpu True --label_smoothing_factor 0.1",
            "--label_smoothing_factor 0.1: it would replace the loss of asr_fleurs",
        ),
        (
            "train --task esd_emotion --data_dir x --use_cpu True --class_weights balanced "
            "--label_smoothing_factor 0.1",
            "--label_smoothing_factor 0.1: it would replace the loss",
        ),
        (
            "train --task asr_fleurs --data_dir x --use_cpu True --metric_for_best_model accuracy",
            "--metric_for_best_model 'accuracy'. Choose one of: word_error_rate, character_error_rate",
        ),
        (
            "train --task esd_emotion --data_dir x --use_cpu True --eval_strategy no --load_best_model_at_end False "
            "--early_stopping_patience 3",
            "--early_stopping_patience needs evaluations",
        ),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(words, message, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(*words.split())
    assert not list(tmp_path.iterdir()), "a refused command left something behind"


@pytest.mark.parametrize(
    "words",
    ["data synth esd", "pretrain --steps 0", "pretrain --model text_to_speech --steps 0"],
)
def test_a_folder_that_cannot_be_made_is_named(words, refused, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "x"
    said = refused(*words.split(), "--output_dir", folder)
    assert said == f"sure: error: --output_dir {folder}: cannot be written (Not a directory).\n"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            ("--method", "convadapter"),
            "Unknown method 'convadapter'. Did you mean 'conv_adapter'?",
        ),
        (("--backbone", "./nowhere"), "--backbone ./nowhere: neither built in"),
        (("--method_options", "kernels=3"), "kernels"),
    ],
)
def test_a_mistake_that_only_shows_beside_the_corpus_is_told_too(option, message, refused, tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')
    monkeypatch.setenv("SURE_CACHE", str(tmp_path / "cache"))
    synth.esd.make(tmp_path / "esd", speakers=1, train=1, evaluation=1, test=1)
    words = ("train", "--task", "esd_emotion", "--data_dir", tmp_path / "esd", "--output_dir", tmp_path / "out")
    assert message in refused(*words, "--use_cpu", "True", *option)
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "nothing"),
        ("data", "synth", "nothing", "--output_dir", "x"),
        ("leaderboard", "validate", "--board", "nowhere/at/all", "--nothing"),
    ],
)
def test_the_shell_sees_status_2_and_no_traceback(words, tmp_path):
    done = shell(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def test_a_mistake_of_ours_keeps_its_traceback():
    def broken():
        raise TypeError("ours")

    with pytest.raises(TypeError, match="ours"):
        cli.run_command(broken)


@pytest.mark.parametrize(
    ("words", "interrupted", "said"),
    [
        (
            "pretrain --output_dir x",
            "sure.pretraining.encoder.pretrain",
            " The same command resumes from the last checkpoint.",
        ),
        ("train", "sure.cli.train", " The same command resumes from the last checkpoint."),
        ("predict --adapter x y.wav", "sure.predict.predict", ""),
    ],
)
def test_an_interruption_is_told_without_a_traceback(words, interrupted, said, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, interrupt)
    with pytest.raises(SystemExit) as stop:
        cli.main(words.split())
    assert stop.value.code == "Interrupted." + said


def test_a_reader_that_leaves_early_is_no_error():
    writer = subprocess.Popen([SURE, "tasks"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writer.stdout.close()
    assert writer.stderr.read() == ""
    writer.stderr.close()
    assert writer.wait() == 0


def test_the_budget_s_table_says_what_its_json_says(sure):
    methods = ["full_finetuning", "linear_probe", "lora", "unipelt"]
    words = ("budget", "--backbone", "tiny", "--labels", "4", "--methods", *methods)
    rows = json.loads(sure(*words, "--json"))
    assert [row["method"] for row in rows] == methods
    for row in rows:
        assert row["share"] == row["trainable_parameters"] / row["total_parameters"]
        assert row["without_head"] == row["trainable_parameters"] - row["head_parameters"]
    assert next(row["share"] for row in rows if row["method"] == "full_finetuning") == 1
    assert next(row["without_head"] for row in rows if row["method"] == "linear_probe") == 0

    title, header, _, *table, estimate, attention = sure(*words).splitlines()
    assert estimate.startswith("Training MB: an estimate for a step of Adam with 8 utterances of 10 s")
    assert "fused attention" in attention
    assert title == "tiny, head of 4 labels"
    assert [column.strip() for column in header.split("  ") if column.strip()] == [
        *("method", "trainable", "share", "without head", "adapter MB", "GMAC/s", "merged", "training MB")
    ]
    expected = sorted(rows, key=lambda row: row["trainable_parameters"])
    assert len(table) == len(expected)
    for line, row in zip(table, expected, strict=True):
        assert line.split() == [
            row["method"],
            f"{row['trainable_parameters']:,}",
            f"{100 * row['share']:.2f}%",
            f"{row['without_head']:,}",
            f"{row['adapter_bytes'] / 10**6:.1f}",
            f"{row['macs_per_second'] / 10**9:.2f}",
            f"{row['merged_macs_per_second'] / 10**9:.2f}",
            f"{row['training_bytes_estimated'] / 10**6:,.0f}",
        ]
    text = sure(*words, "--format", "csv", "--methods", "lora")
    (lora,) = csv.DictReader(text.splitlines())
    assert lora["trainable_parameters"] == next(
        str(row["trainable_parameters"]) for row in rows if row["method"] == "lora"
    )


def test_the_budget_has_the_head_of_a_task_and_asks_for_what_only_a_corpus_knows(sure, refused):
    words = ("budget", "--backbone", "tiny", "--methods", "lora", "--json")

    def head(*more):
        return json.loads(sure(*words, *more))[0]["head_parameters"]

    width = 128
    projection = width * 256 + 256
    assert head("--task", "emodb_emotion") == projection + 7 * 257
    assert head("--task", "audio_classification", "--labels", "5") == projection + 5 * 257
    assert head("--task", "asr_librispeech", "--labels", "29") == 29 * (width + 1)
    assert head("--task", "sv_vctk", "--task_options", "head=mean", "--labels", "9") + 256 == head(
        *("--task", "sv_vctk", "--task_options", "head=mean", "--labels", "10")
    )
    for task, said in (
        ("emodb_emotion --labels 8", "--labels 8: emodb_emotion has 7; leave --labels out."),
        ("audio_classification", "--task audio_classification has its labels from its corpus: say how many with"),
        ("sv_vctk", "--task sv_vctk has its training speakers from its corpus: say how many with --labels"),
        ("tts_vctk --labels 2", "--task tts_vctk: the head is counted of tasks that classify"),
    ):
        assert said in refused(*words, "--task", *task.split())


def test_the_budget_is_drawn(sure, refused, tmp_path):
    words = ("budget", "--backbone", "tiny", "--methods", "lora", "bitfit", "--budget", "5%", "20%", "--plot")
    sure(*words, tmp_path / "costs.svg")
    drawn = (tmp_path / "costs.svg").read_text()
    for word in ("lora", "bitfit", "one size", "20%", "trainable parameters without head (log)"):
        assert word in drawn
    assert "name a file that ends in one of .pdf, .png, .svg" in refused(*words, tmp_path / "costs.txt")


def test_a_method_whose_parts_a_backbone_has_not_is_left_out_of_the_budget_with_a_reason(sure):
    *rows, said = sure("budget", "--backbone", "whisper:tiny", "--methods", "cnn_adapter", "linear_probe").splitlines()
    assert [row.split()[0] for row in rows if "_" in row.split()[0]] == ["linear_probe"]
    assert said.startswith("Not possible: cnn_adapter: whisper backbones have no 'cnn_block'; its roles: ")


def test_the_budget_is_of_the_methods_and_labels_asked_for(sure):
    def measured(*words):
        return json.loads(sure("budget", "--backbone", "tiny", "--json", *words))

    few, more = measured("--methods", "bitfit", "lora"), measured("--methods", "bitfit", "lora", "--labels", "12")
    assert [row["method"] for row in few] == ["bitfit", "lora"]
    # The head maps 256 numbers to labels.
    assert [row["head_parameters"] for row in more] == [row["head_parameters"] + 257 for row in few]


def test_a_published_count_stands_where_backbone_and_labels_are_those_it_is_of(sure):
    def published(*words):
        return [row["published"] for row in json.loads(sure("budget", "--methods", "lora", "--json", *words))]

    assert (
        published("--backbone", "wav2vec2-large-untrained") == published("--backbone", "wav2vec2:large") == [3_804_171]
    )
    assert published("--labels", "12") == published("--backbone", "tiny") == [None]


def test_the_budget_is_of_the_backbone_s_options(sure, refused):
    def operations(*options):
        words = ("budget", "--backbone", "whisper:tiny", "--methods", "lora", "--json", "--backbone_options", *options)
        return json.loads(sure(*words))[0]["macs_per_second"]

    assert operations("window=1") != operations()
    said = refused("budget", "--backbone", "whisper:tiny", "--backbone_options", "window=long")
    assert "--backbone_options window=long: Input should be a valid number" in said
    said = refused("budget", "--backbone", "tiny", "--backbone_options", "window=1")
    assert "--backbone_options window: wav2vec2 has no options." in said


def test_help_names_every_synthetic_corpus(capsys):
    with pytest.raises(SystemExit):
        cli.main(["data", "synth", "--help"])
    named = capsys.readouterr().out.partition("  corpus ")[2].partition("options:")[0]
    assert re.findall(r"\w+", named.replace(" or ", " ")) == sorted(synth.CORPORA)


def test_a_corpus_is_spoken_from_the_seed_asked_for(sure, tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')
    small = functools.partial(synth.esd.make, speakers=1, train=1, evaluation=1, test=1)
    monkeypatch.setitem(synth.CORPORA, "esd", small)
    sure("data", "synth", "esd", "--output_dir", tmp_path / "esd", "--seed", 5)
    assert json.loads((tmp_path / "esd" / "SYNTHETIC.json").read_text())["seed"] == 5
    assert len(list((tmp_path / "esd" / "0011").rglob("*.wav"))) == 15


def test_predict_says_what_an_adapter_folder_lacks(refused, tmp_path):
    words = ("predict", "--adapter", tmp_path, "x.wav")
    for name in ("run.json", "adapter_config.json", "adapter_model.safetensors"):
        assert f"no {name}; expected the output folder of a finished `sure train`." in refused(*words)
        (tmp_path / name).write_text("{}")
    assert "run.json is not a run of `sure train`: task: Field required" in refused(*words)
    (tmp_path / "run.json").write_text("not JSON")
    assert "run.json is not a run of `sure train`: file: Invalid JSON" in refused(*words)


def test_predict_says_that_a_folder_has_no_audio(refused, tmp_path):
    # Nor do those count that macOS leaves.
    touch(tmp_path, "._a.wav", "__MACOSX/a.wav", ".cache/a/b.wav")
    assert f"{tmp_path}: no audio files (.flac, .mp3, .ogg, .wav)" in refused("predict", "--adapter", "x", tmp_path)
    assert "no audio files" not in refused("predict", "--adapter", "x", tmp_path / ".cache")


@pytest.mark.parametrize(("words", "named"), [((), ("train", "leaderboard")), (("leaderboard",), ("show", "validate"))])
def test_a_command_alone_says_what_there_is(words, named, refused):
    said = refused(*words)
    for name in named:
        assert re.search(rf"^ +{name}\b", said, flags=re.MULTILINE)


def test_an_empty_board_says_how_to_fill_it(sure, tmp_path):
    assert sure("leaderboard", "show", "--board", tmp_path) == (
        f"{tmp_path} has no submissions yet: `sure leaderboard add out/result.json --board {tmp_path}` adds one.\n"
    )


def test_an_empty_board_can_be_built_and_is_valid(sure, tmp_path):
    assert f"Wrote {tmp_path / 'leaderboard.json'}" in sure("leaderboard", "build", "--board", tmp_path)
    assert (tmp_path / "index.html").exists()
    assert sure("leaderboard", "validate", "--board", tmp_path) == f"{tmp_path}: every submission is valid.\n"


def test_budgets_list_the_settings_that_fit_and_what_cannot(sure):
    table = sure(
        "budget", "--backbone", "tiny", "--budget", "0.1%", "20%", "--methods", "lora", "bitfit", "prefix_tuning"
    )
    rows = [line.split() for line in table.splitlines()]
    assert ["bitfit", "one", "size"] in [row[:3] for row in rows]
    (lora,) = [row for row in rows if row[:2] == ["lora", "20%"]]
    assert lora[2].startswith("r=")
    assert "Not possible: budget=0.1%: lora has " in table


def test_what_is_not_possible_is_said_beside_a_table_for_other_programs(capsys):
    words = ("budget", "--backbone", "tiny", "--budget", "0.1%", "--methods", "lora", "bitfit", "--format")
    for form in ("csv", "json"):
        cli.main([*words, form])
        said = capsys.readouterr()
        assert "bitfit" in said.out and "Not possible" not in said.out
        assert said.err.startswith("Not possible: budget=0.1%: lora has ")


@pytest.mark.parametrize("budget", ["nonsense", "1e300G", "0", "1e400"])
def test_a_budget_that_is_none_is_refused_of_methods_of_one_size_too(budget, refused):
    words = ("budget", "--backbone", "tiny", "--methods", "bitfit", "--budget", budget)
    assert f"budget={budget}: give a share" in refused(*words)


def test_counts_in_print_are_compared_with_ours_and_differences_explained(sure):
    lines = sure("methods", "--published").splitlines()
    rows = {line for line in lines[2:] if not line.startswith(("- ", "  "))}
    explained = {line[2:].partition(":")[0].split(" on ")[0] for line in lines if line.startswith("- ")}
    differing = {row for row in rows if re.search(r"[+-][\d,]+$", row)}
    assert len(rows) >= 20
    # Whatever differs is explained, and most do not.
    assert all(any(row.startswith(f"{name}  ") for name in explained) for row in differing)
    assert len(differing) <= 6
    (conv_adapter,) = [row for row in rows if row.startswith("conv_adapter")]
    assert conv_adapter.endswith("2,952,539    3,669,003      +716,464")
    assert "No count in print is known of this method." in sure("methods", "convpass", "--published")


def test_a_method_lists_papers_choices_with_their_counts(sure):
    said = sure("methods", "bottleneck_adapter")
    assert "  chapter            599,424  Chen et al. 2022" in said
    assert "budget=1%  Instead of bottleneck_dimension" in said
