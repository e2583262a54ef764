#!/usr/bin/env bash
# Spoken digits as keywords: how well a small backbone knows them from speakers that it has not learnt from.
#
# Data      the Free Spoken Digit Dataset (https://github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0): its
#           folder, with recordings/7_jackson_32.wav and so on
# Costs     two CPU cores and some minutes a method; no GPU, no network
# Run       DATA_DIR=/data/free-spoken-digit-dataset bash recipes/ks_digits.sh
# Override  DATA_DIR=/data/free-spoken-digit-dataset METHODS="lora conv_adapter" bash recipes/ks_digits.sh --num_train_epochs 4
# Options   TASK_OPTIONS="shots=8 draw=0" learns from eight utterances of each digit
#
# A metadata.csv, as the `audiofolder` of Hugging Face's datasets reads it too, names file, digit and speaker; of the six
# speakers the last by name is the test split, the one before validation. What is done is not done again: run it once more
# and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/free-spoken-digit-dataset}
corpora DATA_DIR
BACKBONE=${BACKBONE:-sure-mini}
METHODS=${METHODS:-lora}
TASK_OPTIONS=${TASK_OPTIONS:-}
OUTPUT_DIR=${OUTPUT_DIR:-out/ks_digits${TASK_OPTIONS:+-${TASK_OPTIONS// /-}}}

corpus=$OUTPUT_DIR/corpus
mkdir -p "$corpus"
ln -sfn "$(cd "$DATA_DIR/recordings" && pwd)" "$corpus/recordings"
{
  echo file_name,label,speaker
  for path in "$corpus"/recordings/*_*_*.*; do
    IFS=_ read -r digit speaker _ <<<"${path##*/}"
    echo "recordings/${path##*/},$digit,$speaker"
  done
} >"$corpus/metadata.csv"

for method in $METHODS; do
  echo "== audio_classification, spoken digits, $method"
  options=()
  if [ "$method" = lora ]; then options=(--method_options r=16 lora_alpha=32); fi
  # shellcheck disable=SC2086 # TASK_OPTIONS are several words
  run "$method" \
    --task audio_classification ${TASK_OPTIONS:+--task_options $TASK_OPTIONS} --data_dir "$corpus" \
    --backbone "$BACKBONE" --method "$method" ${options[@]+"${options[@]}"} \
    --num_train_epochs 12 --learning_rate 2e-3 --warmup_steps 0.1 --label_smoothing_factor 0.1 \
    --per_device_train_batch_size 16 --seed 1314 \
    "$@"
done
show_leaderboard
