"""Start the demo: SQLite, FAISS and the bundled embedder, with nothing to install."""

from modelcache.serving.process import main

if __name__ == "__main__":
    main("demo")
