#!/usr/bin/env bash
# The main job on a small scale: four families of tasks on synthetic corpora in the real layouts, to the leaderboard page.
#
# Data      made here by eSpeak NG: emotion as ESD has it, recognition as FLEURS, speakers as VoxCeleb1, voices as LibriTTS
# Costs     two CPU cores and under ten minutes; no GPU, no network
# Run       make demo
# Override  METHODS="lora conv_adapter" make demo     (of emotion; the other families run three methods each)
#
# Speech is synthetic, and so is what the two small backbones were pretrained on: this shows that everything works, and
# says nothing about which method is better on human speech.
set -euo pipefail
source "$(dirname "$0")/common.bash"

OUTPUT_DIR=${OUTPUT_DIR:-out/demo}
METHODS=${METHODS:-full_finetuning bottleneck_adapter prefix_tuning lora conv_adapter linear_probe weighted_sum_probe bitfit}

records=()
compare() { # task, its corpus, the methods, and flags of `sure train`
  local task=$1 corpus=$2 methods=$3 method
  shift 3
  sure data synth "$corpus" --output_dir "$OUTPUT_DIR/$corpus"
  for method in $methods; do
    echo "== $task (synthetic), $method"
    sure train --task "$task" --data_dir "$OUTPUT_DIR/$corpus" --method "$method" \
      --output_dir "$OUTPUT_DIR/$task/$method" "$@"
    records+=("$OUTPUT_DIR/$task/$method/result.json")
  done
}

compare esd_emotion esd "$METHODS" \
  --backbone sure-mini --max_seconds 1.25 --num_train_epochs 3 --learning_rate 1e-3 "$@"
compare asr_fleurs fleurs "bottleneck_adapter lora linear_probe" \
  --backbone sure-mini --num_train_epochs 10 --per_device_train_batch_size 4 --learning_rate 2e-3 "$@"
compare sv_voxceleb1 voxceleb "bottleneck_adapter lora linear_probe" \
  --backbone sure-mini --num_train_epochs 4 --learning_rate 1e-3 --task_options crop_seconds=1.5 "$@"
compare tts_libritts libritts "full_finetuning lora bitfit" \
  --backbone sure-mini-tts --num_train_epochs 5 --per_device_train_batch_size 4 --learning_rate 1e-3 \
  --eval_strategy steps --eval_steps 40 --task_options "speakers=['100','101']" validation_sentences=4 "$@"
sure leaderboard add --board "$OUTPUT_DIR/leaderboard" "${records[@]}"
show_leaderboard
echo "Open $OUTPUT_DIR/leaderboard/index.html in a browser."
