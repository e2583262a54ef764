"""The command lines of SURE's release (declare-lab/speech-adapters), mapped onto ours.

There a method is a combination of switches, the backbone is fixed, and clips are cut to 2.5 s, of intents to 13.75; the
training flags are those of transformers 4.22, some of which have other names now. `--dataset` is that of `train.py`,
of `intent_cls.py`, `slot_filling.py` and `asr.py` and, but for esd, of `speaker_recg.py`. Scripts that share a dataset
are told apart by the metric that selects the checkpoint: with `wer`, esd is speech recognition, with `per`, librispeech
is phoneme recognition. Where a script has none, or means another task by it, ours takes its place: `--task
speech_commands` for `keyword_spotting.py`, `--task sr_esd` for `speaker_recg.py` on ESD.

What is transcribed stays whole. `phoneme_recognition.py` has its lexicon in a fixed place; ours is named beside its
flags, `--task_options lexicon=FILE`. The rate of `slot_filling.py` rises for a tenth of `--max_steps`, stays for 40 %
and falls; that of `asr.py` would too, but its number of steps depends on the corpus: here it falls at once, in
`recipes/asr_fleurs.sh` as there.
"""

import logging
import shlex
from collections.abc import Iterator

from sure.errors import SureError

BACKBONE = "jonatasgrosman/wav2vec2-large-xlsr-53-english"

_TASKS = {"esd": "esd_emotion", "meld": "meld_emotion", "iemocap": "iemocap_emotion"} | {
    "fluent_commands": "fluent_speech_commands",
    "vctk": "sr_vctk",
    "snips": "sf_snips",
    "fleurs": "asr_fleurs",
    "librispeech": "asr_librispeech",
    "voxpopuli": "asr_voxpopuli",
}
# Where two scripts take a dataset, by the metric that selects the checkpoint.
_OF_METRIC = {("esd", "wer"): "asr_esd", ("librispeech", "per"): "pr_librispeech"}
# Those of the release's scripts for which it needs no dataset's name.
_NAMED = ("speech_commands", "sr_esd")
_ADAPTERS = {"bottleneck": "bottleneck_adapter", "adapterblock": "conv_adapter"}
# Flag there: option of our method here.
_PREFIX_OPTIONS = {
    "prefix_seq_len": "positions",
    "prefix_projection": "reparametrise",
    "prefix_dropout_prob": "dropout",
}
# By switch what is on then. Prefix-tuning is AdapterHub's, or the release's own, which had another name at first.
_SWITCHES = (
    {"fine_tune": "fine_tune"}
    | dict.fromkeys(("output_adapter", "mh_adapter"), "adapter")
    | dict.fromkeys(("prefix_tuning", "prefix_tuning_my", "prefixtuning"), "prefix_tuning")
    | {"lora_adapter": "lora_adapter", "feat_enc_adapter": "feat_enc_adapter"}
)
_OWN = {"dataset", "trans_adapter_name", "feat_adapter_name", *_SWITCHES, *_PREFIX_OPTIONS}
# Of transformers 4.22.
_RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "gradient_checkpointing": "activation_checkpointing",
    "overwrite_output_dir": "restart",
    "warmup_ratio": "warmup_steps",
}
_METRICS = {"f1": "weighted_f1", "acc": "accuracy", "wer": "word_error_rate", "per": "phoneme_error_rate"}
# What the release fixes and we do not, unless the command line says otherwise.
_FIXED = {"backbone": BACKBONE, "seed": "1314"}
_SECONDS, _SECONDS_OF_INTENTS = "2.5", "13.75"
_TRANSCRIBES = ("asr_", "pr_", "sf_")
# What of wav2vec 2.0 large `--fine_tune True` trains: in `speaker_recg.py` all but layers 0 to 19, where texts are
# written all but the CNN.
_TOP = r"backbone\.(feature_extractor|feature_projection|encoder\.(pos_conv_embed|layer_norm|layers\.2[0-3]))"
_ABOVE_THE_CNN = r"backbone\.(feature_projection|encoder)"

_log = logging.getLogger("sure")


def translate(argv: list[str]) -> list[str]:
    """`argv` unchanged where it has none of the release's flags, otherwise in our flags, and says what became of it.

    Raises `SureError` for switches that contradict each other and for what is not supported.
    """
    given = dict(_flags(argv))
    if not given.keys() & _OWN:
        return argv
    task = _task(given)
    method, options = _method(given)
    transcribes = task.startswith(_TRANSCRIBES)
    if method == "full_finetuning" and (transcribes or task.startswith("sr_")):
        options = [f"target_modules={_ABOVE_THE_CNN if transcribes else _TOP}"]
    translated = {"task": task, "method": method}
    for flag, value in given.items():
        if flag in _OWN or flag in ("task", "logging_dir"):
            continue
        if flag == "data_dir" and task == "sr_vctk":
            translated[flag] = value.rstrip("/").removesuffix("/wav48")
        elif flag == "group_by_length":
            translated["train_sampling_strategy"] = "group_by_length" if _is_true(flag, value) else "random"
        elif flag == "metric_for_best_model":
            translated[flag] = _METRICS.get(value, value)
        else:
            translated[_RENAMED.get(flag, flag)] = value
    if "save_steps" in translated and "eval_steps" in translated:
        # Then the best was chosen among the evaluations with which a checkpoint was written.
        translated["eval_steps"] = translated.pop("save_steps")
    fixed = dict(_FIXED)
    if not transcribes:
        fixed["max_seconds"] = _SECONDS_OF_INTENTS if task == "fluent_speech_commands" else _SECONDS
    if task == "sf_snips" and (steps := given.get("max_steps", "")).isdecimal():
        fixed["lr_scheduler_type"] = "warmup_stable_decay"
        fixed["lr_scheduler_kwargs"] = f'{{"num_decay_steps": {int(steps) // 2}, "decay_type": "linear"}}'
    for flag, value in fixed.items():
        translated.setdefault(flag, value)
    command = [word for flag, value in translated.items() for word in (f"--{flag}", *value.split("\0"))]
    if options:
        command += ["--method_options", *options]
    _log.warning("These are flags of SURE's release. In ours: sure train %s", shlex.join(command))
    return command


def _task(given: dict[str, str]) -> str:
    ours = sorted(given.keys() & {"method", "task"})
    if ours == ["task"] and given["task"] in _NAMED and "dataset" not in given:
        return given["task"]
    if ours:
        theirs = sorted(given.keys() & _OWN)
        raise SureError(f"--{ours[0]} and --{theirs[0]} (of SURE's release) are two ways to say one thing: use one.")
    if "dataset" not in given:
        raise SureError(f"--dataset is missing: one of {', '.join(_TASKS)}; or --task, one of {', '.join(_NAMED)}.")
    if given["dataset"] not in _TASKS:
        raise SureError(f"--dataset {given['dataset']}: only {', '.join(_TASKS)} are translated; use --task.")
    of_metric = given["dataset"], given.get("metric_for_best_model")
    return _OF_METRIC.get(of_metric, _TASKS[given["dataset"]])


def _method(given: dict[str, str]) -> tuple[str, list[str]]:
    on = [switch for switch in _SWITCHES if switch in given and _is_true(switch, given[switch])]
    if "feat_enc_adapter" in on:
        raise SureError(
            "--feat_enc_adapter True: adapters inside the CNN are not supported; the paper's table has none."
        )
    families = {_SWITCHES[switch] for switch in on}
    if len(families) > 1:
        raise SureError(
            f"{' and '.join(f'--{switch} True' for switch in on)} contradict each other: a run has one method."
        )
    if not on:
        return "linear_probe", []
    if on[0] == "fine_tune":
        return "full_finetuning", []
    if on[0] == "lora_adapter":
        return "lora", []
    if "prefix_tuning" in families:
        return "prefix_tuning", [f"{ours}={given[flag]}" for flag, ours in _PREFIX_OPTIONS.items() if flag in given]
    name = given.get("trans_adapter_name")
    if name not in _ADAPTERS:
        raise SureError(f"--{on[0]} True wants --trans_adapter_name: one of {', '.join(_ADAPTERS)}; given: {name}.")
    places = {"output_adapter": "layer", "mh_adapter": "attention"}
    roles = ",".join(places[switch] for switch in on)
    return _ADAPTERS[name], [] if roles == "layer" else [f"roles={roles}"]


def _flags(argv: list[str]) -> Iterator[tuple[str, str]]:
    """Flags with their values; several values of one flag are joined by NUL, and a flag without value is True."""
    name, values = None, []
    for word in [*argv, "--"]:
        if word.startswith("--"):
            if name is not None:
                yield name, "\0".join(values) or "True"
            name, equals, value = word.removeprefix("--").partition("=")
            name, values = name.replace("-", "_"), [value] if equals else []
        else:
            values.append(word)


def _is_true(flag: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise SureError(f"--{flag} {value}: expected True or False.")
    return value.lower() == "true"
