#!/usr/bin/env bash
# Emotion classification on ESD with every method of SURE (Li et al., ICASSP 2023): the paper's emotion recipe.
#
# Data      ESD, English speakers 0011 to 0020 (https://hltsingapore.github.io/ESD/); folder of the speakers' folders
# Costs     wav2vec 2.0 large: one GPU of 24 GB or more (GRADIENT_ACCUMULATION keeps the paper's batch of 256)
# Run       DATA_DIR=/data/ESD bash recipes/emotion_cls.sh
# Override  DATA_DIR=/data/ESD METHODS="lora conv_adapter" NUM_PROCESSES=4 bash recipes/emotion_cls.sh --learning_rate 1e-3
#
# What is done is not done again: run it once more and it resumes. TASK=meld_emotion or TASK=iemocap_emotion gives the
# paper's other two corpora, TASK=cremad_emotion, TASK=ravdess_emotion or TASK=msp_improv_emotion corpora that it does
# not have. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

TASK=${TASK:-esd_emotion}
DATA_DIR=${DATA_DIR:-data/ESD}
corpora DATA_DIR
BACKBONE=${BACKBONE:-jonatasgrosman/wav2vec2-large-xlsr-53-english}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}
OUTPUT_DIR=${OUTPUT_DIR:-out/$TASK}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-16}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 256)}

for method in $METHODS; do
  echo "== $TASK, $method"
  run "$method" \
    --task "$TASK" --data_dir "$DATA_DIR" --backbone "$BACKBONE" --method "$method" \
    --learning_rate 2e-3 --num_train_epochs 100 --warmup_steps 0.1 --max_seconds 2.5 --seed 1314 \
    --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --eval_strategy steps --eval_steps 25 --early_stopping_patience 5 \
    "$@"
done
show_leaderboard
