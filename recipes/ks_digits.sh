#!/usr/bin/env bash
# Spoken digits as keywords: how well a small backbone knows them from speakers that it has not learnt from.
#
# Data      the Free Spoken Digit Dataset (https://github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0): its
#           folder, with recordings/7_jackson_32.wav and so on
# Costs     two CPU cores and some minutes for each speaker and method; no GPU, no network
# Run       DATA_DIR=/data/free-spoken-digit-dataset bash recipes/ks_digits.sh
# Override  DATA_DIR=/data/free-spoken-digit-dataset METHODS="lora conv_adapter" bash recipes/ks_digits.sh --num_train_epochs 4
# Speakers  SPEAKERS="theo" leaves out that one alone
# Options   TASK_OPTIONS="shots=8 draw=0" learns from eight utterances of each digit
#
# Each speaker in turn is the test split, the one before by name validation, the others train: a board for each. The
# metadata.csv that says so is one that the `audiofolder` of Hugging Face's datasets reads too. What is done is not done
# again: run it once more and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/free-spoken-digit-dataset}
corpora DATA_DIR
BACKBONE=${BACKBONE:-sure-mini}
METHODS=${METHODS:-lora}
TASK_OPTIONS=${TASK_OPTIONS:-}
OUTPUT_DIR=${OUTPUT_DIR:-out/ks_digits${TASK_OPTIONS:+-${TASK_OPTIONS// /-}}}

names=($(for path in "$DATA_DIR"/recordings/*_*_*.*; do IFS=_ read -r _ name _ <<<"${path##*/}"; echo "$name"; done | sort -u))

for place in "${!names[@]}"; do
  speaker=${names[place]} validation=${names[(place + ${#names[@]} - 1) % ${#names[@]}]}
  if [[ " ${SPEAKERS:-${names[*]}} " != *" $speaker "* ]]; then continue; fi
  corpus=$OUTPUT_DIR/without_$speaker/corpus
  mkdir -p "$corpus"
  ln -sfn "$(cd "$DATA_DIR/recordings" && pwd)" "$corpus/recordings"
  {
    echo file_name,label,speaker,split
    for path in "$corpus"/recordings/*_*_*.*; do
      IFS=_ read -r digit name _ <<<"${path##*/}"
      case $name in "$speaker") split=test ;; "$validation") split=validation ;; *) split=train ;; esac
      echo "recordings/${path##*/},$digit,$name,$split"
    done
  } >"$corpus/metadata.csv"
  for method in $METHODS; do
    echo "== audio_classification, digits of $speaker, $method"
    options=()
    if [ "$method" = lora ]; then options=(--method_options r=16 lora_alpha=32); fi
    # shellcheck disable=SC2086 # TASK_OPTIONS are several words
    run "without_$speaker/$method" \
      --task audio_classification ${TASK_OPTIONS:+--task_options $TASK_OPTIONS} --data_dir "$corpus" \
      --backbone "$BACKBONE" --method "$method" ${options[@]+"${options[@]}"} \
      --num_train_epochs 12 --learning_rate 2e-3 --warmup_steps 0.1 --label_smoothing_factor 0.1 \
      --per_device_train_batch_size 16 --seed 1314 \
      "$@"
  done
done
show_leaderboard
