"""What is set before TensorFlow is imported, and what a run says of a precision that is emulated."""
import os
import platform

import pytest

from training import Run, device
from training.start_up import use_onednn

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"


@pytest.mark.parametrize("machine, before, after", [
    ("x86_64", None, "1"), ("x86_64", "0", "0"), ("AMD64", None, "1"), ("arm64", None, None)])
def test_onednn_is_asked_for_on_x86_and_a_choice_of_the_user_stays(monkeypatch, machine, before, after):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setenv(VARIABLE, before or "")             # so that it is as it was afterwards
    if before is None:
        monkeypatch.delenv(VARIABLE)
    use_onednn()
    assert os.environ.get(VARIABLE) == after


@pytest.mark.parametrize("flags, precision, said", [
    ("sse2 avx2 fma", "mixed_bfloat16", True), ("avx2 avx512f avx512_bf16", "mixed_bfloat16", False),
    ("avx2 avx512f amx_bf16", "mixed_bfloat16", False), ("avx2 avx512f avx512_bf16", "mixed_float16", True),
    ("avx2", "float32", False), ("", "mixed_bfloat16", False)])
def test_a_precision_without_instructions_is_warned_of(tmp_path, monkeypatch, capsys, flags, precision, said):
    monkeypatch.setattr(device, "cpuinfo", lambda field: flags if field == "flags" else "a processor")
    device.instructions.cache_clear()
    try:
        run = Run(tmp_path / "run", recipe="test", precision=precision)
        assert (f"--precision {precision}" in capsys.readouterr().err) == said
        older = "avx2" in flags and "avx512f" not in flags
        assert device.description().startswith("a processor (AVX2), " if older else "a processor, ")
        assert run.metrics is None and device.environment()["instructions"] == device.instructions()
    finally:
        device.instructions.cache_clear()
