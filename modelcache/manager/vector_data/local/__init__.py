"""How the embedded vector store keeps a collection: in memory, in files, and in order."""
