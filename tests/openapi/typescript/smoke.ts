// What an owner and a caller do, by the client that openapi-typescript makes.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.d.ts";

declare const process: { argv: string[] };

const [baseUrl = "", token = ""] = process.argv.slice(2);
const owner = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
const anonymous = createClient<paths>({ baseUrl });

function check(holds: boolean, statement: string): asserts holds {
  if (!holds) throw new Error(`It does not hold that ${statement}`);
}

function given<T>(answer: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (answer.data === undefined) throw new Error(answer.error?.message);
  return answer.data;
}

async function ended(task_id: string): Promise<components["schemas"]["TaskStatus"]> {
  for (;;) {
    const answer = await anonymous.GET("/api/task_status", { params: { query: { task_id } } });
    const task = given(answer);
    if (task.status === "SUCCESS" || task.status === "FAILURE") return task;
    const seconds = Number(answer.response.headers.get("Retry-After"));
    await new Promise((later) => setTimeout(later, seconds * 100));
  }
}

const sources = [{ title: "Returns", text: "Returns are free for 30 days." }];
const agent = given(await owner.POST("/api/agents", { body: { name: "typescript", sources } }));
const id = agent.agent_id;
const webhook = { token: agent.webhook_url.split("/").at(-1) ?? "" };

const document = given(await owner.POST("/api/agents/{id}/sources", {
  params: { path: { id }, query: { source: "terms.txt" } },
  headers: { "Content-Type": "application/octet-stream" },
  body: "Terms may change.",
  bodySerializer: (text) => text,
}));
check(document.source === "terms.txt", "a document is uploaded");

const header = { "Idempotency-Key": "order-42" };
const trigger = () =>
  anonymous.POST("/api/webhooks/agents/{token}", { params: { path: webhook, header }, body: { question: "returns" } });
const first = given(await trigger());
const again = await trigger();
check(given(again).task_id === first.task_id, "one key is one task");
check(again.response.headers.get("Idempotent-Replayed") === "true", "a repeat is marked");

const task = await ended(first.task_id);
check(task.status === "SUCCESS", "the task has an answer");
check(task.result.result.answer.includes("30 days"), "the answer quotes the source");

const tasks = given(await owner.GET("/api/tasks", { params: { query: { agent_id: id, status: "SUCCESS" } } }));
check(tasks.tasks.map((listed) => listed.task_id).includes(first.task_id), "the task is listed");

const changed = given(await owner.PATCH("/api/agents/{id}", {
  params: { path: { id } },
  body: { prompt: null, limits: { max_turns: 3 } },
}));
check(changed.limits.max_turns === 3, "a limit is changed");

const rotated = given(await owner.POST("/api/agents/{id}/webhook/rotate", {
  params: { path: { id } },
  body: { overlap_seconds: 0 },
}));
check(rotated.webhook_url !== agent.webhook_url, "the URL is a new one");
check((await trigger()).error?.code === "agent_not_found", "the old URL has ended");

check((await owner.DELETE("/api/agents/{id}", { params: { path: { id } } })).response.status === 204, "it is deleted");
const gone = await owner.GET("/api/agents/{id}", { params: { path: { id } } });
check(gone.data === undefined && gone.error.code === "agent_not_found", "a 404 is a typed problem");
