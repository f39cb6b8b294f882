"""A real viser server behind the guard, asked with raw requests."""

import socket
from pathlib import Path

import pytest
import viser
import viser.infra._infra as viser_infra
import websockets

from nerfstudio_plugin.viewer.server_guard import Door, _guarded_serve, check_guarded, guard_viewers
from sa3d.base.errors import SA3DError


@pytest.fixture
def unguarded(monkeypatch):
    """Viser as it was installed."""
    if _guarded_serve() is not None:
        monkeypatch.setattr(viser_infra, "websockets", websockets)


@pytest.fixture
def start(unguarded, monkeypatch):
    """Starts a server and returns its port."""
    monkeypatch.setattr(viser_infra, "websockets", viser_infra.websockets)  # restored afterwards
    servers = []

    def run(host="127.0.0.1", token="", guard=True):
        if guard:
            guard_viewers(token)
        server = viser.ViserServer(host=host, port=18_000, verbose=False)
        servers.append(server)
        return server

    yield run
    for server in servers:
        server.stop()


def ask(port, path, host="127.0.0.1", **headers):
    """Status, headers and body of the answer to a raw GET."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin1"))
        answer = b""
        while part := sock.recv(1 << 16):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin1"), body


def shakes_hands(port, path="/", host=None, origin=None, cookie=None):
    """Return True if a websocket with a browser's headers is accepted."""
    headers = {
        "Host": host or f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        **({"Origin": origin} if origin else {}),
        **({"Cookie": cookie} if cookie else {}),
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin1"))
        status = int(sock.recv(1 << 12).split()[1])
    assert status in (101, 400, 403)
    return status == 101


@pytest.mark.filterwarnings("ignore:websockets.server.serve:DeprecationWarning")
def test_viser_alone_serves_every_file(start):
    """The fault that the guard is for; if this fails, the guard may go."""
    port = start(guard=False).get_port()
    assert ask(port, "/../../../../../../../../../../etc/passwd")[0] == 200


def test_only_files_of_the_client_are_served(start, tmp_path):
    port = start().get_port()
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    status, head, body = ask(port, "/")
    assert status == 200
    assert b"<html" in body
    assert "frame-ancestors 'self'" in head
    client = Path(viser.__file__).parent / "client/build"
    file = next(one for one in client.rglob("*.js"))
    assert ask(port, f"/{file.relative_to(client)}")[0] == 200
    up = "/.." * 20
    for path in (
        *(f"{up}/etc/passwd", f"{up}{secret}", f"/{up}{secret}", f"/{secret}", str(secret)),
        *(up.replace("..", "%2e%2e") + "/etc/passwd", up.replace("/", "\\") + "\\etc\\passwd"),
        *("/assets/../../../../__init__.py", "/../../__init__.py", "/.", "/assets", "/nothing"),
        *("/index.html\0", "http://127.0.0.1/etc/passwd", "/index.html/../../index.py", "*"),
    ):
        status, _, body = ask(port, path)
        assert status in (400, 404), path
        assert b"secret" not in body
        assert b"root:" not in body


def test_a_link_out_of_the_client_is_not_followed(tmp_path):
    (tmp_path / "client").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "client/link").symlink_to(tmp_path / "secret")
    (tmp_path / "client/index.html").write_text("x")
    door = Door("127.0.0.1", "", tmp_path / "client")
    assert door.refusal("/", {"Host": "localhost"}) is None
    assert door.refusal("/link", {"Host": "localhost"})[0] == 404


@pytest.mark.parametrize(
    ("host", "asked", "right"),
    [
        ("127.0.0.1", "localhost:7007", True),
        ("127.0.0.1", "127.0.0.1:7007", True),
        ("127.0.0.1", "[::1]:7007", True),
        ("127.0.0.1", "evil.example:7007", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "192.168.0.7:7007", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", None, False),
        ("127.0.0.1", "[", False),
        ("192.168.0.7", "192.168.0.7:7007", True),
        ("0.0.0.0", "192.168.0.7:7007", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", f"{socket.gethostname()}:7007", True),
    ],
)
def test_a_server_answers_to_its_own_names(tmp_path, host, asked, right):
    (tmp_path / "index.html").write_text("x")
    door = Door(host, "", tmp_path)
    headers = {} if asked is None else {"Host": asked}
    assert (door.refusal("/", headers) is None) is right
    websocket = {**headers, "Upgrade": "websocket"}
    assert (door.refusal("/", websocket) is None) is right


def test_pages_of_other_sites_cannot_connect(start):
    port = start().get_port()
    assert shakes_hands(port)
    assert shakes_hands(port, origin=f"http://127.0.0.1:{port}")
    assert not shakes_hands(port, origin="http://evil.example")
    assert not shakes_hands(port, origin=f"http://localhost:{port}")
    assert not shakes_hands(port, origin="http://127.0.0.1:1")
    assert not shakes_hands(port, origin="null")
    assert not shakes_hands(port, host=f"evil.example:{port}", origin=f"http://evil.example:{port}")


def test_other_computers_need_the_token(start):
    port = start(host="0.0.0.0", token="s3cret").get_port()
    assert ask(port, "/")[0] == 403
    assert ask(port, "/?token=wrong")[0] == 403
    assert not shakes_hands(port)
    assert not shakes_hands(port, cookie="token=wrong")
    status, head, _ = ask(port, "/?token=s3cret", host="any.name")
    assert status == 200
    assert "Set-Cookie: token=s3cret; Path=/; HttpOnly; SameSite=Strict" in head
    assert shakes_hands(port, cookie="token=s3cret")
    assert shakes_hands(port, path="/?token=s3cret")
    assert not shakes_hands(port, path="/?token=s3cret", origin="http://evil.example")
    assert ask(port, "/nothing?token=s3cret")[0] == 404


def test_doubled_headers_are_refused(start):
    port = start().get_port()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert b" 400 " in sock.recv(1 << 12)


@pytest.mark.filterwarnings("ignore:websockets.server.serve:DeprecationWarning")
def test_a_server_without_a_door_is_noticed(start):
    server = start(guard=False)
    with pytest.raises(SA3DError, match=r"viser 0\.2\.7 cannot be guarded"):
        check_guarded(server)
    guarded = start()
    check_guarded(guarded)


def test_another_viser_is_refused(unguarded, monkeypatch):
    monkeypatch.setattr(viser_infra, "websockets", object())
    with pytest.raises(SA3DError, match="cannot be guarded"):
        guard_viewers()
