"""What can be seen of a run: figures while it learns, and what they come to."""
