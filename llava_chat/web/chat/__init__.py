"""The Chat tab: its layout, what it shows, and what happens when somebody does something."""
