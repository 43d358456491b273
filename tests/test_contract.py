"""The server against its own OpenAPI document: a short run; `make contract` is the long one."""

from __future__ import annotations

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install -e .[dev]")


@pytest.mark.slow
def test_no_answer_is_a_fault_or_undescribed() -> None:
    """Every operation, every role, valid and invalid data: nothing of class 5xx, nothing the document does not say."""
    from bench.contract import run

    found = run(1000)
    assert found["findings"] == []
    assert found["requests"] >= 600
    assert {200, 403, 404, 422} <= set(found["statuses"])
