#!/usr/bin/env bash
# Speaker networks without pretraining, as they are and with the transformation module around their blocks.
#
# Data      VoxCeleb1's layout: dev/wav, test/wav and veri_test.txt in DATA_DIR (https://www.robots.ox.ac.uk/~vgg/data/voxceleb/)
# Costs     ECAPA-TDNN, ResNet34 and AMCRN: one GPU of 24 GB; the tiny sizes: minutes on a CPU for 251 speakers
# Run       DATA_DIR=/data/VoxCeleb1 bash recipes/speaker_models.sh
# Override  DATA_DIR=/data/VoxCeleb1 SIZES="ecapa_tdnn:tiny resnet34:tiny" LEARNING_RATE=2e-3 bash recipes/speaker_models.sh --num_train_epochs 6
# Options   TASK_OPTIONS="noise_dir=/data/musan reverberation_dir=/data/RIRS_NOISES"; PARTS=2
#
# Everything starts from random weights and trains: full_finetuning is the network as it is. Heads make the networks
# whole. Segments are the first seconds of both sides of each trial. What is done is not done again: run it once more
# and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/VoxCeleb1}
corpora DATA_DIR
SIZES=${SIZES:-ecapa_tdnn:c512 resnet34:base amcrn:base}
METHODS=${METHODS:-full_finetuning transformation_module}
PARTS=${PARTS:-4}
LEARNING_RATE=${LEARNING_RATE:-1e-3}
TASK_OPTIONS=${TASK_OPTIONS:-}
OUTPUT_DIR=${OUTPUT_DIR:-out/speaker_models}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-32}

for size in $SIZES; do
  case $size in resnet34:*) head=statistics ;; *) head=attentive_statistics ;; esac
  for method in $METHODS; do
    echo "== $size, $method"
    options=()
    case $method in transformation_module) options=(--method_options "parts=$PARTS") ;; esac
    # shellcheck disable=SC2086 # TASK_OPTIONS are several words
    run "${size/:/-}-$method" \
      --task sv_voxceleb1 --data_dir "$DATA_DIR" --backbone "$size" --method "$method" ${options[@]+"${options[@]}"} \
      --task_options head=$head crop_seconds=2 "segments=[1,2,3]" $TASK_OPTIONS \
      --learning_rate "$LEARNING_RATE" --num_train_epochs 40 --max_seconds 60 --seed 0 \
      --per_device_train_batch_size "$BATCH_SIZE" --per_device_eval_batch_size 8 \
      "$@"
  done
done
show_leaderboard
