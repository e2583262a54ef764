"""Pictures of a board for the README: page, comparison and entry, in light, dark and on a phone.

    python -m tests.leaderboard.screenshots [board] [folder]

The board, that of the repository unless told otherwise, must have been built.
"""

import base64
import sys
import tempfile
import time
from pathlib import Path

from tests.leaderboard.browser import chromium, emulate

SCREENS = {
    "light": {"scheme": "light", "width": 1280, "height": 900},
    "dark": {"scheme": "dark", "width": 1280, "height": 900},
    "phone": {"scheme": "light", "width": 390, "height": 800, "phone": True},
}

# The section of the table of the most entries.
_LARGEST = """
    const { tables } = JSON.parse(document.getElementById("data").textContent);
    const [largest] = tables.sort((one, other) => other.entries.path.length - one.entries.path.length);
    return document.getElementById(largest.id);
"""


def main(board="leaderboard", folder="leaderboard/screenshots"):
    board, folder = Path(board), Path(folder)
    index = board / "index.html"
    if not index.is_file():
        sys.exit(f"{index} is not there: `sure leaderboard build --board {board}` makes it.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, chromium(profile) as driver:
        for name, screen in SCREENS.items():
            emulate(driver, **screen)
            _open(driver, index.resolve().as_uri())
            _save(driver, folder / f"page-{name}.webp", screen)
            table = driver.execute_script(_LARGEST)
            driver.execute_script("arguments[0].scrollIntoView()", table)
            # It is drawn when it comes near.
            time.sleep(0.5)
            entry = driver.execute_script("return arguments[0].querySelector('tbody th a').href", table)
            driver.execute_script("arguments[0].querySelector('details').open = true", table)
            driver.execute_script("arguments[0].querySelector('.chart-tools').scrollIntoView()", table)
            _save(driver, folder / f"comparison-{name}.webp", screen)
            _open(driver, entry)
            _save(driver, folder / f"entry-{name}.webp", screen)


def _open(driver, address):
    driver.get("about:blank")
    driver.get(address)
    # Charts are drawn after the tables.
    time.sleep(0.5)


def _save(driver, path, screen):
    time.sleep(0.5)
    told = {"format": "webp", "quality": 80}
    path.write_bytes(base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", told)["data"]))
    print(f"{path}: {screen['width']} pixels wide, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
