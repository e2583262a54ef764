"""One waveform from files of every kind, and a clear word on every file that is none."""

import hashlib
import io
import re

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from sure import audio
from sure.errors import SureError
from tests.factories import RECORDINGS

REAL = RECORDINGS

ID3V1 = b"TAG" + b"a title".ljust(125, b"\0")
# 5,000 bytes after the first ten: 39 * 128 + 8.
ID3V2 = b"ID3\3\0\0\0\0\x27\x08" + b"TIT2\0\0\x13\x7e\0\0" + b"\0".ljust(4990, b"a")


def tone(seconds, rate, frequency=440.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def noise(seconds, rate, channels=1):
    """Loud and quiet in turn, so that an encoder of variable bit rate has reason to vary it."""
    length = round(seconds * rate)
    loudness = np.linspace(0, 4 * seconds, length)[:, None] % 1
    return 0.2 * loudness * np.random.default_rng(0).normal(size=(length, channels))


def encoded(samples, rate, kind, **options):
    """A whole file's bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, **options)
    return buffer.getvalue()


def write(path, content):
    path.write_bytes(content)
    return path


def mp3(samples, rate=16_000, mode="VARIABLE"):
    # Without a level the mode is not heeded.
    return encoded(samples, rate, "MP3", bitrate_mode=mode, compression_level=0.3)


def without_length(content):
    """An MP3 without its first frame, which holds no audio and says how many frames follow."""
    return content[content.index(content[:2], re.search(b"Xing|Info", content).end() + 100) :]


def chunk(name, content):
    return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


def refusal(path, **options):
    """What the error says after the file's name."""
    with pytest.raises(SureError) as caught:
        audio.load(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1e-3),
        ("WAV", "PCM_24", 1e-3),
        ("WAV", "FLOAT", 1e-3),
        ("FLAC", "PCM_16", 1e-3),
        ("OGG", "VORBIS", 0.05),
        ("MP3", "MPEG_LAYER_III", 0.07),
    ],
)
def test_every_kind_of_file_becomes_mono_at_16_khz(kind, subtype, tolerance, channels, rate, tmp_path):
    samples = np.repeat(tone(1, rate)[:, None], channels, axis=1)
    waveform = audio.load(write(tmp_path / "tone", encoded(samples, rate, kind, subtype=subtype)))
    assert waveform.dtype == np.float32
    assert waveform.flags.c_contiguous
    assert waveform.shape == (16_000,)
    inner = slice(1600, -1600)
    assert np.abs(waveform[inner] - tone(1, 16_000)[inner]).max() < tolerance


def test_opus_is_read(tmp_path):
    path = write(tmp_path / "tone.opus", encoded(tone(1, 48_000), 48_000, "OGG", subtype="OPUS"))
    assert np.abs(audio.load(path)[1600:-1600] - tone(1, 16_000)[1600:-1600]).max() < 0.05


def test_telephone_speech_that_cannot_be_searched_is_read(tmp_path):
    path = write(tmp_path / "tone.wav", encoded(tone(1, 8000), 8000, "WAV", subtype="GSM610"))
    # In blocks of 40 ms, of which the last is filled up.
    assert len(audio.load(path)) == 16_640


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_channels_are_averaged(channels, tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, size=(800, channels)).astype(np.float32)
    path = write(tmp_path / "a.wav", encoded(samples, 16_000, "WAV", subtype="FLOAT"))
    np.testing.assert_allclose(audio.load(path), samples.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(("rate", "up", "down"), [(8000, 2, 1), (22050, 320, 441), (44100, 160, 441), (48000, 1, 3)])
def test_resampling_agrees_with_scipy_on_what_both_rates_can_hold(rate, up, down, tmp_path):
    samples = sum(tone(1, rate, frequency, 0.1) for frequency in (60, 300, 1000, 3000))
    # Above 8 kHz nothing may be left: folded back, it would be heard at 4 and 6 kHz.
    if rate > 40_000:
        samples += tone(1, rate, 12_000, 0.1) + tone(1, rate, 10_000, 0.1)
    path = write(tmp_path / "a.wav", encoded(samples, rate, "WAV", subtype="FLOAT"))
    expected = resample_poly(samples, up, down, window=("kaiser", 12.0))
    assert np.abs(audio.load(path)[800:-800] - expected[800:-800]).max() < 2e-3


def test_samples_at_16_khz_are_left_as_they_are(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32767, 16_000, dtype=np.int16)
    path = write(tmp_path / "a.flac", encoded(samples, 16_000, "FLAC"))
    np.testing.assert_array_equal(audio.load(path), samples / np.float32(32768))


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_start_end_and_max_seconds_cut_exactly(kind, variable, tmp_path):
    rising = 0.5 * np.sin(np.cumsum(np.linspace(0.1, 0.8, 80_000)))
    path = write(tmp_path / "a", mp3(rising) if variable else encoded(rising, 16_000, kind))
    whole = audio.load(path)
    for options, first, last in [
        ({"start": 1.3}, 20_800, 80_000),
        ({"end": 1.3}, 0, 20_800),
        ({"start": 1.3, "end": 2.9}, 20_800, 46_400),
        ({"start": 0, "end": 5.00005}, 0, 80_000),
        ({"max_seconds": 0.7}, 0, 11_200),
        ({"max_seconds": 7}, 0, 80_000),
        ({"start": 4, "max_seconds": 0.7}, 64_000, 75_200),
        ({"start": 4, "end": 4.5, "max_seconds": 0.7}, 64_000, 72_000),
    ]:
        np.testing.assert_allclose(audio.load(path, **options), whole[first:last], atol=1e-6, err_msg=str(options))


def test_times_are_those_of_the_file_not_of_its_rate(tmp_path):
    path = write(tmp_path / "a.wav", encoded(tone(3, 44_100), 44_100, "WAV"))
    cut = audio.load(path, start=0.5, end=2.5, max_seconds=1.5)
    assert cut.shape == (24_000,)
    assert np.abs(cut - tone(3, 16_000)[8000:32_000])[800:-800].max() < 1e-3


@pytest.mark.parametrize("header", ["header", "no header"])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_whole_mp3_files_are_not_refused(rate, header, tmp_path):
    for number, seconds in enumerate([*np.arange(0.1, 0.6, 0.03), 2.345, 20]):
        plain = mp3(noise(seconds, rate, 1 + number % 2), rate, "CONSTANT")
        if header == "no header":
            plain = without_length(plain)
        for content in (plain, plain + ID3V1, ID3V2 + plain, ID3V2 + ID3V2 + plain + ID3V1, plain + bytes(400)):
            length = len(audio.load(write(tmp_path / "a.mp3", content))) / 16_000
            if header == "header":
                assert length == pytest.approx(seconds, abs=1e-4)
            else:
                # Nothing says how much of the last frames is padding.
                assert seconds - 0.001 < length < seconds + 0.3


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_whole_mp3_files_of_variable_bit_rate_are_not_refused(rate, tmp_path):
    for seconds in [*np.arange(0.1, 0.6, 0.03), 2.345, 20]:
        plain = mp3(noise(seconds, rate), rate)
        for content in (plain, plain + ID3V1, ID3V2 + plain):
            length = len(audio.load(write(tmp_path / "a.mp3", content))) / 16_000
            assert length == pytest.approx(seconds, abs=1e-4)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("kind", ["OGG", "FLAC", "WAV"])
def test_whole_files_of_any_length_are_not_refused(kind, rate, tmp_path):
    for seconds in [*np.arange(0.1, 0.6, 0.03), 2.345, 20]:
        for channels in (1, 2) if seconds < 20 else (1,):
            path = write(tmp_path / "a", encoded(noise(seconds, rate, channels), rate, kind))
            assert len(audio.load(path)) / 16_000 == pytest.approx(seconds, abs=1e-4)


def test_wav_with_chunks_around_its_data_is_read(tmp_path):
    wav = encoded(tone(0.5, 16_000), 16_000, "WAV")
    data = wav.index(b"data")
    for before, after in [
        (chunk(b"LIST", b"INFOISFT\5\0\0\0Lavf5\0"), b""),
        (chunk(b"bext", b"x" * 603), chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"odd"))),
        (chunk(b"fact", b"data"), chunk(b"id3 ", ID3V2)),
        (b"", b"trailing bytes that are no chunk"),
    ]:
        path = write(tmp_path / "a.wav", wav[:data] + before + wav[data:] + after)
        assert audio.load(path).shape == (8000,)
        assert "truncated" in refusal(write(tmp_path / "b.wav", (wav[:data] + before + wav[data:])[:-1]))


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFF024])
def test_wav_written_into_a_pipe_is_read(length, tmp_path):
    wav = encoded(tone(0.5, 16_000), 16_000, "WAV")
    position = wav.index(b"data") + 4
    path = write(tmp_path / "a.wav", wav[:position] + length.to_bytes(4, "little") + wav[position + 4 :])
    assert audio.load(path).shape == (8000,)


def test_flac_written_into_a_pipe_is_refused_for_what_it_is(tmp_path):
    flac = bytearray(encoded(tone(0.5, 16_000), 16_000, "FLAC"))
    # The 36 bits of STREAMINFO that hold the number of samples.
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    assert refusal(write(tmp_path / "a.flac", flac), max_seconds=0.1).startswith("its header has no length")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "variable MP3"])
def test_truncated_files_are_refused(kind, kept, tmp_path):
    samples = noise(3, 16_000)
    content = mp3(samples) if kind == "variable MP3" else encoded(samples, 16_000, kind)
    path = write(tmp_path / "a", content[: round(kept * len(content))])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_files_that_miss_their_last_bytes_are_refused(kind, tmp_path):
    content = encoded(noise(1, 16_000), 16_000, kind)
    for missing in (1, 20, 200):
        assert "truncated" in refusal(write(tmp_path / "a", content[:-missing]))


def test_ogg_that_ends_with_a_whole_page_but_not_its_last_is_refused(tmp_path):
    content = encoded(noise(3, 16_000), 16_000, "OGG")
    assert "truncated" in refusal(write(tmp_path / "a.ogg", content[: content.rindex(b"OggS")]))


def test_mp3_of_variable_bit_rate_without_length_is_refused_not_shortened(tmp_path):
    quiet, loud = 1e-4 * noise(3, 16_000), noise(3, 16_000)
    # The first frame's rate, taken for all, makes the file of loud beginning too short and the other too long.
    shortened = write(tmp_path / "a.mp3", without_length(mp3(np.concatenate([loud, quiet]))))
    assert refusal(shortened) == "an MP3 of variable bit rate whose header has no length. Convert it to FLAC or WAV."
    assert audio.load(shortened, max_seconds=1).shape == (16_000,)
    whole = write(tmp_path / "b.mp3", without_length(mp3(np.concatenate([quiet, loud]))))
    assert len(audio.load(whole)) / 16_000 == pytest.approx(6.1, abs=0.1)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize(
    "content", [b"This is text.\n" * 300, bytes(range(256)) * 20, b"RIFF", b"OggS", b"fLaC", b"ID3"]
)
def test_what_is_no_audio_is_refused(name, content, tmp_path):
    assert refusal(write(tmp_path / name, content)).startswith("not readable as audio, or truncated (")


def test_files_that_are_none_are_refused(tmp_path):
    assert refusal(tmp_path / "a.wav") == "no such audio file."
    assert refusal(tmp_path) == "is a folder, not an audio file."
    assert refusal(write(tmp_path / "b.wav", b"")) == "the file is empty (0 bytes)."
    assert refusal(tmp_path / ("a" * 300 + ".wav")) == "cannot be opened (File name too long)."


def test_a_file_without_samples_is_refused(tmp_path):
    assert refusal(write(tmp_path / "a.wav", encoded(np.zeros(0), 16_000, "WAV"))) == "holds no samples."


def test_an_empty_cut_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", encoded(tone(1, 16_000), 16_000, "WAV"))
    assert refusal(path, start=0.5, end=0.5) == "holds no samples from 0.5 s to 0.5 s."


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(value, tmp_path):
    samples = tone(1, 16_000)
    samples[7000] = value
    path = write(tmp_path / "a.wav", encoded(samples, 16_000, "WAV", subtype="FLOAT"))
    assert refusal(path) == "holds samples that are no numbers (NaN or infinite)."
    assert audio.load(path, end=0.4).shape == (6400,)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_long_files_are_refused_unless_cut(kind, tmp_path):
    path = write(tmp_path / "a", encoded(np.zeros(61 * 8000), 8000, kind))
    assert refusal(path).startswith(
        "longer than 60 s. Cut it, or train on the beginnings of files (`sure train --max_seconds 10`)"
    )
    assert refusal(path, max_seconds=60.5).startswith("longer than 60 s.")
    assert audio.load(path, max_seconds=60).shape == (960_000,)
    assert audio.load(path, start=2).shape == (944_000,)
    assert refusal(path, start=2, longest=5).startswith("longer than 5 s.")
    assert audio.load(path, longest=61).shape == (976_000,)


def test_one_frame_of_25_ms_is_the_shortest(tmp_path):
    assert audio.load(write(tmp_path / "a.wav", encoded(tone(0.025, 16_000), 16_000, "WAV"))).shape == (400,)
    assert audio.load(write(tmp_path / "b.wav", encoded(tone(0.025, 8000), 8000, "WAV"))).shape == (400,)
    path = write(tmp_path / "c.wav", encoded(tone(399 / 16_000, 16_000), 16_000, "WAV"))
    assert refusal(path) == "24.9 ms, shorter than the 25 ms of one frame."


@pytest.mark.parametrize(
    "times",
    [
        {"start": -0.1},
        {"start": 1.5},
        {"end": 1.001},
        {"end": -0.5},
        {"start": 0.6, "end": 0.4},
        {"start": float("nan")},
        {"end": float("nan")},
        {"end": float("inf")},
    ],
)
def test_times_outside_the_file_are_refused(times, tmp_path):
    path = write(tmp_path / "a.wav", encoded(tone(1, 16_000), 16_000, "WAV"))
    expected = f"start {times.get('start')} s and end {times.get('end')} s do not lie, in this order, within its 1 s."
    assert refusal(path, **times) == expected


@pytest.mark.parametrize("seconds", [0, -1, 0.0249, float("nan"), float("inf")])
def test_max_seconds_that_is_no_length_is_refused(seconds, tmp_path):
    path = write(tmp_path / "a.wav", encoded(tone(1, 16_000), 16_000, "WAV"))
    with pytest.raises(SureError, match=rf"^--max_seconds {seconds}: give a number of seconds, at least the 0\.025 s"):
        audio.load(path, max_seconds=seconds)
    assert audio.load(path, max_seconds=0.025).shape == (400,)


def test_load_or_error_gives_one_or_the_other(tmp_path):
    path = write(tmp_path / "a.wav", encoded(tone(1, 16_000), 16_000, "WAV"))
    waveform, error = audio.load_or_error((str(path), 0.25, 0.75, 0.4))
    assert error is None
    np.testing.assert_array_equal(waveform, audio.load(path, start=0.25, end=0.75, max_seconds=0.4))
    missing = str(tmp_path / "b.wav")
    assert audio.load_or_error((missing, None, None, None)) == (None, f"{missing}: no such audio file.")


def test_a_digest_is_that_of_the_bytes(tmp_path):
    path = write(tmp_path / "a", b"anything" * 100_000)
    assert audio.digest(str(path)) == hashlib.sha256(b"anything" * 100_000).hexdigest()
    assert audio.digest(str(tmp_path / "b")) is None
    assert audio.digest(str(tmp_path)) is None


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_duration_is_read_from_the_header(kind, tmp_path):
    path = write(tmp_path / "a", encoded(tone(1.25, 22_050), 22_050, kind))
    assert audio.duration(path) == pytest.approx(1.25, abs=1e-4)


def test_a_duration_of_what_is_no_audio_is_refused(tmp_path):
    for path in (write(tmp_path / "a.wav", b"This is text."), tmp_path / "b.wav"):
        with pytest.raises(SureError, match=f"^{re.escape(str(path))}: not readable as audio"):
            audio.duration(path)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"real recordings are not at {REAL}")
@pytest.mark.parametrize(("corpus", "pattern"), [("emodb", "*.flac"), ("fsdd", "*.flac"), ("ljspeech", "*.wav")])
def test_real_recordings_are_read(corpus, pattern):
    paths = sorted((REAL / corpus).rglob(pattern))[::20]
    assert paths
    for path in paths:
        waveform = audio.load(path)
        assert len(waveform) / 16_000 == pytest.approx(soundfile.info(path).duration, abs=1e-4)
        assert 0.001 < np.abs(waveform).max() <= 1.1


def test_a_full_disk_is_said(tmp_path):
    (tmp_path / "full.wav").symlink_to("/dev/full")
    with pytest.raises(SureError, match=r"full\.wav: cannot be written \(No space left on device\)"):
        audio.write(tmp_path / "full.wav", tone(0.1, 16_000))
