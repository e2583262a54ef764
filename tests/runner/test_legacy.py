"""The command line of SURE's release, as its recipes and README give it."""

import pytest

from sure.errors import SureError
from sure.runner import legacy
from sure.runner.arguments import parse, parse_options

# recipes/emotion_cls.sh of the release, with the switches of its five blocks.
COMMON = """--dataset esd --data_dir /data/ESD --output_dir out --do_train True --do_eval True --do_predict False
 --evaluation_strategy steps --save_strategy steps --save_steps 25 --eval_steps 25 --learning_rate 2e-3
 --feat_adapter_name conv_adapter --per_device_train_batch_size 64 --gradient_accumulation_steps 4
 --per_device_eval_batch_size 64 --num_train_epochs 100 --warmup_ratio 0.1 --logging_steps 5
 --logging_dir out/log --load_best_model_at_end True --metric_for_best_model f1 --save_total_limit 1
 --overwrite_output_dir True --group_by_length False"""
SWITCHES = {
    "full_finetuning": "--fine_tune True --output_adapter False --prefix_tuning False --lora_adapter False",
    "bottleneck_adapter": "--trans_adapter_name bottleneck --output_adapter True --fine_tune False",
    "conv_adapter": "--trans_adapter_name adapterblock --output_adapter True --fine_tune False --lora_adapter False",
    "prefix_tuning": "--prefix_tuning True --prefix_seq_len 20 --prefix_projection True --prefix_dropout_prob 0.2",
    "lora": "--lora_adapter True --fine_tune False --mh_adapter False --feat_enc_adapter False",
    "linear_probe": "--trans_adapter_name bottleneck --output_adapter False --fine_tune False",
}


@pytest.mark.parametrize("method", SWITCHES)
def test_every_block_of_the_recipe_is_one_method(method, caplog):
    command = legacy.translate(f"{COMMON} {SWITCHES[method]}".split())
    assert "flags of SURE's release" in caplog.text
    run, trainer = parse(command, "sure train")
    assert (run.task, run.method, run.data_dir) == ("esd_emotion", method, "/data/ESD")
    assert (run.backbone, run.max_seconds) == (legacy.BACKBONE, 2.5)
    assert (trainer.eval_strategy, trainer.warmup_steps, trainer.seed) == ("steps", 0.1, 1314)
    assert trainer.metric_for_best_model == "weighted_f1"
    assert trainer.train_sampling_strategy == "random"
    assert run.restart
    if method == "prefix_tuning":
        options = parse_options(run.method_options, "--method_options")
        assert options == {"positions": 20, "reparametrise": True, "dropout": 0.2}


def test_adapters_after_attention_become_a_role():
    command = legacy.translate(
        "--dataset meld --data_dir d --trans_adapter_name=bottleneck --mh_adapter --output_adapter True".split()
    )
    assert command[command.index("--task") + 1] == "meld_emotion"
    assert command[-1] == "roles=layer,attention"


def test_what_the_command_line_says_beats_what_the_release_fixes():
    command = legacy.translate("--dataset esd --data_dir d --backbone tiny --seed 3 --lora_adapter True".split())
    run, _ = parse([*command, "--output_dir", "out"], "sure train")
    assert run.backbone == "tiny"
    assert command.count("--seed") == 1


def test_our_own_command_line_is_left_alone():
    argv = ["--task", "esd_emotion", "--data_dir", "d", "--method", "lora", "--evaluation_strategy", "steps"]
    assert legacy.translate(argv) is argv


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--fine_tune True --lora_adapter True", "--fine_tune True and --lora_adapter True contradict each other"),
        ("--prefix_tuning True --mh_adapter True", "--mh_adapter True and --prefix_tuning True contradict each other"),
        ("--output_adapter True", "wants --trans_adapter_name: one of bottleneck, adapterblock; given: None"),
        ("--output_adapter True --trans_adapter_name conv_adapter", "given: conv_adapter"),
        ("--feat_enc_adapter True", "adapters inside the CNN are not supported"),
        ("--fine_tune yes", "--fine_tune yes: expected True or False"),
        ("--task esd_emotion", "--task and --data"),
        ("--method lora", "two ways to say one thing"),
    ],
)
def test_contradictions_are_clear_errors(flags, message):
    with pytest.raises(SureError, match=message):
        legacy.translate(f"--dataset esd --data_dir d {flags}".split())


def test_other_datasets_are_refused_by_name():
    with pytest.raises(
        SureError, match="--dataset timit: only esd, meld, iemocap, fluent_commands, vctk, snips, fleurs"
    ):
        legacy.translate("--dataset timit --lora_adapter True".split())
    with pytest.raises(SureError, match=r"--dataset is missing: one of esd.*; or --task, one of speech"):
        legacy.translate("--data_dir d --lora_adapter True".split())
    with pytest.raises(SureError, match=r"--task and --lora_adapter \(of SURE's release\) are two ways"):
        legacy.translate("--task esd_emotion --data_dir d --lora_adapter True".split())


# The other scripts' command lines, of ic.sh, sp_cls.sh, sp_cls_esd.sh and ks.sh.
SCRIPTS = {
    "intent_cls.py": ("--dataset fluent_commands", "fluent_speech_commands", "acc", 13.75),
    "speaker_recg.py on VCTK": ("--dataset vctk", "sr_vctk", "accuracy", 2.5),
    "speaker_recg.py on ESD": ("--task sr_esd", "sr_esd", "accuracy", 2.5),
    "keyword_spotting.py": ("--task speech_commands", "speech_commands", "accuracy", 2.5),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_other_scripts_are_translated_too(script):
    dataset, task, metric, seconds = SCRIPTS[script]
    flags = COMMON.replace("--dataset esd", dataset).replace("best_model f1", f"best_model {metric}")
    run, trainer = parse(legacy.translate(f"{flags} {SWITCHES['lora']}".split()), "sure train")
    assert (run.task, run.method, run.max_seconds, run.method_options) == (task, "lora", seconds, [])
    assert trainer.metric_for_best_model == "accuracy"
    assert run.make_task().metric == "accuracy"
    # Speaker recognition leaves the lower layers as they are.
    run, _ = parse(legacy.translate(f"{flags} --fine_tune True".split()), "sure train")
    assert run.method == "full_finetuning"
    assert [option.partition("=")[0] for option in run.method_options] == ["target_modules"] * task.startswith("sr_")


# Of sf.sh, pr.sh, asr_fleurs.sh and asr_esd.sh what is theirs.
TRANSCRIBED = {
    "slot_filling.py": (
        "--dataset snips --max_steps 50000 --save_steps 5000 --eval_steps 200 --num_train_epochs 30"
        " --warmup_ratio 0.1 --prefixtuning False --metric_for_best_model slot_type_f1",
        "sf_snips",
        "slot_type_f1",
    ),
    "phoneme_recognition.py": (
        "--dataset librispeech --group_by_length True --gradient_checkpointing True --save_steps 200 --eval_steps 100"
        " --weight_decay=0.005 --warmup_steps=1000 --metric_for_best_model per --greater_is_better False"
        " --task_options lexicon=/data/lexicon.txt",
        "pr_librispeech",
        "phoneme_error_rate",
    ),
    "asr.py on FLEURS": ("--dataset fleurs --save_steps 500 --eval_steps 25", "asr_fleurs", None),
    "asr.py on ESD": (
        "--dataset esd --prefix_tuning_my False --metric_for_best_model wer",
        "asr_esd",
        "word_error_rate",
    ),
}


@pytest.mark.parametrize("script", TRANSCRIBED)
def test_scripts_that_transcribe_hear_whole_utterances_and_leave_the_cnn_as_it_is(script):
    flags, task, metric = TRANSCRIBED[script]
    common = "--data_dir d --output_dir out --evaluation_strategy steps --save_strategy steps"
    run, trainer = parse(legacy.translate(f"{common} {flags} --fine_tune True".split()), "sure train")
    assert (run.task, run.method, run.max_seconds) == (task, "full_finetuning", None)
    assert run.method_options == [r"target_modules=backbone\.(feature_projection|encoder)"]
    assert trainer.metric_for_best_model == metric
    assert metric in (None, run.make_task().metric)
    if task == "sf_snips":
        assert trainer.lr_scheduler_type == "warmup_stable_decay"
        assert trainer.lr_scheduler_kwargs == {"num_decay_steps": 25_000, "decay_type": "linear"}
    for prefix in ("prefixtuning", "prefix_tuning_my"):
        run, _ = parse(
            legacy.translate(f"{common} {flags} --prefix_tuning False --{prefix} True".split()), "sure train"
        )
        assert run.method == "prefix_tuning"


def test_the_folder_of_vctk_is_the_one_above_its_recordings():
    command = legacy.translate("--dataset vctk --data_dir /data/VCTK_Wav/wav48/ --lora_adapter True".split())
    assert command[command.index("--data_dir") + 1] == "/data/VCTK_Wav"
    command = legacy.translate("--dataset esd --data_dir /data/wav48/ --lora_adapter True".split())
    assert command[command.index("--data_dir") + 1] == "/data/wav48/"
