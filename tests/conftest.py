"""Settings that hold for all tests."""

from hypothesis import HealthCheck, settings

# Examples run under load on shared machines: no deadline; the same examples every time.
settings.register_profile(
    "s2mlp", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("s2mlp")
