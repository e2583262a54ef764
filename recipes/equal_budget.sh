#!/usr/bin/env bash
# Every method at one budget of trainable parameters, on one corpus of emotions: what is learnt of equally many numbers.
#
# Data      EmoDB (DATA_DIR/wav/*)
# Costs     one CPU core and half an hour to an hour on sure-mini; no GPU, no network
# Run       DATA_DIR=/data/emodb bash recipes/equal_budget.sh
# Override  DATA_DIR=/data/emodb BUDGET=5% METHODS="lora convpass" BACKBONE=microsoft/wavlm-base-plus bash recipes/equal_budget.sh
#
# A budget is a share of the backbone's parameters, or a number; the task's head is not counted. Each method has the
# largest setting within it; those of one size keep theirs. One learning rate for all tells how it suits them, too. What
# is done is not done again: run it once more and it resumes. Words after the script's name go to every run.
set -euo pipefail
source "$(dirname "$0")/common.bash"

corpora DATA_DIR
BACKBONE=${BACKBONE:-sure-mini}
BUDGET=${BUDGET:-1%}
OUTPUT_DIR=${OUTPUT_DIR:-out/equal_budget}
METHODS=${METHODS:-linear_probe weighted_sum_probe layer_output_adapter bitfit adapter_bias lora lora_fa adalora gated_lora
  s2_lora svft ssvd prefix_tuning prompt_tuning pseudo_features bottleneck_adapter conv_adapter conformer_adapter convpass
  multi_conv_adapter mixture_of_adapters hyper_adapter cnn_adapter mam_adapter unipelt ipet unipet_spk elp_adapters chapter
  full_finetuning}

for method in $METHODS; do
  echo "== $method"
  options=("budget=$BUDGET")
  case $method in
    # On every projection its fewest ranks are more than one percent of sure-mini.
    adalora) options+=(roles=query,value) ;;
    # And so are the perceptrons that make their prefixes.
    mam_adapter | unipelt) options+=(prefix_tuning.reparametrise=false) ;;
    # Its adapters of the CNN have one size, which is more.
    chapter) options=(bottleneck_adapter.bottleneck_dimension=32) ;;
  esac
  run "$method" --task emodb_emotion --data_dir "$DATA_DIR" --backbone "$BACKBONE" --method "$method" \
    --method_options "${options[@]}" --num_train_epochs 5 --learning_rate 2e-3 --seed 1314 "$@"
done
show_leaderboard
