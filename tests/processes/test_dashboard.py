"""The dashboard in Chromium: it shows what happened, and its buttons do what they say."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from modelcache.access.keys import create_key
from modelcache.testing.hash_embedder import NEAR
from modelcache.testing.waiting import wait_until
from tests.support.client import user
from tests.support.running import RunningService
from tests.support.servers import start_or_skip
from tests.support.servers.chromium import browsing, complaints, programs, take_picture

pytestmark = pytest.mark.process

Json = dict[str, Any]
HTML = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    start_or_skip("Chromium", lambda _: programs(), tmp_path_factory.mktemp("none"))
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    """A service where some questions were answered, and its counts are written."""
    service = RunningService(tmp_path / "data").wait_ready()
    service.insert(
        [("How do I reset my PIN?", "In the settings."), ("12 eggs", "a dozen"), (HTML, HTML)], "m"
    )
    service.insert([("q", "a")], "other")
    for text in ("How do I reset my PIN?", "How do I reset my PIN?" + NEAR, HTML, "unknown"):
        service.query(text, "m")
    service.query("q", "other")
    wait_until(lambda: stats(service)["total"]["queries"] == 5, "all being counted")
    yield service
    service.terminate()


def stats(service: RunningService, **asked: str) -> Json:
    told: Json = service.http.get(f"{service.url}/admin/stats", params=asked).json()
    return told


class Page:
    """The dashboard of a service, in a browser."""

    def __init__(self, browser: Chrome, service: RunningService) -> None:
        self.browser = browser
        complaints(browser)
        browser.get(f"{service.url}/dashboard")
        browser.execute_script("localStorage.clear(); sessionStorage.clear()")
        browser.get(f"{service.url}/dashboard")

    def by_id(self, id_: str) -> WebElement:
        return self.browser.find_element("id", id_)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all that a selector finds; read at once, since the page goes on."""
        told: list[str] = self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)", selector
        )
        return told

    def wait(self, is_so: Callable[[], bool], what: str) -> None:
        def asked() -> bool:
            try:
                return is_so()
            except StaleElementReferenceException:
                return False

        wait_until(asked, what)

    def wait_shown(self, text: str, id_: str) -> None:
        self.wait(lambda: text in self.by_id(id_).text, f"{text!r} in #{id_}")

    def choose(self, id_: str, value: str) -> None:
        Select(self.by_id(id_)).select_by_value(value)

    def tiles(self) -> dict[str, str]:
        """Return what each says; read at once, since the page goes on."""
        told: dict[str, str] = self.browser.execute_script(
            "return Object.fromEntries([...document.querySelectorAll('#tiles > div')].map("
            "(one) => [one.children[0].textContent, one.children[1].textContent]))"
        )
        return told


@pytest.fixture
def page(browser: Chrome, service: RunningService) -> Page:
    page = Page(browser, service)
    page.wait_shown("reset my PIN", "entries")
    return page


def test_it_shows_what_the_statistics_tell(page: Page, service: RunningService) -> None:
    page.wait(lambda: page.tiles().get("Queries") == "5", "the figures")
    total = stats(service)["total"]
    assert total["hit_rate"] == 0.8
    assert page.tiles()["Hit rate"] == "80%"
    assert f"{total['milliseconds']['hit']['p95']:.3g}"[:3] in page.tiles()["Latency of hits"]
    assert "equal question\n3 · 75%" in page.by_id("types").text
    assert "same meaning\n1 · 25%" in page.by_id("types").text
    assert [row.split()[:3] for row in page.texts("#models tr")] == [
        ["m", "4", "75%"],
        ["other", "1", "100%"],
    ]
    assert len(page.browser.find_elements("css selector", ".chart canvas")) >= 3
    assert "Ready" in page.by_id("health").text
    service.query("q", "other")
    page.wait(lambda: page.tiles().get("Queries") == "6", "what happened since")
    take_picture(page.browser, "dashboard")
    page.choose("model", "m")
    page.wait(lambda: page.tiles().get("Queries") == "4", "the figures of one model")
    assert complaints(page.browser) == []


def test_entries_are_found_and_deleted(page: Page, service: RunningService) -> None:
    page.by_id("search-text").send_keys("pin", Keys.ENTER)
    page.wait(lambda: len(page.texts("#entries tr")) == 1, "what was searched for")
    delete = page.browser.find_element("css selector", "#entries button")
    delete.click()
    assert "reset my PIN" in page.by_id("confirm-what").text
    page.by_id("confirm-no").click()
    assert service.query("How do I reset my PIN?", "m")["cacheHit"]
    # By the keyboard alone, too: the safe answer has the focus, and the other is one step on.
    delete.send_keys(Keys.ENTER)
    page.browser.switch_to.active_element.send_keys(Keys.TAB)
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: page.texts("#entries tr") == [], "the row being gone")
    assert not service.query("How do I reset my PIN?", "m")["cacheHit"]
    assert complaints(page.browser) == []


def test_the_entries_that_answered_most_come_first(page: Page) -> None:
    page.choose("model", "m")
    page.wait(lambda: "reset my PIN" in (page.texts("#entries tr") or [""])[0], "the most hit")
    assert page.by_id("order").get_property("value") == "hits"


def test_a_mode_is_switched(page: Page, service: RunningService) -> None:
    page.wait(lambda: len(page.texts("#models tr")) == 2, "the models")
    select = page.browser.find_element("css selector", "select[data-model=m]")
    Select(select).select_by_value("off")
    page.wait_shown("m is in mode off now", "mode-hint")
    assert not service.query("12 eggs", "m")["cacheHit"]
    told = service.http.get(f"{service.url}/admin/models").json()["models"]
    assert {one["model"]: one["mode"] for one in told} == {"m": "off", "other": "serve"}
    assert complaints(page.browser) == []


def test_right_and_wrong_reach_the_store(page: Page, service: RunningService) -> None:
    page.wait(lambda: len(page.texts("#recent tr")) == 4, "the hits")
    asked = "How do I reset my PIN?" + NEAR
    [row] = [one for one in page.browser.find_elements("css selector", "#recent tr") if NEAR in one.text]
    assert "How do I reset my PIN?" in row.find_elements("css selector", "td")[2].text
    row.find_elements("css selector", "button")[1].click()
    page.wait(lambda: "noted" in row.text, "the verdict being taken")
    told = service.query(asked, "m")
    assert (told["cacheHit"], told["veto"]) == (False, "feedback")
    right = page.browser.find_elements("css selector", "#recent tr:first-child button")[0]
    right.click()
    wait_until(lambda: stats(service)["total"]["feedback"]["right"] == 1, "being counted")
    assert stats(service)["total"]["feedback"]["wrong"] == 1
    page.wait(lambda: page.tiles()["Called wrong"] == "50%", "the share of wrong ones")
    assert complaints(page.browser) == []


def test_near_misses_say_at_what_threshold_they_would_have_hit(page: Page, service: RunningService) -> None:
    body = {"type": "query", "scope": {"model": "m"}, "query": user("12 eggs" + NEAR), "threshold": 0.99}
    told = service.post(body)
    page.browser.find_element("css selector", "[data-kind=near]").click()
    threshold = f"{told['confidence']:.4f}"[:4]
    page.wait(lambda: f"would have hit at {threshold}" in page.by_id("recent").text, "the near miss")
    assert "a dozen" in page.by_id("recent").text
    assert complaints(page.browser) == []


def test_the_curve_of_shadow_is_drawn_for_a_model(page: Page, service: RunningService) -> None:
    page.wait_shown("Choose a model", "shadow-hint")
    service.post({"type": "register", "scope": {"model": "m"}, "mode": "shadow"})
    for text in ("12 eggs", "12 eggs" + NEAR, "far off"):
        service.query(text, "m")
    service.insert([("12 eggs" + NEAR, "a dozen")], "m")
    address = f"{service.url}/admin/shadow"
    wait_until(
        lambda: service.http.get(address, params={"model": "m"}).json()["points"][0]["right"] == 1,
        "the answers being compared",
    )
    page.choose("model", "m")
    page.wait_shown("Of 3 queries", "shadow-hint")
    page.wait(lambda: bool(page.texts("#chart-shadow canvas")), "the chart")
    assert "short question is 0.9." in page.by_id("shadow-hint").text
    take_picture(page.browser, "dashboard-shadow")
    assert complaints(page.browser) == []


def test_html_in_what_is_stored_stays_a_text(page: Page) -> None:
    assert any(HTML in row for row in page.texts("#entries tr"))
    assert page.browser.find_elements("css selector", "main img, main script") == []
    assert page.browser.title == "ModelCache"
    assert complaints(page.browser) == []


def test_it_speaks_chinese_and_is_dark_where_that_is_wanted(page: Page) -> None:
    light = page.by_id("tiles").find_element("css selector", "div").value_of_css_property("background-color")
    page.by_id("language").click()
    page.wait(lambda: "命中率" in page.tiles(), "Chinese")
    wanted = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    page.wait_shown("reset my PIN", "entries")
    dark = page.by_id("tiles").find_element("css selector", "div").value_of_css_property("background-color")
    assert dark != light
    take_picture(page.browser, "dashboard-dark-zh")
    page.browser.refresh()
    page.wait(lambda: "命中率" in page.tiles(), "Chinese, still")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert complaints(page.browser) == []


def test_a_browser_in_chinese_is_spoken_to_in_chinese(
    browser: Chrome, service: RunningService, tmp_path: Path
) -> None:
    with browsing(tmp_path / "profile", "zh-CN") as chinese:
        page = Page(chinese, service)
        page.wait(lambda: "命中率" in page.tiles(), "Chinese")
        assert chinese.find_element("tag name", "html").get_attribute("lang") == "zh-CN"


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(browser: Chrome, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    key = create_key(keys, "one", ["admin"])
    service = RunningService(tmp_path / "data", MODELCACHE_KEYS_FILE=str(keys)).wait_ready()
    body = {"type": "query", "scope": {"model": "m"}, "query": [{"role": "user", "content": "q"}]}
    requests.post(f"{service.url}/modelcache", json=body, headers={"Authorization": f"Bearer {key}"})
    page = Page(browser, service)
    page.wait_shown("valid key", "problem")
    page.by_id("key").send_keys(key, Keys.ENTER)
    page.wait(lambda: page.tiles().get("Queries") == "1", "the figures")
    assert not page.by_id("problem").is_displayed()
    assert key in browser.execute_script("return Object.values(sessionStorage).join()")
    assert key not in browser.execute_script("return Object.values(localStorage).join() + document.cookie")
    service.terminate()
