"""From the graph to another language and back."""
