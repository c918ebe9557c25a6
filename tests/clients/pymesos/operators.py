"""Operators on pymesos: every call of its drivers for masters and agents, and every event of its stream.

usage: operators.py MASTER AGENT

MASTER may be a follower. A framework of pymesos gives them something to see. When it prints "REPLACE AGENT" the agent has
to be started again. Prints one line per phase; ends with "DONE" and status 0, or with a reason and status 1.
"""

import json
import sys
import threading
import time
import urllib.request

from pymesos import MesosOperatorAgentDriver, MesosOperatorMasterDriver, MesosSchedulerDriver, OperatorMaster, Scheduler

DEADLINE = 90
SECOND = 1000 * 1000 * 1000
ROLE = "operated"
# What the driver itself needs, beside the calls.
NO_CALLS = {"start", "stop", "abort", "join", "run", "init", "gen_request", "process_event", "change_master"}


def scalar(name, value, **more):
    return dict(name=name, type="SCALAR", scalar={"value": value}, **more)


def reserved(name, value, **more):
    return scalar(name, value, reservations=[{"type": "DYNAMIC", "role": ROLE, "principal": "op"}], **more)


VOLUME = reserved("disk", 8, disk={
    "persistence": {"id": "volume-1", "principal": "op"}, "volume": {"container_path": "kept", "mode": "RW"}})


class Watcher(OperatorMaster):
    """Notes every event, as (name, what it is about)."""

    def __init__(self):
        self.changed = threading.Condition()
        self.seen = []

    def note(self, name, about):
        with self.changed:
            self.seen.append((name, about))
            self.changed.notify_all()

    def taskAdded(self, task):
        self.note("taskAdded", task["task_id"]["value"])

    def taskUpdated(self, event):
        self.note("taskUpdated", event["state"])

    def frameworkAdded(self, framework):
        self.note("frameworkAdded", framework["framework_info"]["name"])

    def frameworkUpdated(self, framework):
        self.note("frameworkUpdated", framework["framework_info"]["name"])

    def frameworkRemoved(self, info):
        self.note("frameworkRemoved", info["name"])

    def agentAdded(self, agent):
        self.note("agentAdded", agent["agent_info"]["id"]["value"])

    def agentRemoved(self, agent_id):
        self.note("agentRemoved", agent_id)

    def wait(self, *event):
        with self.changed:
            if not self.changed.wait_for(lambda: event in [seen[:len(event)] for seen in self.seen], DEADLINE):
                raise SystemExit("no event %r among %r" % (event, self.seen))


class OneTask(Scheduler):
    """Runs one task on the first offer."""

    def __init__(self):
        self.launched = False

    def resourceOffers(self, driver, offers):
        for offer in offers:
            if self.launched:
                driver.declineOffer(offer["id"])
                continue
            self.launched = True
            driver.launchTasks(offer["id"], [{
                "name": "seen", "task_id": {"value": "seen"}, "agent_id": offer["agent_id"],
                "command": {"shell": True, "value": "sleep 1000"}, "resources": [scalar("cpus", 0.1), scalar("mem", 16)]}])


class Calls:
    """A driver of which every call that was made is known."""

    def __init__(self, driver):
        self.driver, self.made = driver, set()

    def answer(self, name, *arguments, **more):
        self.made.add(name)
        return getattr(self.driver, name)(*arguments, **more)

    def get(self, name, field, *arguments):
        """The part of an answer that is named after its type."""
        answer = self.answer(name, *arguments)
        if answer.get("type") != field.upper() or field not in answer and answer.keys() != {"type"}:
            raise SystemExit("%s was answered %s" % (name, json.dumps(answer)[:500]))
        return answer.get(field, {})

    def refused(self, status, name, *arguments, **more):
        try:
            answer = self.answer(name, *arguments, **more)
        except RuntimeError as error:
            if "code=%d," % status not in str(error):
                raise SystemExit("%s: %s, expected %d" % (name, error, status))
        else:
            raise SystemExit("%s was not refused but answered %r" % (name, answer))

    def all_made(self):
        offered = {name for name in dir(self.driver) if not name.startswith(("_", "on_")) and callable(getattr(self.driver, name))}
        missing = offered - self.made - NO_CALLS
        if missing:
            raise SystemExit("calls that were never made: %s" % sorted(missing))


def check(what, found, wanted):
    if found != wanted:
        raise SystemExit("%s: %r, expected %r" % (what, found, wanted))


def until(what, condition):
    deadline = time.time() + DEADLINE
    while not condition():
        if time.time() > deadline:
            raise SystemExit("waited in vain for " + what)
        time.sleep(0.05)


def common(calls):
    """The calls that masters and agents have in common."""
    check("health", calls.get("getHealth", "get_health"), {"healthy": True})
    check("version", calls.get("getVersion", "get_version")["version_info"]["version"], "1.11.0")
    assert calls.get("getFlags", "get_flags")["flags"]
    assert calls.get("getMetrics", "get_metrics", 5 * SECOND)["metrics"]
    level = calls.get("getLoggingLevel", "get_logging_level")["level"]
    check("raised", calls.answer("setLoggingLevel", level + 1, 60 * SECOND), {})
    check("level", calls.get("getLoggingLevel", "get_logging_level")["level"], level + 1)
    calls.answer("setLoggingLevel", level, SECOND)
    check("frameworks", [it["framework_info"]["name"] for it in calls.get("getFrameworks", "get_frameworks")["frameworks"]],
          ["pymesos-operated"])
    calls.get("getExecutors", "get_executors")
    state = calls.get("getState", "get_state")
    assert state["get_frameworks"]["frameworks"]


def master_reads(calls):
    common(calls)
    check("tasks", [task["state"] for task in calls.get("getTasks", "get_tasks")["tasks"]], ["TASK_RUNNING"])
    assert calls.get("getMaster", "get_master")["master_info"]["address"]["port"]
    assert ROLE in [role["name"] for role in calls.get("getRoles", "get_roles")["roles"]]
    # Masters log to standard error and show no files.
    calls.refused(404, "listFiles", "/master/log")
    calls.refused(404, "readFile", "/master/log", 10, 0)
    print("READ", flush=True)


def resources(calls, agent):
    def reservations():
        agents = calls.get("getAgents", "get_agents")["agents"]
        total = next(it for it in agents if it["agent_info"]["id"]["value"] == agent)["total_resources"]
        return sorted((it["name"], "disk" in it) for it in total if it.get("reservations"))

    calls.answer("reserveResources", agent, [reserved("cpus", 0.5), reserved("disk", 8)])
    until("the reservation", lambda: reservations() == [("cpus", False), ("disk", False)])
    calls.answer("createVolumes", agent, [VOLUME])
    until("the volume", lambda: reservations() == [("cpus", False), ("disk", True)])
    calls.answer("destroyVolumes", agent, [VOLUME])
    until("the volume's end", lambda: reservations() == [("cpus", False), ("disk", False)])
    calls.answer("unreserveResources", agent, [reserved("cpus", 0.5), reserved("disk", 8)])
    until("the reservation's end", lambda: reservations() == [])
    calls.refused(409, "reserveResources", agent, [reserved("cpus", 100000)])
    print("RESERVED", flush=True)


def shares(calls):
    calls.answer("updateWeights", [{"role": ROLE, "weight": 2.5}])
    check("weights", calls.get("getWeights", "get_weights")["weight_infos"], [{"role": ROLE, "weight": 2.5}])
    calls.answer("setQuota", {"role": ROLE, "guarantee": [scalar("cpus", 0.5)], "force": True})
    check("quota", [info["role"] for info in calls.get("getQuota", "get_quota")["status"]["infos"]], [ROLE])
    calls.answer("removeQuota", ROLE)
    check("quota", calls.get("getQuota", "get_quota")["status"].get("infos", []), [])
    print("SHARED", flush=True)


def maintenance(calls, watcher, agent):
    info = next(it for it in calls.get("getAgents", "get_agents")["agents"] if it["agent_info"]["id"]["value"] == agent)
    machine = {"hostname": info["agent_info"]["hostname"], "ip": info["pid"].split("@")[1].split(":")[0]}
    window = {"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": int(time.time() + 3600) * SECOND}}}
    calls.answer("updateMaintenanceSchedule", [window])
    check("schedule", calls.get("getMaintenanceSchedule", "get_maintenance_schedule")["schedule"], {"windows": [window]})
    draining = calls.get("getMaintenanceStatus", "get_maintenance_status")["status"]["draining_machines"]
    check("draining", [it["id"] for it in draining], [machine])
    calls.answer("startMaintenance", [machine])
    check("down", calls.get("getMaintenanceStatus", "get_maintenance_status")["status"]["down_machines"], [machine])
    watcher.wait("agentRemoved", agent)
    calls.answer("stopMaintenance", [machine])
    check("up", calls.get("getMaintenanceStatus", "get_maintenance_status")["status"], {})
    print("REPLACE AGENT", flush=True)
    watcher.wait("agentAdded")
    new = [about for name, about in watcher.seen if name == "agentAdded"][-1]
    calls.answer("markAgentGone", new)
    watcher.wait("agentRemoved", new)
    calls.refused(404, "markAgentGone", "nobody")
    print("MAINTAINED", flush=True)


def agent_calls(address):
    calls = Calls(MesosOperatorAgentDriver(address))
    common(calls)
    check("tasks", [it["task_id"]["value"] for it in calls.get("getTasks", "get_tasks")["launched_tasks"]], ["seen"])
    container = calls.get("getContainers", "get_containers")["containers"][0]
    executor = calls.get("getState", "get_state")["get_executors"]["executors"][0]["executor_info"]
    check("executor", executor["executor_id"], container["executor_id"])
    root = find_sandbox(address, container)
    files = calls.get("listFiles", "list_files", root)["file_infos"]
    assert "stdout" in [it["path"].rsplit("/", 1)[1] for it in files], files
    assert "size" in calls.get("readFile", "read_file", root + "/stdout", 10, 0)
    nested = {"container_id": {"value": "inner", "parent": container["container_id"]}, "command": {"value": "true"}}
    calls.refused(501, "launchNestedContainer", nested)
    calls.refused(501, "launchNestedContainerSession", nested)
    for name in ("waitNestedContainer", "killNestedContainer", "removeNestedContainer"):
        calls.refused(501, name, "inner")
    calls.refused(501, "attachContainerOutput", "inner")
    # The driver sends its records as one JSON string, which is no call for a real agent either.
    calls.refused(400, "attachContainerInput", "inner", [])
    provider = {"type": "org.example", "name": "disks"}
    calls.refused(501, "addResourceProviderConfig", provider)
    calls.refused(501, "updateResourceProviderConfig", provider)
    calls.refused(501, "removeResourceProviderConfig", "org.example", "disks")
    # An agent without images has none to prune.
    calls.answer("pruneImages", [])
    calls.all_made()
    print("AGENT", flush=True)


def find_sandbox(address, container):
    """Where the agent keeps the executor's files, as its /state says."""
    with urllib.request.urlopen("http://%s/state" % address, timeout=10) as answer:
        state = json.load(answer)
    executors = [executor for framework in state["frameworks"] for executor in framework["executors"]]
    return next(it["directory"] for it in executors if it["container"] == container["container_id"]["value"])


def main():
    master, agent = sys.argv[1:3]
    watcher = Watcher()
    driver = MesosOperatorMasterDriver(master, operator=watcher)
    driver.start()
    until("the stream", lambda: driver.connected)
    framework = MesosSchedulerDriver(OneTask(), {
        "user": "root", "name": "pymesos-operated", "roles": [ROLE], "failover_timeout": 60.0,
        "capabilities": [{"type": "MULTI_ROLE"}]}, master)
    framework.start()
    watcher.wait("frameworkAdded", "pymesos-operated")
    watcher.wait("taskAdded", "seen")
    watcher.wait("taskUpdated", "TASK_RUNNING")
    print("WATCHED", flush=True)
    calls = Calls(driver)
    agent_id = calls.get("getAgents", "get_agents")["agents"][0]["agent_info"]["id"]["value"]
    master_reads(calls)
    agent_calls(agent)
    shares(calls)
    resources(calls, agent_id)
    maintenance(calls, watcher, agent_id)
    calls.all_made()
    framework.stop(failover=True)
    framework.join()
    watcher.wait("frameworkUpdated", "pymesos-operated")
    framework.start()
    until("the framework's return", lambda: framework.connected)
    framework.stop()
    framework.join()
    watcher.wait("frameworkRemoved", "pymesos-operated")
    print("DONE", flush=True)
    driver.stop()
    driver.join()


if __name__ == "__main__":
    main()
