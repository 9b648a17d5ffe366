#!/usr/bin/env python3
"""A small cloud on loopback, to try provider.py on: its servers are entries in the memory of this process.

  POST   /servers            {"client_token", "name"}: makes a server, or finds the one of this token
  GET    /servers            all of them; with ?client_token=... the one of this token
  GET    /servers/ID         one of them
  POST   /servers/ID/stop    stops it
  DELETE /servers/ID         deletes it

Every request carries `Authorization: Bearer TOKEN`. A server is `building` for a while and then `active`, with an address.
"""

import argparse
import hmac
import http.server
import ipaddress
import itertools
import json
import threading
import time
import urllib.parse


class Cloud:
    def __init__(self, options, token):
        self.options = options
        self.token = token
        self.lock = threading.Lock()
        self.servers = {}
        self.numbers = itertools.count(1)
        self.requests = itertools.count(1)

    def create(self, client_token, name):
        """The server, and whether it is new."""
        with self.lock:
            for server in self.servers.values():
                if server["client_token"] == client_token:
                    return server, False
            number = next(self.numbers)
            server = {
                "id": f"s-{number}",
                "client_token": client_token,
                "name": name,
                "address": str(self.options.network[number]),
                "made_at": time.monotonic(),
                "stopped": False,
            }
            self.servers[server["id"]] = server
            return server, True

    def show(self, server):
        is_up = time.monotonic() - server["made_at"] >= self.options.boot_seconds
        state = "stopped" if server["stopped"] else "active" if is_up else "building"
        return {
            "id": server["id"],
            "client_token": server["client_token"],
            "name": server["name"],
            "state": state,
            "addresses": [server["address"]] if is_up else [],
        }


class Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud = None

    def answer(self, status, body, headers=()):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def handle_request(self):
        cloud = self.cloud
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        url = urllib.parse.urlsplit(self.path)
        steps = [step for step in url.path.split("/") if step]
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), cloud.token.encode()):
            return self.answer(401, {"message": "the token is not the one of this cloud"})
        every = cloud.options.fail_every
        if every and next(cloud.requests) % every == 0:
            return self.answer(503, {"message": "busy: try again"}, [("Retry-After", "1")])
        if not steps or steps[0] != "servers":
            return self.answer(404, {"message": "there is no such path"})
        if len(steps) == 1:
            return self.all_servers(text, urllib.parse.parse_qs(url.query))
        return self.one_server(steps[1:])

    def all_servers(self, text, query):
        cloud = self.cloud
        if self.command == "GET":
            wanted = query.get("client_token")
            with cloud.lock:
                found = [server for server in cloud.servers.values() if not wanted or server["client_token"] in wanted]
                return self.answer(200, [cloud.show(server) for server in found])
        if self.command != "POST":
            return self.answer(405, {"message": "GET or POST"})
        try:
            asked = json.loads(text)
            client_token, name = asked["client_token"], asked["name"]
        except (ValueError, KeyError, TypeError):
            return self.answer(400, {"message": 'write {"client_token": "...", "name": "..."}'})
        server, is_new = cloud.create(client_token, name)
        return self.answer(201 if is_new else 200, cloud.show(server))

    def one_server(self, steps):
        cloud = self.cloud
        with cloud.lock:
            server = cloud.servers.get(steps[0])
            if server is None:
                return self.answer(404, {"message": "there is no such server"})
            match self.command, steps[1:]:
                case "GET", []:
                    return self.answer(200, cloud.show(server))
                case "POST", ["stop"]:
                    server["stopped"] = True
                    return self.answer(200, cloud.show(server))
                case "DELETE", []:
                    del cloud.servers[server["id"]]
                    return self.answer(200, {})
                case _:
                    return self.answer(405, {"message": "GET or DELETE, or POST to stop"})

    do_GET = do_POST = do_DELETE = handle_request


def main():
    parser = argparse.ArgumentParser(description="A small cloud on loopback.")
    parser.add_argument("--port", type=int, default=8700, help="on 127.0.0.1; 0 is one that is free")
    parser.add_argument("--token-file", required=True, help="the file whose one line is the token of the API")
    parser.add_argument("--network", type=ipaddress.IPv4Network, default="127.66.0.0/16", help="where servers have addresses")
    parser.add_argument("--boot-seconds", type=float, default=1.0, help="how long a server is building")
    parser.add_argument("--fail-every", type=int, default=0, help="answer so many requests, the last with 503")
    options = parser.parse_args()
    with open(options.token_file, encoding="utf-8") as file:
        Requests.cloud = Cloud(options, file.read().strip())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Requests)
    print(f"the cloud is at http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
