"""Read what ``/metrics`` says, as Prometheus does."""

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


class Scraped:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        families = list(text_string_to_metric_families(text))
        self.samples: dict[str, dict[Labels, float]] = {}
        for family in families:
            for sample in family.samples:
                of_name = self.samples.setdefault(sample.name, {})
                labels = frozenset(sample.labels.items())
                assert labels not in of_name, f"{sample.name} is there twice"
                of_name[labels] = sample.value
        self.families = {family.name: family for family in families}
        assert len(self.families) == len(families)

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of what has these labels, 0 where there is nothing."""
        wanted = set(labels.items())
        return sum(value for has, value in self.samples.get(name, {}).items() if wanted <= has)
