"""Settings for all tests."""

import os

import pytest

# No test needs the hub, and asking for it without a network takes long to fail. Read when its library is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# A thread for each worker and each process that tests start: more than cores wait for one another. Read likewise.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory):
    """Each worker has its own, and no test finds what an earlier run has left."""
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SURE_CACHE", str(folder / "cache"))
        # BOFT tries to compile something there, behind a lock that a killed process would leave.
        patched.setenv("TORCH_EXTENSIONS_DIR", str(folder / "torch_extensions"))
        yield
