"""Drives a master with the unmodified pymesos drivers and prints a line per thing it checked.

usage: suite.py MASTER_HOST:PORT AGENT_HOST:PORT [CHECK ...]

The same program runs against Mezzo and against a genuine Mesos. Every wait is for a state, with a limit
that only ends a run that has failed.
"""

import getpass
import os
import queue
import sys
import threading
import time
import traceback

from pymesos import (
    MesosOperatorAgentDriver,
    MesosOperatorMasterDriver,
    MesosSchedulerDriver,
    OperatorMaster,
    Scheduler,
    decode_data,
    encode_data,
)

MASTER, AGENT = sys.argv[1:3]
HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60
TERMINAL = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR"}


class Recorder(Scheduler):
    """Turns callbacks into queues that a check reads in its own thread.

    An update that a check has seen is acknowledged: what the check does next, such as another scheduler that takes
    the framework over, could otherwise overtake the acknowledgement, which the master then refuses. A refusal ends
    the driver's thread with an exception that the driver raises in the main thread, whatever runs there by then.
    """

    def __init__(self, acknowledges):
        self.acknowledges = acknowledges
        self.offers = queue.Queue()
        self.updates = queue.Queue()
        self.messages = queue.Queue()
        self.errors = queue.Queue()
        self.lost_executors = queue.Queue()
        self.operations = queue.Queue()
        self.rescinded = queue.Queue()
        self.registrations = queue.Queue()
        self.heartbeats = 0

    def registered(self, driver, framework_id, master_info):
        self.registrations.put(("registered", framework_id["value"]))

    def reregistered(self, driver, master_info):
        self.registrations.put(("reregistered", None))

    def resourceOffers(self, driver, offers):
        for offer in offers:
            self.offers.put(offer)

    def offerRescinded(self, driver, offer_id):
        self.rescinded.put(offer_id["value"])

    def statusUpdate(self, driver, update):
        if self.acknowledges:
            driver.acknowledgeStatusUpdate(update)
        self.updates.put(update)

    def operationStatusUpdate(self, driver, update):
        self.operations.put(update)

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        self.messages.put((executor_id["value"], decode_data(message)))

    def executorLost(self, driver, executor_id, agent_id, status):
        self.lost_executors.put((executor_id["value"], status))

    def error(self, driver, message):
        # The driver would connect again and take the framework back, and so would the other one, in turns.
        driver.stop(failover=True)
        self.errors.put(message)

    def processHeartBeat(self, driver):
        self.heartbeats += 1


class Session:
    """One framework for the length of a check."""

    def __init__(
        self, role=None, failover_timeout=60, framework_id=None, implicit=False, capabilities=(), **more
    ):
        self.scheduler = Recorder(acknowledges=not implicit)
        framework = dict(
            user=getpass.getuser(), name="pymesos suite", failover_timeout=failover_timeout, checkpoint=True, **more
        )
        framework["capabilities"] = [dict(type=c) for c in capabilities]
        if role:
            framework["roles"] = [role]
            framework["capabilities"].append(dict(type="MULTI_ROLE"))
        if framework_id:
            framework["id"] = dict(value=framework_id)
        self.role = role or "*"
        self.driver = MesosSchedulerDriver(
            self.scheduler, framework, MASTER, implicit_acknowledgements=implicit
        )

    def __enter__(self):
        self.driver.start()
        self.kind, identity = self.get(self.scheduler.registrations)
        self.id = identity or self.driver.framework_id
        return self

    def __exit__(self, *_):
        # One that has stopped already has done so without an end of its framework, or lost it.
        if not self.driver.aborted:
            self.driver.stop()
        self.driver.join()

    def get(self, source, wanted=lambda item: True):
        end = time.time() + PATIENCE
        while True:
            left = end - time.time()
            if left <= 0:
                raise AssertionError("nothing came in %s s" % PATIENCE)
            try:
                item = source.get(timeout=left)
            except queue.Empty:
                continue
            if wanted(item):
                return item

    def offer(self, cpus=0.1, mem=32):
        return self.get(self.scheduler.offers, lambda o: scalar(o, "cpus") >= cpus and scalar(o, "mem") >= mem)

    def update(self, task, states):
        states = {states} if isinstance(states, str) else states
        return self.get(
            self.scheduler.updates, lambda u: u["task_id"]["value"] == task and u["state"] in states
        )

    def task(self, offer, name, command=None, cpus=0.01, mem=16, **more):
        resources = [amount("cpus", cpus, self.role), amount("mem", mem, self.role)]
        task = dict(task_id=dict(value=name), agent_id=offer["agent_id"], name=name, resources=resources, **more)
        if command:
            task["command"] = dict(shell=True, value=command)
        return task


def amount(name, value, role="*", **more):
    resource = dict(name=name, type="SCALAR", scalar=dict(value=value), **more)
    if role != "*":
        resource["allocation_info"] = dict(role=role)
    return resource


def scalar(offer, name):
    return sum(r["scalar"]["value"] for r in offer["resources"] if r["name"] == name and r["type"] == "SCALAR")


def check_command_tasks():
    """200 command tasks finish, each with one terminal update; a tenth fail as they should. The driver acknowledges."""
    with Session(implicit=True) as session:
        states, pending, launched = {}, {}, 0
        while len(states) < 200:
            while launched < 200:
                try:
                    offer = session.scheduler.offers.get(timeout=0.01 if pending else PATIENCE)
                except queue.Empty:
                    break
                room = min(int(scalar(offer, "cpus") / 0.01), int(scalar(offer, "mem") / 16), 200 - launched, 40)
                tasks = []
                for _ in range(room):
                    name = "command-%03d" % launched
                    code = 7 if launched % 10 == 0 else 0
                    tasks.append(session.task(offer, name, "exit %d" % code))
                    pending[name] = code
                    launched += 1
                session.driver.launchTasks(offer["id"], tasks, filters=dict(refuse_seconds=0))
            update = session.get(session.scheduler.updates)
            name, state = update["task_id"]["value"], update["state"]
            if state in TERMINAL:
                assert name not in states, "second terminal state of " + name
                expected = "TASK_FAILED" if pending.pop(name) else "TASK_FINISHED"
                assert state == expected, (name, state, update.get("message"))
                states[name] = state
        counts = [list(states.values()).count(s) for s in ("TASK_FINISHED", "TASK_FAILED")]
        assert counts == [180, 20], counts
        # A task whose end has been acknowledged is among the completed ones.
        master, end = MesosOperatorMasterDriver(MASTER), time.time() + PATIENCE
        while True:
            tasks = master.getTasks()["get_tasks"].get("tasks", [])
            left = [t["name"] for t in tasks if t["framework_id"]["value"] == session.id]
            if not left:
                break
            assert time.time() < end, left
            time.sleep(0.05)
        return "180 finished, 20 failed with exit code 7"


def check_update_order():
    """A command task is STARTING, RUNNING, then FINISHED, each with uuid, source and container."""
    with Session() as session:
        offer = session.offer()
        session.driver.launchTasks(offer["id"], [session.task(offer, "order", "true")])
        seen = []
        while not seen or seen[-1]["state"] not in TERMINAL:
            seen.append(session.get(session.scheduler.updates))
        states = [u["state"] for u in seen]
        assert states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"], states
        assert all(u["uuid"] and u["source"] == "SOURCE_EXECUTOR" for u in seen), seen
        assert all(u["container_status"]["container_id"]["value"] for u in seen), seen
        return " ".join(states)


def check_custom_executor():
    """A custom executor on pymesos' executor driver runs tasks, echoes messages, kills, and is lost on shutdown."""
    with Session() as session:
        offer = session.offer(cpus=0.3, mem=128)
        executor = dict(
            executor_id=dict(value="echo"),
            framework_id=dict(value=session.id),
            name="echo",
            command=dict(shell=True, value="exec %s %s" % (sys.executable, os.path.join(HERE, "executor.py"))),
            resources=[amount("cpus", 0.1), amount("mem", 64)],
        )
        tasks = [
            session.task(offer, "echo-work", executor=executor, data=encode_data(b"things")),
            session.task(offer, "echo-wait", executor=executor, data=encode_data(b"wait")),
        ]
        session.driver.launchTasks(offer["id"], tasks)
        updates = {}
        while "echo-work" not in updates or "echo-wait" not in updates:
            update = session.get(session.scheduler.updates)
            name = update["task_id"]["value"]
            if update["state"] == "TASK_RUNNING":
                assert decode_data(update["data"]) == b"from the executor", update
                if name == "echo-wait":
                    updates[name] = update
            elif update["state"] == "TASK_FINISHED":
                assert update["message"] == "worked on things", update
                updates[name] = update
            else:
                raise AssertionError(update)
        session.driver.sendFrameworkMessage(dict(value="echo"), offer["agent_id"], encode_data(b"hello"))
        assert session.get(session.scheduler.messages) == ("echo", b"echo:hello")
        session.driver.killTask(dict(value="echo-wait"))
        session.update("echo-wait", "TASK_KILLED")
        session.driver._send(
            dict(
                type="SHUTDOWN",
                framework_id=dict(value=session.id),
                shutdown=dict(executor_id=dict(value="echo"), agent_id=offer["agent_id"]),
            )
        )
        lost = session.get(session.scheduler.lost_executors)
        assert lost[0] == "echo", lost
        return "task data, status data, framework messages, kill, shutdown with executor lost"


def check_kill():
    """KILL ends a running task; the kill of an unknown task is answered as a reconciliation."""
    with Session() as session:
        offer = session.offer()
        session.driver.launchTasks(offer["id"], [session.task(offer, "sleeper", "sleep 1000")])
        session.update("sleeper", "TASK_RUNNING")
        session.driver.killTask(dict(value="sleeper"))
        session.update("sleeper", "TASK_KILLED")
        session.driver.killTask(dict(value="never-was"))
        update = session.update("never-was", "TASK_LOST")
        assert update["reason"] == "REASON_RECONCILIATION" and "uuid" not in update, update
        return "running task killed, unknown task reconciled as TASK_LOST"


def check_reconcile():
    """Explicit and implicit reconciliation answer without uuid from the master."""
    with Session() as session:
        offer = session.offer()
        session.driver.launchTasks(offer["id"], [session.task(offer, "known", "sleep 1000")])
        session.update("known", "TASK_RUNNING")
        session.driver.reconcileTasks([dict(task_id=dict(value="known")), dict(task_id=dict(value="strange"))])
        for task, state in (("known", "TASK_RUNNING"), ("strange", "TASK_LOST")):
            update = session.update(task, state)
            assert update["reason"] == "REASON_RECONCILIATION", update
            assert update["source"] == "SOURCE_MASTER" and "uuid" not in update, update
            if task == "strange":
                break
            session.driver.reconcileTasks([dict(task_id=dict(value="strange"))])
        session.driver.reconcileTasks([])
        update = session.update("known", "TASK_RUNNING")
        assert update["reason"] == "REASON_RECONCILIATION", update
        session.driver.killTask(dict(value="known"))
        session.update("known", "TASK_KILLED")
        return "explicit known and unknown, implicit"


def check_failover():
    """A scheduler goes and comes back within its timeout: same id, the task runs on and is told about."""
    with Session(failover_timeout=120) as session:
        offer = session.offer()
        session.driver.launchTasks(offer["id"], [session.task(offer, "survivor", "sleep 1000")])
        session.update("survivor", "TASK_RUNNING")
        identity = session.id
        session.driver.stop(failover=True)
        session.driver.join()
    with Session(failover_timeout=120, framework_id=identity) as session:
        assert session.id == identity
        session.driver.reconcileTasks([])
        session.update("survivor", "TASK_RUNNING")
        session.driver.killTask(dict(value="survivor"))
        session.update("survivor", "TASK_KILLED")
        with Session(framework_id=identity) as usurper:
            assert usurper.id == identity
            assert session.get(session.scheduler.errors) == "Framework failed over"
    return "same id, task kept, an older connection gets 'Framework failed over'"


def check_decline_and_filters():
    """A declined offer stays away until revived; a refused second is short; suppress stops offers."""
    with Session() as session:
        offer = session.offer()
        session.driver.declineOffer(offer["id"], filters=dict(refuse_seconds=3600))
        time.sleep(2.5)
        assert session.scheduler.offers.empty(), "offered although declined for an hour"
        session.driver.reviveOffers()
        offer = session.offer()
        session.driver.declineOffer(offer["id"], filters=dict(refuse_seconds=1))
        offer = session.offer()
        session.driver.suppressOffers()
        session.driver.declineOffer(offer["id"], filters=dict(refuse_seconds=0))
        time.sleep(2.5)
        assert session.scheduler.offers.empty(), "offered although suppressed"
        session.driver.reviveOffers()
        session.offer()
        return "decline with filter, revive, short filter, suppress"


def check_reservations_and_volumes():
    """RESERVE, CREATE, a task that writes into the volume, one that reads it, DESTROY, UNRESERVE."""
    role = "suite"
    with Session(role=role, capabilities=["RESERVATION_REFINEMENT"]) as session:
        offer = session.offer()
        reservation = dict(type="DYNAMIC", role=role)

        def reserved(name, value, **more):
            return amount(name, value, role, reservations=[reservation], **more)

        plain = [reserved("cpus", 0.1), reserved("mem", 32), reserved("disk", 64)]
        volume = reserved(
            "disk",
            64,
            disk=dict(persistence=dict(id="suite-volume"), volume=dict(container_path="data", mode="RW")),
        )
        operations = [
            dict(type="RESERVE", reserve=dict(resources=plain)),
            dict(type="CREATE", create=dict(volumes=[volume])),
        ]
        session.driver.acceptOffers([offer["id"]], operations, filters=dict(refuse_seconds=0))

        def with_volume(offer):
            return any("persistence" in r.get("disk", {}) for r in offer["resources"])

        for name, command in (("writer", "echo kept > data/file"), ("reader", "grep kept data/file")):
            offer = session.get(session.scheduler.offers, with_volume)
            task = session.task(offer, name, command)
            task["resources"] = [reserved("cpus", 0.1), reserved("mem", 32), volume]
            session.driver.launchTasks(offer["id"], [task], filters=dict(refuse_seconds=0))
            update = session.update(name, TERMINAL)
            assert update["state"] == "TASK_FINISHED", update
        offer = session.get(session.scheduler.offers, with_volume)
        operations = [
            dict(type="DESTROY", destroy=dict(volumes=[volume])),
            dict(type="UNRESERVE", unreserve=dict(resources=plain)),
        ]
        session.driver.acceptOffers([offer["id"]], operations, filters=dict(refuse_seconds=0))
        offer = session.get(session.scheduler.offers, lambda o: not with_volume(o))
        assert not any(r.get("reservations") for r in offer["resources"]), offer
        return "reserved, created, written, read by a second task, destroyed, unreserved"


def check_invalid_tasks():
    """A task without resources is TASK_ERROR; a used offer gives TASK_LOST with REASON_INVALID_OFFERS."""
    with Session() as session:
        offer = session.offer()
        bad = session.task(offer, "bad", "true")
        bad["resources"] = []
        session.driver.launchTasks(offer["id"], [bad], filters=dict(refuse_seconds=0))
        update = session.update("bad", "TASK_ERROR")
        assert update["reason"] == "REASON_TASK_INVALID" and "uuid" not in update, update
        session.driver.launchTasks(offer["id"], [session.task(offer, "late", "true")])
        update = session.update("late", "TASK_LOST")
        assert update["reason"] == "REASON_INVALID_OFFERS", update
        return "TASK_ERROR without uuid, TASK_LOST for a used offer"


def check_operator_calls():
    """Every reading call of pymesos' master and agent operators answers; weights and quota change and show."""
    master = MesosOperatorMasterDriver(MASTER)
    agent = MesosOperatorAgentDriver(AGENT)
    for driver in (master, agent):
        assert driver.getHealth()["get_health"]["healthy"] is True
        assert driver.getVersion()["get_version"]["version_info"]["version"].startswith("1.")
        assert len(driver.getFlags()["get_flags"]["flags"]) > 20
        assert driver.getLoggingLevel()["get_logging_level"].get("level", 0) >= 0
        metrics = {m["name"]: m.get("value") for m in driver.getMetrics(5 * 10**9)["get_metrics"]["metrics"]}
        assert metrics["master/uptime_secs" if driver is master else "slave/uptime_secs"] > 0
        for call in (driver.getState, driver.getFrameworks, driver.getExecutors, driver.getTasks):
            assert call()["type"].startswith("GET_")
    agents = master.getAgents()["get_agents"]["agents"]
    assert agents and agents[0]["active"] is True, agents
    assert master.getMaster()["get_master"]["master_info"]["port"] > 0
    assert master.getRoles()["type"] == "GET_ROLES"
    master.updateWeights([dict(role="heavy", weight=3.5)])
    weights = master.getWeights()["get_weights"]["weight_infos"]
    assert dict(role="heavy", weight=3.5) in weights, weights
    guarantee = [dict(name="cpus", type="SCALAR", scalar=dict(value=0.5))]
    master.setQuota(dict(role="limited", guarantee=guarantee, force=True))
    infos = master.getQuota()["get_quota"]["status"]["infos"]
    assert [i["role"] for i in infos] == ["limited"], infos
    master.removeQuota("limited")
    # Mesos 1.12 goes on listing the role, without a guarantee.
    assert not any(i.get("guarantee") for i in master.getQuota()["get_quota"]["status"].get("infos", []))
    assert master.getMaintenanceSchedule()["type"] == "GET_MAINTENANCE_SCHEDULE"
    machine = dict(hostname="elsewhere.example", ip="192.0.2.7")
    window = dict(machine_ids=[machine], unavailability=dict(start=dict(nanoseconds=1900000000000000000)))
    master.updateMaintenanceSchedule([window])
    schedule = master.getMaintenanceSchedule()["get_maintenance_schedule"]["schedule"]
    assert schedule["windows"][0]["machine_ids"] == [machine], schedule
    draining = master.getMaintenanceStatus()["get_maintenance_status"]["status"]["draining_machines"]
    assert [m["id"] for m in draining] == [machine], draining
    master.startMaintenance([machine])
    master.stopMaintenance([machine])
    assert not master.getMaintenanceSchedule()["get_maintenance_schedule"]["schedule"].get("windows")
    assert agent.getContainers()["type"] == "GET_CONTAINERS"
    return "health, flags, version, metrics, state, agents, roles, weights, quota, maintenance, containers"


class Watcher(OperatorMaster):
    def __init__(self):
        self.seen = queue.Queue()

    def __getattribute__(self, name):
        if name in ("taskAdded", "taskUpdated", "frameworkAdded", "frameworkUpdated", "frameworkRemoved"):
            return lambda info: self.seen.put((name, info))
        return super().__getattribute__(name)


class Stream(MesosOperatorMasterDriver):
    """Says when it has been subscribed; its own words about that are the master's whole state."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.subscribed = threading.Event()

    def on_subscribed(self, info):
        self.subscribed.set()


def check_event_stream():
    """The operator event stream tells of a framework and its task from beginning to end."""
    watcher = Watcher()
    driver = Stream(MASTER, watcher)
    driver.start()
    assert driver.subscribed.wait(PATIENCE), "not subscribed"
    with Session() as session:
        offer = session.offer()
        session.driver.launchTasks(offer["id"], [session.task(offer, "watched", "sleep 0.5")])
        session.update("watched", "TASK_FINISHED")
        identity = session.id
    names, states, end = [], [], time.time() + PATIENCE
    while "frameworkRemoved" not in names and time.time() < end:
        name, info = watcher.seen.get(timeout=PATIENCE)
        text = str(info)
        if identity not in text:
            continue
        names.append(name)
        if name == "taskUpdated":
            states.append(info["state"])
    driver.stop()
    driver.join()
    assert names[0] == "frameworkAdded" and names[-1] == "frameworkRemoved", names
    assert "taskAdded" in names, names
    assert states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"], states
    return "framework added, task added, %s, framework removed" % ", ".join(states)


CHECKS = [
    check_update_order,
    check_command_tasks,
    check_custom_executor,
    check_kill,
    check_reconcile,
    check_failover,
    check_decline_and_filters,
    check_reservations_and_volumes,
    check_invalid_tasks,
    check_operator_calls,
    check_event_stream,
]


def main():
    chosen = sys.argv[3:]
    failed = 0
    for check in CHECKS:
        name = check.__name__[len("check_") :]
        if chosen and name not in chosen:
            continue
        try:
            print("ok      %-26s %s" % (name, check()), flush=True)
        except Exception:
            failed += 1
            print("FAILED  %-26s %s" % (name, traceback.format_exc()), flush=True)
    print("%d failed" % failed)
    # The drivers' threads are of no further interest.
    sys.stdout.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    threading.current_thread().name = "suite"
    main()
