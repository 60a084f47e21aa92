"""Field by field comparison of a recorded answer with ours, and the identifiers learned on the way."""

import json
import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# Values that differ from run to run: compared by type only.
FREE_KEYS = {
    "timestamp", "uuid", "nanoseconds", "start_time", "elected_time", "registered_time", "reregistered_time",
    "unregistered_time", "pid", "executor_pid", "build_time", "build_date", "build_user", "git_sha", "git_branch",
    "git_tag", "mtime", "nlink", "status_update_uuid", "operation_uuid", "avg_load_1min", "avg_load_5min",
    "avg_load_15min", "cpus_total", "mem_total_bytes", "mem_free_bytes", "mem_rss_bytes", "mem_total_bytes",
    "cpus_user_time_secs", "cpus_system_time_secs", "processes", "threads", "resource_version_uuid",
    "estimated_drain_start_time_seconds", "version", "value_of_metric", "size", "disk_used_bytes",
}


# Maps of protobuf: their order means nothing.
MAPS = ("/guarantees", "/limits")


class Ids:
    """Recorded identifier -> ours. Learned while comparing, applied to requests."""

    def __init__(self):
        self.known = {}

    def learn(self, recorded, ours):
        for theirs, mine in zip(UUID.findall(recorded), UUID.findall(ours)):
            self.known.setdefault(theirs, mine)

    def apply(self, text):
        return UUID.sub(lambda m: self.known.get(m.group(0), m.group(0)), text)


def plain(text):
    """A text without what differs from run to run."""
    return UUID.sub("<uuid>", re.sub(r"-O\d+", "-O<n>", text))


def ordered(text):
    """JSON that keeps the order of keys and tells integers from doubles."""
    return json.loads(text, object_pairs_hook=lambda pairs: Object(pairs))


class Object(list):
    """Key and value pairs in order."""

    def keys(self):
        return [key for key, _ in self]

    def get(self, key, default=None):
        return next((value for k, value in self if k == key), default)


def compare(recorded, ours, ids, path="", free=frozenset(), unordered=frozenset()):
    """Yields (path, recorded, ours) for each difference."""
    if isinstance(recorded, Object) and isinstance(ours, Object):
        recorded, ours = by_plain_key(recorded), by_plain_key(ours)
        theirs, mine = recorded.keys(), ours.keys()
        for key in theirs:
            if key not in mine:
                yield (f"{path}/{key}", short(recorded.get(key)), "(missing)")
        for key in mine:
            if key not in theirs:
                yield (f"{path}/{key}", "(missing)", short(ours.get(key)))
        common = [key for key in theirs if key in mine]
        if path not in unordered and not path.endswith(MAPS) and [key for key in mine if key in theirs] != common:
            yield (f"{path}/(order)", " ".join(common), " ".join(key for key in mine if key in theirs))
        for key in common:
            yield from leaf_or_deeper(recorded.get(key), ours.get(key), ids, f"{path}/{key}", key, free, unordered)
        return
    if type(recorded) is list and type(ours) is list:
        theirs, mine = by_name(recorded), by_name(ours)
        if theirs is not None and mine is not None:
            for name in theirs.keys() | mine.keys():
                if name not in mine:
                    yield (f"{path}/[{name}]", short(theirs[name]), "(missing)")
                elif name not in theirs:
                    yield (f"{path}/[{name}]", "(missing)", short(mine[name]))
                else:
                    yield from compare(theirs[name], mine[name], ids, f"{path}/*", free, unordered)
            return
        if len(recorded) != len(ours):
            yield (f"{path}/(length)", len(recorded), len(ours))
        for n, (theirs, mine) in enumerate(zip(recorded, ours)):
            yield from leaf_or_deeper(theirs, mine, ids, f"{path}/*", "*", free, unordered)
        return
    yield from leaf(recorded, ours, ids, path, free)


def by_plain_key(pairs):
    """Keys can be identifiers too."""
    return Object((plain(key), value) for key, value in pairs)


def by_name(items):
    """Entries of a list by what names them, when something does and no two are alike: their order is free."""
    return named_by(items, ()) or named_by(items, ("resources",))


def named_by(items, more):
    named = {}
    for item in items:
        if not isinstance(item, Object):
            return None
        info = item.get("info")
        if isinstance(info, Object) and "latest_status" in item.keys() and info.get("id") is not None:
            # An operation.
            named[plain(json.dumps(info.get("id")))] = item
            continue
        name = "".join(
            plain(json.dumps(item.get(key)))
            for key in ("name", "id", "role", "path", "task_id", "task_info", "executor_id", "executor_info",
                        "framework_id", "framework_info", "agent_info", "container_id")
            if item.get(key) is not None
        )
        name = name[:160] + "".join(plain(json.dumps(item.get(key))) for key in more)
        if not name or "uuid" in item.keys() or "reservations" in item.keys() or name in named:
            return None
        named[name] = item
    return named


def leaf_or_deeper(recorded, ours, ids, path, key, free, unordered):
    if isinstance(recorded, str) and isinstance(ours, str):
        ids.learn(recorded, ours)
    if key in FREE_KEYS or any(path.endswith(end) for end in free):
        if type(recorded) is not type(ours):
            yield (path, short(recorded), short(ours))
        return
    yield from compare(recorded, ours, ids, path, free, unordered)


def leaf(recorded, ours, ids, path, free):
    if isinstance(recorded, str) and isinstance(ours, str):
        ids.learn(recorded, ours)
        if plain(recorded) != plain(ours):
            yield (path, recorded, ours)
    elif type(recorded) is not type(ours) or recorded != ours:
        yield (path, short(recorded), short(ours))


def short(value):
    return json.dumps(value)[:200] if not isinstance(value, str) else value[:200]


def wire_tree(data, depth=0):
    """A protobuf message without its schema: [(field, wire type, value or subtree)]; None when it is none."""
    out, at = [], 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(data) or shift > 63:
                raise ValueError
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    try:
        while at < len(data):
            tag = varint()
            field, kind = tag >> 3, tag & 7
            if field == 0 or field > 2000:
                raise ValueError
            if kind == 0:
                out.append((field, kind, varint()))
            elif kind == 1:
                out.append((field, kind, data[at : at + 8]))
                at += 8
            elif kind == 2:
                size = varint()
                if at + size > len(data):
                    raise ValueError
                part = data[at : at + size]
                at += size
                printable = part.isascii() and all(31 < byte < 127 for byte in part)
                tree = None if printable and size > 1 else wire_tree(part, depth + 1) if size else None
                out.append((field, kind, tree if tree is not None else part))
            elif kind == 5:
                out.append((field, kind, data[at : at + 4]))
                at += 4
            else:
                raise ValueError
        if at > len(data):
            raise ValueError
    except (ValueError, IndexError):
        return None
    return out


def compare_wire(recorded, ours, path=""):
    """Structure and texts of two schema-less trees; numbers are left to the JSON form of the same call."""
    def group(tree):
        fields = {}
        for field, kind, value in tree:
            fields.setdefault((field, kind), []).append(value)
        return fields

    theirs, mine = group(recorded), group(ours)
    for field in sorted(set(theirs) | set(mine)):
        a, b = theirs.get(field, []), mine.get(field, [])
        here = f"{path}/{field[0]}"
        if len(a) != len(b):
            yield (f"{here}/(count)", len(a), len(b))
            continue
        for one, other in zip(sorted(a, key=key_of), sorted(b, key=key_of)):
            if isinstance(one, list) and isinstance(other, list):
                yield from compare_wire(one, other, here)
            elif isinstance(one, bytes) and isinstance(other, bytes) and one.isascii() and len(one) not in (8, 16):
                if plain(one.decode()) != plain(other.decode(errors="replace")):
                    yield (here, one.decode()[:200], other.decode(errors="replace")[:200])


def key_of(value):
    return plain(repr(value))
