"""A self-hosted semantic cache for large-language-model services."""

__version__ = "0.1.0"
