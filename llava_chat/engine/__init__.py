"""Engines: something that turns a conversation into a stream of events."""
