#!/usr/bin/env bash
# Slot filling on Audio SNIPS with every method of SURE (Li et al., ICASSP 2023): the paper's recipe for it.
#
# Data      Audio SNIPS as s3prl packs it (preprocess/snips_prepare_data.sh): all.iob.snips.txt, train/, valid/ and test/
# Costs     wav2vec 2.0 large: one GPU of 24 GB or more (GRADIENT_ACCUMULATION keeps the paper's batch of 8)
# Run       DATA_DIR=/data/SNIPS bash recipes/sf.sh
# Override  DATA_DIR=/data/SNIPS METHODS="lora conv_adapter" STEPS=10000 bash recipes/sf.sh --eval_steps 1000
#
# The rate rises for a tenth of all steps, stays for 40 % of them and falls linearly; the CNN stays frozen, in full
# fine-tuning too. Learning rates are the paper's; of the probes and of BitFit, which it does not have, they are ours.
# What is done is not done again: run it once more and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/SNIPS}
corpora DATA_DIR
BACKBONE=${BACKBONE:-jonatasgrosman/wav2vec2-large-xlsr-53-english}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}
OUTPUT_DIR=${OUTPUT_DIR:-out/sf_snips}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-$((8 / NUM_PROCESSES))}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 8)}
STEPS=${STEPS:-50000}

for method in $METHODS; do
  echo "== sf_snips, $method"
  options=()
  case $method in
    full_finetuning) learning_rate=2e-4 options=(--method_options 'target_modules=backbone\.(feature_projection|encoder)') ;;
    bottleneck_adapter | lora) learning_rate=2e-4 ;;
    conv_adapter) learning_rate=2e-5 ;;
    *) learning_rate=2e-3 ;;
  esac
  run "$method" \
    --task sf_snips --data_dir "$DATA_DIR" --backbone "$BACKBONE" --method "$method" ${options[@]+"${options[@]}"} \
    --learning_rate "$learning_rate" --max_steps "$STEPS" --warmup_steps 0.1 \
    --lr_scheduler_type warmup_stable_decay \
    --lr_scheduler_kwargs "{\"num_decay_steps\": $((STEPS / 2)), \"decay_type\": \"linear\"}" \
    --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --eval_strategy steps --eval_steps 200 --seed 1314 \
    "$@"
done
show_leaderboard
