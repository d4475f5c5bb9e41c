"""The Grafana dashboard and the alert rules ask for what the service exposes, in expressions that parse."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from flask import Flask

from modelcache.app import get_service
from modelcache.records.event import Embedded, Failed, Inserted, Queried, Removed, SentOn, Told, Usage
from tests.support.client import CacheClient
from tests.support.scraping import Scraped

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "modelcache.json").read_text())
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
# What Prometheus adds itself.
TARGET_LABELS = {"instance", "job"}
GRAFANA_TIMES = {"$__rate_interval": "5m", "$__range": "6h"}


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, seconds in GRAFANA_TIMES.items():
                expression = expression.replace(name, seconds)
            yield panel["title"], expression


def alert_expressions() -> Iterator[tuple[str, str]]:
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


EXPRESSIONS = [*dashboard_expressions(), *alert_expressions()]


@pytest.fixture
def exposed(app: Flask) -> dict[str, set[str]]:
    """Return the names that a service exposes after traffic of every kind, each with its labels."""
    client = CacheClient(app.test_client())
    client.insert(("q", "a"))
    client.query("q")
    for event in (
        Queried("gateway", "m", "k", "hit", 0.1, "exact", veto="number", entry_age=5.0, usage=Usage(1, 2)),
        Queried("gateway", "m", "k", "bypass", 0.1, reason="off"),
        Inserted("gateway", "m", "k", 1),
        Removed("k", "id", 1),
        Told("m", "k", "right", "recorded"),
        Embedded(1, 0.1, False),
        SentOn("200", 0.1),
        Failed("gateway", "query", 502),
    ):
        get_service(app).events.tell(event)
    samples = Scraped(app.test_client().get("/metrics").text).samples
    return {
        name: set[str]().union(*(dict(labels) for labels in of_name)) | TARGET_LABELS
        for name, of_name in samples.items()
    }


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Return what an expression selects; raises where it does not parse."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def grouped(expression: str) -> set[str]:
    """Return the labels that an expression groups by."""
    lists = re.findall(r"\bby \(([^)]*)\)", expression)
    return {label.strip() for one in lists for label in one.split(",")}


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS, ids=[title for title, _ in EXPRESSIONS])
def test_every_expression_asks_for_what_is_exposed(
    exposed: dict[str, set[str]], title: str, expression: str
) -> None:
    chosen = selectors(expression)
    assert chosen
    labels: set[str] = set()
    for selector in chosen:
        assert selector.name in exposed
        matched = {matcher.name for matcher in selector.matchers.matchers}
        assert matched <= exposed[selector.name], selector.name
        labels |= exposed[selector.name]
    assert grouped(expression) <= labels


def test_every_metric_is_on_the_dashboard(exposed: dict[str, set[str]]) -> None:
    shown = {selector.name for _, one in dashboard_expressions() for selector in selectors(one)}
    ends = re.compile("_(bucket|count|sum)$")
    asked = {ends.sub("", name or "") for name in shown}
    assert {ends.sub("", name) for name in exposed} - asked == {"modelcache_ready"}


def test_the_dashboard_is_in_the_classic_form_with_a_data_source_to_choose() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    assert (DASHBOARD["id"], DASHBOARD["uid"]) == (None, "modelcache")


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_alerts_say_what_is_wrong() -> None:
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        # What it shows of a series must be left of it.
        labels = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule)))
        assert labels <= (grouped(rule["expr"]) or labels)


def test_every_metric_is_in_the_docs(exposed: dict[str, set[str]]) -> None:
    page = (DEPLOY.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `modelcache_")]
    told: dict[str, set[str]] = {}
    for row in rows:
        _, names, labels, _ = re.split(r"(?<!\\)\|", row, maxsplit=3)
        for name in re.findall("`([a-z_]+)`", names):
            told[name] = set(re.findall("`([a-z_]+)`", labels))
    ends = re.compile("_(bucket|count|sum)$")
    shown: dict[str, set[str]] = {}
    for name, labels_of in exposed.items():
        shown.setdefault(ends.sub("", name), set()).update(labels_of - TARGET_LABELS - {"le"})
    assert told == shown


def test_the_scrape_configuration_loads_the_alerts() -> None:
    configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    assert configuration["rule_files"] == ["alerts.yaml"]
    assert [job["job_name"] for job in configuration["scrape_configs"]] == ["modelcache"]
