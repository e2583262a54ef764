#!/usr/bin/env bash
# Spoofed speech against bona fide on ASVspoof with every method: 2019 LA, 2021 LA, 2021 DF or 5.
#
# Data      DATA_DIR with LA (https://datashare.ed.ac.uk/handle/10283/3336); for 2021 also ASVspoof2021_LA_eval or
#           ASVspoof2021_DF_eval and keys (https://www.asvspoof.org/index2021.html); for 5 flac_T, flac_D, flac_E_eval
#           and ASVspoof5_protocols (https://zenodo.org/records/14498691)
# Costs     XLS-R 300M: one GPU of 24 GB; the test of 2021 DF is 500,000 utterances, that of 5 680,000
# Run       DATA_DIR=/data/ASVspoof bash recipes/spoofing.sh
# Override  DATA_DIR=/data/ASVspoof METHODS="lora multi_conv_adapter" BATCH_SIZE=8 bash recipes/spoofing.sh --num_train_epochs 5
# Options   EDITION=2021_la, EDITION=2021_df (both trained on 2019 LA) or EDITION=5
#
# The backbone, 4 seconds of an utterance (64,600 samples) and labels weighted against nine spoofed ones in ten are what
# most releases have since Tak et al. (2022, arXiv 2202.12233); batch, epochs and rates are ours. What is done is not done
# again: run it once more and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/ASVspoof}
corpora DATA_DIR
BACKBONE=${BACKBONE:-facebook/wav2vec2-xls-r-300m}
METHODS=${METHODS:-full_finetuning bottleneck_adapter multi_conv_adapter prefix_tuning lora linear_probe weighted_sum_probe bitfit}
EDITION=${EDITION:-2019_la}
OUTPUT_DIR=${OUTPUT_DIR:-out/asvspoof-$EDITION}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-16}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 32)}

for method in $METHODS; do
  echo "== asvspoof, $EDITION, $method"
  learning_rate=1e-3
  case $method in full_finetuning) learning_rate=1e-5 ;; esac
  run "$method" \
    --task asvspoof --task_options "edition=$EDITION" --data_dir "$DATA_DIR" --backbone "$BACKBONE" \
    --method "$method" --class_weights balanced --max_seconds 4.0375 --learning_rate "$learning_rate" \
    --num_train_epochs 20 --warmup_steps 0.1 --seed 1234 --per_device_train_batch_size "$BATCH_SIZE" \
    --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" --early_stopping_patience 5 \
    "$@"
done
show_leaderboard
