// Tasks in rows, newest first; on a phone as cards.
import type { VNode } from "preact";

import { formatCompact, formatCount, formatDuration } from "../format.ts";
import { useNow } from "../hooks.ts";
import { useLoad } from "../load.ts";
import { agentName } from "../task/agents.ts";
import { useTasksChanged } from "../task/changes.ts";
import { hasUnfinished, readTasks } from "../task/pages.ts";
import { usePolling } from "../task/polling.ts";
import { StatusBadge } from "../task/status.tsx";
import { errorWords } from "../task-words.ts";
import type { Agent, TaskSummary } from "../types.ts";
import { type Column, ErrorNote, Table, TableSkeleton, Time } from "../ui/index.ts";

const ACTIVE_MS = 3000;
const IDLE_MS = 15_000;

/** The latest tasks, of one agent if `agentId` is given. Reloaded regularly. */
export function TaskTable({ agentId = "", limit = 10 }: { agentId?: string; limit?: number }): VNode {
  const filter = { agent_id: agentId, status: "", cursor: "", limit };
  const page = useLoad(`tasks of ${agentId}`, (signal) => readTasks(filter, signal));
  usePolling(hasUnfinished(page.data) ? ACTIVE_MS : IDLE_MS, page.reload);
  useTasksChanged(page.reload);
  if (page.data === undefined) return page.error ? <ErrorNote error={page.error} /> : <TableSkeleton rows={3} />;
  if (page.data.tasks.length === 0) return <p class="hint">No tasks yet. A call to the webhook URL creates one.</p>;
  return <TaskRows tasks={page.data.tasks} caption="Latest tasks" />;
}

/** `agents` adds a column with the agent's name. */
export function TaskRows({ tasks, agents, caption }: { tasks: TaskSummary[]; agents?: Agent[] | undefined | "unknown"; caption: string }): VNode {
  const columns = agents === undefined ? COLUMNS : COLUMNS.toSpliced(2, 0, agentColumn(agents === "unknown" ? undefined : agents));
  return <div class="task-table"><Table caption={caption} columns={columns} rows={tasks} rowKey={(task) => task.task_id} /></div>;
}

const COLUMNS: Column<TaskSummary>[] = [
  { id: "status", label: "Status", cell: (task) => <StatusBadge status={task.status} /> },
  { id: "task", label: "Task", cell: (task) => <TaskLink task={task} /> },
  { id: "created", label: "Created", cell: (task) => <Time at={task.created_at} /> },
  { id: "wait", label: "Wait", numeric: true, cell: (task) => <Elapsed ms={task.wait_ms} since={task.status === "PENDING" && !task.started_at ? task.created_at : null} /> },
  { id: "run", label: "Run", numeric: true, cell: (task) => <Elapsed ms={task.run_ms} since={task.finished_at ? null : task.started_at} /> },
  { id: "attempt", label: "Attempts", numeric: true, cell: (task) => task.attempt > 0 ? formatCount(task.attempt) : <None /> },
  { id: "tokens", label: "Tokens", numeric: true, cell: (task) => <Tokens task={task} /> },
  { id: "error", label: "Error", cell: (task) => <ErrorCell task={task} /> },
];

function agentColumn(agents: Agent[] | undefined): Column<TaskSummary> {
  return {
    id: "agent",
    label: "Agent",
    cell: (task) => <AgentLink id={task.agent_id} name={agentName(agents, task.agent_id)} />,
  };
}

/** The column may truncate the name, so the tooltip shows the full name. */
function AgentLink({ id, name }: { id: string; name: string }): VNode {
  return <a class="row-other agent-name" href={`/console/agents/${id}`} title={name}>{name}</a>;
}

/** Shows the end of the id, because ids of the same time have the same beginning. Screen
 * readers get the end and the full id. */
function TaskLink({ task }: { task: TaskSummary }): VNode {
  const end = `…${task.task_id.slice(-8)}`;
  return (
    <a class="row-link mono" href={`/console/tasks/${task.task_id}`} aria-label={`${end}, Task ${task.task_id}`} title={task.task_id}>
      {end}
    </a>
  );
}

function Elapsed({ ms, since }: { ms: number | null; since: string | null }): VNode {
  if (ms !== null) return <>{formatDuration(ms)}</>;
  return since === null ? <None /> : <Growing since={since} />;
}

function Growing({ since }: { since: string }): VNode {
  const now = useNow(1000);
  return <span class="growing" title="so far">{formatDuration(Math.max(now - Date.parse(since), 0))} …</span>;
}

function Tokens({ task }: { task: TaskSummary }): VNode {
  if (!task.usage) return <None />;
  const { input_tokens: input, output_tokens: output } = task.usage;
  return <span title={`${formatCount(input)} in, ${formatCount(output)} out`}>{formatCompact(input + output)}</span>;
}

function ErrorCell({ task }: { task: TaskSummary }): VNode {
  if (!task.error) return <span class="unseen">none</span>;
  return <span class="row-error" title={task.error.message}>{errorWords(task.error.type).title}</span>;
}

function None(): VNode {
  return <span class="none"><span aria-hidden="true">–</span><span class="unseen">none</span></span>;
}
