// Snippets that call a webhook. They run as pasted, with a sample payload and a sample
// idempotency key.
import { samplePayload } from "../trigger.ts";

export interface Snippet {
  id: string;
  label: string;
  /** How to use it. */
  text: string;
  code: string;
  /** Settings to enter in another service, instead of code. */
  settings?: [name: string, value: string][];
  /** Called by external servers, which cannot reach a loopback address. */
  needsPublicUrl?: true;
}

/** The snippets for `webhookUrl`, with a payload that has the fields the agent's `prompt` uses. */
export function snippetsFor(webhookUrl: string, prompt: string | null | undefined): Snippet[] {
  const statusUrl = `${new URL(webhookUrl).origin}/api/task_status`;
  const sample = samplePayload(prompt);
  const payload = sample.replaceAll(/\n\s*/g, " ");
  return [
    curl(webhookUrl, statusUrl, payload),
    python(webhookUrl, statusUrl, payload),
    javascript(webhookUrl, statusUrl, payload),
    form(webhookUrl, fieldsOf(sample)),
    github(webhookUrl),
    zapier(webhookUrl, payload),
    make(webhookUrl, payload),
    n8n(webhookUrl, payload),
    cron(webhookUrl, payload),
  ];
}

/** Whether a URL can be reached only from the server's own machine. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname) || /^(.+\.)?localhost$/.test(hostname);
}

/** The string fields at the top level of the payload: an HTML form can send only those. */
function fieldsOf(sample: string): string[] {
  const fields = Object.entries(JSON.parse(sample) as object).filter(([, value]) => typeof value === "string");
  return fields.length > 0 ? fields.map(([name]) => name) : ["question"];
}

function curl(url: string, statusUrl: string, payload: string): Snippet {
  return {
    id: "curl",
    label: "curl",
    text: "Triggers the agent, polls until the task ends and prints the result. An error response is printed as well. Runs in sh, bash and zsh.",
    code: `WEBHOOK=${shell(url)}

ANSWER=$(curl -sS "$WEBHOOK" \\
  -H 'Content-Type: application/json' \\
  -d '${payload}')
TASK=$(printf '%s' "$ANSWER" | sed -n 's/.*"task_id":"\\([^"]*\\)".*/\\1/p')

while [ -n "$TASK" ] &&
  ANSWER=$(curl -sS "${statusUrl}?task_id=$TASK") &&
  printf '%s' "$ANSWER" | grep -Eq '^{"status":"(PENDING|STARTED)"'
do sleep 1; done
printf '%s\\n' "$ANSWER"
`,
  };
}

const KEY_HINT = "The key is your own id of the event. For 24 hours, calls with the same key return the same task.";

function python(url: string, statusUrl: string, payload: string): Snippet {
  return {
    id: "python",
    label: "Python",
    text: `Needs the package requests. ${KEY_HINT}`,
    code: `import time

import requests

WEBHOOK = ${JSON.stringify(url)}
STATUS = ${JSON.stringify(statusUrl)}

order_id = 7  # your own id: a new one for each task, the same one for a retry
payload = ${payload}
triggered = requests.post(
    WEBHOOK,
    json=payload,
    headers={"Idempotency-Key": f"order-{order_id}"},
    timeout=30,
)
if not triggered.ok:
    raise SystemExit(triggered.text)
task_id = triggered.json()["task_id"]

while True:
    task = requests.get(STATUS, params={"task_id": task_id}, timeout=30).json()
    if task["status"] in ("SUCCESS", "FAILURE"):
        break
    time.sleep(1)

if task["status"] == "SUCCESS":
    print(task["result"]["result"]["answer"])
else:
    print("failed:", task["result"])
`,
  };
}

function javascript(url: string, statusUrl: string, payload: string): Snippet {
  return {
    id: "javascript",
    label: "JavaScript",
    text: `For Node 18 and later, Deno, Bun and browsers. A webhook accepts calls from any origin. In a browser, every visitor can read the URL. ${KEY_HINT}`,
    code: `const webhook = ${JSON.stringify(url)};
const statusUrl = ${JSON.stringify(statusUrl)};
const orderId = 7; // your own id: a new one for each task, the same one for a retry

const triggered = await fetch(webhook, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    "Idempotency-Key": \`order-\${orderId}\`,
  },
  body: JSON.stringify(${payload}),
});
if (!triggered.ok) throw new Error(await triggered.text());
const { task_id } = await triggered.json();

let task;
do {
  await new Promise((wake) => setTimeout(wake, 1000));
  task = await (await fetch(\`\${statusUrl}?task_id=\${task_id}\`)).json();
} while (task.status === "PENDING" || task.status === "STARTED");

console.log(task.status === "SUCCESS" ? task.result.result.answer : task.result);
`,
  };
}

function form(url: string, fields: string[]): Snippet {
  const inputs = fields.map((name) => `  <label>${name} <input name="${name}" required></label>\n`);
  return {
    id: "form",
    label: "HTML form",
    text: "Each field becomes a string in the payload. The visitor sees the task id as JSON. Every visitor can read the URL in the page's source.",
    code: `<form method="post" action="${url}">
${inputs.join("")}  <button>Send</button>
</form>
`,
  };
}

function github(url: string): Snippet {
  return externalSettings("github", "GitHub", "In the repository: Settings, Webhooks, Add webhook. GitHub's event is the payload.", [
    ["Payload URL", url],
    ["Content type", "application/json"],
    ["Secret", "leave empty: the URL is the secret"],
    ["SSL verification", "Enable SSL verification"],
    ["Which events", "only those that the agent handles, such as Issues"],
  ]);
}

function zapier(url: string, payload: string): Snippet {
  return externalSettings("zapier", "Zapier", "Add the action “Webhooks by Zapier”, event “Custom Request”.", [
    ["Method", "POST"],
    ["URL", url],
    ["Data Pass-Through?", "False"],
    ["Data", payload],
    ["Unflatten", "Yes"],
    ["Headers", "Content-Type | application/json"],
  ]);
}

function make(url: string, payload: string): Snippet {
  return externalSettings("make", "Make", "Add the module “HTTP: Make a request”.", [
    ["URL", url],
    ["Method", "POST"],
    ["Body type", "Raw"],
    ["Content type", "JSON (application/json)"],
    ["Request content", payload],
    ["Parse response", "Yes: the task's id is task_id"],
  ]);
}

function n8n(url: string, payload: string): Snippet {
  return settings("n8n", "n8n", "Add the node “HTTP Request”.", [
    ["Method", "POST"],
    ["URL", url],
    ["Authentication", "None"],
    ["Send Body", "on"],
    ["Body Content Type", "JSON"],
    ["Specify Body", "Using JSON"],
    ["JSON", payload],
  ]);
}

function cron(url: string, payload: string): Snippet {
  return {
    id: "cron",
    label: "cron",
    text: "Every weekday at 7:00. The date is the key, so a retry on the same day returns the same task. In a crontab, % is written as \\%.",
    code: `0 7 * * 1-5 curl -sS --fail --retry 5 -H 'Content-Type: application/json' -H "Idempotency-Key: daily-$(date +\\%F)" -d '${payload}' ${shell(url)}
`,
  };
}

function settings(id: string, label: string, text: string, pairs: [string, string][]): Snippet {
  return { id, label, text, settings: pairs, code: pairs.map(([name, value]) => `${name}: ${value}`).join("\n") };
}

function externalSettings(id: string, label: string, text: string, pairs: [string, string][]): Snippet {
  return { ...settings(id, label, text, pairs), needsPublicUrl: true };
}

/** Quotes any text as one shell word. */
function shell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
