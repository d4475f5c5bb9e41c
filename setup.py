"""What pyproject.toml cannot say: weights that lie beside the package become a part of it."""

from setuptools import find_namespace_packages, setup

WEIGHTS = "modelcache.model.e5"

setup(
    packages=[*find_namespace_packages(include=["modelcache*"]), WEIGHTS],
    package_dir={WEIGHTS: "model/e5"},
)
