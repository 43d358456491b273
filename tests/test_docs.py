"""The documentation says only what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jiejing import COMMANDS, _load

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture of a page exists in the repository."""
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


def options_of(words: list[str]) -> set[str] | None:
    """The options that a command (and sub-command) knows; None when there is no such command."""
    if words[0] not in COMMANDS:
        return None
    command = _load(words[0])
    inner = getattr(command, "commands", {})
    if inner:
        if len(words) < 2 or words[1] not in inner:
            return None if len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]) else set()
        command = inner[words[1]]
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_exist(page: Path) -> None:
    """Every `jiejing …` line in a code block names a command and options that exist."""
    blocks = re.findall(r"```(?:sh|bash)?\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in lines:
        match = re.match(r"\s*(?:\S*/)?jiejing\s+(?!--)(.*)", line.split("#")[0])
        if match is None:
            continue
        words = match[1].split()
        known = options_of(words)
        assert known is not None, f"{page.name}: {line.strip()}"
        used = {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)}
        assert used <= known, f"{page.name}: {line.strip()}: {used - known}"


def test_the_readme_names_only_real_commands_and_promises_two() -> None:
    """The README's first code block is the two commands that do everything."""
    first = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert first is not None
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == ["make demo", "make test"]
