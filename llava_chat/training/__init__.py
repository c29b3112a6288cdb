"""Stages 1 and 2 of LLaVA on anybody's data, and the world that the bundled model learns from."""
