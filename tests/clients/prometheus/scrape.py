"""A real Prometheus scrapes a cluster, and what it then answers is what the masters' /state says.

usage: scrape.py BIN FOLDER DASHBOARD MASTERS AGENTS

BIN holds prometheus and promtool, FOLDER takes data and logs, DASHBOARD is Grafana's JSON; MASTERS and AGENTS are
host:port,…. Something should run. Prints one line per phase; ends with "DONE" and status 0, or a reason and status 1.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

DEADLINE = 60
INTERVAL_MS = 500


def fetch(address, path):
    with urllib.request.urlopen("http://%s%s" % (address, path), timeout=10) as answer:
        return answer.read()


def until(what, condition):
    """Waits until `condition` gives nothing to complain about."""
    deadline = time.time() + DEADLINE
    while True:
        complaint = condition()
        if not complaint:
            return
        if time.time() > deadline:
            raise SystemExit("%s: %s" % (what, complaint))
        time.sleep(0.1)


def lint(promtool, address):
    found = subprocess.run([promtool, "check", "metrics"], input=fetch(address, "/metrics"), capture_output=True)
    said = (found.stdout + found.stderr).decode()
    if found.returncode or said:
        raise SystemExit("promtool on /metrics of %s (%d):\n%s" % (address, found.returncode, said))


class Prometheus:
    def __init__(self, program, folder, jobs):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % probe.getsockname()[1]
        config = {
            "global": {"scrape_interval": "%dms" % INTERVAL_MS},
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()],
        }
        path = os.path.join(folder, "prometheus.yml")
        with open(path, "w") as file:
            # JSON is YAML.
            json.dump(config, file)
        self.log = open(os.path.join(folder, "prometheus.log"), "w")
        self.process = subprocess.Popen(
            [program, "--config.file=" + path, "--storage.tsdb.path=" + os.path.join(folder, "data"),
             "--web.listen-address=" + self.address], stdout=self.log, stderr=self.log)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def api(self, path, **query):
        try:
            answer = json.loads(fetch(self.address, "/api/v1/%s?%s" % (path, urllib.parse.urlencode(query))))
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise ConnectionError("it is starting")
            raise SystemExit("%s %s: %s" % (path, query, error.read().decode()))
        if answer["status"] != "success":
            raise SystemExit("%s %s: %s" % (path, query, answer))
        return answer["data"]

    def targets(self, wanted):
        """What is wrong with the targets."""
        try:
            targets = self.api("targets", state="active")["activeTargets"]
        except OSError:
            if self.process.poll() is not None:
                raise SystemExit("prometheus has ended:\n" + open(self.log.name).read())
            return "prometheus does not answer yet"
        wrong = [(it["scrapeUrl"], it["health"], it["lastError"]) for it in targets if it["health"] != "up" or it["lastError"]]
        return wrong or (len(targets) != wanted and targets)

    def value(self, query):
        result = self.api("query", query=query)["result"]
        return float(result[0]["value"][1]) if len(result) == 1 else result


def facts(state):
    """What PromQL must answer, by query."""
    tasks = [task for framework in state["frameworks"] for task in framework["tasks"]]
    return {
        "sum(mesarch_master_leading)": 1,
        "sum(mesarch_raft_is_leader)": 1,
        "sum(mesarch_scheduler_streams)": sum(framework["connected"] for framework in state["frameworks"]),
        "sum(mesarch_agent_links)": state["activated_slaves"],
        "sum(mesarch_agent_attached)": state["activated_slaves"],
        "sum(mesarch_agent_tasks)": len(tasks),
        "sum(mesarch_agent_executors)": len(tasks),
        "sum(increase(mesarch_raft_commands_applied_total[1m])) >= bool 0": 1,
        "count(count(mesarch_raft_term) by (instance)) == bool count(up{job=\"masters\"} == 1)": 1,
        "count(mesarch_build_info)": len(state["slaves"]) + 3,
    }


def compare(prometheus, master):
    # Any master redirects to the leader.
    state = json.loads(fetch(master, "/state"))
    leader = state["leader"].split("@")[1]
    if not any(framework["tasks"] for framework in state["frameworks"]):
        raise SystemExit("nothing runs: nothing can be compared")

    def wrong():
        found = {query: prometheus.value(query) for query in wanted}
        return {query: (found[query], wanted[query]) for query in wanted if found[query] != wanted[query]}

    wanted = facts(state)
    until("PromQL and /state", wrong)
    (leads,) = prometheus.api("query", query="mesarch_master_leading == 1")["result"]
    if leads["metric"]["instance"] != leader:
        raise SystemExit("%s leads, Prometheus says %s" % (leader, leads))
    return len(wanted) + 1


def expressions(dashboard):
    with open(dashboard) as file:
        panels = json.load(file)["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def main():
    programs, folder, dashboard, masters, agents = sys.argv[1:6]
    masters, agents = masters.split(","), agents.split(",")
    for address in masters + agents:
        lint(os.path.join(programs, "promtool"), address)
    print("LINTED", flush=True)
    prometheus = Prometheus(os.path.join(programs, "prometheus"), folder, {"masters": masters, "agents": agents})
    try:
        until("targets", lambda: prometheus.targets(len(masters) + len(agents)))
        print("SCRAPED", flush=True)
        print("EQUAL %d" % compare(prometheus, masters[0]), flush=True)
        for expression in expressions(dashboard):
            prometheus.api("query", query=expression.replace("$__rate_interval", "1m").replace("$__interval", "1m"))
        print("DASHBOARD", flush=True)
    finally:
        prometheus.stop()
    print("DONE", flush=True)


if __name__ == "__main__":
    main()
