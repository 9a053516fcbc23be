// Ways to call a webhook, ready to be pasted. Nothing in them needs to be filled in
// but the payload.

export interface Snippet {
  id: string;
  label: string;
  /** What to do with it. */
  text: string;
  code: string;
  /** Settings to be typed into somebody else's form, rather than code. */
  settings?: [name: string, value: string][];
}

const PAYLOAD = `{"question": "Where is order 7?"}`;

export function snippetsFor(webhookUrl: string): Snippet[] {
  const statusUrl = `${new URL(webhookUrl).origin}/api/task_status`;
  return [
    curl(webhookUrl, statusUrl),
    python(webhookUrl, statusUrl),
    javascript(webhookUrl, statusUrl),
    form(webhookUrl),
    github(webhookUrl),
    zapier(webhookUrl),
    make(webhookUrl),
    n8n(webhookUrl),
    cron(webhookUrl),
  ];
}

function curl(url: string, statusUrl: string): Snippet {
  return {
    id: "curl",
    label: "curl",
    text: "Triggers the agent, then asks for its answer until there is one. Runs as it is in sh, bash and zsh.",
    code: `WEBHOOK=${shell(url)}

TASK=$(curl -sS --fail-with-body "$WEBHOOK" \\
  -H 'Content-Type: application/json' \\
  -d '${PAYLOAD}' \\
  | sed 's/.*"task_id":"\\([^"]*\\)".*/\\1/')

while ANSWER=$(curl -sS "${statusUrl}?task_id=$TASK")
  printf '%s' "$ANSWER" | grep -Eq '^{"status":"(PENDING|STARTED)"'
do sleep 1; done
printf '%s\\n' "$ANSWER"
`,
  };
}

function python(url: string, statusUrl: string): Snippet {
  return {
    id: "python",
    label: "Python",
    text: "Needs the package requests. The key makes a repeated call safe: it starts nothing twice.",
    code: `import time
import uuid

import requests

WEBHOOK = ${JSON.stringify(url)}
STATUS = ${JSON.stringify(statusUrl)}

payload = ${PAYLOAD}
triggered = requests.post(
    WEBHOOK,
    json=payload,
    headers={"Idempotency-Key": str(uuid.uuid4())},
    timeout=30,
)
triggered.raise_for_status()
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

function javascript(url: string, statusUrl: string): Snippet {
  return {
    id: "javascript",
    label: "JavaScript",
    text: "For Node 18 and later, Deno, Bun and browsers: a webhook may be called from any origin. Whoever can read the page can read the URL.",
    code: `const webhook = ${JSON.stringify(url)};
const statusUrl = ${JSON.stringify(statusUrl)};

const triggered = await fetch(webhook, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    "Idempotency-Key": crypto.randomUUID(),
  },
  body: JSON.stringify(${PAYLOAD}),
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

function form(url: string): Snippet {
  return {
    id: "form",
    label: "HTML form",
    text: "The fields become the payload, each a text. The visitor sees the task's id as JSON; whoever reads the page's source can read the URL.",
    code: `<form method="post" action="${url}">
  <label>Your question <input name="question" required></label>
  <button>Send</button>
</form>
`,
  };
}

function github(url: string): Snippet {
  return settings("github", "GitHub", "In the repository: Settings, Webhooks, Add webhook. GitHub's event arrives as the payload.", [
    ["Payload URL", url],
    ["Content type", "application/json"],
    ["Secret", "leave empty: the URL is the secret"],
    ["SSL verification", "Enable SSL verification"],
    ["Which events", "only those the agent is for, such as Issues"],
  ]);
}

function zapier(url: string): Snippet {
  return settings("zapier", "Zapier", "Add the action “Webhooks by Zapier”, event “Custom Request”.", [
    ["Method", "POST"],
    ["URL", url],
    ["Data Pass-Through?", "False"],
    ["Data", PAYLOAD],
    ["Unflatten", "Yes"],
    ["Headers", "Content-Type | application/json"],
  ]);
}

function make(url: string): Snippet {
  return settings("make", "Make", "Add the module “HTTP: Make a request”.", [
    ["URL", url],
    ["Method", "POST"],
    ["Body type", "Raw"],
    ["Content type", "JSON (application/json)"],
    ["Request content", PAYLOAD],
    ["Parse response", "Yes: the task's id is task_id"],
  ]);
}

function n8n(url: string): Snippet {
  return settings("n8n", "n8n", "Add the node “HTTP Request”.", [
    ["Method", "POST"],
    ["URL", url],
    ["Authentication", "None"],
    ["Send Body", "on"],
    ["Body Content Type", "JSON"],
    ["Specify Body", "Using JSON"],
    ["JSON", PAYLOAD],
  ]);
}

function cron(url: string): Snippet {
  return {
    id: "cron",
    label: "cron",
    text: "Every weekday at 7:00. The day is the key, so a repeat on the same day starts nothing twice; in a crontab % is written \\%.",
    code: `0 7 * * 1-5 curl -sS --fail --retry 5 -H 'Content-Type: application/json' -H "Idempotency-Key: daily-$(date +\\%F)" -d '${PAYLOAD}' ${shell(url)}
`,
  };
}

function settings(id: string, label: string, text: string, pairs: [string, string][]): Snippet {
  return { id, label, text, settings: pairs, code: pairs.map(([name, value]) => `${name}: ${value}`).join("\n") };
}

/** One word for a shell, whatever is in it. */
function shell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
