"""The token of a cluster: whether it wants one, and whether the one of this machine is right.

A head uses a token file that is there; drivers, nodes and clients that come to it do not unless they are told to.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from tune.errors import StudyError

AUTH_MODE = "RAY_AUTH_MODE"


def settle_token(address: str, lets_in: Callable[[str], bool | None]) -> bool | None:
    """Use the token of this machine where the cluster wants one; to be called before Ray is imported.

    Args:
        address: As it was typed.
        lets_in: Whether the cluster answers with that value of RAY_AUTH_MODE; None where that cannot be known.

    Returns:
        Whether the cluster answers without a token; None where that cannot be known.

    Raises:
        StudyError: The cluster wants a token that is not here.
    """
    is_let_in = lets_in("disabled")
    if is_let_in is not False:  # whatever else is wrong is met by joining
        return is_let_in
    mode, here = os.environ.get(AUTH_MODE, "").lower(), socket.gethostname()
    if mode == "disabled" or not lets_in("token"):
        problem = f"{AUTH_MODE}=disabled is set" if mode == "disabled" else "the right one is not to be found"
        raise StudyError(
            f"--address {address}: wants a token, and {problem} on this machine ({here}); set RAY_AUTH_TOKEN to what "
            f"~/.ray/auth_token of the head holds, or copy that file into the same place here, and unset {AUTH_MODE}"
        )
    os.environ[AUTH_MODE] = "token"
    return False


def machine_token() -> str | None:
    """Return the token of this machine, from where Ray takes it; None where there is none."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    try:
        return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or _token_file()).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def guard_token() -> None:
    """Let none but its owner read the token that Ray writes at its first start."""
    token = _token_file()
    with contextlib.suppress(OSError):  # there is none, or it is another user's
        if token.stat().st_mode & 0o077:
            token.chmod(0o600)


def _token_file() -> Path:
    return Path.home() / ".ray" / "auth_token"
