"""A log-mel spectrogram as a small PNG, for pages that play speech."""

import base64
import struct
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sure.audio import SAMPLE_RATE

# 64 ms, every 20 ms: a pixel is a frame of a band.
_WINDOW, _HOP, _BANDS = 1024, 320, 64

# Decibels below the loudest from which on all is black, in how many shades the rest is; fewer make smaller files.
_RANGE, _SHADES = 70.0, 32

# From silence to the loudest, as colours that grow lighter (between the stops of matplotlib's magma).
_STOPS = ((0, 0, 4), (59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))


def spectrogram_uri(waveform: NDArray) -> str:
    """A `data:` URI of the spectrogram of a waveform, shape (samples,), 16 kHz: a pixel is 20 ms of a mel band."""
    padded = np.pad(np.asarray(waveform, dtype=np.float64), _WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2 @ _mel().T
    decibels = 10 * np.log10(np.maximum(power, 1e-10))
    shades = np.clip(1 + (decibels - decibels.max()) / _RANGE, 0, 1) * (_SHADES - 1)
    # High frequencies first.
    return f"data:image/png;base64,{base64.b64encode(_png(shades.round().astype(np.uint8).T[::-1])).decode()}"


@cache
def _mel() -> NDArray[np.float64]:
    """Triangles, (bands, bins), equally far apart by mel = 2595 log10(1 + f / 700)."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    rising = (bins - edges[:-2, np.newaxis]) / np.diff(edges)[:-1, np.newaxis]
    falling = (edges[2:, np.newaxis] - bins) / np.diff(edges)[1:, np.newaxis]
    return np.maximum(0, np.minimum(rising, falling))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """An image of shades, (height, width), with the colours above as its palette (PNG, W3C 2003)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = pixels.shape
    stops = np.linspace(0, 1, len(_STOPS))
    shades = np.linspace(0, 1, _SHADES)
    palette = np.stack([np.interp(shades, stops, colour) for colour in zip(*_STOPS, strict=True)], axis=1)
    # Each line begins with the number of its filter: none.
    lines = np.pad(pixels, ((0, 0), (1, 0)))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            chunk(b"PLTE", palette.round().astype(np.uint8).tobytes()),
            chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            chunk(b"IEND", b""),
        ]
    )
