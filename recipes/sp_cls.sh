#!/usr/bin/env bash
# Speaker recognition on VCTK with every method of SURE (Li et al., ICASSP 2023): the paper's recipe for it.
#
# Data      VCTK, whose folder has wav48 or wav48_silence_trimmed (https://datashare.ed.ac.uk/handle/10283/3443)
# Costs     wav2vec 2.0 large: one GPU of 24 GB or more (GRADIENT_ACCUMULATION keeps the paper's batch of 256)
# Run       DATA_DIR=/data/VCTK-Corpus bash recipes/sp_cls.sh
# Override  DATA_DIR=/data/VCTK-Corpus METHODS="lora conv_adapter" NUM_PROCESSES=4 bash recipes/sp_cls.sh --num_train_epochs 10
# Options   TASK=sr_esd DATA_DIR=/data/ESD: the paper's other corpus of speakers
#           TASK=sr_voxceleb1 DATA_DIR=/data/VoxCeleb1 bash recipes/sp_cls.sh --max_seconds 8   (SUPERB's corpus)
#
# Learning rates are the paper's; of the probes and of BitFit, which it does not have, they are ours. Full fine-tuning
# leaves layers 0 to 19 of 24 as they are. What is done is not done again: run it once more and it resumes. Words after
# the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

TASK=${TASK:-sr_vctk}
DATA_DIR=${DATA_DIR:-data/VCTK-Corpus}
corpora DATA_DIR
BACKBONE=${BACKBONE:-jonatasgrosman/wav2vec2-large-xlsr-53-english}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}
OUTPUT_DIR=${OUTPUT_DIR:-out/$TASK}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-16}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 256)}

for method in $METHODS; do
  echo "== $TASK, $method"
  options=()
  case $TASK-$method in
    *-full_finetuning)
      learning_rate=8e-6
      options=(--method_options 'target_modules=backbone\.(feature_extractor|feature_projection|encoder\.(pos_conv_embed|layer_norm|layers\.2[0-3]))')
      ;;
    *-bottleneck_adapter | sr_esd-prefix_tuning | sr_esd-lora) learning_rate=8e-6 ;;
    *-lora) learning_rate=2e-4 ;;
    *) learning_rate=2e-3 ;;
  esac
  run "$method" \
    --task "$TASK" --data_dir "$DATA_DIR" --backbone "$BACKBONE" --method "$method" ${options[@]+"${options[@]}"} \
    --learning_rate "$learning_rate" --num_train_epochs 100 --warmup_steps 0.1 --max_seconds 2.5 --seed 1314 \
    --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --eval_strategy steps --eval_steps 25 --early_stopping_patience 5 \
    "$@"
done
show_leaderboard
