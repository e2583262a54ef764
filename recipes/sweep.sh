#!/usr/bin/env bash
# Which method at which budget, with learning rates chosen on validation and three seeds: recipes/sweep.yaml, on EmoDB.
#
# Data      EmoDB (DATA_DIR/wav/*)
# Costs     sure-mini on one CPU core: some hours (`--dry_run` says more); ten questions have fifty cells
# Run       DATA_DIR=/data/emodb bash recipes/sweep.sh
# Override  DATA_DIR=/data/emodb METHODS="lora convpass" bash recipes/sweep.sh --seed 1 --cells_per_device 2
#
# --dry_run tells beforehand what it will take, `sure sweep status out/sweep` meanwhile what is done. What is done is not
# done again: run it once more and it goes on. Words after the script's name go to `sure sweep`.
set -euo pipefail
source "$(dirname "$0")/common.bash"

corpora DATA_DIR
OUTPUT_DIR=${OUTPUT_DIR:-out/sweep}
METHODS=${METHODS:-weighted_sum_probe bitfit lora convpass bottleneck_adapter conv_adapter}

# shellcheck disable=SC2086 # several methods are several words
sure sweep "$(dirname "$0")/sweep.yaml" --task emodb_emotion --data_dir "$DATA_DIR" --method $METHODS --output_dir "$OUTPUT_DIR" "$@"
case " $* " in *" --dry_run "*) exit ;; esac
sure leaderboard add --board "$OUTPUT_DIR/leaderboard" "$OUTPUT_DIR"/cells/*/result.json
show_leaderboard
