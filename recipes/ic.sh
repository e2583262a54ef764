#!/usr/bin/env bash
# Intents of Fluent Speech Commands with every method of SURE (Li et al., ICASSP 2023): the paper's recipe for them.
#
# Data      Fluent Speech Commands: its folder fluent_speech_commands_dataset, with data/train_data.csv and wavs/speakers
# Costs     wav2vec 2.0 large: one GPU of 24 GB or more (GRADIENT_ACCUMULATION keeps the paper's batch of 32)
# Run       DATA_DIR=/data/fluent_speech_commands_dataset bash recipes/ic.sh
# Override  DATA_DIR=/data/fluent_speech_commands_dataset METHODS="lora bitfit" bash recipes/ic.sh --num_train_epochs 10
# Options   TASK_OPTIONS=intents=whole: one label of 31 instead of an action, an object and a location
#
# Learning rates are the paper's; of the probes and of BitFit, which it does not have, they are ours. What is done is not
# done again: run it once more and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/fluent_speech_commands_dataset}
corpora DATA_DIR
BACKBONE=${BACKBONE:-jonatasgrosman/wav2vec2-large-xlsr-53-english}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}
TASK_OPTIONS=${TASK_OPTIONS:-intents=slots}
OUTPUT_DIR=${OUTPUT_DIR:-out/fluent_speech_commands-${TASK_OPTIONS#intents=}}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-8}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 32)}

for method in $METHODS; do
  echo "== fluent_speech_commands, $method"
  case $method in
    full_finetuning | bottleneck_adapter | lora | conv_adapter) learning_rate=2e-4 ;;
    *) learning_rate=2e-3 ;;
  esac
  # shellcheck disable=SC2086 # TASK_OPTIONS are several words
  run "$method" \
    --task fluent_speech_commands --task_options $TASK_OPTIONS --data_dir "$DATA_DIR" --backbone "$BACKBONE" \
    --method "$method" --learning_rate "$learning_rate" --num_train_epochs 100 --warmup_steps 0.1 --max_seconds 13.75 \
    --seed 1314 --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --eval_strategy steps --eval_steps 25 --early_stopping_patience 3 \
    "$@"
done
show_leaderboard
