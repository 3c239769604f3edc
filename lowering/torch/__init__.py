"""From a graph to the source of a torch module: TorchScript, and plain Python for torch.export."""
