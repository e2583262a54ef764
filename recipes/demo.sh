#!/usr/bin/env bash
# The main job on a small scale: every method of SURE on a synthetic corpus in ESD's layout, to the leaderboard page.
#
# Data      made here: eSpeak NG's voices as speakers, prosody as emotion. Synthetic speech, and a backbone with random
#           weights: it shows that everything works, and says nothing about which method is better.
# Costs     two CPU cores and a few minutes; no GPU, no network
# Run       make demo
set -euo pipefail

OUTPUT_DIR=${OUTPUT_DIR:-out/demo}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}

records=()
sure data synth esd --output_dir "$OUTPUT_DIR/esd"
for method in $METHODS; do
  echo "== esd_emotion (synthetic), $method"
  sure train --task esd_emotion --data_dir "$OUTPUT_DIR/esd" --backbone tiny --method "$method" \
    --output_dir "$OUTPUT_DIR/$method" --max_seconds 1.25 --num_train_epochs 5 --learning_rate 1e-3 "$@"
  records+=("$OUTPUT_DIR/$method/result.json")
done
sure leaderboard add --board "$OUTPUT_DIR/leaderboard" "${records[@]}"
sure leaderboard build --board "$OUTPUT_DIR/leaderboard"
sure leaderboard show --board "$OUTPUT_DIR/leaderboard"
echo "Open $OUTPUT_DIR/leaderboard/index.html in a browser."
