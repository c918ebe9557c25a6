"""Asks everything of the HTTP surface with curl: every endpoint without a version, and every call of the v1 APIs.

usage: surface.py MASTERS AGENTS FRAMEWORK

MASTERS and AGENTS are host:port,… of a fresh cluster of three masters and two agents, on which FRAMEWORK runs one task.
Prints every difference, and one line per phase; ends with "DONE" and status 0, or status 1.

v0-endpoints.tsv is what Mesos has. endpoints.tsv is what is asked here, in this order:
  where   `leader`: answered by the leader; a follower says 307, and curl finds it through a follower too. `masters`: every
          master answers by itself. `agent`: the agent with the task
  path    in its long form; the short one of v0-endpoints.tsv is asked as well
  body    JSON, or a form
  fact    `empty`, `{}`, `~TEXT` for a text in the body, `to URL` for a Location, or what JSON holds: PATH=VALUE with
          [] for any element and a type or a text as VALUE, PATH#COUNT for the length of a list
calls.tsv is every call, by API: its body without the type, the status and facts as above.
"""

import json
import os
import re
import subprocess
import sys
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = {"string": str, "object": dict, "array": list, "number": (int, float), "bool": bool}
# What is there beside Mesos, and what is nowhere.
OURS = {"/metrics", "/nothing", "/v1/members", "/master/v1/members"}
APIS = {"master": "/api/v1", "scheduler": "/api/v1/scheduler", "agent": "/api/v1", "executor": "/api/v1/executor",
        "resource_provider": "/api/v1/resource_provider"}


class Wrong(Exception):
    """An answer that is not as the table says."""


def table(name):
    """Rows by column."""
    with open(os.path.join(HERE, name)) as file:
        lines = file.read().splitlines()
    columns = lines[0].split("\t")
    for line in lines[1:]:
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise SystemExit("%s: %d columns instead of %d: %s" % (name, len(cells), len(columns), line))
        yield dict(zip(columns, cells))


class Answer:
    def __init__(self, text):
        head, _, self.body = text.partition("\r\n\r\n")
        while head.startswith("HTTP/1.1 100") or head.startswith("HTTP/1.1 307") and "\r\n\r\n" in self.body:
            head, _, self.body = self.body.partition("\r\n\r\n")
        lines = head.split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}


def curl(method, url, body="-", headers=(), follow=False):
    command = ["curl", "--silent", "--show-error", "--globoff", "--include", "--max-time", "30", "--request", method, url]
    if follow:
        command.append("--location")
    for header in headers:
        command += ["--header", header]
    if body != "-":
        command += ["--data-binary", "@-"]
    done = subprocess.run(command, input=None if body == "-" else body.encode(), capture_output=True)
    if done.returncode:
        raise Wrong("curl %s %s: %s" % (method, url, done.stderr.decode()))
    return Answer(done.stdout.decode())


def holds(fact, value):
    """Whether JSON is as PATH=VALUE or PATH#COUNT says."""
    path, mark, wanted = re.fullmatch(r"([^=#]*)([=#])(.*)", fact).groups()
    found = [value]
    for step in re.findall(r"\[\]|\.[^.\[]+", path):
        if step == "[]":
            found = [item for one in found if isinstance(one, list) for item in one]
        else:
            found = [one[step[1:]] for one in found if isinstance(one, dict) and step[1:] in one]
    if mark == "#":
        return [len(one) for one in found] == [int(wanted)]
    if wanted in TYPES:
        return bool(found) and all(isinstance(one, TYPES[wanted]) for one in found)
    return wanted in [one if isinstance(one, str) else json.dumps(one) for one in found]


def judge(answer, status, fact, names):
    if answer.status != int(status):
        raise Wrong("status %d instead of %s: %s" % (answer.status, status, answer.body[:200]))
    fact = fill(fact, names)
    if fact == "empty":
        good = answer.body == ""
    elif fact.startswith("to "):
        good = answer.headers.get("location") == fact[3:]
    elif fact.startswith("~"):
        good = fact[1:] in answer.body
    elif fact == "{}":
        good = json.loads(answer.body) == {}
    else:
        good = fact == "-" or all(
            one[1:] in answer.body if one[0] == "~" else holds(one, json.loads(answer.body)) for one in fact.split(" "))
    if not good:
        raise Wrong("not %s: %s %s" % (fact, answer.headers.get("location", ""), answer.body[:400]))


def fill(text, names):
    return re.sub(r"\{([a-z]+)\}", lambda name: names[name.group(1)], text)


def query(text, names):
    """As it goes over the wire, with its ?."""
    if text == "-":
        return ""
    pairs = (pair.split("=", 1) for pair in fill(text, names).split("&"))
    return "?" + "&".join("%s=%s" % (key, urllib.parse.quote(value, safe="")) for key, value in pairs)


def form(text, names):
    """A body that is no JSON is a form."""
    text = fill(text, names)
    if text == "-" or text[0] in "[{":
        return text
    return "&".join("%s=%s" % (key, urllib.parse.quote(value)) for key, value in (pair.split("=", 1) for pair in text.split("&")))


def reference_row(reference, row):
    """The row of Mesos' table that this one asks, by its longest path."""
    sides = ("agent", "both") if row["where"] == "agent" else ("master", "both")
    fits = [it for it in reference if it["component"] in sides and (row["path"] + "/").startswith(it["path"].rstrip("/") + "/")]
    fits = [it for it in fits if it["path"] != "/" or row["path"] == "/"]
    return max(fits, key=lambda it: len(it["path"]), default=None)


def complete(reference, rows):
    """What one table has and the other lacks."""
    asked = {}
    for row in rows:
        known = reference_row(reference, row)
        if row["path"] in OURS:
            continue
        if known is None:
            yield "%s is not in Mesos' table" % row["path"]
            continue
        side = "agent" if row["where"] == "agent" else "master"
        keys = {pair.split("=")[0] for pair in row["query"].split("&")}
        asked.setdefault((side, known["path"]), []).append((row["method"], keys, row["status"]))
    for known in reference:
        for side in ("master", "agent") if known["component"] == "both" else (known["component"],):
            mine = asked.get((side, known["path"]), [])
            methods = set(re.findall("GET|POST|PUT|DELETE", known["methods"])) or {"GET"}
            for method in methods - {method for method, _, _ in mine}:
                yield "%s %s of the %s is never asked" % (method, known["path"], side)
            if {"404", "501"} >= {status for _, _, status in mine}:
                continue
            # The first word of each: what follows explains it.
            said = re.sub(r"\([^)]*\)|;.*", "", known["query_params"])
            parameters = {re.split("[ =]", one.strip())[0] for one in said.split(",")} - {""}
            for key in parameters - {key for _, keys, _ in mine for key in keys}:
                yield "%s?%s of the %s is never asked" % (known["path"], key, side)


class Surface:
    def __init__(self, masters, agents, framework):
        self.masters, self.failures, self.asked = masters, [], 0
        answer = curl("GET", "http://%s/state" % masters[0], follow=True)
        state = json.loads(answer.body)
        self.leader = state["leader"].split("@")[1]
        self.follower = next(address for address in masters if address != self.leader)
        (task,) = next(it for it in state["frameworks"] if it["id"] == framework)["tasks"]
        agent = next(it for it in state["slaves"] if it["id"] == task["slave_id"])
        other = next(it for it in state["slaves"] if it["id"] != task["slave_id"])
        self.agent = agent["pid"].split("@")[1]
        if sorted(agents) != sorted(it["pid"].split("@")[1] for it in state["slaves"]):
            raise SystemExit("other agents than %s: %s" % (agents, state["slaves"]))
        state = json.loads(curl("GET", "http://%s/state" % self.agent).body)
        (executor,) = next(it for it in state["frameworks"] if it["id"] == framework)["executors"]
        self.names = {"framework": framework, "task": task["id"], "agent": agent["id"], "other": other["id"],
                      "leader": self.leader, "executor": executor["id"], "container": executor["container"],
                      "sandbox": executor["directory"]}

    def ask(self, what, status, fact, *arguments, **more):
        self.asked += 1
        try:
            judge(curl(*arguments, **more), status, fact, self.names)
        except (Wrong, ValueError, AttributeError) as error:
            self.failures.append("%s: %s" % (what, error))
            print("WRONG %s: %s" % (what, error), file=sys.stderr, flush=True)

    def endpoint(self, row, known):
        rest, body = query(row["query"], self.names), form(row["body"], self.names)
        paths = [row["path"]]
        if known and known["alias"]:
            paths.append(known["alias"] + row["path"][len(known["path"]):])
        status, fact, method = row["status"], row["fact"], row["method"]

        def at(address, path, status=status, fact=fact, **more):
            self.ask("%s http://%s%s%s" % (method, address, path, rest), status, fact,
                     method, "http://%s%s%s" % (address, path, rest), body, **more)

        if row["where"] == "agent":
            return [at(self.agent, path) for path in paths]
        if row["where"] == "masters":
            return [at(master, path) for path in paths for master in (self.leader, self.follower)]
        for path in paths:
            at(self.follower, path, "307", "to //%s%s%s" % (self.leader, paths[0], rest))
            if method == "GET":
                at(self.leader, path)
        # What changes something is done once: by who follows the redirect.
        return at(self.follower, paths[-1], follow=True)

    def call(self, row, headers=()):
        """One call of an API, as JSON."""
        body = json.dumps({"type": row["call"], **json.loads(fill(row["body"], self.names))})
        headers = ["Content-Type: application/json", "Accept: application/json", *headers]
        what, path = "%s %s" % (row["api"], row["call"]), APIS[row["api"]]
        if row["api"] in ("master", "scheduler"):
            location = "to //%s/master%s" % (self.leader, path)
            self.ask(what + " at a follower", "307", location, "POST", "http://%s%s" % (self.follower, path), body, headers)
            self.ask(what, row["status"], row["fact"], "POST", "http://%s%s" % (self.follower, path), body, headers, follow=True)
        else:
            self.ask(what, row["status"], row["fact"], "POST", "http://%s%s" % (self.agent, path), body, headers)


class Subscription:
    """A curl that holds an event stream."""

    def __init__(self, url, body):
        self.process = subprocess.Popen(
            ["curl", "--silent", "--no-buffer", "--include", "--location", "--header", "Content-Type: application/json",
             "--header", "Accept: application/json", "--data-binary", json.dumps(body), url],
            stdout=subprocess.PIPE)
        # A redirect's head comes first.
        while True:
            head = self.head()
            if b" 307 " not in head[0] and b" 100 " not in head[0]:
                break
        self.status = int(head[0].split()[1])
        self.headers = dict(line.decode().strip().lower().split(": ", 1) for line in head[1:])
        self.first = json.loads(self.process.stdout.read(int(self.process.stdout.readline())))

    def head(self):
        lines = []
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("curl has ended before an answer came: %s" % lines)
            if line == b"\r\n":
                return lines
            lines.append(line)

    def close(self):
        self.process.kill()
        self.process.wait()


def subscribe(surface, row):
    """The row of a SUBSCRIBE: the status, and facts about the first event."""
    body = {"type": "SUBSCRIBE", **json.loads(fill(row["body"], surface.names))}
    stream = Subscription("http://%s%s" % (surface.follower, APIS[row["api"]]), body)
    surface.asked += 1
    if stream.status != int(row["status"]) or not all(holds(one, stream.first) for one in row["fact"].split(" ")):
        surface.failures.append("%s SUBSCRIBE" % row["api"])
        print("WRONG %s SUBSCRIBE: %d %s" % (row["api"], stream.status, stream.first), file=sys.stderr, flush=True)
    return stream


def calls(surface):
    headers, streams = [], []
    for row in table("calls.tsv"):
        if row["call"] == "SUBSCRIBE" and row["status"] == "200":
            streams.append(subscribe(surface, row))
            if row["api"] == "scheduler":
                headers = ["Mesos-Stream-Id: " + streams[-1].headers["mesos-stream-id"]]
                surface.names["own"] = streams[-1].first["subscribed"]["framework_id"]["value"]
        else:
            surface.call(row, headers if row["api"] == "scheduler" else [])
    for stream in streams:
        stream.close()


def main():
    masters, agents, framework = sys.argv[1].split(","), sys.argv[2].split(","), sys.argv[3]
    reference, rows = list(table("v0-endpoints.tsv")), list(table("endpoints.tsv"))
    gaps = list(complete(reference, rows))
    if gaps:
        raise SystemExit("\n".join(gaps))
    print("COMPLETE", flush=True)
    surface = Surface(masters, agents, framework)
    calls(surface)
    print("CALLS %d" % surface.asked, flush=True)
    for row in rows:
        surface.endpoint(row, reference_row(reference, row))
    if surface.failures:
        raise SystemExit("%d of %d answers are wrong" % (len(surface.failures), surface.asked))
    print("ENDPOINTS %d" % surface.asked, flush=True)
    print("DONE", flush=True)


if __name__ == "__main__":
    main()
