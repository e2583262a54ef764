#!/usr/bin/env bash
# Language identification on FLEURS with every method: which of its languages is spoken.
#
# Data      FLEURS (https://huggingface.co/datasets/google/fleurs): the folder of its languages' folders
# Costs     XLS-R 300M: one GPU of 24 GB; all 102 languages are 1,000 hours of training speech
# Run       DATA_DIR=/data/fleurs bash recipes/lid_fleurs.sh
# Override  DATA_DIR=/data/fleurs METHODS="lora bitfit" BATCH_SIZE=8 bash recipes/lid_fleurs.sh --num_train_epochs 2
# Options   TASK_OPTIONS="languages=[en_us,fr_fr,de_de]": some of them; shots=50 of each
#
# Batch, epochs and rates are ours. What is done is not done again: run it once more and it resumes. Words after the
# script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/fleurs}
corpora DATA_DIR
BACKBONE=${BACKBONE:-facebook/wav2vec2-xls-r-300m}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}
TASK_OPTIONS=${TASK_OPTIONS:-}
OUTPUT_DIR=${OUTPUT_DIR:-out/lid_fleurs}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-16}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 64)}

for method in $METHODS; do
  echo "== lid_fleurs, $method"
  learning_rate=1e-3
  case $method in full_finetuning) learning_rate=2.5e-5 ;; esac
  # shellcheck disable=SC2086 # TASK_OPTIONS are several words
  run "$method" \
    --task lid_fleurs ${TASK_OPTIONS:+--task_options $TASK_OPTIONS} --data_dir "$DATA_DIR" --backbone "$BACKBONE" \
    --method "$method" --max_seconds 10 --learning_rate "$learning_rate" --num_train_epochs 5 --warmup_steps 0.1 \
    --seed 1234 --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --early_stopping_patience 3 \
    "$@"
done
show_leaderboard
