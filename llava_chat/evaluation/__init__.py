"""How well a model answers: questions, and answers judged by meaning."""
