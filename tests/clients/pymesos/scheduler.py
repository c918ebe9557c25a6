"""A framework on pymesos that uses most of the scheduler API and checks every answer.

usage: scheduler.py MASTER EXECUTOR_COMMAND [--wait-for-failover]

Acknowledges by itself. With --wait-for-failover one update is left unacknowledged until the next leader has repeated it.
Prints one line per phase; ends with "DONE" and status 0, or with a reason and status 1.
"""

import base64
import json
import sys
import threading
import time
import urllib.request

from pymesos import MesosSchedulerDriver, Scheduler

FINISHING = ["finish-1", "finish-2", "finish-3"]
KILLED = "kill-1"
WITHHELD = (FINISHING[0], "TASK_RUNNING")
DEADLINE = 90


def scalar(name, value):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


class Scenario(Scheduler):
    def __init__(self, executor_command, withholds):
        self.executor_command = executor_command
        self.withholds = withholds
        self.changed = threading.Condition()
        self.framework_id = None
        self.returned = 0
        self.launched = False
        self.executor = None
        self.states = {task: [] for task in FINISHING + [KILLED]}
        self.reconciled = []
        self.messages = []
        self.uuids = {}
        self.repeats_of_withheld = 0
        self.wrong = []

    def note(self, change):
        with self.changed:
            change()
            self.changed.notify_all()

    def wait(self, what, condition):
        with self.changed:
            if not self.changed.wait_for(lambda: self.wrong or condition(), DEADLINE):
                self.wrong.append("waited in vain for: " + what)
        if self.wrong:
            raise SystemExit("\n".join(self.wrong + [json.dumps(self.states)]))
        print(what, flush=True)

    def registered(self, driver, framework_id, master_info):
        def change():
            self.framework_id = framework_id["value"]
        self.note(change)

    def reregistered(self, driver, master_info):
        def change():
            self.returned += 1
        self.note(change)

    def resourceOffers(self, driver, offers):
        for offer in offers:
            if self.launched:
                driver.declineOffer(offer["id"], {"refuse_seconds": 1})
                continue
            self.launched = True
            self.executor = ({"value": "pymesos-executor"}, offer["agent_id"])
            driver.launchTasks(offer["id"], [self.task(task, offer) for task in self.states])

    def task(self, name, offer):
        executor = {
            "executor_id": self.executor[0],
            "framework_id": {"value": self.framework_id},
            "type": "CUSTOM",
            "command": {"shell": True, "value": self.executor_command},
            "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
        }
        return {
            "name": name,
            "task_id": {"value": name},
            "agent_id": offer["agent_id"],
            "executor": executor,
            "resources": [scalar("cpus", 0.1), scalar("mem", 16)],
            "data": base64.b64encode(name.encode()).decode(),
        }

    def statusUpdate(self, driver, status):
        def change():
            if status.get("reason") == "REASON_RECONCILIATION":
                self.reconciliation(status)
            elif self.update(status):
                driver.acknowledgeStatusUpdate(status)
        self.note(change)

    def reconciliation(self, status):
        if "uuid" in status:
            self.wrong.append("a reconciliation update has a uuid: %r" % status)
        self.reconciled.append((status["task_id"]["value"], status["state"]))

    def update(self, status):
        """Notes an update of the agent's; says whether it is to be acknowledged now."""
        task, state = status["task_id"]["value"], status["state"]
        for field in ("agent_id", "timestamp", "source", "executor_id", "uuid"):
            if field not in status:
                self.wrong.append("an update has no %s: %r" % (field, status))
        first = (task, state) not in self.uuids
        if first:
            self.uuids[(task, state)] = status["uuid"]
            self.states[task].append(state)
        elif self.uuids[(task, state)] != status["uuid"]:
            self.wrong.append("a repeated update has another uuid: %r" % status)
        if not self.withholds or (task, state) != WITHHELD:
            return True
        if self.returned and not first:
            self.repeats_of_withheld += 1
        return self.repeats_of_withheld > 0

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        self.note(lambda: self.messages.append(base64.b64decode(message).decode()))

    def error(self, driver, message):
        self.note(lambda: self.wrong.append("ERROR: " + message))

    def last(self, task):
        return self.states[task][-1] if self.states[task] else None


def completed_at(master, framework_id):
    """The leader's view of our tasks: (open, completed)."""
    with urllib.request.urlopen("http://%s/state" % master, timeout=10) as answer:
        state = json.load(answer)
    for framework in state["frameworks"]:
        if framework["id"] == framework_id:
            return len(framework["tasks"]), len(framework["completed_tasks"])
    return None


def main():
    master, executor_command = sys.argv[1:3]
    across_failover = "--wait-for-failover" in sys.argv
    scenario = Scenario(executor_command, across_failover)
    framework = {
        "user": "root",
        "name": "pymesos-scenario",
        "checkpoint": True,
        "failover_timeout": 60.0,
        "capabilities": [{"type": "PARTITION_AWARE"}],
    }
    driver = MesosSchedulerDriver(scenario, framework, master, implicit_acknowledgements=False)
    driver.start()
    scenario.wait("REGISTERED", lambda: scenario.framework_id)
    scenario.wait("RUNNING", lambda: all(scenario.last(task) == "TASK_RUNNING" for task in scenario.states))

    if across_failover:
        scenario.wait("RETURNED", lambda: scenario.returned)
        if driver.framework_id != scenario.framework_id:
            raise SystemExit("another framework id after the failover: %s" % driver.framework_id)
        scenario.wait("REPEATED", lambda: scenario.repeats_of_withheld)

    driver.reconcileTasks([{"task_id": {"value": FINISHING[0]}}])
    scenario.wait("RECONCILED", lambda: (FINISHING[0], "TASK_RUNNING") in scenario.reconciled)

    # Messages may be lost: say it until it is answered.
    order = base64.b64encode(b"finish").decode()
    deadline = time.time() + DEADLINE
    while "finishing" not in scenario.messages and time.time() < deadline:
        driver.sendFrameworkMessage(scenario.executor[0], scenario.executor[1], order)
        with scenario.changed:
            scenario.changed.wait_for(lambda: "finishing" in scenario.messages, 2)
    scenario.wait("MESSAGE", lambda: "finishing" in scenario.messages)
    scenario.wait("FINISHED", lambda: all(scenario.last(task) == "TASK_FINISHED" for task in FINISHING))
    driver.killTask({"value": KILLED})
    scenario.wait("KILLED", lambda: scenario.last(KILLED) == "TASK_KILLED")

    expect = (0, len(scenario.states))
    while completed_at(driver.master, scenario.framework_id) != expect:
        if time.time() > deadline:
            raise SystemExit("not every update was acknowledged: %r" % (completed_at(driver.master, scenario.framework_id),))
        time.sleep(0.05)
    print("ACKNOWLEDGED", flush=True)
    driver.stop()
    driver.join()
    print("DONE", flush=True)


if __name__ == "__main__":
    main()
