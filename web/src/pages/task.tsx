// One task: its status, its result and its payload.
import type { ComponentChildren, VNode } from "preact";

import { formatBytes, formatCount, formatDollars, formatDuration, plural } from "../format.ts";
import { useNow } from "../hooks.ts";
import { type JsonNode, prettyJson } from "../render/json-text.ts";
import { navigate } from "../router.ts";
import { storePayload } from "../task/again.ts";
import { agentName, useAgents } from "../task/agents.ts";
import { AnswerText } from "../task/lazy-answer.tsx";
import { Failure } from "../task/failure.tsx";
import { Payload } from "../task/payload.tsx";
import { Announcement, StatusBadge } from "../task/status.tsx";
import { callsInWords, ToolCalls } from "../task/tool-calls.tsx";
import { Timeline } from "../task/timeline.tsx";
import { isGone, useTask, type WholeTask } from "../task/use-task.ts";
import { hasEnded, STATUS_SENTENCES, progressText } from "../task-words.ts";
import type { Answer, Price, Task, ToolCall, Usage } from "../types.ts";
import { Button, Copyable, EmptyState, ErrorNote, ErrorState, LinkButton, Note, Page, Section, Skeleton, Time } from "../ui/index.ts";

const HOUR_MS = 3_600_000;
const PARENT = { href: "/console/tasks", label: "Tasks" };

export function TaskPage({ id }: { id: string }): VNode {
  const whole = useTask(id);
  const title = `Task …${id.slice(-8)}`;
  if (whole.data) return <Known whole={whole.data} error={whole.error} title={title} />;
  return (
    <Page title={title} parent={PARENT}>
      <div class="card">
        {isGone(whole.error) && <Gone />}
        {whole.error && !isGone(whole.error) && <ErrorState error={whole.error} retry={whole.reload} />}
        {!whole.error && <Skeleton lines={8} />}
      </div>
    </Page>
  );
}

function Gone(): VNode {
  return (
    <EmptyState icon="tasks" title="Task not found" actions={<LinkButton href="/console/tasks">All tasks</LinkButton>}>
      The id is wrong, or the task has expired. A task is stored for one day after its end, unless this deployment is configured otherwise.
    </EmptyState>
  );
}

function Known({ whole, error, title }: { whole: WholeTask; error: Parameters<typeof ErrorNote>[0]["error"] | undefined; title: string }): VNode {
  const { task, payload, toolCalls } = whole;
  const answer = answerOf(task);
  const calls = answer?.tool_calls ?? task.error?.tool_calls ?? [];
  return (
    <Page title={title} parent={PARENT} badge={<StatusBadge status={task.status} />} lead={<>Created <Time at={task.created_at} /></>}>
      <Announcement text={STATUS_SENTENCES[task.status]} />
      {error && <ErrorNote error={error} />}
      <div class="task-columns">
        <div class="task-main">
          <Outcome task={task} answer={answer} />
          {calls.length > 0 && <ToolSection calls={calls} written={toolCalls} />}
          {answer && answer.sources.length > 0 && <Sources sources={answer.sources} />}
          {answer?.thought && <Thought text={answer.thought} />}
          <Section title="Payload" hint="The input of the webhook call." actions={payload && <Again agentId={task.agent_id} payload={payload} />}>
            {payload ? <Payload payload={payload} bytes={task.payload_bytes} /> : <Omitted bytes={task.payload_bytes} />}
          </Section>
        </div>
        <div class="task-side">
          <Facts task={task} />
          <TimelineSection task={task} />
        </div>
      </div>
    </Page>
  );
}

/** Opens the agent's page with this payload in "Try it". */
function Again({ agentId, payload }: { agentId: string; payload: JsonNode }): VNode {
  const take = (): void => {
    storePayload(agentId, prettyJson(payload));
    void navigate(`/console/agents/${agentId}`);
  };
  return <Button small onClick={take}>Send it again</Button>;
}

function answerOf(task: Task): Answer | null {
  return typeof task.result === "object" && task.result !== null ? task.result.result : null;
}

function Outcome({ task, answer }: { task: Task; answer: Answer | null }): VNode {
  if (answer) return <Section title="Answer"><AnswerText answer={answer.answer} /></Section>;
  if (task.error) return <Section title="Why it failed"><Failure error={task.error} agentId={task.agent_id} /></Section>;
  return (
    <Section title="Answer">
      <p class="under-way"><span class="spinner" aria-hidden="true" /> {progressText(task)}</p>
    </Section>
  );
}

function ToolSection({ calls, written }: { calls: ToolCall[]; written: WholeTask["toolCalls"] }): VNode {
  return <Section title="Tool calls" hint={callsInWords(calls)}><ToolCalls calls={calls} written={written} /></Section>;
}

function Sources({ sources }: { sources: Answer["sources"] }): VNode {
  return (
    <Section title="Sources" hint={`${plural(sources.length, "passage")} that the answer is based on.`}>
      <ol class="sources">
        {sources.map((source, index) => (
          <li key={index}>
            <details>
              <summary>
                <strong>{source.title}</strong>
                {source.source && source.source !== source.title && <span class="hint">{source.source}</span>}
              </summary>
              <p class="source-text">{source.text}</p>
            </details>
          </li>
        ))}
      </ol>
    </Section>
  );
}

function Thought({ text }: { text: string }): VNode {
  return (
    <Section title="Thought">
      <details class="thought">
        <summary>The model's reasoning, {plural(text.length, "character")}</summary>
        <p class="source-text">{text}</p>
      </details>
    </Section>
  );
}

function Omitted({ bytes }: { bytes: number }): VNode {
  return <Note>The payload has {formatBytes(bytes)}. It is not shown because it does not fit into one response together with the result.</Note>;
}

function TimelineSection({ task }: { task: Task }): VNode {
  const now = useNow(hasEnded(task.status) ? HOUR_MS : 1000);
  return <Section title="Timeline"><Timeline task={task} now={now} /></Section>;
}

function Facts({ task }: { task: Task }): VNode {
  const agents = useAgents();
  return (
    <Section title="Details">
      <dl class="facts">
        <Fact name="Agent"><a href={`/console/agents/${task.agent_id}`}>{agentName(agents, task.agent_id)}</a></Fact>
        {task.wait_ms !== null && <Fact name="Queue wait">{formatDuration(task.wait_ms)}</Fact>}
        {task.run_ms !== null && <Fact name="Run time">{formatDuration(task.run_ms)}</Fact>}
        {task.attempt > 0 && <Fact name="Attempts">{formatCount(task.attempt)}</Fact>}
        {task.usage && <UsageFacts usage={task.usage} price={agents?.find((agent) => agent.agent_id === task.agent_id)?.model?.price} />}
        {hasEnded(task.status) && <Fact name="Expires"><Time at={task.expires_at} ahead /></Fact>}
      </dl>
      <div class="ids">
        <Id label="Task id" text={task.task_id} />
        <Id label="Agent id" text={task.agent_id} />
      </div>
    </Section>
  );
}

function UsageFacts({ usage, price }: { usage: Usage; price: Price | null | undefined }): VNode {
  const dollars = price ? (usage.input_tokens * price.input + usage.output_tokens * price.output) / 1_000_000 : undefined;
  return (
    <>
      <Fact name="Model"><span class="mono">{usage.model}</span></Fact>
      <Fact name="Turns">{formatCount(usage.turns)}</Fact>
      <Fact name="Tokens">{formatCount(usage.input_tokens)} in, {formatCount(usage.output_tokens)} out</Fact>
      {dollars !== undefined && <Fact name="Cost at the current price">{formatDollars(dollars)}</Fact>}
    </>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }): VNode {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

function Id({ label, text }: { label: string; text: string }): VNode {
  return <div><p class="hint">{label}</p><Copyable text={text} what={label.toLowerCase()} label={label} /></div>;
}
