"""What tests are made of: small real models, corpora and tasks; and where things are."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Real recordings, which not every checkout has beside it; tests that need one are skipped without.
RECORDINGS = REPOSITORY.parent / "shared" / "data"
