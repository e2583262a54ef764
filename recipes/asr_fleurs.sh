#!/usr/bin/env bash
# Speech recognition on FLEURS with every method of SURE (Li et al., ICASSP 2023): the paper's recipe for it.
#
# Data      FLEURS, the raw release of one language (https://huggingface.co/datasets/google/fleurs): a folder with
#           en_us/train.tsv, en_us/audio/train/*.wav and so on; or google/fleurs, which is fetched from the hub
# Costs     wav2vec 2.0 large: one GPU of 24 GB or more (GRADIENT_ACCUMULATION keeps the paper's batch of 32)
# Run       DATA_DIR=/data/fleurs bash recipes/asr_fleurs.sh
# Override  DATA_DIR=/data/fleurs LANGUAGE_NAME=fr_fr METHODS="lora conv_adapter" bash recipes/asr_fleurs.sh --fp16 False
#
# Whisper   BACKBONE=openai/whisper-small METHODS="lora bottleneck_adapter conv_adapter prefix_tuning bitfit" (no probes)
#
# The rate rises for 1,000 steps, stays for 40 % of all steps and falls linearly; the CNN stays frozen, in full
# fine-tuning too. Utterances are whole, where the release cuts them at 12.5 s. What is done is not done again: run it
# once more and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/fleurs}
if [[ $DATA_DIR == data/* || ! $DATA_DIR =~ ^[[:alnum:]][^/]*/[^/]+$ ]]; then corpora DATA_DIR; fi # else a hub id
LANGUAGE_NAME=${LANGUAGE_NAME:-en_us}
BACKBONE=${BACKBONE:-jonatasgrosman/wav2vec2-large-xlsr-53-english}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}
OUTPUT_DIR=${OUTPUT_DIR:-out/asr_fleurs-$LANGUAGE_NAME}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-8}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 32)}
EPOCHS=${EPOCHS:-50}
WARMUP_STEPS=${WARMUP_STEPS:-1000}

# How long the rate falls follows from the number of steps, and that from the size of the training split.
table=$DATA_DIR/$LANGUAGE_NAME/train.tsv
[ -f "$table" ] || table=$DATA_DIR/train.tsv
if [ -f "$table" ]; then
  utterances=$(grep -c . "$table")
elif [ "$LANGUAGE_NAME" = en_us ]; then
  utterances=${UTTERANCES:-2602}
else
  utterances=${UTTERANCES:?is the number of training utterances of $LANGUAGE_NAME, which $DATA_DIR does not tell}
fi
batch=$((BATCH_SIZE * GRADIENT_ACCUMULATION * NUM_PROCESSES))
steps=$(((utterances + batch - 1) / batch * EPOCHS))
decay_steps=$((steps - WARMUP_STEPS - steps * 40 / 100))
if [ "$decay_steps" -lt 1 ]; then
  echo "$steps steps are too few for $WARMUP_STEPS of warm-up: set WARMUP_STEPS or EPOCHS." >&2
  exit 1
fi

for method in $METHODS; do
  echo "== asr_fleurs $LANGUAGE_NAME, $method"
  options=()
  if [ "$method" = full_finetuning ]; then
    options=(--method_options 'target_modules=backbone\.(feature_projection|encoder)')
  fi
  run "$method" \
    --task asr_fleurs --task_options "language=$LANGUAGE_NAME" --data_dir "$DATA_DIR" \
    --backbone "$BACKBONE" --method "$method" ${options[@]+"${options[@]}"} \
    --learning_rate 2e-3 --weight_decay 0.005 --num_train_epochs "$EPOCHS" --warmup_steps "$WARMUP_STEPS" \
    --lr_scheduler_type warmup_stable_decay \
    --lr_scheduler_kwargs "{\"num_decay_steps\": $decay_steps, \"decay_type\": \"linear\"}" \
    --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --fp16 True --early_stopping_patience 0 --seed 1314 \
    "$@"
done
show_leaderboard
