"""A guard at the door of viser's server, which lets in everybody and serves every file.

Viser 0.2.7 joins a request's path to its folder unchecked, and takes websockets from pages of any
site. The guard is put around its request handler before a server starts. It serves only files of
the client, answers only to names of this computer, refuses pages of other sites, and asks for a
token if there is one.
"""

from __future__ import annotations

import hmac
import http
import inspect
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import viser
import viser.infra._infra as viser_infra
from websockets.legacy.server import serve

from sa3d.base.errors import SA3DError

TOKEN_KEY = "token"
"""Key of the token in the URL."""
_SHARED = ".share.viser.studio"
"""Names of viser's tunnels, which a user must ask for."""
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self'",  # no page of others around ours
    "Referrer-Policy": "no-referrer",  # the URL may hold the token
    "X-Content-Type-Options": "nosniff",
}

Answer = tuple[http.HTTPStatus, Mapping[str, str], bytes]
Handler = Callable[[str, Any], Awaitable[Answer | None]]
"""Answers a request's path and headers; None goes on with the websocket."""


@dataclass(frozen=True)
class Door:
    """Rules of one server.

    Attributes:
        host: the address that it listens on.
        token: needed for everything if it is not empty.
        root: folder of the files that it serves.
    """

    host: str
    token: str
    root: Path

    def refusal(self, path: str, headers: Any) -> Answer | None:
        """Return the answer to a request that is refused; None if it may pass.

        Args:
            path: of the request, with its query.
            headers: with a ``get`` that returns None for what is absent.
        """
        shown = self._shows_token(path, headers)
        if not (shown or self._is_ours(headers.get("Host"))):
            return _answer(http.HTTPStatus.FORBIDDEN, "this is not the viewer's address")
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("Host"):
            return _answer(http.HTTPStatus.FORBIDDEN, "a page of another site may not use it")
        if self.token and not shown:
            return _answer(
                http.HTTPStatus.FORBIDDEN, "open the whole URL that was printed, with its token"
            )
        if headers.get("Upgrade") != "websocket" and not self._serves(path):
            return _answer(http.HTTPStatus.NOT_FOUND, "404")
        return None

    def _is_ours(self, host: str | None) -> bool:
        """Return whether a Host header names this computer: a name of others may be re-bound."""
        try:
            name = urlsplit(f"//{host or ''}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self.host):
            return True
        everywhere = self.host in ("", "0.0.0.0", "::")
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            names = (socket.gethostname().lower(), socket.getfqdn().lower())
            return everywhere and (name in names or name.endswith(_SHARED))
        return everywhere or address.is_loopback

    def _shows_token(self, path: str, headers: Any) -> bool:
        if not self.token:
            return False
        try:
            given = parse_qs(urlsplit(path).query).get(TOKEN_KEY, [])
            cookies = SimpleCookie(headers.get("Cookie") or "")
        except (CookieError, ValueError):
            return False
        given += [morsel.value for morsel in cookies.values() if morsel.key == TOKEN_KEY]
        return any(hmac.compare_digest(one.encode(), self.token.encode()) for one in given)

    def _serves(self, path: str) -> bool:
        """Return whether a path is a file of the client."""
        plain = path.partition("?")[0]
        if not plain.startswith("/") or plain.startswith("//") or set(plain) & set("\\\0"):
            return False
        try:
            file = (self.root / (plain[1:] or "index.html")).resolve()
            return file.is_relative_to(self.root.resolve()) and file.is_file()
        except (OSError, ValueError, RuntimeError):
            return False

    def guard(self, handler: Handler) -> Handler:
        """Return a handler that refuses what may not pass, and sets the token's cookie."""

        async def guarded(path: str, headers: Any) -> Answer | None:
            try:
                refused = self.refusal(path, headers)
            except LookupError:  # a header that must be there once is there twice
                refused = _answer(http.HTTPStatus.BAD_REQUEST, "a header is there twice")
            answer = refused or await handler(path, headers)
            if answer is None:
                return None
            status, found, body = answer
            sent = {**found, **_HEADERS}
            if self.token and refused is None:
                sent["Set-Cookie"] = f"{TOKEN_KEY}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            return status, sent, body

        return guarded


class _GuardedServe:
    """Stands for ``websockets.server.serve`` in viser: starts servers behind a door."""

    def __init__(self, serve: Callable[..., Any]) -> None:
        self._serve, self.token = serve, ""
        self.doors: dict[int, Door] = {}

    def __call__(self, handler: Any, host: str, port: int, **options: Any) -> Any:
        """Start a server as viser does."""
        door = Door(host, self.token, _root_of(options.get("process_request")))
        options["process_request"] = door.guard(options["process_request"])
        server = self._serve(handler, host, port, **options)
        self.doors[port] = door
        return server


def guard_viewers(token: str = "") -> None:
    """Put a door before all viser servers that this process starts from now on.

    Args:
        token: needed to open their pages; a later call without one keeps it.

    Raises:
        SA3DError: this version of viser cannot be guarded.
    """
    guarded = _guarded_serve()
    if guarded is None:
        try:
            libraries = vars(viser_infra)["websockets"]
            guarded = _GuardedServe(serve)
            names = ("connection", "datastructures", "exceptions")
            known = {name: getattr(libraries, name) for name in names}
        except (AttributeError, KeyError) as error:
            raise _unknown_viser() from error
        server = SimpleNamespace(serve=guarded)
        viser_infra.websockets = SimpleNamespace(**known, server=server)  # pyright: ignore
    guarded.token = token or guarded.token


def check_guarded(server: viser.ViserServer) -> None:
    """Check that a running server has a door.

    Raises:
        SA3DError: it has none, so that anybody could write files through the panel.
    """
    guarded = _guarded_serve()
    if guarded is None or server.get_port() not in guarded.doors:
        raise _unknown_viser()


def _guarded_serve() -> _GuardedServe | None:
    server = getattr(vars(viser_infra).get("websockets"), "server", None)
    serve = vars(server).get("serve") if isinstance(server, SimpleNamespace) else None
    return serve if isinstance(serve, _GuardedServe) else None


def _root_of(handler: Any) -> Path:
    """Return the folder that viser's request handler serves."""
    try:
        root = inspect.getclosurevars(handler).nonlocals["http_server_root"]
    except (KeyError, TypeError) as error:
        raise _unknown_viser() from error
    if not isinstance(root, Path):
        raise _unknown_viser()
    return root


def _unknown_viser() -> SA3DError:
    return SA3DError(
        f"viser {version('viser')} cannot be guarded, so the panel is not shown: install the "
        "version that Nerfstudio asks for, viser 0.2.7"
    )


def _answer(status: http.HTTPStatus, text: str) -> Answer:
    return status, {"Content-Type": "text/plain; charset=utf-8"}, text.encode()
