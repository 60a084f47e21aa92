// Listens with the unmodified marathon-event-bus-client while an app is made, changed and removed.
//
// usage: events.js SERVICES_HOST PORT

"use strict";

const http = require("http");
const Client = require("marathon-event-bus-client");

const [host, port] = process.argv.slice(2);
const app = "/suite/bus";
const wanted = ["event_stream_attached", "group_change_success", "deployment_info", "deployment_step_success",
  "deployment_success", "status_update_event", "instance_changed_event", "app_terminated_event"];
const seen = new Map();

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body ? { "Content-Type": "application/json" } : {};
    const request = http.request({ host, port, method, path, headers }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode, body: text ? JSON.parse(text) : null }));
    });
    request.on("error", reject);
    request.end(body && JSON.stringify(body));
  });
}

async function until(what, condition) {
  const end = Date.now() + 120000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not in time: ${what}; seen: ${[...seen.keys()]}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function main() {
  const handlers = {};
  for (const type of wanted) {
    handlers[type] = (name, data) => {
      if (name !== type || data.eventType !== type || !data.timestamp) throw new Error(`${type}: ${JSON.stringify(data)}`);
      seen.set(type, data);
    };
  }
  const client = new Client({ marathonHost: host, marathonPort: port, eventTypes: wanted, handlers });
  let subscribed = false;
  client.on("subscribed", () => (subscribed = true));
  client.on("error", (error) => console.error(error));
  client.subscribe();
  await until("subscribed", () => subscribed);
  // Somebody else's attachment is news to us.
  const other = new Client({ marathonHost: host, marathonPort: port, eventTypes: ["deployment_info"] });
  other.subscribe();
  await until("attached", () => seen.has("event_stream_attached"));
  const made = await call("POST", "/v2/apps", { id: app, cmd: "sleep 1000", cpus: 0.01, mem: 16 });
  if (made.status !== 201) throw new Error(JSON.stringify(made));
  await until("deployed", () => seen.has("deployment_success"));
  if (seen.get("deployment_info").plan.steps.length !== 2) throw new Error(JSON.stringify(seen.get("deployment_info")));
  if (seen.get("status_update_event").appId !== app) throw new Error(JSON.stringify(seen.get("status_update_event")));
  await call("DELETE", `/v2/apps${app}`);
  await until("all kinds", () => wanted.every((type) => seen.has(type)));
  client.unsubscribe();
  other.unsubscribe();
  console.log(`ok      ${wanted.length} kinds of events`);
}

main().then(() => process.exit(0), (error) => {
  console.log(`FAILED  ${error.stack}`);
  process.exit(1);
});
