#!/usr/bin/env bash
# Keyword spotting on Speech Commands with every method of SURE (Li et al., ICASSP 2023): the paper's recipe for it.
#
# Data      Speech Commands v0.01 (http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz): its folder of words
# Costs     wav2vec 2.0 large: one GPU of 24 GB or more (GRADIENT_ACCUMULATION keeps the paper's batch of 256)
# Run       DATA_DIR=/data/speech_commands_v0.01 bash recipes/ks.sh
# Override  DATA_DIR=/data/speech_commands_v0.01 METHODS="lora conv_adapter" NUM_PROCESSES=4 bash recipes/ks.sh --num_train_epochs 10
# Options   TASK_OPTIONS=words=superb bash recipes/ks.sh --class_weights balanced   (SUPERB's 12 classes and test set)
#
# Learning rates are the paper's; of the probes and of BitFit, which it does not have, they are ours. What is done is not
# done again: run it once more and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/speech_commands_v0.01}
corpora DATA_DIR
BACKBONE=${BACKBONE:-jonatasgrosman/wav2vec2-large-xlsr-53-english}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}
TASK_OPTIONS=${TASK_OPTIONS:-words=sure}
OUTPUT_DIR=${OUTPUT_DIR:-out/speech_commands-${TASK_OPTIONS#words=}}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-16}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 256)}

for method in $METHODS; do
  echo "== speech_commands, $method"
  case $method in
    full_finetuning | bottleneck_adapter | lora) learning_rate=8e-6 ;;
    prefix_tuning | conv_adapter) learning_rate=2e-4 ;;
    *) learning_rate=2e-3 ;;
  esac
  # shellcheck disable=SC2086 # TASK_OPTIONS are several words
  run "$method" \
    --task speech_commands --task_options $TASK_OPTIONS --data_dir "$DATA_DIR" --backbone "$BACKBONE" \
    --method "$method" --learning_rate "$learning_rate" --num_train_epochs 100 --warmup_steps 0.1 --seed 1314 \
    --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --eval_strategy steps --eval_steps 25 --early_stopping_patience 5 \
    "$@"
done
show_leaderboard
