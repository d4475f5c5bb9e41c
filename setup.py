"""What pyproject.toml cannot say: weights that lie beside the package become a part of it."""

from setuptools import find_namespace_packages, setup

WEIGHTS = ("e5", "e5-untaught", "reader")

setup(
    packages=[
        *find_namespace_packages(include=["modelcache", "modelcache.*"]),
        *(f"modelcache.model.{name}" for name in WEIGHTS),
    ],
    package_dir={f"modelcache.model.{name}": f"model/{name}" for name in WEIGHTS},
)
