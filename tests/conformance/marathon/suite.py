"""Drives the services framework with the unmodified `marathon` client and prints a line per thing it checked.

usage: suite.py SERVICES_HOST:PORT [CHECK ...]

The same program runs against Mezzo and against a genuine Marathon. Every wait is for a state, with a limit that
only ends a run that has failed.
"""

import collections
import collections.abc
import os
import queue
import sys
import threading
import time
import traceback
import uuid

# The client is from before Python 3.10, which has this name in one place only.
collections.Iterable = collections.abc.Iterable

from marathon import MarathonClient, MarathonHttpError, NotFoundError
from marathon.exceptions import ConflictError
from marathon.models import MarathonApp, MarathonConstraint, MarathonGroup, MarathonHealthCheck
from marathon.models.app import MarathonUpgradeStrategy

SERVER = "http://" + sys.argv[1]
CLIENT = MarathonClient(SERVER, timeout=30)
PATIENCE = 120


def until(what, condition):
    """Waits for a state and returns what it says."""
    end = time.time() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.time() > end:
            raise AssertionError("not in %s s: %s" % (PATIENCE, what))
        time.sleep(0.1)


def settled(name):
    """The app, once nothing is deployed to it and all its instances run."""

    def state():
        app = CLIENT.get_app(name)
        return app if not app.deployments and app.tasks_running == app.instances == len(app.tasks) else None

    return until("%s settled" % name, state)


def gone(name):
    def state():
        try:
            CLIENT.get_app(name)
        except NotFoundError:
            return not CLIENT.list_deployments()

    return until("%s gone" % name, state)


def queued():
    return CLIENT._do_request("GET", "/v2/queue").json()["queue"]


def sleeper(**more):
    return MarathonApp(**{**dict(cmd="sleep 1000", cpus=0.01, mem=16, instances=1), **more})


class App:
    """An app for the length of a check."""

    def __init__(self, name, **more):
        self.name = "/suite/" + name
        self.definition = sleeper(**more)

    def __enter__(self):
        self.created = CLIENT.create_app(self.name, self.definition)
        settled(self.name)
        return self

    def __exit__(self, *_):
        CLIENT.delete_app(self.name, force=True)
        gone(self.name)


def check_server():
    """What a client asks first."""
    assert CLIENT.ping().strip(b'"\n') == b"pong"
    info = CLIENT.get_info()
    assert info.name == "marathon" and info.framework_id and info.elected is True, info
    assert info.version.startswith("1.11"), info.version
    assert ":" in CLIENT.get_leader()["leader"]
    metrics = CLIENT.get_metrics()
    assert set(metrics) >= {"version", "counters", "gauges", "histograms", "meters"}, sorted(metrics)
    return "ping, info, leader, metrics"


def check_create_and_read():
    """An app comes back as it was sent, with its defaults, and its tasks run."""
    with App("create", instances=2, labels={"tier": "front"}, env={"A": "b"}) as app:
        assert app.created.id == app.name and app.created.version, app.created
        found = settled(app.name)
        assert (found.cmd, found.instances, found.cpus, found.mem) == ("sleep 1000", 2, 0.01, 16), found
        assert (found.labels, found.env) == ({"tier": "front"}, {"A": "b"}), found
        assert found.backoff_factor == 1.15 and found.max_launch_delay_seconds == 300, found
        assert found.upgrade_strategy.minimum_health_capacity == 1, found.upgrade_strategy
        assert [a.id for a in CLIENT.list_apps(label="tier==front")] == [app.name]
        assert [a.id for a in CLIENT.list_apps(app_id="suite/create", embed_counts=True)] == [app.name]
        tasks = CLIENT.list_tasks(app.name)
        assert len(tasks) == 2 and all(t.state == "TASK_RUNNING" and t.started_at for t in tasks), tasks
        assert len({t.ports[0] for t in tasks}) == 2, tasks
        assert {t.id for t in tasks} <= {t.id for t in CLIENT.list_tasks()}
        assert {e.task_id for e in CLIENT.list_endpoints()} >= {t.id for t in tasks}
        try:
            CLIENT.create_app(app.name, sleeper())
            raise AssertionError("created twice")
        except ConflictError:
            pass
    return "created, listed by label and id, two tasks with ports of their own, no second of the name"


def check_update_and_versions():
    """An update replaces tasks, the version before comes back on demand."""
    with App("update", env={"STEP": "1"}) as app:
        first = settled(app.name)
        answer = CLIENT.update_app(app.name, MarathonApp(env={"STEP": "2"}, cmd="sleep 1001"))
        assert answer["deploymentId"] and answer["version"], answer
        second = settled(app.name)
        assert (second.cmd, second.env, second.mem) == ("sleep 1001", {"STEP": "2"}, 16), second
        assert {t.id for t in first.tasks}.isdisjoint({t.id for t in second.tasks})
        assert second.tasks[0].version == second.version
        versions = CLIENT.list_versions(app.name)
        assert versions[0] > versions[-1] and len(versions) == 2, versions
        assert CLIENT.get_version(app.name, versions[-1]).cmd == "sleep 1000"
        CLIENT.rollback_app(app.name, versions[-1])
        third = settled(app.name)
        assert (third.cmd, third.env) == ("sleep 1000", {"STEP": "1"}), third
        CLIENT.update_apps([MarathonApp(id=app.name, labels={"many": "1"})])
        assert settled(app.name).labels == {"many": "1"}
    return "partial update, two versions, rolled back, many at once"


def check_scale_and_restart():
    """Scaling keeps tasks, a restart replaces them, zero suspends."""
    with App("scale") as app:
        before = {t.id for t in settled(app.name).tasks}
        CLIENT.scale_app(app.name, instances=3)
        after = {t.id for t in settled(app.name).tasks}
        assert len(after) == 3 and before < after, (before, after)
        CLIENT.scale_app(app.name, delta=-1)
        assert len(settled(app.name).tasks) == 2
        old = {t.id for t in settled(app.name).tasks}
        CLIENT.restart_app(app.name)
        new = {t.id for t in settled(app.name).tasks}
        assert old.isdisjoint(new), (old, new)
        CLIENT.scale_app(app.name, instances=0)
        assert settled(app.name).tasks == []
    return "up, down by delta, restarted, suspended"


def check_tasks():
    """Tasks are killed alone, together, and with their place."""
    with App("kills", instances=3) as app:
        tasks = settled(app.name).tasks
        killed = CLIENT.kill_task(app.name, tasks[0].id)
        assert killed.id == tasks[0].id, killed
        now = until("replaced", lambda: [t for t in [settled(app.name)] if tasks[0].id not in {x.id for x in t.tasks}])
        assert len(now[0].tasks) == 3
        answer = CLIENT.kill_task(app.name, now[0].tasks[0].id, scale=True)
        assert answer["deploymentId"], answer
        assert settled(app.name).instances == 2
        ids = [t.id for t in settled(app.name).tasks]
        assert CLIENT.kill_given_tasks(ids)
        until("all replaced", lambda: not {t.id for t in settled(app.name).tasks} & set(ids))
        # Marathon rule 192.
        killed = CLIENT.kill_tasks(app.name, host="*")
        assert len(killed) == 2, killed
        settled(app.name)
        try:
            CLIENT.kill_task(app.name, "suite_kills.instance-%s._app.1" % uuid.uuid4())
            raise AssertionError("killed what never was")
        except NotFoundError:
            pass
    return "one, one with its place, given ones, all; an unknown one is 404"


def check_health():
    """Health checks by the agent and by the framework show in counts and results."""
    command = MarathonHealthCheck(command={"value": "true"}, protocol="COMMAND", interval_seconds=1, grace_period_seconds=5)
    with App("health", health_checks=[command], instances=2) as app:
        until("healthy", lambda: CLIENT.get_app(app.name).tasks_healthy == 2)
        results = [t.health_check_results for t in CLIENT.get_app(app.name).tasks]
        assert all(len(r) == 1 and r[0].alive for r in results), results
    http = MarathonHealthCheck(path="/", protocol="HTTP", port_index=0, interval_seconds=1, grace_period_seconds=60)
    served = "exec %s -m http.server $PORT0" % sys.executable
    with App("served", cmd=served, mem=64, health_checks=[http]) as app:
        until("healthy", lambda: CLIENT.get_app(app.name).tasks_healthy == 1)
    return "a command at the agents, HTTP from the framework"


def check_groups():
    """A group of apps with a dependency is made, changed, scaled and removed as one."""
    group = MarathonGroup(
        id="/suite/group",
        apps=[
            MarathonApp(id="store", cmd="sleep 1000", cpus=0.01, mem=16, instances=1),
            MarathonApp(id="web", cmd="sleep 1000", cpus=0.01, mem=16, instances=2, dependencies=["/suite/group/store"]),
        ],
    )
    answer = CLIENT.create_group(group)
    assert answer["deploymentId"] and answer["version"], answer
    settled("/suite/group/web"), settled("/suite/group/store")
    found = CLIENT.get_group("/suite/group")
    assert sorted(a.id for a in found.apps) == ["/suite/group/store", "/suite/group/web"], found.apps
    CLIENT.scale_group("/suite/group", 2)
    assert settled("/suite/group/web").instances == 4
    CLIENT.delete_group("/suite/group", force=True)
    gone("/suite/group/web")
    return "created in order, read, scaled by two, deleted"


def check_deployments():
    """A deployment that waits is listed, stands in the way, and is taken back."""
    with App("deploy") as app:
        # No agent has as much: the deployment waits.
        answer = CLIENT.update_app(app.name, MarathonApp(cpus=10000))
        waiting = until("listed", lambda: [d for d in CLIENT.list_deployments() if d.id == answer["deploymentId"]])[0]
        assert waiting.affected_apps == [app.name] and waiting.total_steps == 1, waiting
        assert waiting.current_actions[0].action == "RestartApplication", waiting.current_actions
        assert CLIENT.get_app(app.name).deployments[0].id == waiting.id
        try:
            CLIENT.scale_app(app.name, instances=2)
            raise AssertionError("not locked")
        except ConflictError:
            pass
        # As it comes: the client's own class has no place for the role that 1.11 tells.
        item = until("queued", lambda: [q for q in queued() if q["app"]["id"] == app.name])[0]
        assert item["count"] == 1 and item["delay"]["overdue"] is True, item
        CLIENT.reset_delay(app.name)
        back = CLIENT.delete_deployment(waiting.id)
        assert back["deploymentId"], back
        assert settled(app.name).cpus == 0.01
        # Taken away without a way back, what was wanted stays wanted.
        answer = CLIENT.update_app(app.name, MarathonApp(cpus=10000))
        CLIENT.delete_deployment(answer["deploymentId"], force=True)
        until("gone", lambda: not CLIENT.list_deployments())
        CLIENT.update_app(app.name, MarathonApp(cpus=0.02), force=True)
        assert settled(app.name).cpus == 0.02
    return "listed, locked, queued, rolled back, cancelled, forced"


def check_refusals():
    """What is wrong is refused with its place."""
    for app, path in (
        (sleeper(cmd=None), None),
        (sleeper(upgrade_strategy=MarathonUpgradeStrategy(minimum_health_capacity=7, maximum_over_capacity=1)), "upgradeStrategy"),
        (sleeper(instances=-1), "instances"),
        (sleeper(constraints=[MarathonConstraint(field="hostname", operator="NEAR")]), "constraints"),
    ):
        try:
            CLIENT.create_app("/suite/bad", app)
            raise AssertionError("accepted: %s" % app)
        except MarathonHttpError as error:
            assert error.status_code == 422, error
            assert path is None or path in str(error.error_details), (path, error.error_details)
    try:
        CLIENT.get_app("/suite/never")
        raise AssertionError("found")
    except NotFoundError as error:
        assert error.error_message == "App '/suite/never' does not exist", error.error_message
    return "four kinds of bad definitions, an unknown app"


def check_events():
    """The stream tells the life of an app, in order."""
    seen, raw = queue.Queue(), queue.Queue()

    def listen_raw():
        # As text: this client wants whole trees in events of deployments, which 1.11 does not send.
        for event in CLIENT.event_stream(raw=True):
            raw.put(event)

    def listen():
        for event in CLIENT.event_stream(event_types=["status_update_event", "app_terminated_event", "api_post_event"]):
            seen.put(event)

    def attached():
        return sum("event_stream_attached" in event for event in list(raw.queue))

    threading.Thread(target=listen_raw, daemon=True).start()
    until("the first attached", lambda: attached() == 1)
    threading.Thread(target=listen, daemon=True).start()
    until("the second attached", lambda: attached() == 2)
    with App("events") as app:
        pass
    kinds, states, end = [], [], time.time() + PATIENCE
    while "app_terminated_event" not in kinds and time.time() < end:
        event = seen.get(timeout=PATIENCE)
        kinds.append(event.event_type)
        if event.event_type == "status_update_event" and event.app_id == app.name:
            states.append(event.task_status)
    assert kinds[0] == "api_post_event", kinds
    assert states[-1] == "TASK_KILLED" and "TASK_RUNNING" in states, states
    words = " ".join(raw.queue)
    for kind in ("group_change_success", "deployment_info", "deployment_step_success", "deployment_success", "instance_changed_event"):
        assert '"eventType":"%s"' % kind in words.replace(" ", ""), kind
    return "posted, %s, terminated; deployments and instances beside it" % ", ".join(states)


CHECKS = [
    check_server,
    check_create_and_read,
    check_update_and_versions,
    check_scale_and_restart,
    check_tasks,
    check_health,
    check_groups,
    check_deployments,
    check_refusals,
    check_events,
]


def main():
    chosen = sys.argv[2:]
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
    # The listeners' threads are of no further interest.
    sys.stdout.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
