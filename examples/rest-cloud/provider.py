#!/usr/bin/env python3
"""A provider for dns-manager that talks to a cloud over REST; the Python standard library is all that it needs.

The cloud is a generic one, as cloud.py has it: a server is created with a client token, and the same token again is the same
server. The token is dns-manager's id of the server, so that every verb may be repeated. For a real cloud, change the four
functions below `Cloud`.
"""

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

# Shorter than dns-manager waits for an answer to `status`, so that it is told what is wrong.
TIMEOUT = 8
# What may be otherwise the next time: too many requests at once, and whatever is the cloud's own fault.
PASSING = {408, 425, 429}


class Failure(Exception):
    """What is wrong and what to do, for people."""

    def __init__(self, message, may_pass):
        super().__init__(message)
        self.may_pass = may_pass


class Cloud:
    def __init__(self, url, token):
        self.url = url.rstrip("/")
        self.token = token

    def call(self, method, path, body=None, absent=None):
        """The answer as JSON; `absent` where the cloud has no such thing."""
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Accept", "application/json")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        called = f"{method} {self.url}{path}"
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            if error.code == 404 and absent is not None:
                return absent
            text = error.read(500).decode(errors="replace").strip()
            may_pass = error.code in PASSING or error.code >= 500
            raise Failure(f"{called} was answered with {error.code}: {text}", may_pass) from error
        except (OSError, ValueError) as error:
            raise Failure(f"{called}: {error}", True) from error

    def find(self, server):
        found = self.call("GET", "/servers?" + urllib.parse.urlencode({"client_token": server["id"]}))
        return found[0] if found else None


def create(cloud, server):
    cloud.call("POST", "/servers", {"client_token": server["id"], "name": server["hostname"]})
    return {}


def status(cloud, server):
    found = cloud.find(server)
    if found is None:
        return {"status": "absent"}
    if found["state"] == "active" and found["addresses"]:
        return {"status": "ready", "addresses": found["addresses"]}
    if found["state"] == "error":
        raise Failure(f"the cloud could not make it: {found.get('reason', 'it does not say why')}", False)
    return {"status": "pending", "detail": f"the cloud says that it is {found['state']}"}


def stop(cloud, server):
    found = cloud.find(server)
    if found is not None:
        cloud.call("POST", f"/servers/{found['id']}/stop", {}, absent={})
    return {}


def delete(cloud, server):
    found = cloud.find(server)
    if found is not None:
        cloud.call("DELETE", f"/servers/{found['id']}", absent={})
    return {}


VERBS = {"create": create, "status": status, "stop": stop, "delete": delete}


def main():
    parser = argparse.ArgumentParser(description="A provider for dns-manager that talks to a cloud over REST.")
    parser.add_argument("--url", required=True, help="of the cloud's API")
    parser.add_argument("--token-file", required=True, help="the file whose one line is the token of the API")
    parser.add_argument("verb", choices=VERBS)
    options = parser.parse_args()
    try:
        try:
            with open(options.token_file, encoding="utf-8") as file:
                token = file.read().strip()
        except OSError as error:
            raise Failure(f"the token cannot be read: {error}", False) from error
        answer = VERBS[options.verb](Cloud(options.url, token), json.load(sys.stdin)["server"])
    except Failure as failure:
        answer = {"error": {"message": str(failure), "may_pass": failure.may_pass}}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
