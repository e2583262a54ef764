"""Settings for all tests."""

import os

# No test needs the hub, and asking for it without a network takes long to fail. Read when its library is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
