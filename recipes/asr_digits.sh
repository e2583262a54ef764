#!/usr/bin/env bash
# Connected digits: how far a small backbone comes where only ten words can be said.
#
# Data      utterances of spoken digits in FLEURS' layout: DATA_DIR/en_us/train.tsv, DATA_DIR/en_us/audio/train/*.wav, ...
# Costs     two CPU cores and a quarter of an hour a method; no GPU, no network; needs pip install "sure-bench[beam]"
# Run       DATA_DIR=/data/digits bash recipes/asr_digits.sh
# Override  DATA_DIR=/data/digits METHODS="bottleneck_adapter conv_adapter" bash recipes/asr_digits.sh --num_train_epochs 10
#
# The beam search knows the ten words, all equally likely after any other, and no others: without it, many more words
# are wrong (--task_options decoder=greedy). What is done is not done again: run it once more and it resumes. Words after
# the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

DATA_DIR=${DATA_DIR:-data/digits}
corpora DATA_DIR
BACKBONE=${BACKBONE:-sure-mini}
METHODS=${METHODS:-lora}
OUTPUT_DIR=${OUTPUT_DIR:-out/asr_digits}

grammar=$OUTPUT_DIR/digits.arpa
words="zero one two three four five six seven eight nine"
mkdir -p "$OUTPUT_DIR"
{
  # log10 of 1/11: ten words and the end.
  printf '\\data\\\nngram 1=13\nngram 2=10\n\n\\1-grams:\n-1.0414\t<unk>\t0\n-99\t<s>\t0\n-1.0414\t</s>\t0\n'
  for word in $words; do printf -- '-1.0414\t%s\t0\n' "$word"; done
  printf '\n\\2-grams:\n'
  for word in $words; do printf -- '-1.0414\t<s> %s\n' "$word"; done
  printf '\n\\end\\\n'
} >"$grammar"

for method in $METHODS; do
  echo "== asr_fleurs, digits, $method"
  options=()
  if [ "$method" = lora ]; then options=(--method_options r=16 lora_alpha=32); fi
  run "$method" \
    --task asr_fleurs --data_dir "$DATA_DIR" --backbone "$BACKBONE" --method "$method" ${options[@]+"${options[@]}"} \
    --task_options speed_perturbation=0.15 decoder=beam language_model="$grammar" \
    --num_train_epochs 24 --learning_rate 2e-3 --per_device_train_batch_size 8 --seed 1314 \
    "$@"
done
show_leaderboard
