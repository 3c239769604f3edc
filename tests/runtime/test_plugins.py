"""Compilers for chips that are not there do not disturb work on those that are."""

import os
import subprocess
import sys

import pytest

from lamina.runtime import plugins

PROGRAM = """
import lamina
from lamina import keras
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
import jax
print(jax.devices()[0].platform, lamina.compile(model)(keras.ops.ones((4, 3))).shape)
"""
LOUD = "print('imported')\ndef initialize():\n    print('tried')\n"


def run(program, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("JAX_PLATFORMS", plugins._WANTS_CUDA)}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**kept, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.skipif(plugins._has_nvidia() or plugins._has_tpu(), reason="there is a GPU or a TPU here")
@pytest.mark.parametrize("platforms", [{}, {"JAX_PLATFORMS": "cpu"}])
def test_nothing_is_said_where_there_is_no_gpu_and_no_tpu(platforms):
    done = run(PROGRAM, LAMINA_CACHE="0", **platforms)
    assert (done.stdout.strip(), done.stderr) == ("cpu (4, 2)", "")


@pytest.mark.skipif(plugins._has_nvidia(), reason="there is a GPU here")
def test_the_plugin_for_cuda_is_tried_only_where_it_is_wanted(tmp_path):
    plugin = tmp_path / "jax_plugins" / "xla_cuda13"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(LOUD)
    program = "import lamina\nfrom lamina import keras\nimport jax\njax.devices()"
    environment = {"PYTHONPATH": os.fspath(tmp_path), "JAX_PLATFORMS": "cpu"}
    assert "tried" not in run(program, **environment).stdout
    assert run(program, **environment, JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1").stdout == "imported\ntried\n"


def test_other_plugins_are_jaxs_own_business(tmp_path):
    plugin = tmp_path / "jax_plugins" / "other"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(LOUD)
    program = "import lamina\nfrom lamina import keras\nimport jax\njax.devices()\nprint(jax.config.jax_platforms)"
    assert run(program, PYTHONPATH=os.fspath(tmp_path)).stdout == "imported\ntried\nNone\n"


def test_network_cards_of_googles_are_no_tpus(tmp_path):
    def device(name, maker, kind):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(maker + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
        return plugins._is_googles_chip(tmp_path / name)

    assert device("tpu", "0x1ae0", "0x120000")
    assert not device("gvnic", "0x1ae0", "0x020000")
    assert not device("other", "0x8086", "0x120000")
