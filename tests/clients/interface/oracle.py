"""Apache's own generated messages (mesos.interface 1.7.2) judge what masters and agents send and take in protobuf.

usage: oracle.py MASTER AGENT TABLES

mesos.interface holds mesos.proto: frameworks, offers, tasks, statuses, resources and what they are made of. The calls,
events and answers around them are taken apart by the tables of fields and enums in the folder TABLES, and every message
within that mesos.interface knows is parsed by it: no field may be unknown to it but those that the table says came
later. Every answer is asked for in JSON too, and both must hold the same. What is sent is serialised by it.

Prints one line per phase; ends with "DONE" and status 0, or with a reason and status 1.
"""

import base64
import collections
import http.client
import json
import os
import re
import sys
import time
import uuid

import mesos_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from wire import Table, Wrong, split

DEADLINE = 60
PROTOBUF, JSON = "application/x-protobuf", "application/json"
CALL, EVENT = "mesos.v1.scheduler.Call", "mesos.v1.scheduler.Event"

# Where 1.11's schema differs from 1.7's in another way than by having more.
CHANGED = {"AgentInfo checkpoint: gone", "CSIPluginInfo name: required -> optional"}
# Gone from the schema, and still in the JSON of a real 1.11.
JSON_ONLY = {"AgentInfo checkpoint"}

# What 1.11 has and 1.7 has not; everything else must be the same, number by number.
NEWER_MESSAGES = {
    "CSIPluginEndpoint", "DrainConfig", "DrainInfo", "OfferFilters", "OfferFilters.MinAllocatableResources",
    "OfferFilters.ResourceQuantities", "SeccompInfo", "Volume.Source.CSIVolume",
    "Volume.Source.CSIVolume.StaticProvisioning", "Volume.Source.CSIVolume.VolumeCapability",
    "Volume.Source.CSIVolume.VolumeCapability.AccessMode",
    "Volume.Source.CSIVolume.VolumeCapability.MountVolume",
}
NEWER_FIELDS = {
    "CSIPluginInfo endpoints", "CSIPluginInfo target_path_exists", "CSIPluginInfo target_path_root",
    "FrameworkInfo offer_filters", "LinuxInfo ipc_mode", "LinuxInfo seccomp", "LinuxInfo share_cgroups",
    "LinuxInfo shm_size", "Offer.Operation.Reserve source", "ResourceProviderInfo.Storage reconciliation_interval_seconds",
    "ResourceStatistics cpus_soft_limit", "Task health_check", "Task kill_policy", "Task limits", "TaskInfo limits",
    "Volume.Source csi_volume",
}


def renamed(name):
    """A name of 1.7's mesos.proto as mesos/v1 has it."""
    for old, new in (("SlaveID", "AgentID"), ("SlaveInfo", "AgentInfo"), ("slave", "agent"), ("SLAVE", "AGENT")):
        name = name.replace(old, new)
    return name


def old_classes():
    """Apache's class of every message, by its name in mesos/v1."""
    classes = {}

    def walk(cls, name):
        classes["mesos.v1." + renamed(name)] = cls
        for nested in cls.DESCRIPTOR.nested_types:
            walk(getattr(cls, nested.name), name + "." + nested.name)

    for name in mesos_pb2.DESCRIPTOR.message_types_by_name:
        walk(getattr(mesos_pb2, name), name)
    return classes


CLASSES = old_classes()


def old_schema():
    labels = {1: "optional", 2: "required", 3: "repeated"}
    scalars = {getattr(FieldDescriptor, name): name[5:].lower() for name in dir(FieldDescriptor) if name.startswith("TYPE_")}
    schema = {}
    for name, cls in CLASSES.items():
        for field in cls.DESCRIPTOR.fields:
            of = field.message_type or field.enum_type
            kind = "mesos.v1" + renamed(of.full_name)[len("mesos"):] if of else scalars[field.type]
            schema[name, renamed(field.name)] = (field.number, labels[field.label], kind)
    return schema


def compare_schemas(table):
    old = old_schema()
    new = {(message, field): row for message, fields in table.messages.items() if re.fullmatch(r"mesos\.v1\.[A-Z].*", message)
           for field, row in fields.items()}
    differences = set()
    more = set()
    for (message, field) in old.keys() | new.keys():
        was, now, short = old.get((message, field)), new.get((message, field)), message[len("mesos.v1."):]
        if was is None:
            more.add(short if message not in CLASSES else short + " " + field)
        elif now is None:
            differences.add("%s %s: gone" % (short, field))
        elif (was[0], was[2]) != (now[0], now[2]):
            differences.add("%s %s: %s -> %s" % (short, field, was, now))
        elif was[1] != now[1]:
            differences.add("%s %s: %s -> %s" % (short, field, was[1], now[1]))
    for enum, values in old_enums().items():
        for value, number in values.items():
            if table.enums.get(enum, {}).get(value) != number:
                differences.add("%s %s: %d -> %s" % (enum, value, number, table.enums.get(enum, {}).get(value)))
    expect("differences of the schemas", differences, CHANGED)
    expect("newer parts of the schema", more, NEWER_MESSAGES | NEWER_FIELDS)
    print("SCHEMA %d fields" % len(old), flush=True)


def old_enums():
    enums = {}
    scopes = [("mesos.v1.", mesos_pb2.DESCRIPTOR.enum_types_by_name)]
    scopes += [(name + ".", cls.DESCRIPTOR.enum_types_by_name) for name, cls in CLASSES.items()]
    for scope, found in scopes:
        for name, enum in found.items():
            enums[scope + name] = {renamed(value.name): value.number for value in enum.values}
    # The states of the drivers that this package was made for.
    enums.pop("mesos.v1.Status")
    return enums


def expect(what, found, wanted):
    if isinstance(found, set):
        more, less = sorted(found - wanted), sorted(wanted - found)
        if more or less:
            raise SystemExit("%s: %r too much, %r missing" % (what, more, less))
    if found != wanted:
        raise SystemExit("%s: %r, expected %r" % (what, found, wanted))


class Judge:
    """Walks a message, in protobuf and perhaps in JSON, and has Apache's classes parse what they know."""

    def __init__(self, table):
        self.table = table
        self.parsed = collections.Counter()

    def judge(self, kind, data, other=None, path=""):
        path = path or kind
        if kind in CLASSES:
            return self.leaf(kind, data, other, path)
        fields = {number: (name, label, of) for name, (number, label, of) in self.table.messages[kind].items()}
        there = collections.defaultdict(list)
        for number, wire, value in split(data):
            if number not in fields:
                raise SystemExit("%s: field %d is not in the schema" % (path, number))
            there[number].append((wire, value))
        for number, values in there.items():
            name, label, of = fields[number]
            self.values(label, of, values, None if other is None else other.get(name, Wrong), path + "." + name)
        if other is not None:
            extra = set(other) - {fields[number][0] for number in there}
            extra = {name for name in extra if other[name] not in ([], {}, "", 0, False)}
            expect(path + " in JSON only", extra, set())

    def values(self, label, of, values, other, path):
        if other is Wrong:
            raise SystemExit("%s is in protobuf only" % path)
        if label == "repeated":
            if other is not None:
                expect(path + ", how many", len(other), len(values))
            for index, (wire, value) in enumerate(values):
                self.value(of, wire, value, None if other is None else other[index], "%s[%d]" % (path, index))
        elif label != "map":
            expect(path + ", how often", len(values), 1)
            self.value(of, *values[0], other, path)

    def value(self, of, wire, value, other, path):
        if of in self.table.messages:
            return self.judge(of, value, other, path)
        found = self.table.scalar(of, wire, value)
        if other is not None:
            expect(path, found, base64.b64decode(other) if of == "bytes" else other)

    def leaf(self, kind, data, other, path):
        self.parsed[kind] += 1
        message = CLASSES[kind]()
        message.ParseFromString(data)
        self.unknown(kind, message, path)
        if not message.IsInitialized():
            raise SystemExit("%s lacks %s" % (path, message.FindInitializationErrors()))
        if other is None:
            return
        told = json_format.ParseDict(as_old(other, message.DESCRIPTOR, path), CLASSES[kind]())
        message.DiscardUnknownFields()
        without_defaults(message)
        without_defaults(told)
        expect(path, told, message)

    def unknown(self, kind, message, path):
        for field in message.UnknownFields():
            name, (_, _, of) = next(
                (item for item in self.table.messages[kind].items() if item[1][0] == field.field_number), (None, (0, "", "")))
            newer = "%s %s" % (kind[len("mesos.v1."):], name) in NEWER_FIELDS
            # A value that an enum has got since stands there like an unknown field.
            if not newer and field.data not in self.table.enums.get(of, {}).values():
                raise SystemExit("%s has the unknown field %d" % (path, field.field_number))
        for descriptor, value in message.ListFields():
            if descriptor.message_type is None:
                continue
            within = "mesos.v1" + renamed(descriptor.message_type.full_name)[len("mesos"):]
            for one in value if descriptor.label == FieldDescriptor.LABEL_REPEATED else [value]:
                self.unknown(within, one, path + "." + descriptor.name)


def as_old(value, descriptor, path):
    """Our JSON of a message in the words of 1.7, without what came later."""
    fields = {renamed(field.name): field for field in descriptor.fields}
    short = renamed(descriptor.full_name)[len("mesos."):]
    old = {}
    for name, item in value.items():
        if "%s %s" % (short, name) in JSON_ONLY:
            continue
        if name in fields:
            field = fields[name]
            items = [as_old_value(one, field, path + "." + name) for one in (item if isinstance(item, list) else [item])]
            items = [one for one in items if one is not None]
            if items:
                old[field.name] = items if isinstance(item, list) else items[0]
        elif "%s %s" % (short, name) not in NEWER_FIELDS:
            raise SystemExit("%s.%s in JSON is not in the schema" % (path, name))
    return old


def as_old_value(value, field, path):
    if field.message_type is not None:
        return as_old(value, field.message_type, path)
    if field.enum_type is not None:
        return next((old.name for old in field.enum_type.values if renamed(old.name) == value), None)
    return value


def without_defaults(message):
    """JSON tells an unset field that has a default of its own; protobuf does not."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for one in value if descriptor.label == FieldDescriptor.LABEL_REPEATED else [value]:
                without_defaults(one)
        elif descriptor.has_default_value and value == descriptor.default_value:
            message.ClearField(descriptor.name)


def post(address, path, body, accept=PROTOBUF, sent=PROTOBUF, **headers):
    """The answer, still to be read, of the leader that `address` names or is."""
    headers = {"Content-Type": sent, "Accept": accept, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection = http.client.HTTPConnection(address, timeout=DEADLINE)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    if answer.status == 307:
        answer.read()
        connection.close()
        return post(answer.getheader("Location")[2:].split("/")[0], path, body, accept, sent,
                    **{name.replace("-", "_"): value for name, value in headers.items() if name not in ("Content-Type", "Accept")})
    # The connection lives as long as its answer.
    answer.connection = connection
    return answer


class Stream:
    """An event stream in protobuf."""

    def __init__(self, judge, kind, address, path, body):
        self.judge, self.kind = judge, kind
        self.answer = post(address, path, body)
        expect("status of SUBSCRIBE", (self.answer.status, self.answer.getheader("Content-Type")), (200, PROTOBUF))
        self.id = self.answer.getheader("Mesos-Stream-Id")
        self.passed = []

    def next(self, kind):
        """The bytes of the next event of this type. Others are judged on the way, and kept: an offer comes once."""
        for index, (name, data) in enumerate(self.passed):
            if name == kind:
                del self.passed[index]
                return data
        table, deadline = self.judge.table, time.time() + DEADLINE
        while time.time() < deadline:
            length = b""
            while not length.endswith(b"\n"):
                byte = self.answer.read(1)
                if not byte:
                    raise SystemExit("the stream has ended")
                length += byte
            data = self.answer.read(int(length))
            self.judge.judge(self.kind, data)
            number = next(value for field, _, value in split(data) if field == table.messages[self.kind]["type"][0])
            name = next(name for name, value in table.enums[self.kind + ".Type"].items() if value == number)
            if name == kind:
                return data
            self.passed.append((name, data))
        raise SystemExit("waited in vain for %s" % kind)


def pick(table, kind, data, *names):
    """The bytes of the messages at these fields, one below the other."""
    if not names:
        return [data]
    number, _, of = table.messages[kind][names[0]]
    return [found for field, _, value in split(data) if field == number for found in pick(table, of, value, *names[1:])]


def scalar(name, value, **more):
    return mesos_pb2.Resource(name=name, type=mesos_pb2.Value.SCALAR, scalar=mesos_pb2.Value.Scalar(value=value), **more)


class Framework:
    """What Apache's classes serialise is understood: a framework with a life of its own."""

    def __init__(self, judge, master):
        self.judge, self.table, self.master = judge, judge.table, master
        info = mesos_pb2.FrameworkInfo(user="root", name="generated-by-apache", roles=["oracle"], principal="oracle",
                                       failover_timeout=60.0, checkpoint=True)
        for kind in ("MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT"):
            info.capabilities.add(type=mesos_pb2.FrameworkInfo.Capability.Type.Value(kind))
        info.labels.labels.add(key="colour", value="gr\u00fcn")
        body = self.table.build(CALL, {"type": "SUBSCRIBE", "subscribe": {"framework_info": info.SerializeToString()}})
        self.stream = Stream(judge, EVENT, master, "/api/v1/scheduler", body)
        event = self.stream.next("SUBSCRIBED")
        self.id = pick(self.table, EVENT, event, "subscribed", "framework_id")[0]
        self.seen = set()

    def call(self, kind, **fields):
        body = self.table.build(CALL, {"framework_id": self.id, "type": kind, **fields})
        answer = post(self.master, "/api/v1/scheduler", body, Mesos_Stream_Id=self.stream.id)
        expect(kind, (answer.status, answer.read()), (202, b""))

    def offer(self):
        event = self.stream.next("OFFERS")
        return mesos_pb2.Offer.FromString(pick(self.table, EVENT, event, "offers", "offers")[0])

    def launch(self, offer, name):
        role = mesos_pb2.Resource.AllocationInfo(role="oracle")
        task = mesos_pb2.TaskInfo(name=name, slave_id=offer.slave_id, resources=[
            scalar("cpus", 0.25, allocation_info=role), scalar("mem", 32.0, allocation_info=role)])
        task.task_id.value = name
        task.command.value = "sleep 1000"
        task.command.environment.variables.add(name="COLOUR", value="green")
        task.kill_policy.grace_period.nanoseconds = 1000000000
        task.labels.labels.add(key="made", value="elsewhere")
        task.discovery.visibility = mesos_pb2.DiscoveryInfo.CLUSTER
        task.discovery.name = name
        operation = mesos_pb2.Offer.Operation(type=mesos_pb2.Offer.Operation.LAUNCH)
        operation.launch.task_infos.add().CopyFrom(task)
        filters = mesos_pb2.Filters(refuse_seconds=0.5)
        self.call("ACCEPT", accept={"offer_ids": [offer.id.SerializeToString()],
                                    "operations": [operation.SerializeToString()], "filters": filters.SerializeToString()})
        return task

    def status(self, state):
        """The next update that is neither STARTING nor a repeated one; it must be of this state. All are acknowledged."""
        while True:
            event = self.stream.next("UPDATE")
            status = mesos_pb2.TaskStatus.FromString(pick(self.table, EVENT, event, "update", "status")[0])
            repeated = status.uuid in self.seen
            if status.uuid:
                self.seen.add(status.uuid)
                self.acknowledge(status)
            if not repeated and status.state != mesos_pb2.TASK_STARTING:
                expect("state", mesos_pb2.TaskState.Name(status.state), state)
                return status

    def acknowledge(self, status):
        self.call("ACKNOWLEDGE", acknowledge={
            "agent_id": status.slave_id.SerializeToString(), "task_id": status.task_id.SerializeToString(),
            "uuid": status.uuid})


def answer_in(address, kind, body, accept):
    answer = post(address, "/api/v1", body, accept)
    data = answer.read()
    expect("%s (%s)" % (kind, data[:200]), (answer.status, answer.getheader("Content-Type")), (200, accept))
    return data


def compare_reads(judge, package, address, kinds):
    for kind in kinds:
        body = judge.table.build(package + ".Call", {"type": kind})
        # Both are asked for until nothing has changed between them.
        deadline = time.time() + DEADLINE
        while True:
            first, told, again = (answer_in(address, kind, body, accept) for accept in (PROTOBUF, JSON, PROTOBUF))
            if first == again:
                break
            if time.time() > deadline:
                raise SystemExit("%s never stays the same" % kind)
        judge.judge(package + ".Response", first, json.loads(told), kind)
    print("READS %s %d" % (package.rsplit(".", 1)[1], len(kinds)), flush=True)


def operate(table, master, kind, status, **fields):
    body = table.build("mesos.v1.master.Call", {"type": kind, **fields})
    answer = post(master, "/api/v1", body)
    expect("%s (%s)" % (kind, answer.read()[:300]), answer.status, status)


def changes(table, master, offer):
    """What operators change, said by Apache's classes."""
    weight = mesos_pb2.WeightInfo(role="oracle", weight=2.5)
    operate(table, master, "UPDATE_WEIGHTS", 200, update_weights={"weight_infos": [weight.SerializeToString()]})
    reserved = scalar("cpus", 0.5)
    reserved.reservations.add(type=mesos_pb2.Resource.ReservationInfo.DYNAMIC, role="kept", principal="oracle")
    disk = scalar("disk", 16.0)
    disk.reservations.add(type=mesos_pb2.Resource.ReservationInfo.DYNAMIC, role="kept", principal="oracle")
    agent = offer.slave_id.SerializeToString()
    operate(table, master, "RESERVE_RESOURCES", 202, reserve_resources={
        "agent_id": agent, "resources": [reserved.SerializeToString(), disk.SerializeToString()]})
    volume = mesos_pb2.Resource()
    volume.CopyFrom(disk)
    volume.disk.persistence.id = "volume-%s" % uuid.uuid4()
    volume.disk.volume.container_path = "kept"
    volume.disk.volume.mode = mesos_pb2.Volume.RW
    operate(table, master, "CREATE_VOLUMES", 202, create_volumes={"agent_id": agent, "volumes": [volume.SerializeToString()]})
    machine = mesos_pb2.MachineID(hostname="elsewhere", ip="192.0.2.1")
    outage = mesos_pb2.Unavailability()
    outage.start.nanoseconds = 4000000000 * 1000000000
    outage.duration.nanoseconds = 3600 * 1000000000
    operate(table, master, "UPDATE_MAINTENANCE_SCHEDULE", 200, update_maintenance_schedule={"schedule": {"windows": [
        {"machine_ids": [machine.SerializeToString()], "unavailability": outage.SerializeToString()}]}})
    print("CHANGED", flush=True)


def judge_the_judge(table):
    """What is wrong must be found: by the schema, by Apache's classes, and against JSON."""
    def check(complains, kind, value, other=None, more=b""):
        try:
            Judge(table).judge(kind, table.build(kind, value) + more, other)
        except SystemExit:
            complains = not complains
        if complains:
            raise SystemExit("the judge is wrong on %s %r" % (kind, value))

    task, state = "mesos.v1.TaskStatus", "mesos.v1.master.Response.GetRoles"
    good = {"task_id": {"value": "a"}, "state": "TASK_LOST", "agent_id": {"value": "b"}, "reason": "REASON_AGENT_REMOVED"}
    check(False, task, good, dict(good))
    check(True, task, good, {**good, "agent_id": {"value": "c"}})
    check(True, task, good, {**good, "slave_id": {"value": "b"}})
    check(True, task, good, None, table.field(99, "int32", 1))
    check(True, task, {"state": "TASK_LOST"})
    roles = {"roles": [{"name": "a", "weight": 1.5}]}
    check(False, state, roles, roles)
    check(True, state, roles, {"roles": []})
    check(True, state, roles, {"roles": [{"name": "a", "weight": 2.0}]})
    check(True, state, roles, {**roles, "more": "x"})
    check(True, state, roles, None, table.field(99, "string", "x"))
    print("JUDGE", flush=True)


MASTER_READS = (
    "GET_HEALTH GET_FLAGS GET_VERSION GET_LOGGING_LEVEL GET_STATE GET_AGENTS GET_FRAMEWORKS GET_EXECUTORS GET_OPERATIONS"
    " GET_TASKS GET_ROLES GET_WEIGHTS GET_MASTER GET_MAINTENANCE_STATUS GET_MAINTENANCE_SCHEDULE GET_QUOTA"
).split()
AGENT_READS = (
    "GET_HEALTH GET_FLAGS GET_VERSION GET_LOGGING_LEVEL GET_STATE GET_FRAMEWORKS GET_EXECUTORS GET_OPERATIONS GET_TASKS"
    " GET_AGENT GET_RESOURCE_PROVIDERS"
).split()


def live(judge, master):
    """A framework, its task and the operators' stream of both. The framework and its running task go on."""
    table = judge.table
    body = table.build("mesos.v1.master.Call", {"type": "SUBSCRIBE"})
    operators = Stream(judge, "mesos.v1.master.Event", master, "/api/v1", body)
    operators.next("SUBSCRIBED")
    framework = Framework(judge, master)
    operators.next("FRAMEWORK_ADDED")
    print("SUBSCRIBED", flush=True)
    offer = framework.offer()
    framework.launch(offer, "killed")
    status = framework.status("TASK_RUNNING")
    expect("the task", (status.task_id.value, status.slave_id), ("killed", offer.slave_id))
    operators.next("TASK_ADDED")
    operators.next("TASK_UPDATED")
    framework.call("RECONCILE", reconcile={"tasks": [
        {"task_id": status.task_id.SerializeToString(), "agent_id": status.slave_id.SerializeToString()}]})
    told = framework.status("TASK_RUNNING")
    expect("reason", told.reason, mesos_pb2.TaskStatus.REASON_RECONCILIATION)
    framework.call("KILL", kill={"task_id": status.task_id.SerializeToString(), "agent_id": status.slave_id.SerializeToString()})
    framework.status("TASK_KILLED")
    framework.launch(framework.offer(), "running")
    framework.status("TASK_RUNNING")
    framework.call("DECLINE", decline={"offer_ids": [framework.offer().id.SerializeToString()]})
    framework.call("SUPPRESS", suppress={"roles": ["oracle"]})
    print("RAN", flush=True)
    return framework, offer


def main():
    master, agent, tables = sys.argv[1:4]
    table = Table(os.path.join(tables, "v1-fields.tsv"), os.path.join(tables, "v1-enums.tsv"))
    judge_the_judge(table)
    compare_schemas(table)
    judge = Judge(table)
    framework, offer = live(judge, master)
    changes(table, master, offer)
    compare_reads(judge, "mesos.v1.master", master, MASTER_READS)
    compare_reads(judge, "mesos.v1.agent", agent, AGENT_READS)
    framework.call("TEARDOWN")
    missing = {name for name in ("FrameworkInfo", "MasterInfo", "Offer", "TaskStatus", "Task", "AgentInfo", "Resource",
                                 "ExecutorInfo", "WeightInfo", "VersionInfo", "MachineID", "Unavailability")
               if not judge.parsed["mesos.v1." + name]}
    expect("messages that were never met", missing, set())
    print("PARSED", " ".join("%s=%d" % (kind[len("mesos.v1."):], count) for kind, count in sorted(judge.parsed.items())),
          file=sys.stderr)
    print("DONE", flush=True)


if __name__ == "__main__":
    main()
