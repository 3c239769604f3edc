"""TensorFlow: from a graph to Python source of plain tf ops."""
