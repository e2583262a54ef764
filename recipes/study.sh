#!/usr/bin/env bash
# The study: recipes/study.yaml, a column of methods at their papers' defaults and at 1 %, for two tasks and backbones.
#
# Data      EmoDB (EMODB/wav/*), and speakers in VoxCeleb1's layout (VOXCELEB: dev/wav, test/wav, veri_test.txt)
# Costs     EmoDB on sure-mini: two hours of one CPU core; Whisper base's encoder: a GPU, or a night
# Run       EMODB=/data/emodb VOXCELEB=/data/VoxCeleb1 bash recipes/study.sh
# Override  EMODB=/data/emodb BACKBONES=sure-mini bash recipes/study.sh --seed 1 --num_train_epochs 3
#
# Each task and backbone is a sweep with a report of its own; all records go to one board. --dry_run tells beforehand
# what it will take, `sure sweep status out/study/emodb_emotion-sure-mini` meanwhile what is done. What is done is not
# done again: run it once more and it goes on. Words after the script's name go to every `sure sweep`.
set -euo pipefail
source "$(dirname "$0")/common.bash"

corpora EMODB VOXCELEB
OUTPUT_DIR=${OUTPUT_DIR:-out/study}
BACKBONES=${BACKBONES:-sure-mini openai/whisper-base}

study() { # a task, its corpus, a backbone, and what both want
  local folder=$OUTPUT_DIR/$1-${3##*/}
  echo "== $1, $3"
  sure sweep "$(dirname "$0")/study.yaml" --task "$1" --data_dir "$2" --backbone "$3" --output_dir "$folder" "${@:4}"
  case " $* " in *" --dry_run "*) return ;; esac
  sure sweep report "$folder"
  sure leaderboard add --board "$OUTPUT_DIR/leaderboard" "$folder"/cells/*/result.json
}

for backbone in $BACKBONES; do
  # An encoder that pads to thirty seconds hears as many as utterances have.
  window=()
  case $backbone in *whisper*) window=(--backbone_options window=4) ;; esac
  if [ -n "${EMODB:-}" ]; then study emodb_emotion "$EMODB" "$backbone" ${window[@]+"${window[@]}"} "$@"; fi
  if [ -n "${VOXCELEB:-}" ]; then
    study sv_voxceleb1 "$VOXCELEB" "$backbone" ${window[@]+"${window[@]}"} --task_options crop_seconds=2 --max_seconds 60 "$@"
  fi
done
case " $* " in *" --dry_run "*) exit ;; esac
show_leaderboard
