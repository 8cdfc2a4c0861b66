"""Formats that are tested: of the ones that kdjax writes those whose packages are installed."""

import importlib.util

import pytest

from kdjax.ship.export import FORMATS
from kdjax.ship.serve import CONVERTER

LITERT = all(map(importlib.util.find_spec, ("litert_converter", "ai_edge_litert", "ai_edge_quantizer")))
NEEDS_LITERT = pytest.mark.skipif(
    not LITERT, reason=f"needs LiteRT: pip install 'kdjax[litert]', pip install --no-deps {CONVERTER}"
)
HERE = [name for name in FORMATS if LITERT or name != "tflite"]
EACH = [pytest.param(name, marks=NEEDS_LITERT) if name == "tflite" else name for name in FORMATS]
"""For pytest.mark.parametrize."""
