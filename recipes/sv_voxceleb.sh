#!/usr/bin/env bash
# Speaker verification on VoxCeleb1 with every method: trained on its dev part, tested on its list O.
#
# Data      VoxCeleb1 (https://www.robots.ox.ac.uk/~vgg/data/voxceleb/): dev/wav, test/wav and veri_test.txt in DATA_DIR
# Costs     WavLM base: one GPU of 24 GB; 81 GB of decoded audio in SURE_CACHE (~/.cache/sure unless set)
# Run       DATA_DIR=/data/VoxCeleb1 bash recipes/sv_voxceleb.sh
# Override  DATA_DIR=/data/VoxCeleb1 METHODS="lora bitfit" NUM_PROCESSES=4 BATCH_SIZE=16 bash recipes/sv_voxceleb.sh --num_train_epochs 10
# Options   TASK_OPTIONS="score_normalization=adaptive segments=[1,2,3,5] noise_dir=/data/musan reverberation_dir=/data/RIRS_NOISES"
#           TASK_OPTIONS="trial_list=E-cleaned voxceleb2_dir=/data/VoxCeleb2"; `sure tasks sv_voxceleb1` lists them all
#
# What is done is not done again: run it once more and it resumes. Words after the script's name go to every run.
# Batch, epochs, crops and learning rates are those of IPET (Kim et al. 2022) for wav2vec 2.0 on VoxCeleb1, the head is
# SUPERB's (Yang et al. 2021) with additive angular margin.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/VoxCeleb1}
corpora DATA_DIR
BACKBONE=${BACKBONE:-microsoft/wavlm-base-plus}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}
TASK_OPTIONS=${TASK_OPTIONS:-}
OUTPUT_DIR=${OUTPUT_DIR:-out/sv_voxceleb1}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-32}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 64)}

for method in $METHODS; do
  echo "== sv_voxceleb1, $method"
  # Speakers are heard best in the lower layers, so heads get all; a probe is what says itself which it gets.
  layers=weighted_sum learning_rate=1e-3
  case $method in
    *_probe) layers=last ;;
    full_finetuning) learning_rate=2.5e-5 ;;
  esac
  # shellcheck disable=SC2086 # TASK_OPTIONS are several words
  run "$method" \
    --task sv_voxceleb1 --data_dir "$DATA_DIR" --backbone "$BACKBONE" --method "$method" \
    --task_options head=xvector layers=$layers crop_seconds=3 $TASK_OPTIONS \
    --learning_rate "$learning_rate" --num_train_epochs 40 --warmup_steps 0.1 --max_seconds 60 --seed 1234 \
    --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --per_device_eval_batch_size 4 --early_stopping_patience 5 \
    "$@"
done
show_leaderboard
