#!/usr/bin/env bash
# Whisper base: what it writes of connected digits before and after few steps, and what its encoder knows of emotion.
#
# Data      connected digits in FLEURS' layout (DIGITS/en_us), EmoDB (EMODB/wav/*), both of short utterances
# Costs     a laptop and an hour on one thread, a GPU and minutes; the digits at 30 s take most of it
# Run       DIGITS=/data/digits EMODB=/data/emodb bash recipes/whisper_base.sh
# Override  BACKBONE=folder/of/whisper bash recipes/whisper_base.sh --seed 1
#
# A corpus that is not given is left out. A learning rate of 0 leaves the model as it was pretrained. Digits are scored in
# words, since Whisper writes numerals. What is done is not done again. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

corpora DIGITS EMODB
BACKBONE=${BACKBONE:-openai/whisper-base}
OUTPUT_DIR=${OUTPUT_DIR:-out/whisper_base}

compare() { # task, name of the run, folder, the flags of this run
  local task=$1 name=$2 data_dir=$3
  shift 3
  [ -n "$data_dir" ] || return 0
  echo "== $name"
  run "$name" --task "$task" --data_dir "$data_dir" --backbone "$BACKBONE" --seed 1314 "$@"
}

digits() { # name of the run, optimiser steps, the flags of this run
  local name=$1 steps=$2
  shift 2
  compare asr_fleurs "$name" "${DIGITS:-}" --method lora --task_options scored_text=spelled_digits \
    --per_device_train_batch_size 4 --per_device_eval_batch_size 8 --eval_strategy steps \
    --max_steps "$steps" --eval_steps "$steps" "$@"
}

digits digits-30s-pretrained 1 --learning_rate 0 "$@"
digits digits-6s-pretrained 1 --learning_rate 0 --backbone_options window=6 "$@"
digits digits-6s-40-steps 40 --backbone_options window=6 "$@"
compare emodb_emotion emotion-linear_probe "${EMODB:-}" --backbone_options window=2 --method linear_probe "$@"
compare emodb_emotion emotion-weighted_sum_probe "${EMODB:-}" --backbone_options window=2 \
  --method weighted_sum_probe --num_train_epochs 10 "$@"
compare emodb_emotion emotion-lora "${EMODB:-}" --backbone_options window=2 --method lora --num_train_epochs 5 "$@"
show_leaderboard
