// Ways to call a webhook, ready to be pasted. Nothing in them needs to be filled in
// but the payload, of which they have a sample, and a key.
import { samplePayload } from "../trigger.ts";

export interface Snippet {
  id: string;
  label: string;
  /** What to do with it. */
  text: string;
  code: string;
  /** Settings to be typed into somebody else's form, rather than code. */
  settings?: [name: string, value: string][];
  /** Called by servers of others, which do not reach an address of this machine alone. */
  fromAfar?: true;
}

/** The ways to call `webhookUrl`, with a payload that the agent's `prompt` speaks of. */
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

/** Whether only programs on the server's own machine reach a URL. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname) || /^(.+\.)?localhost$/.test(hostname);
}

/** A form's fields are texts at the top of the payload. */
function fieldsOf(sample: string): string[] {
  const fields = Object.entries(JSON.parse(sample) as object).filter(([, value]) => typeof value === "string");
  return fields.length > 0 ? fields.map(([name]) => name) : ["question"];
}

function curl(url: string, statusUrl: string, payload: string): Snippet {
  return {
    id: "curl",
    label: "curl",
    text: "Triggers the agent, then asks for its answer until there is one; what the server refuses is printed. Runs as it is in sh, bash and zsh.",
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

/** What the keys of a script are for. */
const OWN_KEY = "The key is your own id of what happened: within 24 hours, the same key starts nothing twice.";

function python(url: string, statusUrl: string, payload: string): Snippet {
  return {
    id: "python",
    label: "Python",
    text: `Needs the package requests. ${OWN_KEY}`,
    code: `import time

import requests

WEBHOOK = ${JSON.stringify(url)}
STATUS = ${JSON.stringify(statusUrl)}

order_id = 7  # yours: another for each task, the same to repeat a call
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
    text: `For Node 18 and later, Deno, Bun and browsers: a webhook may be called from any origin. Whoever can read the page can read the URL. ${OWN_KEY}`,
    code: `const webhook = ${JSON.stringify(url)};
const statusUrl = ${JSON.stringify(statusUrl)};
const orderId = 7; // yours: another for each task, the same to repeat a call

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
    text: "The fields become the payload, each a text. The visitor sees the task's id as JSON; whoever reads the page's source can read the URL.",
    code: `<form method="post" action="${url}">
${inputs.join("")}  <button>Send</button>
</form>
`,
  };
}

function github(url: string): Snippet {
  return fromAfar("github", "GitHub", "In the repository: Settings, Webhooks, Add webhook. GitHub's event arrives as the payload.", [
    ["Payload URL", url],
    ["Content type", "application/json"],
    ["Secret", "leave empty: the URL is the secret"],
    ["SSL verification", "Enable SSL verification"],
    ["Which events", "only those the agent is for, such as Issues"],
  ]);
}

function zapier(url: string, payload: string): Snippet {
  return fromAfar("zapier", "Zapier", "Add the action “Webhooks by Zapier”, event “Custom Request”.", [
    ["Method", "POST"],
    ["URL", url],
    ["Data Pass-Through?", "False"],
    ["Data", payload],
    ["Unflatten", "Yes"],
    ["Headers", "Content-Type | application/json"],
  ]);
}

function make(url: string, payload: string): Snippet {
  return fromAfar("make", "Make", "Add the module “HTTP: Make a request”.", [
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
    text: "Every weekday at 7:00. The day is the key, so a repeat on the same day starts nothing twice; in a crontab % is written \\%.",
    code: `0 7 * * 1-5 curl -sS --fail --retry 5 -H 'Content-Type: application/json' -H "Idempotency-Key: daily-$(date +\\%F)" -d '${payload}' ${shell(url)}
`,
  };
}

function settings(id: string, label: string, text: string, pairs: [string, string][]): Snippet {
  return { id, label, text, settings: pairs, code: pairs.map(([name, value]) => `${name}: ${value}`).join("\n") };
}

function fromAfar(id: string, label: string, text: string, pairs: [string, string][]): Snippet {
  return { ...settings(id, label, text, pairs), fromAfar: true };
}

/** One word for a shell, whatever is in it. */
function shell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
