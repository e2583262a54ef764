#!/usr/bin/env bash
# The Audio Spectrogram Transformer on sounds and speech: the study of Cappellazzo et al. (2023), with its settings.
#
# Data      ESC50, URBANSOUND8K, SPEECH_COMMANDS (v0.02), FLUENT (fluent_speech_commands_dataset), IEMOCAP: their folders
# Costs     AST base: one GPU of 24 GB; a method is 5 runs on ESC-50, 10 on UrbanSound8K, 5 on IEMOCAP, else one
# Run       ESC50=/data/ESC-50-master URBANSOUND8K=/data/UrbanSound8K bash recipes/ast.sh
# Override  IEMOCAP=/data/IEMOCAP METHODS="lora linear_probe" BATCH_SIZE=8 bash recipes/ast.sh --num_train_epochs 5
#
# A corpus that is not given is left out. What is to be compared of corpora in folds is the mean over them. Backbone,
# windows, batches, epochs, optimiser, rates and seed are those of the paper's code (arXiv 2312.03694); there SpecAugment
# is applied, a head is one linear map, full fine-tuning has another rate for it, and UrbanSound8K's checkpoint is chosen
# by its test fold. What is done is not done again: run it once more and it resumes. Words after the script's name go to
# every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

corpora ESC50 URBANSOUND8K SPEECH_COMMANDS FLUENT IEMOCAP
BACKBONE=${BACKBONE:-MIT/ast-finetuned-audioset-10-10-0.4593}
METHODS=${METHODS:-full_finetuning linear_probe bitfit prompt_tuning prefix_tuning lora bottleneck_adapter
  conformer_adapter}
OUTPUT_DIR=${OUTPUT_DIR:-out/ast}
NUM_PROCESSES=${NUM_PROCESSES:-1}

compare() { # task, its folder, task options of every run (parted by commas), seconds heard, batch, epochs, more flags
  local task=$1 data_dir=$2 variants=$3 window=$4 batch=$5 epochs=$6 method variant learning_rate options steps
  shift 6
  [ -n "$data_dir" ] || return 0
  local BATCH_SIZE=${BATCH_SIZE:-$((batch / NUM_PROCESSES))}
  steps=$(accumulation "$batch")
  for method in $METHODS; do
    learning_rate=5e-3 options=()
    case $method in
      full_finetuning) learning_rate=5e-5 ;;
      linear_probe) learning_rate=1e-3 ;;
      prefix_tuning | prompt_tuning) learning_rate=1e-2 ;;
    esac
    case $method in
      prompt_tuning) options=(--method_options preset=ast_deep) ;;
      prefix_tuning | lora | bottleneck_adapter | conformer_adapter) options=(--method_options preset=ast) ;;
    esac
    # Of speech the kernel is 31 frames.
    case $task-$method in esc50-conformer_adapter | urbansound8k-conformer_adapter) options+=(kernel_size=8) ;; esac
    for variant in $variants; do
      echo "== $task, $variant, $method"
      # shellcheck disable=SC2086 # options are several words
      run "$task-$variant-$method" \
        --task "$task" --task_options ${variant//,/ } --data_dir "$data_dir" \
        --backbone "$BACKBONE" --backbone_options "window=$window" --method "$method" ${options[@]+"${options[@]}"} \
        --learning_rate "$learning_rate" --lr_scheduler_type cosine --warmup_steps 0 --num_train_epochs "$epochs" \
        --adam_beta2 0.98 --adam_epsilon 1e-6 --weight_decay 0.1 --seed 10 --early_stopping_patience 0 \
        --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$steps" \
        "$@"
    done
  done
}

compare esc50 "${ESC50:-}" "$(printf 'fold=%d ' {1..5})" 5 32 50 "$@"
compare urbansound8k "${URBANSOUND8K:-}" "$(printf 'fold=%d ' {1..10})" 4 32 30 "$@"
compare speech_commands "${SPEECH_COMMANDS:-}" words=all 1 128 75 "$@"
compare fluent_speech_commands "${FLUENT:-}" intents=whole 4 32 75 "$@"
compare iemocap_emotion "${IEMOCAP:-}" "$(printf 'protocol=superb,session=%d ' {1..5})" 8 32 20 "$@"
show_leaderboard
