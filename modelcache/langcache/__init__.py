"""The REST API of Redis LangCache: what its published clients send is answered from this cache."""
