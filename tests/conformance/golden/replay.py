"""Replays the recorded cases of a genuine Mesos against Mezzo and lists every difference.

usage: replay.py GOLDEN MEZZO_BINARY COMPATIBILITY.md [WORD ...]

Runs as root in its own network and mount namespace (see ../golden.rs), so that ports and paths are those of
the recording. A difference is accepted when a row of the page's table "Differences from recorded answers"
matches its case and path; everything else fails. With WORDs, only differences of cases that contain one are
printed, without judging.
"""

import base64
import email.utils
import fcntl
import fnmatch
import glob
import gzip
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from compare import UUID, Ids, Object, compare, compare_wire, ordered, plain, wire_tree

GOLDEN, BINARY, PAGE = sys.argv[1:4]
WORDS = sys.argv[4:]
WORK = "/var/lib/mesos"
LEFT_OUT = ("authentication/", "cgroups-isolation/", "libprocess-wire/")
HEADERS = ("content-type", "allow", "location", "www-authenticate", "content-encoding", "content-disposition")

VERBOSE = "REPLAY_VERBOSE" in os.environ
START = time.monotonic()
differences = []
compared = set()


def note(case, path, recorded, ours):
    differences.append((case, path, recorded, ours))


def read(case, ending, mode="rb"):
    try:
        with open(f"{GOLDEN}/{case}.{ending}", mode) as file:
            return file.read()
    except FileNotFoundError:
        return None


def split(message):
    head, _, body = message.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return first, headers, body


class Cluster:
    """One master and one agent with the flags of the recording."""

    def __init__(self, name):
        self.ids = Ids()
        self.stream_ids = {}
        self.processes = []
        self.out = open(f"{WORK}/{name}.out", "ab")
        common = ["--ip=127.0.0.1", "--hostname=127.0.0.1", f"--log_dir={WORK}/log"]
        self.start("master", *common, "--port=5050", f"--work_dir={WORK}/master", "--cluster=golden",
                   "--registry=replicated_log", "--quorum=1")
        self.wait(5050, "/master/health")
        self.start("agent", *common, "--port=5051", "--master=127.0.0.1:5050", f"--work_dir={WORK}/agent",
                   f"--runtime_dir={WORK}/run", "--containerizers=mesos", "--no-systemd_enable_support",
                   "--launcher=posix", "--isolation=posix/cpu,posix/mem",
                   "--resources=cpus:4;mem:4096;disk:10240;ports:[31000-32000]", "--attributes=rack:r1;zone:z1")
        self.wait(5051, "/slave(1)/health")
        for _ in range(300):
            if json.loads(fetch(5050, "GET", "/slaves")[2])["slaves"]:
                return
            time.sleep(0.02)
        raise SystemExit("the agent did not register; see the end of " + self.out.name)

    def start(self, *arguments):
        self.processes.append(subprocess.Popen([BINARY, *arguments], stdout=self.out, stderr=self.out))

    def wait(self, port, path):
        for _ in range(500):
            if any(process.poll() is not None for process in self.processes):
                raise SystemExit("a daemon ended:\n" + open(self.out.name).read()[-3000:])
            try:
                if fetch(port, "GET", path)[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit(f"port {port} does not answer")

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def fetch(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def request_of(cluster, case, offers=()):
    """The recorded request with our identifiers: port, head lines, body."""
    first, headers, body = split(read(case, "request.http"))
    binary = read(case, "request.body.base64")
    method, path, _ = first.split(" ")
    port = int(headers["host"].rsplit(":", 1)[1])
    if binary is not None:
        body = replace_binary(cluster, base64.b64decode(binary))
        if case in REPLACED_BINARY:
            ours = REPLACED_BINARY[case]
            if "acknowledge" in case:
                body = ACKNOWLEDGED_UUID.sub(lambda _: b"\x1a\x10" + ours, body)
            else:
                body = with_offer(wire_tree(body), ours)
    elif body:
        text = cluster.ids.apply(body.decode("utf-8", "surrogateescape"))
        if offers and "offer_ids" in text:
            text = with_offers(text, offers)
        body = text.encode("utf-8", "surrogateescape")
    if "mesos-stream-id" in headers:
        recorded = headers["mesos-stream-id"]
        headers["mesos-stream-id"] = cluster.stream_ids.get(recorded, recorded)
    headers["content-length"] = str(len(body)) if body or "content-length" in headers else None
    return port, method, cluster.ids.apply(path), {k: v for k, v in headers.items() if v is not None}, body


def replace_binary(cluster, data):
    """Texts of one length can be exchanged inside a protobuf message."""
    for theirs, mine in cluster.ids.known.items():
        data = data.replace(theirs.encode(), mine.encode())
    return data


def with_offers(text, offers):
    body = json.loads(text)
    for payload in body.values():
        for key in ("offer_ids", "inverse_offer_ids"):
            if isinstance(payload, dict) and key in payload:
                payload[key] = [{"value": offer} for offer in offers]
    return json.dumps(body)


class Raw:
    """One request on a fresh connection, as the recorder did it."""

    def __init__(self, port, method, path, headers, body):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        lines = [f"{method} {path} HTTP/1.1"] + [f"{k.title()}: {v}" for k, v in headers.items()]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        self.answer = http.client.HTTPResponse(self.socket, method=method)
        self.answer.begin()


def run(cluster, case, offers=()):
    """Sends one case and compares its answer."""
    if VERBOSE:
        print(f"{time.monotonic() - START:7.2f} {case}", file=sys.stderr, flush=True)
    compared.add(case)
    response = read(case, "response.http") or read(case, "response.headers")
    if response is None:
        return
    first, recorded_headers, recorded_body = split(response)
    binary = read(case, "response.body.base64")
    if binary is not None:
        recorded_body = base64.b64decode(binary)
    stream = read(case, "response.recordio")
    if stream is None and (encoded := read(case, "response.recordio.base64")) is not None:
        stream = base64.b64decode(encoded)
    try:
        raw = Raw(*request_of(cluster, case, offers))
        status = f"HTTP/1.1 {raw.answer.status} {raw.answer.reason}"
        headers = {k.lower(): v for k, v in raw.answer.headers.items()}
        body = raw.answer.read() if stream is None else read_stream(raw, len(list(records(stream))))
        raw.socket.close()
    except (OSError, http.client.HTTPException) as error:
        note(case, "(no answer)", first, repr(error))
        return
    if status != first:
        note(case, "(status)", first, f"{status} {body[:200].decode(errors='replace')}")
        return
    for name in HEADERS:
        theirs, mine = recorded_headers.get(name), headers.get(name)
        if theirs != mine and not (theirs and mine and plain(theirs) == plain(mine)):
            note(case, f"(header {name})", theirs, mine)
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    if recorded_headers.get("content-encoding") == "gzip":
        recorded_body = gzip.decompress(recorded_body)
    if stream is not None:
        compare_records(case, cluster, list(records(stream)), list(records(body)), recorded_headers)
    else:
        compare_bodies(case, cluster, recorded_headers.get("content-type", ""), recorded_body, body)


def read_stream(raw, count):
    """A stream may go on for ever: as many records as were recorded, or what came in two seconds."""
    raw.socket.settimeout(2)
    body = b""
    try:
        while len(list(records(body))) < count and (part := raw.answer.read1(65536)):
            body += part
    except (TimeoutError, ValueError):
        pass
    return body


def compare_bodies(case, cluster, kind, recorded, ours):
    if "protobuf" in kind:
        theirs, mine = wire_tree(recorded), wire_tree(ours)
        if theirs is None or mine is None:
            note(case, "(body)", "protobuf", repr(ours[:100]))
            return
        for path, a, b in compare_wire(theirs, mine):
            note(case, path, a, b)
        return
    if "json" in kind or "javascript" in kind:
        theirs, mine = recorded.decode(errors="replace"), ours.decode(errors="replace")
        if "javascript" in kind:
            theirs, mine = theirs[theirs.index("(") + 1 : -1], mine[mine.find("(") + 1 : -1]
        try:
            theirs, mine = ordered(theirs), ordered(mine)
        except ValueError as error:
            note(case, "(json)", str(error), mine[:200])
            return
        if "metrics" in case.lower():
            compare_metrics(case, theirs, mine)
            return
        for path, a, b in compare(theirs, mine, cluster.ids, "", frozenset(), frozenset()):
            note(case, path, a, b)
        return
    if plain(recorded.decode(errors="replace")) != plain(ours.decode(errors="replace")):
        note(case, "(body)", recorded.decode(errors="replace")[:300], ours.decode(errors="replace")[:300])


def compare_metrics(case, recorded, ours):
    """Names only: values are of the moment."""
    def names(document):
        inner = document.get("get_metrics")
        named = [m.get("name") for m in inner.get("metrics")] if inner else document.keys()
        return {plain(name) for name in named}

    theirs, mine = names(recorded), names(ours)
    for name in sorted(theirs - mine):
        note(case, "/metric/" + name, "present", "(missing)")
    for name in sorted(mine - theirs):
        note(case, "/metric/" + name, "(missing)", "present")


def records(data):
    while data:
        size, _, rest = data.partition(b"\n")
        size = int(size)
        if len(rest) < size:
            return
        yield rest[:size]
        data = rest[size:]


def compare_records(case, cluster, recorded, ours, headers):
    """A stream that ended by itself. Pieces of output may be cut differently, so kinds are compared."""
    def kinds(stream):
        out = []
        for record in stream:
            if record[:1] == b"{":
                event = ordered(record)
                kind = event.get("type")
                if not out or out[-1][0] != kind or kind != "DATA":
                    out.append((kind, event))
            else:
                out.append(("protobuf", wire_tree(record)))
        return out

    theirs, mine = kinds(recorded), kinds(ours)
    if [k for k, _ in theirs] != [k for k, _ in mine]:
        note(case, "(records)", " ".join(map(str, [k for k, _ in theirs])), " ".join(map(str, [k for k, _ in mine])))
        return
    for (kind, a), (_, b) in zip(theirs, mine):
        if kind != "protobuf":
            for difference in compare(a, b, cluster.ids, "/" + kind):
                note(case, *difference)


class Stream:
    """A long event stream, read in the background. Compared as a whole when it is over."""

    def __init__(self, cluster, case, acknowledge=True):
        self.cluster, self.case = cluster, case
        self.acknowledge = acknowledge
        self.events, self.offers, self.inverse, self.roles = [], [], [], {}
        self.changed = time.time()
        self.framework = None
        compared.add(case)
        recorded = read(case, "response.recordio")
        self.decoded = recorded is not None
        if recorded is None:
            recorded = base64.b64decode(read(case, "response.recordio.base64"))
        self.recorded = [ordered(r) for r in records(recorded)] if self.decoded else list(records(recorded))
        first, headers, _ = split(read(case, "response.headers"))
        port, method, path, sent, body = request_of(cluster, case)
        self.raw = Raw(port, method, path, sent, body)
        ours = {k.lower(): v for k, v in self.raw.answer.headers.items()}
        self.id = ours.get("mesos-stream-id")
        if "mesos-stream-id" in headers:
            cluster.stream_ids[headers["mesos-stream-id"]] = self.id
        for name in ("content-type", "transfer-encoding"):
            if headers.get(name) != ours.get(name):
                note(case, f"(header {name})", headers.get(name), ours.get(name))
        self.raw.socket.settimeout(None)
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        answer, pending = self.raw.answer, b""
        while True:
            try:
                part = answer.read1(65536)
            except (OSError, http.client.HTTPException, ValueError):
                part = b""
            if not part:
                self.events.append(None)
                return
            pending += part
            while b"\n" in pending:
                size, _, rest = pending.partition(b"\n")
                if len(rest) < int(size):
                    break
                record, pending = rest[: int(size)], rest[int(size) :]
                self.on_record(record)

    def on_record(self, record):
        self.changed = time.time()
        if not self.decoded:
            self.events.append(record)
            return
        event = ordered(record)
        kind = event.get("type")
        payload = event.get(str(kind).lower())
        twin = next((r for r in self.recorded if self.key(r) == self.key(event)), None)
        if twin is not None:
            list(compare(twin, event, self.cluster.ids))
        self.events.append(event)
        if kind == "SUBSCRIBED" and payload.get("framework_id"):
            self.framework = payload.get("framework_id").get("value")
        if kind == "OFFERS":
            for offer in payload.get("offers"):
                self.roles[offer.get("id").get("value")] = offer.get("allocation_info").get("role")
                self.offers.append(offer.get("id").get("value"))
        if kind == "INVERSE_OFFERS":
            self.inverse += [offer.get("id").get("value") for offer in payload.get("inverse_offers")]
        if kind == "RESCIND" and payload.get("offer_id").get("value") in self.offers:
            self.offers.remove(payload.get("offer_id").get("value"))
        status = payload.get("status") if isinstance(payload, Object) else None
        if kind == "UPDATE" and self.acknowledge and status.get("uuid"):
            self.call({
                "type": "ACKNOWLEDGE",
                "acknowledge": {
                    "agent_id": {"value": status.get("agent_id").get("value")},
                    "task_id": {"value": status.get("task_id").get("value")},
                    "uuid": status.get("uuid"),
                },
            })

    def call(self, body):
        body["framework_id"] = {"value": self.framework}
        headers = {"Content-Type": "application/json", "Mesos-Stream-Id": self.id}
        return fetch(5050, "POST", "/api/v1/scheduler", json.dumps(body), headers)

    @staticmethod
    def key(event):
        if event is None or isinstance(event, bytes):
            return None
        kind = event.get("type")
        payload = event.get(str(kind).lower())
        if kind in ("OFFERS", "INVERSE_OFFERS", "RESCIND", "HEARTBEAT", "RESCIND_INVERSE_OFFER") or payload is None:
            return (kind,)
        status = payload.get("status") if isinstance(payload, Object) else None
        if isinstance(status, Object):
            subject = status.get("task_id") or status.get("operation_id")
            return (kind, subject and subject.get("value"), status.get("state"), plain(status.get("message") or ""))
        if payload.get("task") is not None:
            return (kind, payload.get("task").get("task_id").get("value"), payload.get("task").get("state"))
        if kind == "FAILURE":
            return (kind, (payload.get("executor_id") or Object()).get("value"))
        return (kind,)

    def settle(self, quiet=0.6, most=15, until=None):
        """Waits until nothing came for a while (and `until` holds)."""
        end = time.time() + most
        while time.time() < end:
            time.sleep(0.05)
            if time.time() - self.changed > quiet and (until is None or until()):
                return

    def has(self, kind, subject, state=None):
        return any(
            (key := self.key(e)) and key[0] == kind and key[1:2] == (subject,) and (state is None or key[2] == state)
            for e in self.events
        )

    def accept(self, case, inverse=False):
        """Sends an accepting case with all offers that are out, as one ACCEPT."""
        source = self.inverse if inverse else self.offers
        offers, source[:] = list(source), []
        run(self.cluster, case, offers)

    def decline_all(self, refuse_seconds=0):
        """Gives every offer back. What is free comes back in one piece, perhaps to another role."""
        offers, self.offers[:] = list(self.offers), []
        if offers:
            filters = {"refuse_seconds": refuse_seconds}
            ids = [{"value": offer} for offer in offers]
            self.call({"type": "DECLINE", "decline": {"offer_ids": ids, "filters": filters}})

    def hold_offers_of(self, role):
        """Which of two equal roles is served first is free: declines until it is this one, with all there is."""
        for _ in range(10):
            self.settle(0.2, 6, until=lambda: self.offers)
            if len(self.offers) == 1 and self.roles[self.offers[0]] == role:
                return
            self.decline_all()

    def close(self):
        try:
            self.raw.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def judge(self):
        """Each recorded event, in the order of its kind and subject, beside ours."""
        if not self.decoded:
            ours = [e for e in self.events if e is not None]
            theirs = [wire_tree(r) for r in self.recorded]
            kinds = lambda trees: sorted({t[0][2] for t in trees if t})
            mine = [wire_tree(r) for r in ours]
            if kinds(theirs) != kinds(mine):
                note(self.case, "(event types)", kinds(theirs), kinds(mine))
            return
        groups = {}
        for side, events in enumerate((self.recorded, self.events)):
            for event in events:
                if event is None:
                    continue
                key = self.key(event)
                key = key[:3] if key[0] == "UPDATE" else key
                groups.setdefault(key, ([], []))[side].append(event)
        for key, (theirs, mine) in groups.items():
            label = "/" + "/".join(str(part) for part in key)
            if key[0] in ("HEARTBEAT", "OFFERS", "RESCIND", "INVERSE_OFFERS"):
                if bool(theirs) != bool(mine):
                    note(self.case, label, len(theirs), len(mine))
                theirs, mine = theirs[:1], mine[:1]
            elif len(theirs) != len(mine):
                note(self.case, f"{label}/(count)", len(theirs), len(mine))
            for a, b in zip(theirs, mine):
                for path, one, other in compare(a, b, self.cluster.ids):
                    note(self.case, label + path, one, other)


def folder(name):
    cases = sorted(glob.glob(f"{GOLDEN}/{name}/*.request.http"))
    return [f"{name}/{os.path.basename(case)[: -len('.request.http')]}" for case in cases]


def run_all(cluster, *names):
    for name in names:
        for case in folder(name):
            if "logging-toggle-query" in case:
                # The level that SET_LOGGING_LEVEL set is in force for a second.
                time.sleep(1.1)
            run(cluster, case)


def first_life():
    cluster = Cluster("first")
    run_all(cluster, "v1-master-idle", "v0-master-idle", "v1-agent-idle", "v0-agent-idle")
    run_all(cluster, "v1-master-idle-protobuf", "v1-agent-idle-protobuf")
    operators = [Stream(cluster, f"v1-master-subscribe/SUBSCRIBE-{kind}") for kind in ("json", "protobuf")]
    framework = scheduler(cluster)
    for operator in operators:
        operator.settle(0.3, 3)
        operator.judge()
        operator.close()
    framework.judge()
    run_all(cluster, "v1-master-after", "v0-master-after", "v0-agent-after")
    protobuf(cluster)
    errors(cluster)
    cluster.stop()


def scheduler(cluster):
    stream = Stream(cluster, "scheduler/00-subscribe-stream-json")
    stream.settle(0.3, until=lambda: stream.offers)
    stream.accept("scheduler/01-accept-launch")
    stream.settle(until=lambda: stream.has("UPDATE", "failing-task", "TASK_FAILED") and stream.offers)
    stream.accept("scheduler/02-accept-bad-user")
    stream.settle(1.2, until=lambda: stream.offers)
    stream.accept("scheduler/03-accept-bad-fetch")
    stream.settle(1.2, until=lambda: stream.has("UPDATE", "bad-fetch-task", "TASK_FAILED"))
    # Mesos offered what an ACCEPT left and what the task gave back together, at its next interval.
    stream.decline_all()
    stream.settle(0.3, 5, until=lambda: stream.offers)
    run_all(cluster, "v1-master-busy", "v0-master-busy", "v1-agent-busy", "v0-agent-busy")
    run_all(cluster, "v1-master-busy-protobuf", "v1-agent-busy-protobuf")
    for case in folder("scheduler")[4:15]:
        if "14-decline" in case:
            stream.settle(0.3, until=lambda: stream.offers)
        if "20-" in case:
            stream.settle(0.3, 5, until=lambda: stream.offers)
        accepts = "accept" in case or "decline" in case
        stream.accept(case) if accepts else run(cluster, case)
        stream.settle(0.4, 3)
    stream.settle(0.3, 8, until=lambda: stream.offers)
    stream.accept("scheduler/21-accept-launch-group")
    stream.settle(1, until=lambda: stream.has("UPDATE", "pod-b", "TASK_FINISHED"))
    pod(cluster)
    run(cluster, "scheduler/22-kill-pod-a")
    run(cluster, "scheduler/23-kill-long-task")
    stream.settle(1, until=lambda: stream.has("UPDATE", "long-task", "TASK_KILLED") and stream.offers)
    custom_executor(cluster, stream)
    run(cluster, "scheduler/40-teardown")
    time.sleep(0.5)
    stream.close()
    return stream


def pod(cluster):
    run_all(cluster, "v0-agent-pod", "v0-master-pod")
    order = [
        "GET_STATE", "GET_CONTAINERS-nested", "LAUNCH_NESTED_CONTAINER", "WAIT_NESTED_CONTAINER",
        "REMOVE_NESTED_CONTAINER", "LAUNCH_CONTAINER-nested", "KILL_CONTAINER-nested", "WAIT_CONTAINER-nested",
        "REMOVE_CONTAINER-nested", "LAUNCH_NESTED_CONTAINER-no-parent", "LAUNCH_NESTED_CONTAINER-unknown-parent",
        "WAIT_CONTAINER-unknown", "KILL_CONTAINER-unknown", "REMOVE_CONTAINER-unknown-nested",
        "REMOVE_CONTAINER-unknown-parent", "ATTACH_CONTAINER_OUTPUT-unknown", "LAUNCH_NESTED_CONTAINER_SESSION-json",
        "LAUNCH_NESTED_CONTAINER_SESSION-protobuf", "LAUNCH_CONTAINER-standalone", "LAUNCH_CONTAINER-standalone-again",
        "GET_CONTAINERS-standalone", "KILL_CONTAINER-standalone", "WAIT_CONTAINER-standalone", "PRUNE_IMAGES",
    ]
    for name in order:
        if name == "WAIT_CONTAINER-standalone":
            time.sleep(1)
        run(cluster, f"v1-agent-pod/{name}")


def custom_executor(cluster, stream):
    os.makedirs(f"{WORK}/tools", exist_ok=True)
    with open(f"{WORK}/tools/recorder_executor.py", "w") as file:
        file.write(
            "import json, os, signal, sys, time\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
            f"json.dump(dict(os.environ), open('{WORK}/environment.json.part', 'w'))\n"
            f"os.rename('{WORK}/environment.json.part', '{WORK}/environment.json')\n"
            f"open('{WORK}/executor.pid', 'w').write(str(os.getpid()))\n"
            "time.sleep(100)\n"
        )
    stream.accept("scheduler/30-accept-custom-executor")
    for _ in range(100):
        if os.path.exists(f"{WORK}/executor.pid"):
            break
        time.sleep(0.05)
    else:
        note("executor/00-environment", "(start)", "started", "the executor was not started")
        return
    environment(cluster)
    cases = folder("executor")
    for case in cases[:8]:
        run(cluster, case)
    executor = Stream(cluster, "executor/09-subscribe-stream", acknowledge=False)
    executor.settle(0.3, 3)
    run(cluster, "executor/10-update-running")
    run(cluster, "executor/11-message")
    run(cluster, "scheduler/31-message-to-executor")
    for case in cases[11:14]:
        run(cluster, case)
    stream.settle(0.5, 3)
    for name in ("v1-master", "v1-agent", "v0-agent"):
        run_all(cluster, f"{name}-custom-executor")
    run(cluster, "scheduler/32-kill-exec-task")
    executor.settle(0.3, 3)
    run(cluster, "executor/15-update-killed")
    stream.settle(0.5, 3)
    run(cluster, "scheduler/33-shutdown-executor")
    executor.settle(0.3, 3)
    os.kill(int(open(f"{WORK}/executor.pid").read()), signal.SIGTERM)
    stream.settle(0.5, 5, until=lambda: stream.has("FAILURE", "custom-exec"))
    executor.close()
    executor.judge()


def environment(cluster):
    compared.add("executor/00-environment")
    recorded = json.load(open(f"{GOLDEN}/executor/00-environment.json"))
    ours = json.load(open(f"{WORK}/environment.json"))
    ours = {key: value for key, value in ours.items() if key in recorded or key.startswith(("MESOS_", "LIBPROCESS"))}
    for key in sorted(set(recorded) | set(ours)):
        a, b = recorded.get(key, "(missing)"), ours.get(key, "(missing)")
        if plain(str(a)) != plain(str(b)):
            note("executor/00-environment", "/" + key, a, b)


def protobuf(cluster):
    stream = Stream(cluster, "scheduler-protobuf/00-subscribe-stream", acknowledge=False)
    stream.settle(0.3, 3)
    offer = next((OFFER_ID.search(e) for e in stream.events if e and OFFER_ID.search(e)), None)
    if offer is None:
        note(stream.case, "(offers)", "some", "none")
    else:
        REPLACED_BINARY["scheduler-protobuf/01-accept"] = offer.group(0)
        run(cluster, "scheduler-protobuf/01-accept")
        stream.settle(0.5, 6, until=lambda: len(stream.events) > 3)
    updates = lambda: [UPDATE_UUID.search(e).group(1) for e in stream.events if e and UPDATE_UUID.search(e)]
    acknowledged = 0
    for case in folder("scheduler-protobuf")[2:]:
        if "acknowledge" in case:
            stream.settle(0.1, 6, until=lambda: len(updates()) > acknowledged)
            REPLACED_BINARY[case] = (updates() or [b""])[-1]
            acknowledged += 1
        run(cluster, case)
    stream.settle(0.3, 2)
    stream.close()
    stream.judge()


OFFER_ID = re.compile(UUID.pattern.encode() + rb"-O\d+")
# Tag and length of the uuid in a TaskStatus, and in an ACKNOWLEDGE.
UPDATE_UUID = re.compile(rb"\x5a\x10(.{16})", re.S)
ACKNOWLEDGED_UUID = re.compile(rb"\x1a\x10.{16}", re.S)
# The offer id or the uuid of an update in binary requests.
REPLACED_BINARY = {}


def with_offer(tree, offer):
    """The protobuf message of `tree` with its offer ids replaced."""
    out = b""
    for field, kind, value in tree:
        if kind == 2:
            if isinstance(value, list):
                value = with_offer(value, offer)
            elif OFFER_ID.fullmatch(value):
                value = offer
            value = varint(len(value)) + value
        elif kind == 0:
            value = varint(value)
        out += varint(field << 3 | kind) + value
    return out


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def errors(cluster):
    cases = folder("errors")
    before = [c for c in cases if "/scheduler-" in c and "completed-framework" not in c]
    for case in before:
        run(cluster, case)
    stream = Stream(cluster, "errors/00-first-connection-closed-by-resubscribe")
    stream.settle(0.5, 5, until=lambda: stream.offers)
    for case in [c for c in cases if "/call-" in c and "after-teardown" not in c] + [
        c for c in cases if any(f"/{word}" in c for word in ("acknowledge", "revive", "suppress", "update-"))
    ]:
        run(cluster, case)
    launches = [
        "bad-offer-id", "wrong-agent", "used-offer-again", "too-many-resources", "long", "duplicate-task-id",
        "bad-task-id-slash", "bad-task-id-empty", "bad-task-id-dotdot", "bad-task-id-space", "task-id-too-long",
        "neither-command-nor-executor", "both-command-and-executor", "no-resources", "zero-cpus", "negative-cpus",
        "tiny-cpus", "duplicate-resource-entries", "wrong-allocation-role", "unreserved-offer-reserved-task",
        "bad-health-check", "bad-kill-policy", "bad-max-completion-time", "bad-environment", "docker-not-enabled",
        "executor-wrong-framework-id", "two-tasks-together-too-much", "reserve-wrong-role", "unknown-operation",
        "operation-without-message", "group-custom-executor-bad", "group-too-much", "group-no-framework-id",
    ]
    for name in launches:
        launch_error(cluster, stream, f"errors/launch-{name}")
    second = Stream(cluster, "errors/00-second-connection")
    second.settle(0.4, 3)
    stream.settle(0.2, 2)
    run(cluster, "errors/old-stream-id-after-resubscribe")
    run(cluster, "errors/teardown")
    second.settle(0.3, 2)
    for case in ["errors/call-after-teardown", "errors/scheduler-subscribe-completed-framework"] + [
        c for c in cases if c.split("/")[1].startswith(("agent-", "master-"))
    ]:
        run(cluster, case)
    stream.close()
    second.close()
    judge_first_and_last(stream)


def judge_first_and_last(stream):
    """The launches in between were compared one by one."""
    ours = [e for e in stream.events if e is not None]
    for label, at in (("first", 0), ("last", -1)):
        for path, a, b in compare(stream.recorded[at], ours[at], stream.cluster.ids):
            note(stream.case, f"/{label}{path}", a, b)


def launch_error(cluster, stream, case):
    keeps = ("bad-offer-id", "used-offer-again")
    stream.settle(0.05, 3, until=lambda: stream.offers)
    start = len(stream.events)
    if any(word in case for word in keeps):
        run(cluster, case)
    else:
        stream.accept(case)
    expected = json.loads(read(case, "events.json") or "[]")
    expected = expected if isinstance(expected, list) else expected.get("events", [])
    expected = [ordered(json.dumps(event)) for event in expected]
    final = lambda: len(updates(stream.events[start:])) >= len(expected)
    stream.settle(0.4, 4, until=final)
    ours = updates(stream.events[start:])
    if len(ours) != len(expected):
        brief = lambda events: "; ".join(str(Stream.key(e)) for e in events)
        note(case, "(events)", brief(expected), brief(ours))
    for a, b in zip(expected, ours):
        for path, one, other in compare(a, b, cluster.ids):
            note(case, path, one, other)


def updates(events):
    return [e for e in events if e is not None and e.get("type") in ("UPDATE", "ERROR")]


def second_life():
    cluster = Cluster("second")
    operator = Stream(cluster, "mutations/00-operator-stream")
    stream = Stream(cluster, "mutations/00-scheduler-stream")
    stream.settle(0.5, 5, until=lambda: stream.offers)
    # What was asked under one number: changes first, then reads.
    reads = ("GET_", "agent-", "slaves", "state", "roles", "quota", "weights", "schedule", "status", "registry")
    by_step = lambda case: (case.split("/")[1][:2], case.split("/")[1][3:].startswith(reads), case)
    for case in sorted(folder("mutations"), key=by_step)[2:]:
        step = case.split("/")[1]
        if "accept-inverse" in step:
            stream.settle(0.3, 3, until=lambda: stream.inverse)
            stream.accept(case, inverse=True)
        elif "-accept-" in step:
            stream.hold_offers_of("eng")
            stream.accept(case)
        else:
            if "acknowledge-op" in step:
                learn_status_uuid(cluster, stream, case)
            if step[:2] in OFFERED_TO:
                stream.hold_offers_of(OFFERED_TO[step[:2]])
            if step.startswith("48-state"):
                # Recorded before the next offer, to either of the two roles.
                for _ in range(2):
                    stream.settle(0.2, 1)
                    stream.decline_all(refuse_seconds=2)
                stream.settle(0.2, 1)
            run(cluster, case)
        changing = not any(word in step for word in ("GET_", "-slaves", "-state", "-roles", "-quota", "-weights"))
        stream.settle(0.3, 4) if changing else None
        if step.startswith(("65-slaves", "47-", "41-")):
            stream.settle(1.2, 6)
    stream.settle(0.3, 2)
    operator.close()
    stream.close()
    stream.judge()
    operator.judge()
    cluster.stop()


# The role that held the one offer when the state was recorded.
OFFERED_TO = {"21": "eng", "27": "eng/web", "35": "eng/web", "45": "eng/web"}


def learn_status_uuid(cluster, stream, case):
    """An acknowledgement names the status by its uuid, base64 in a text: swap the recorded one for ours."""
    for event in stream.events:
        key = Stream.key(event)
        if not key or key[0] != "UPDATE_OPERATION_STATUS":
            continue
        twin = next((r for r in stream.recorded if Stream.key(r) == key), None)
        status = event.get("update_operation_status").get("status").get("uuid")
        recorded = twin and twin.get("update_operation_status").get("status").get("uuid")
        if status and recorded:
            path = f"{GOLDEN}/{case}.request.http"
            text = open(path, newline="").read()
            if recorded.get("value") in text:
                REPLACED[case] = (recorded.get("value"), status.get("value"))


REPLACED = {}
_plain_read = read


def read(case, ending, mode="rb"):  # noqa: F811 - the requests of some cases carry values of the run
    data = _plain_read(case, ending, mode)
    if data is not None and ending == "request.http" and case in REPLACED:
        old, new = REPLACED[case]
        data = data.replace(old.encode(), new.encode())
    return data


def accepted_rows():
    rows, inside = [], False
    for line in open(PAGE):
        if line.startswith("#"):
            inside = "Differences from recorded answers" in line
        if inside and line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            rows.append((cells[0].strip("`"), cells[1].strip("`"), cells[2]))
    return rows


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))


def main():
    loopback_up()
    # Nothing of this host is under the recording's paths.
    subprocess.run(["mount", "-t", "tmpfs", "none", "/var/lib"], check=True)
    os.makedirs(f"{WORK}/log")
    first_life()
    for name in ("master", "agent", "run"):
        subprocess.run(["rm", "-rf", f"{WORK}/{name}"], check=True)
    second_life()

    listed = [line.split("\t")[0] for line in open(f"{GOLDEN}/INDEX.tsv")][1:]
    wanted = [case for case in listed if not case.startswith(LEFT_OUT)]
    missed = [case for case in wanted if case not in compared]
    if WORDS:
        for case, path, recorded, ours in differences:
            if any(word in case for word in WORDS):
                print(f"{case}\n   {path}\n   recorded {recorded}\n   ours     {ours}")
        return
    rows, used, open_ones = accepted_rows(), set(), []
    for case, path, recorded, ours in differences:
        row = next((r for r in rows if fnmatch.fnmatchcase(case, r[0]) and fnmatch.fnmatchcase(path, r[1])), None)
        if row is None:
            open_ones.append((case, path, recorded, ours))
        else:
            used.add(row)
    for case, path, recorded, ours in open_ones:
        print(f"DIFFERS {case} {path}\n   recorded {recorded}\n   ours     {ours}")
    for row in rows:
        if row not in used:
            print(f"UNUSED  {row[0]} {row[1]}: the page lists a difference that is not there")
    same = len({c for c in compared if c in wanted} - {d[0] for d in differences})
    print(f"{len(wanted)} cases: {same} the same, {len(wanted) - same - len(missed)} with differences, "
          f"{len(missed)} not compared; {len(differences)} differences, {len(open_ones)} not on the page")
    if missed:
        print("not compared: " + " ".join(missed))
    sys.stdout.flush()
    os._exit(1 if open_ones or missed else 0)


if __name__ == "__main__":
    main()
