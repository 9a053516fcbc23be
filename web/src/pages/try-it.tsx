// Calls an agent's webhook like any other caller, and follows the task to its end.
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { type ApiError, asApiError } from "../api.ts";
import { formatDuration } from "../format.ts";
import { useNow } from "../hooks.ts";
import { parseJson, prettyJson } from "../render/json-text.ts";
import { takePayload } from "../task/again.ts";
import { notifyTasksChanged } from "../task/changes.ts";
import { AnswerText } from "../task/lazy-answer.tsx";
import { Failure } from "../task/failure.tsx";
import { Announcement, StatusBadge } from "../task/status.tsx";
import { ViewSwitch } from "../task/switch.tsx";
import { useStatus } from "../task/use-task.ts";
import { hasEnded, STATUS_SENTENCES, progressText } from "../task-words.ts";
import { type Draft, newKey, type Pair, problems, samplePayload, send, type WebhookResponse, webhookPath } from "../trigger.ts";
import type { Agent, TaskState } from "../types.ts";
import { Button, CopyButton, ErrorNote, Field, Section, Skeleton, TextArea } from "../ui/index.ts";

const METHODS = [["POST", "POST, JSON"], ["GET", "GET, query"]] as const;

export function TryIt({ agent }: { agent: Agent }): VNode {
  const [again] = useState(() => takePayload(agent.agent_id));
  const [draft, setDraft] = useState<Draft>(() => ({ method: "POST", key: "", body: again ?? samplePayload(agent.prompt), pairs: [["question", ""]] }));
  const part = useRef<HTMLDivElement>(null);
  useEffect(() => { if (again !== undefined) part.current?.querySelector("textarea")?.focus(); }, []);
  const [sending, setSending] = useState(false);
  const [answer, setAnswer] = useState<WebhookResponse>();
  const [error, setError] = useState<ApiError>();
  const change = (part: Partial<Draft>): void => {
    const next = { ...draft, ...part };
    setDraft(next);
    if (next.method === draft.method && problems(next).body === undefined) return;
    setAnswer(undefined);
    setError(undefined);
  };
  const wrong = problems(draft);
  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    if (sending || wrong.body || wrong.key) return;
    setSending(true);
    setError(undefined);
    try {
      setAnswer(await send(agent, draft));
      notifyTasksChanged();
    } catch (problem) {
      setError(asApiError(problem));
    }
    setSending(false);
  }
  return (
    <Section title="Try it" id="try-it" hint="Calls the webhook like any other caller, and follows the task to its end.">
      <div class="try-it" ref={part}>
        <form class="fields" onSubmit={submit} noValidate>
          <ViewSwitch label="Method" views={METHODS} view={draft.method} onView={(method) => change({ method })} />
          {draft.method === "POST"
            ? <Body body={draft.body} error={wrong.body} onBody={(body) => change({ body })} />
            : <Pairs pairs={draft.pairs} url={agent.webhook_url} onPairs={(pairs) => change({ pairs })} />}
          <Key value={draft.key} error={wrong.key} onKey={(key) => change({ key })} />
          <div><Button kind="primary" type="submit" busy={sending}>Send</Button></div>
        </form>
        {error && <ErrorNote error={error} />}
        {answer && <WebhookResult answer={answer} agent={agent} />}
      </div>
    </Section>
  );
}

function Body({ body, error, onBody }: { body: string; error: string | undefined; onBody: (body: string) => void }): VNode {
  const format = <button type="button" class="link-button" disabled={error !== undefined} onClick={() => onBody(prettyJson(parseJson(body)))}>Format</button>;
  return (
    <TextArea label="Payload" aside={format} class="mono" rows={8} spellcheck={false} value={body} onValue={onBody} error={error}
      hint="Any JSON value except null. It is sent unchanged: the digits of numbers and the order of names are preserved." />
  );
}

function Pairs({ pairs, url, onPairs }: { pairs: readonly Pair[]; url: string; onPairs: (pairs: Pair[]) => void }): VNode {
  const replace = (at: number, pair: Pair): void => onPairs(pairs.map((old, index) => (index === at ? pair : old)));
  return (
    <fieldset class="pairs">
      <legend>Query</legend>
      {pairs.map(([name, value], index) => (
        <div class="pair" key={index}>
          <input class="mono" aria-label={`Name ${index + 1}`} placeholder="name" value={name} onInput={(event) => replace(index, [event.currentTarget.value, value])} />
          <input class="mono" aria-label={`Value ${index + 1}`} placeholder="value" value={value} onInput={(event) => replace(index, [name, event.currentTarget.value])} />
          <Button kind="quiet" icon="trash" aria-label={`Remove ${name || `row ${index + 1}`}`} onClick={() => onPairs(pairs.filter((_, at) => at !== index))} />
        </div>
      ))}
      <div><Button small icon="plus" onClick={() => onPairs([...pairs, ["", ""]])}>Add a row</Button></div>
      <p class="hint">Values are sent as strings. A repeated name becomes an array. <code class="pairs-url">GET {shorten(webhookPath(url, pairs))}</code></p>
    </fieldset>
  );
}

/** A webhook's path without most of its secret token. */
function shorten(path: string): string {
  return path.replace(/\/([^/?]{4})[^/?]{8,}(?=\?|$)/, "/$1…");
}

function Key({ value, error, onKey }: { value: string; error: string | undefined; onKey: (key: string) => void }): VNode {
  const hint = "Without a key, each call creates a new task. With a key, the first call creates the task. For 24 hours, further calls with the same key return that task and start no new run, whatever their payload is.";
  return (
    <Field label="Idempotency-Key" optional hint={hint} error={error}>
      {(wiring) => (
        <div class="with-button">
          <input type="text" class="mono" autocomplete="off" spellcheck={false} {...wiring} value={value} onInput={(event) => onKey(event.currentTarget.value)} />
          <Button icon="rotate" onClick={() => onKey(newKey())}>New key</Button>
        </div>
      )}
    </Field>
  );
}

function WebhookResult({ answer, agent: { agent_id: agentId, enabled } }: { answer: WebhookResponse; agent: Agent }): VNode {
  const accepted = answer.taskId !== null;
  return (
    <div class="came">
      <div class={`http-answer ${accepted ? "good" : "bad"}`} role="status">
        <p>
          <strong>{answer.status}</strong> in {formatDuration(answer.ms)}.{" "}
          {accepted && (answer.replayed ? "This key was used before. The existing task is returned, without a new run." : "A new task.")}
          {answer.status === 404 && !enabled && <>The agent is disabled: enable it in <a href={`/console/agents/${agentId}/definition`}>its definition</a>.</>}
        </p>
        <pre class="raw-text" tabIndex={0} role="region" aria-label="Webhook response">
          {answer.replayed && "Idempotent-Replayed: true\n\n"}{answer.text}
        </pre>
      </div>
      {answer.taskId !== null && <Followed key={answer.taskId} id={answer.taskId} agentId={agentId} />}
    </div>
  );
}

function Followed({ id, agentId }: { id: string; agentId: string }): VNode {
  const state = useStatus(id);
  const status = state.data?.status;
  useEffect(() => { if (status !== undefined) notifyTasksChanged(); }, [status]);
  return (
    <div class="followed">
      <div class="followed-head">
        <h3>Task</h3>
        {state.data && <StatusBadge status={state.data.status} />}
        {state.data && <Length state={state.data} />}
        <span class="followed-links">
          <CopyButton text={id} what="task id" label="Copy task id" />
          <a href={`/console/tasks/${id}`}>Open the task</a>
        </span>
      </div>
      <Announcement text={state.data ? STATUS_SENTENCES[state.data.status] : ""} />
      {state.error && <ErrorNote error={state.error} />}
      {state.data ? <Result state={state.data} agentId={agentId} /> : !state.error && <Skeleton lines={2} />}
    </div>
  );
}

function Result({ state, agentId }: { state: TaskState; agentId: string }): VNode {
  if (state.error) return <Failure error={state.error} agentId={agentId} />;
  if (typeof state.result === "object" && state.result !== null) return <AnswerText answer={state.result.result.answer} />;
  return <p class="under-way"><span class="spinner" aria-hidden="true" /> {progressText(state)}</p>;
}

/** The time from the trigger to the end, or until now. */
function Length({ state }: { state: TaskState }): VNode {
  const now = useNow(1000);
  const end = hasEnded(state.status) && state.finished_at ? Date.parse(state.finished_at) : now;
  return <span class="hint">{formatDuration(Math.max(end - Date.parse(state.created_at), 0))}</span>;
}
