"""doctor tells what is installed, and notices kernels that compute wrongly."""

import os
import re

import numpy as np
import pytest

from nestbit import kernels

pytest.importorskip("typer")
pytest.importorskip("rich")

from nestbit.cli import doctor  # its imports are what is checked above


def test_doctor_shows_versions_instruction_sets_and_extras(ok):
    printed = ok("doctor")
    facts = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in printed.splitlines())
    assert facts["NumPy"] == np.__version__
    assert facts["kernels"] == kernels.isa()
    assert facts["available"] == ", ".join(kernels.available_isas())
    assert facts["self-check"] == "kernels agree with NumPy"
    assert re.search(r"typer [\d.]+, rich [\d.]+", facts["extra cli"])
    assert "extra test" not in facts


def test_a_forced_instruction_set_is_shown(ok):
    printed = ok("doctor", env=os.environ | {"NESTBIT_ISA": "scalar"})
    assert "scalar (forced by NESTBIT_ISA)" in printed


def test_an_unknown_instruction_set_is_told_in_one_line(nestbit):
    done = nestbit("doctor", env=os.environ | {"NESTBIT_ISA": "mmx"})
    assert done.returncode == 2
    assert re.fullmatch(r"nestbit: NESTBIT_ISA asks for .*'mmx'.*scalar.*\n", done.stderr)


@pytest.mark.parametrize(
    "name",
    ["hamming_scan", "bits_scan", "bytes_scan", "bits_rescore", "bytes_rescore", "floats_rescore"],
)
def test_a_kernel_that_is_wrong_in_one_place_is_named(monkeypatch, name):
    assert doctor.self_check() == []
    right = getattr(kernels, name)

    def wrong(*arguments):
        result = right(*arguments)
        (result[0] if isinstance(result, tuple) else result)[-1, -1] += 1
        return result

    monkeypatch.setattr(kernels, name, wrong)
    assert set(doctor.self_check()) == {f"{name} is wrong on {kernels.isa()}"}


def test_a_missing_package_is_shown_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(
        doctor,
        "requires",
        lambda name: [
            "numpy>=1",
            'no-such-package>=2; extra == "odd"',
            "rich>=13 ; extra == 'cli'",
            'nestbit[cli,odd]; extra == "all"',
            'pytest; extra == "test"',
        ],
    )
    found = doctor.extras()
    assert found.keys() == {"odd", "cli"}
    assert found["odd"] == "no no-such-package; install it with: pip install 'nestbit[odd]'"
    assert re.fullmatch(r"rich [\d.]+", found["cli"])
