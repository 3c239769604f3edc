"""Who takes part in benchmarks/gpu.py, and what it says where there is no GPU."""

import importlib
import os
from pathlib import Path

import pytest


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    monkeypatch.setenv("LAMINA_CACHE", os.environ.get("LAMINA_CACHE", "0"))  # what it sets for itself ends here
    return importlib.import_module("gpu")


def test_without_a_gpu_it_ends_and_says_what_to_do(gpu):
    seen = gpu.found_by("jax", {"JAX_PLATFORMS": "cpu"})
    assert seen == "cpu cpu"
    with pytest.raises(SystemExit, match=r"no GPU is found: jax says 'cpu cpu'.*jax\[cuda12\].*--device cpu"):
        gpu.contestants(gpu.PEERS, "gpu", {"JAX_PLATFORMS": "cpu"})


def test_peers_whose_library_finds_no_gpu_are_left_out(gpu, monkeypatch, capsys):
    found = {"jax": "gpu NVIDIA H100 80GB HBM3", "torch": "cpu"}
    monkeypatch.setattr(gpu, "found_by", lambda library, environment: found[library])
    assert gpu.contestants(gpu.PEERS, "gpu", {}) == ["lamina", "keras-jax"]
    assert "torch: finds no GPU (cpu), so that keras-torch and torch-compile are left out" in capsys.readouterr().out
    found["torch"] = "gpu NVIDIA H100 80GB HBM3"
    assert gpu.contestants(["torch-compile", "lamina"], "gpu", {}) == ["torch-compile", "lamina"]
