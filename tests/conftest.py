"""What every test relies on: the device and backend are set before anything imports JAX or Keras."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # Keras is what results are compared with
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["LAMINA_CACHE"] = "0"  # tests of the disk cache switch it on, in folders of their own

from hypothesis import HealthCheck, settings

# The same examples in every run, and nothing judged by the clock: the first call of an example may compile.
settings.register_profile("lamina", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lamina")
