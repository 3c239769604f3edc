"""Training: data, losses and metrics put together, the step, and what ``fit`` does with it."""
