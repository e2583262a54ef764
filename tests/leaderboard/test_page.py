"""The leaderboard's page: what it draws, that records cannot break it, and that a browser shows it with no network."""

import json
import re
import shutil

import pytest

from sure import leaderboard
from sure.leaderboard import page
from tests.leaderboard.test_leaderboard import entry, register, write_record

ATTACK = '</script><script>alert(1)</script>"><img src=x onerror=alert(1)><!--'
CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
# Headless, with nothing that calls home.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,1600"
).split()


def front_of(*entries):
    return [one.submission for one in page.pareto_front(list(entries))]


def test_the_front_holds_what_nothing_else_beats():
    small = entry("small", 0.5, 0.4, 0.6, parameters=10)
    middle = entry("middle", 0.7, 0.6, 0.8, parameters=100)
    large = entry("large", 0.9, 0.8, 1.0, parameters=1000)
    beaten = entry("beaten", 0.6, 0.5, 0.7, parameters=500)
    equal_score = entry("equal_score", 0.7, 0.6, 0.8, parameters=101)
    failed = entry("failed", 0, 0, 0, parameters=1, failed=True)
    assert front_of(large, beaten, small, equal_score, failed, middle) == ["small", "middle", "large"]
    assert front_of(middle, entry("twin", 0.7, 0.6, 0.8, parameters=100)) == ["middle", "twin"]


def test_the_front_of_an_error_goes_down():
    small = entry("small", 0.5, 0.4, 0.6, parameters=10, higher=False)
    worse = entry("worse", 0.7, 0.6, 0.8, parameters=100, higher=False)
    large = entry("large", 0.2, 0.1, 0.3, parameters=1000, higher=False)
    assert front_of(small, worse, large) == ["small", "large"]


def test_a_metric_that_only_some_entries_have_has_a_column():
    plain, judged = entry("plain", 0.2, 0.1, 0.3, higher=False), entry("judged", 0.4, 0.3, 0.5, higher=False)
    judged.test["speaker_similarity"] = judged.test["error"]
    assert page.other_metrics([plain, judged]) == ["speaker_similarity"]


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Three scored runs, one failed, one of them with a name that attacks the page."""
    patch = pytest.MonkeyPatch()
    register(patch)
    folder = tmp_path_factory.mktemp("board")
    runs = [("lora", "tiny", 0.9, 5000), ("bitfit", ATTACK, 0.4, 900), ("conv_adapter", "tiny", 0.7, 30_000)]
    for method, backbone, right, parameters in runs:
        run = tmp_path_factory.mktemp(method)
        leaderboard.add(write_record(run, method=method, backbone=backbone, right=right, parameters=parameters), folder)
    leaderboard.add(write_record(tmp_path_factory.mktemp("failed"), method="ia3", failed=True), folder)
    leaderboard.build(folder)
    patch.undo()
    return folder


def test_a_record_cannot_break_out_of_the_page(board):
    html = (board / "index.html").read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert "&lt;img src=x" in html
    assert "alert(1)</script>" not in html
    svg = (board / "three_emotions.svg").read_text(encoding="utf-8")
    assert "<img" not in svg
    assert "<script" not in svg


def test_the_page_asks_for_nothing_from_elsewhere(board):
    html = (board / "index.html").read_text(encoding="utf-8")
    markup = re.sub(r'<script type="application/json" id="libraries">.*?</script>', "", html, flags=re.DOTALL)
    assert len(markup) < 60_000 < len(html) < 3_000_000
    targets = re.findall(r'(?:src|href|action)\s*=\s*"([^"]*)"|url\(|@import', markup)
    assert targets
    assert all(target == "data:," or target.startswith("submissions/") or target.endswith(".svg") for target in targets)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip(f"needs a browser: chromium is {CHROMIUM}, chromedriver is {CHROMEDRIVER}")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(executable_path=CHROMEDRIVER))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver, board):
    """With the page as nobody has touched it yet."""
    show(driver, board)
    return driver


def show(driver, board):
    """The page, as soon as it answers: its charts are drawn, its tables can be sorted and filtered."""
    driver.get((board / "index.html").as_uri())
    wait_for(driver, ".dt-search input")


def wait_until(driver, condition):
    """What `condition` gives as soon as it is true."""
    from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
    from selenium.webdriver.support.wait import WebDriverWait

    try:
        # The page may take away an element that was found, when it draws its table or chart again.
        waiting = WebDriverWait(driver, 30, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(lambda _: condition())
    except TimeoutException:
        raise AssertionError(f"not within 30 s; the console says {driver.get_log('browser')}") from None


def wait_for(driver, selector, count=1):
    def enough():
        found = driver.find_elements("css selector", selector)
        return found if len(found) >= count else None

    return wait_until(driver, enough)


def column(driver, number):
    return [cell.text for cell in driver.find_elements("css selector", f"table.board tbody td:nth-child({number})")]


def test_the_table_has_the_values_of_the_json(board, browser):
    rows = json.loads((board / "leaderboard.json").read_text())["entries"]
    shown = browser.find_elements("css selector", "table.board tbody tr")
    assert [row.get_attribute("id") for row in shown] == [row["submission"] for row in rows]
    for row, element in zip(rows, shown, strict=True):
        values = {cell.get_attribute("data-order") for cell in element.find_elements("css selector", "td")}
        assert row["method"]["name"] in element.text
        assert row["backbone"]["name"] in element.text
        if row["status"] == "complete":
            assert {str(score["value"]) for score in row["test"].values()} <= values
            assert {str(row["cost"]["trainable_parameters"]), str(row["cost"]["training_seconds"])} <= values
            assert f"{row['cost']['trainable_parameters']:,}" in element.text
        else:
            assert row["error"] in element.text


def test_a_click_sorts_by_number(browser):
    header = browser.find_elements("css selector", "table.board thead th")[5]
    assert header.text.strip() == "Trainable parameters"

    def parameters():
        return [cell for cell in column(browser, 6) if cell[:1].isdigit()]

    header.click()
    wait_until(browser, lambda: parameters() == ["900", "5,000", "30,000"])
    header.click()
    wait_until(browser, lambda: parameters() == ["30,000", "5,000", "900"])


def test_what_can_be_clicked_stays_where_it_is(board, driver):
    """A chart that came after the table would push its headers away from under a click."""
    late = """
        let embed;
        Object.defineProperty(window, "vegaEmbed", {
            set: (value) => { embed = value; },
            get: () => async (...all) => {
                await new Promise((resolve) => setTimeout(resolve, 500));
                return await embed(...all);
            },
        });
    """
    script = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": late})
    try:
        show(driver, board)
        place = driver.find_element("css selector", "table.board thead th").location
        wait_for(driver, ".chart svg")
        assert driver.find_element("css selector", "table.board thead th").location == place
    finally:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_typing_filters(browser):
    (search,) = wait_for(browser, ".dt-search input")
    search.send_keys("conv_ad")
    wait_until(browser, lambda: [text.split("\n")[0] for text in column(browser, 2)] == ["conv_adapter"])
    search.clear()
    search.send_keys(" ")
    wait_until(browser, lambda: len(column(browser, 2)) == 4)


def test_the_chart_is_drawn_and_the_console_is_quiet(browser):
    marks = wait_for(browser, ".chart svg .mark-symbol.role-mark path", count=3)
    assert len(marks) == 3
    assert len(wait_for(browser, ".chart svg .mark-line.role-mark path")) == 1
    wait_until(browser, lambda: marks[0].size["width"] > 2)
    assert not [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]
