#!/usr/bin/env bash
# Phoneme recognition on LibriSpeech with every method of SURE (Li et al., ICASSP 2023): the paper's recipe for it.
#
# Data      LibriSpeech (https://www.openslr.org/12): its folder, with train-clean-100, dev-clean and test-clean; and
#           LEXICON, a file that has every word's phonemes (sure tasks pr_librispeech says which one SUPERB takes)
# Costs     wav2vec 2.0 large: one GPU of 24 GB or more (GRADIENT_ACCUMULATION keeps the paper's batch of 64)
# Run       DATA_DIR=/data/LibriSpeech LEXICON=/data/lexicon.txt bash recipes/pr.sh
# Override  DATA_DIR=/data/LibriSpeech LEXICON=/data/lexicon.txt METHODS="lora conv_adapter" bash recipes/pr.sh --fp16 False
#
# The CNN stays frozen, in full fine-tuning too. Learning rates are the paper's; of the probes and of BitFit, which it does
# not have, they are ours. What is done is not done again: run it once more and it resumes. Words after the script's name
# go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/LibriSpeech}
corpora DATA_DIR
LEXICON=${LEXICON:-$DATA_DIR/lexicon.txt}
BACKBONE=${BACKBONE:-jonatasgrosman/wav2vec2-large-xlsr-53-english}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}
OUTPUT_DIR=${OUTPUT_DIR:-out/pr_librispeech}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-16}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 64)}

for method in $METHODS; do
  echo "== pr_librispeech, $method"
  epochs=30 options=()
  case $method in
    full_finetuning) learning_rate=2e-2 options=(--method_options 'target_modules=backbone\.(feature_projection|encoder)') ;;
    bottleneck_adapter) learning_rate=2e-3 epochs=100 ;;
    prefix_tuning | lora | conv_adapter) learning_rate=2e-2 ;;
    *) learning_rate=2e-3 ;;
  esac
  run "$method" \
    --task pr_librispeech --task_options "lexicon=$LEXICON" --data_dir "$DATA_DIR" --backbone "$BACKBONE" \
    --method "$method" ${options[@]+"${options[@]}"} --learning_rate "$learning_rate" --weight_decay 0.005 \
    --num_train_epochs "$epochs" --warmup_steps 1000 --train_sampling_strategy group_by_length \
    --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --activation_checkpointing True --fp16 True --eval_strategy steps --eval_steps 100 --early_stopping_patience 5 \
    --seed 1314 \
    "$@"
done
show_leaderboard
