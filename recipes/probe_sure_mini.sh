#!/usr/bin/env bash
# What pretraining on synthetic speech is worth on human speech: frozen linear probes on sure-mini and on random weights.
#
# Data      EmoDB (EMODB/wav/*), connected digits in FLEURS' layout (DIGITS/en_us), speakers in VoxCeleb1's (SPEAKERS)
# Costs     two CPU cores and about ten minutes for six probes; no GPU, no network
# Run       EMODB=/data/emodb DIGITS=/data/digits SPEAKERS=/data/VoxCeleb1 bash recipes/probe_sure_mini.sh
# Override  BACKBONE=out/mini EMODB=/data/emodb bash recipes/probe_sure_mini.sh --seed 1
#
# A corpus that is not given is left out. The random weights have sure-mini's architecture. What is done is not done
# again: run it once more and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

corpora EMODB DIGITS SPEAKERS
BACKBONE=${BACKBONE:-sure-mini}
OUTPUT_DIR=${OUTPUT_DIR:-out/probe_sure_mini}

sure pretrain --output_dir "$OUTPUT_DIR/random-weights" --steps 0

probe() { # task, folder, the flags of this task
  local task=$1 data_dir=$2 backbone name
  shift 2
  [ -n "$data_dir" ] || return 0
  for backbone in "$BACKBONE" "$OUTPUT_DIR/random-weights"; do
    name=$task-$(basename "$backbone")
    echo "== $task, $backbone"
    run "$name" --task "$task" --data_dir "$data_dir" --backbone "$backbone" --method linear_probe "$@"
  done
}

probe emodb_emotion "${EMODB:-}" --num_train_epochs 20 --seed 1314 "$@"
probe asr_fleurs "${DIGITS:-}" --num_train_epochs 10 --learning_rate 5e-3 --seed 1314 "$@"
probe sv_voxceleb1 "${SPEAKERS:-}" --task_options head=mean layers=weighted_sum crop_seconds=3 \
  --num_train_epochs 10 --learning_rate 5e-3 --seed 1314 "$@"
show_leaderboard
