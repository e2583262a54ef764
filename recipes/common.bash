# What the recipes share: how a run starts, on one process or several, and how a comparison ends.

command -v sure >/dev/null || { echo "sure is not installed: make setup && source .venv/bin/activate" >&2; exit 1; }

corpora() { # variables that say where corpora lie; at least one must be set, and what is set must be a folder
  local name given=
  for name in "$@"; do
    if [ -z "${!name:-}" ]; then continue; fi
    given=yes
    if [ ! -d "${!name}" ]; then refuse "$name=${!name}: no such folder."; fi
  done
  if [ -z "$given" ]; then refuse "no corpus is given: set $*, one of them at least."; fi
}

refuse() { # what is wrong; then what the head of the recipe says of its data and how to run it
  echo "$0: $1" >&2
  sed -n '/^# Data/,/^# Costs/{/^# Costs/d;s/^# //p;};/^# Run/s/^# //p' "$0" >&2
  exit 2
}

accumulation() { # of how many steps, on each of $NUM_PROCESSES, a batch of so many utterances consists
  if [ $(($1 % (BATCH_SIZE * NUM_PROCESSES))) -ne 0 ]; then
    echo "BATCH_SIZE=$BATCH_SIZE on NUM_PROCESSES=$NUM_PROCESSES makes no batch of $1: set BATCH_SIZE so that it does." >&2
    return 1
  fi
  echo $(($1 / BATCH_SIZE / NUM_PROCESSES))
}

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
