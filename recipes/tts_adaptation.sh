#!/usr/bin/env bash
# Text-to-speech in new voices with every method that applies: SpeechT5 learns to speak as speakers of L2-ARCTIC do.
#
# Data      L2-ARCTIC (https://psi.engr.tamu.edu/l2-arctic-corpus/): a folder of the speakers' folders
# Costs     SpeechT5: one GPU of 16 GB; needs pip install "sure-bench[tts]"
# Run       DATA_DIR=/data/L2-ARCTIC bash recipes/tts_adaptation.sh
# Override  DATA_DIR=/data/L2-ARCTIC TASK_OPTIONS="speakers=[ABA,HKK]" METHODS="lora bitfit" bash recipes/tts_adaptation.sh
# Options   TASK=tts_libritts, TASK=tts_vctk or TASK=tts_ljspeech; `sure tasks tts_l2arctic` lists TASK_OPTIONS, such as
#           speaker_embeddings=out/sv verifier=out/sv recogniser=out/asr (folders of sv_voxceleb.sh and asr_fleurs.sh)
#
# What is done is not done again: run it once more and it resumes. Words after the script's name go to every run.
# 4,000 steps as in SURE (Li et al., ICASSP 2023), which adapts a FastSpeech 2 of its own; learning rates are ours, batch
# and rate of full fine-tuning those of Hugging Face's audio course. Audio of the test sentences: $OUTPUT_DIR/*/audio.
set -euo pipefail
source "$(dirname "$0")/common.bash"

TASK=${TASK:-tts_l2arctic}
DATA_DIR=${DATA_DIR:-data/L2-ARCTIC}
corpora DATA_DIR
BACKBONE=${BACKBONE:-microsoft/speecht5_tts}
VOCODER=${VOCODER:-microsoft/speecht5_hifigan}
METHODS=${METHODS:-full_finetuning bottleneck_adapter hyper_adapter prefix_tuning lora conv_adapter bitfit}
TASK_OPTIONS=${TASK_OPTIONS:-}
OUTPUT_DIR=${OUTPUT_DIR:-out/$TASK}
NUM_PROCESSES=${NUM_PROCESSES:-1}
BATCH_SIZE=${BATCH_SIZE:-16}
GRADIENT_ACCUMULATION=${GRADIENT_ACCUMULATION:-$(accumulation 32)}

for method in $METHODS; do
  echo "== $TASK, $method"
  learning_rate=1e-3
  if [ "$method" = full_finetuning ]; then learning_rate=1e-5; fi
  # shellcheck disable=SC2086 # TASK_OPTIONS are several words
  run "$method" \
    --task "$TASK" --data_dir "$DATA_DIR" --backbone "$BACKBONE" --method "$method" \
    --task_options vocoder="$VOCODER" $TASK_OPTIONS \
    --learning_rate "$learning_rate" --max_steps 4000 --warmup_steps 500 --seed 1314 \
    --per_device_train_batch_size "$BATCH_SIZE" --gradient_accumulation_steps "$GRADIENT_ACCUMULATION" \
    --eval_strategy steps --eval_steps 500 \
    "$@"
done
show_leaderboard
