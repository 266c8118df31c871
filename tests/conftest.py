"""Settings for all tests, and fixtures that are slow to make and used in several folders."""

import os
import signal

# Processes that test side by side share the cores: threads that outnumber them spin and wait. The
# variable has to be set before torch is imported, and reaches the commands that tests start.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // int(workers), 1)))

# A shell starts a job in the background (`make test &`, a CI's runner) with Ctrl-C ignored, and what
# tests start would inherit that and never hear the signals that they are sent.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

from tests.digits import Digits, png

# Examples run under load on shared machines: no deadline; the same examples every time.
settings.register_profile(
    "s2mlp", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("s2mlp")


@pytest.fixture(autouse=True)
def seed():
    """Start every test from the same seed, whatever ran before it in the same process."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits():
    """Train a tiny S2-MLPv2 on scikit-learn's digits, once; 100 of the others are left for tests.

    The expected logits are computed independently: by Pillow, numpy and one forward pass.
    """
    from s2mlp_cli.sample.make import digits as load_digits
    from s2mlp_cli.sample.make import to_inputs, train

    pixels, classes = load_digits()
    order = np.random.default_rng(1).permutation(len(pixels))
    held, rest = order[:100], order[100:]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such small products only wait for each other's threads
    model = train(to_inputs(pixels[rest]), torch.from_numpy(classes[rest]), epochs=9)
    images = [
        np.asarray(Image.fromarray(image).convert("RGB").resize((16, 16), Image.BICUBIC))
        for image in pixels[held]
    ]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    inputs = ((np.stack(images) / 255 - mean) / std).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        logits = model(torch.from_numpy(inputs).float()).numpy()
    files = tuple(png(image) for image in pixels[held])
    yield Digits(files, tuple(map(int, classes[held])), model, logits)
    torch.set_num_threads(threads)
