"""`report.html` in a real browser: Chromium without a window, driven as a reader would use it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whole_run import EVIL, write_whole_run

from results.findings import Findings
from results.log.recorder import EventLog
from results.report.candidates import CandidatesPage, write_candidates_page, write_picture
from results.report.html import to_html, write_html_report
from results.report.several import read_several, report_of_several
from results.scan import Candidate

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,900"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium with its chromedriver here; apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(hand: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    write_whole_run(run, hand)
    return write_html_report(Findings.read(run))


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    return show(browser, page)


def show(browser: Any, page: Path) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get_log("browser")
    browser.get(page.as_uri())
    WebDriverWait(browser, 60).until(lambda b: b.execute_script("return document.body.dataset.drawn") == "all")
    return browser


def shown_trials(browser: Any) -> list[int]:
    found: list[int] = browser.execute_script(
        "return [...document.querySelectorAll('#board tbody tr')].filter(r => r.offsetHeight)"
        ".map(r => Number(r.cells[1].textContent))"
    )
    return found


def type_filter(browser: Any, words: str) -> str:
    from selenium.webdriver.common.keys import Keys

    field = browser.find_element("id", "filter")
    field.send_keys(Keys.CONTROL + "a" + Keys.NULL + Keys.BACKSPACE + words)
    return str(browser.find_element("id", "shown").text)


def test_it_draws_every_figure_without_a_word_on_the_console(opened: Any) -> None:
    assert opened.get_log("browser") == []
    marks = opened.execute_script(
        "return [...document.querySelectorAll('.plot')].map(p => [p.id,"
        "p.querySelectorAll('.scatterlayer path').length, p.querySelector('.main-svg').getBoundingClientRect().height,"
        "p.getBoundingClientRect().height])"
    )
    assert len(marks) == 16
    for name, paths, drawn, place in marks:
        assert paths > 0, f"{name} is empty"
        assert drawn == pytest.approx(place, abs=2), f"{name} does not fit its place"


def test_a_page_of_several_runs_draws_the_curves_of_all(browser: Any, hand: Any, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        with EventLog(folder) as log:
            log.append(hand.study(), *hand.trial(0, [0.5, 0.6]), *hand.trial(1, [0.7, 0.8]))
    page = tmp_path / "both.html"
    page.write_text(to_html(report_of_several(*read_several(folders)), is_running=False))
    show(browser, page)
    assert len(browser.find_elements("css selector", ".js-plotly-plot .scatterlayer .trace")) == 4, "two runs, twice"
    assert not browser.get_log("browser")


def test_a_heading_sorts_by_mouse_and_by_keyboard_and_says_so(opened: Any) -> None:
    head = opened.find_element("css selector", "#board th:nth-child(4)")
    assert head.text.startswith("objective")
    head.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert shown_trials(opened)[0] == 3  # it diverged at 0.3
    assert shown_trials(opened)[-2:] == [4, 5]  # they failed without a value
    head.find_element("tag name", "button").send_keys("\ue007")  # Enter
    assert head.get_attribute("aria-sort") == "descending"
    assert shown_trials(opened)[0] == 7
    assert shown_trials(opened)[-2:] == [4, 5]
    assert len(opened.find_elements("css selector", "#board th[aria-sort$='scending']")) == 1


def test_words_conditions_and_the_status_filter_the_leaderboard(opened: Any) -> None:
    assert type_filter(opened, "") == "30 of 30 trials"
    assert type_filter(opened, "objective>=0.9") == "1 of 30 trials"
    assert shown_trials(opened) == [7]
    assert type_filter(opened, "failed memory") == "1 of 30 trials"
    assert shown_trials(opened) == [5]
    assert type_filter(opened, "status=stopped filters_1<20") == "2 of 30 trials"
    type_filter(opened, "")
    opened.find_element("id", "status").send_keys("stopped")
    assert set(shown_trials(opened)) == set(range(10, 16))


def test_hovering_over_a_curve_names_the_trial(opened: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    figure = opened.find_element("id", "plot-curves")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
    points = opened.find_elements("css selector", "#plot-curves .scatterlayer .points path")
    # The first group of markers holds those of the stopped trials.
    ActionChains(opened).move_to_element(points[0]).pause(0.5).perform()
    assert "trial 10, epoch 1" in opened.find_element("css selector", "#plot-curves .hoverlayer").text


def test_the_number_of_a_trial_marks_its_curve_and_a_second_time_takes_the_mark_away(opened: Any) -> None:
    names = "return document.getElementById('plot-curves').data.map(t => t.name)"
    before = opened.execute_script(names)
    button = opened.find_element("xpath", "//table[@id='board']//button[text()='7']")
    button.click()
    assert opened.execute_script(names) == [*before, "trial 7"]
    button.click()
    assert opened.execute_script(names) == before


def test_a_name_and_an_error_with_a_script_in_them_are_shown_as_text(opened: Any) -> None:
    assert opened.find_element("tag name", "h1").text == f"Study {EVIL}"
    assert opened.title == f"Study {EVIL}"
    assert EVIL in opened.find_element("xpath", "//table[@id='board']//tr[th/button[text()='4']]").text
    assert not opened.find_elements("css selector", "main script, main b b, .plot script")
    ticks = opened.execute_script("return [...document.querySelectorAll('.plot text')].map(t => t.textContent)")
    assert "<b>elu</b>" in ticks


def test_a_dark_reader_gets_light_words_and_paper_gets_dark_ones(browser: Any, page: Path) -> None:
    def brightness(scheme: str, media: str = "") -> list[int]:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        found: list[int] = browser.execute_script(
            "const red = (one, what) => Number(/[0-9]+/.exec(getComputedStyle(document.querySelector(one))[what]));"
            "return [red('body', 'backgroundColor'), red('h2', 'color'), red('.plot .xtick text', 'fill')]"
        )
        return found

    show(browser, page)
    paper, words, ticks = brightness("light")
    assert paper > 200 > 60 > max(words, ticks)
    paper, words, ticks = brightness("dark")
    assert paper < 60 < 200 < min(words, ticks)
    paper, words, ticks = brightness("dark", "print")
    assert paper > 200 > 60 > max(words, ticks)
    brightness("light")


def test_a_narrow_window_scrolls_only_inside_of_tables(browser: Any, page: Path) -> None:
    screen = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    show(browser, page)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_figures_follow_the_width_of_the_paper_and_come_back(opened: Any) -> None:
    widest = "return Math.max(...[...document.querySelectorAll('.main-svg')].map(s => s.getBoundingClientRect().right))"
    before = opened.execute_script(widest)
    assert opened.execute_script(f"dispatchEvent(new Event('beforeprint')); {widest}") <= 1000 < before
    assert opened.execute_script(f"dispatchEvent(new Event('afterprint')); {widest}") == pytest.approx(before, abs=1)


def test_a_thousand_trials_can_be_sorted_and_filtered(browser: Any, hand: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with EventLog(tmp_path) as log:
        log.append(hand.study(trials=1000))
        for number in range(1000):
            epochs = (9, 3, 1)[number % 3]
            status = "completed" if epochs == 9 else "stopped"
            log.append(*hand.trial(number, rng.uniform(0.2, 0.8, epochs).tolist(), status, max_epochs=9))
    show(browser, write_html_report(Findings.read(tmp_path)))
    assert browser.get_log("browser") == []
    assert type_filter(browser, "status=completed epochs=9") == "334 of 1000 trials"
    busy = browser.execute_script(
        "const begun = performance.now(); document.querySelector('#board th:nth-child(2) button').click();"
        "document.body.offsetHeight; return performance.now() - begun"
    )
    assert shown_trials(browser)[:2] == [0, 3]
    assert busy < 2000  # milliseconds, ten times what an idle machine takes


def test_candidates_are_looked_through_by_class_and_in_another_order(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.support.ui import Select

    candidates = []
    for tile, (name, score, frequency) in enumerate(
        [("line", 0.9, 1420.3), (EVIL, 0.95, None), ("line", 0.97, 1420.1)]
    ):
        picture = f"pictures/{tile}.png"
        write_picture(tmp_path / picture, np.full((16, 32, 1), 80 * tile, np.uint8))
        place = {"time_s": 1.0, "mjd": None, "frequency_mhz": frequency, "drift_hz_per_s": None}
        band = {"low_frequency_mhz": None, "high_frequency_mhz": None, "duration_s": 2.0}
        candidates.append(Candidate("sky.fil", tile, name, score, score, **place, **band, picture=picture))
    page = tmp_path / "candidates.html"
    write_candidates_page(page, CandidatesPage("Candidates", ("Three of `sky.fil`.",)), candidates)
    browser.get_log("browser")
    browser.get(page.as_uri())

    def shown() -> list[str]:
        return [
            figure.find_element("tag name", "span").text
            for figure in browser.find_elements("css selector", "figure:not([hidden])")
        ]

    assert shown() == ["score 0.970000", "score 0.950000", "score 0.900000"]
    assert browser.execute_script("return [...document.images].every((one) => one.naturalWidth === 32)")
    Select(browser.find_element("id", "order")).select_by_value("frequency")
    assert shown() == ["score 0.970000", "score 0.900000", "score 0.950000"], "what is not known comes last"
    Select(browser.find_element("id", "class")).select_by_visible_text("line")
    assert shown() == ["score 0.970000", "score 0.900000"]
    assert browser.find_element("id", "count").text == "2 shown"
    assert EVIL in {
        option.get_attribute("textContent") for option in browser.find_elements("css selector", "#class option")
    }
    assert browser.get_log("browser") == []
