# What the recipes share: how a run starts, on one process or several, and how a comparison ends.

command -v sure >/dev/null || { echo "sure is not installed: make setup && source .venv/bin/activate" >&2; exit 1; }

run() { # a folder for the run in $OUTPUT_DIR, then flags of `sure train`
  local output_dir=$OUTPUT_DIR/$1 train=(sure train)
  shift
  if [ "${NUM_PROCESSES:-1}" -gt 1 ]; then
    train=(torchrun --standalone --nproc_per_node "$NUM_PROCESSES" -m sure.train)
  fi
  "${train[@]}" --output_dir "$output_dir" "$@"
  sure leaderboard add --board "$OUTPUT_DIR/leaderboard" "$output_dir/result.json"
}

show_leaderboard() {
  sure leaderboard build --board "$OUTPUT_DIR/leaderboard"
  sure leaderboard show --board "$OUTPUT_DIR/leaderboard"
}
