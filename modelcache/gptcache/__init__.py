"""The routes of GPTCache's server: what its client sends is answered from this cache."""
