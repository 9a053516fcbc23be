// All tasks, filtered by agent and status, one page at a time.
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { useLoad } from "../load.ts";
import { navigate, useLocation } from "../router.ts";
import { agentName, useAgents } from "../task/agents.ts";
import { hasUnfinished, queryOf, readTasks, type TaskFilter, tasksHref } from "../task/pages.ts";
import { usePolling } from "../task/polling.ts";
import { Announcement } from "../task/status.tsx";
import { STATUS_NAMES, STATUSES } from "../task-words.ts";
import { plural } from "../format.ts";
import type { Agent, TaskPage, TaskStatus } from "../types.ts";
import { Button, EmptyState, ErrorNote, ErrorState, LinkButton, Page, SelectField, TableSkeleton, Time } from "../ui/index.ts";
import { TaskRows } from "./task-table.tsx";

const LIMIT = 25;

export function TasksPage(): VNode {
  const filter = useFilter();
  const agents = useAgents();
  const page = useLoad(`tasks ${queryOf(filter)}`, (signal) => readTasks(filter, signal));
  usePolling(pollInterval(filter, page.data), page.reload);
  return (
    <Page title="Tasks" actions={<Refresh loading={page.loading} reload={page.reload} />}>
      <Filters filter={filter} agents={agents} />
      <Announcement text={page.data ? pageSummary(page.data) : ""} />
      <div class="card task-list">
        {page.error && page.data && <ErrorNote error={page.error} />}
        {page.error && !page.data && <ErrorState error={page.error} retry={page.reload} />}
        {!page.error && !page.data && <TableSkeleton rows={10} />}
        {page.data && <Shown page={page.data} filter={filter} agents={agents} />}
      </div>
    </Page>
  );
}

/** Busy only after a press, not while the page reloads by itself. */
function Refresh({ loading, reload }: { loading: boolean; reload: () => void }): VNode {
  const [pressed, setPressed] = useState(false);
  useEffect(() => { if (!loading) setPressed(false); }, [loading]);
  const press = (): void => { setPressed(true); reload(); };
  return <Button icon="rotate" busy={pressed && loading} onClick={press}>Refresh</Button>;
}

function useFilter(): TaskFilter {
  const { query } = useLocation();
  const param = (name: string): string => query.get(name) ?? "";
  const status = STATUSES.find((status) => status === param("status")) ?? "";
  return { agent_id: param("agent_id"), status, cursor: param("cursor"), limit: LIMIT };
}

/** The polling interval in milliseconds: short while a task is unfinished, `null` on older
 * pages, which do not change. A status filter is polled less often: it reads more tasks. */
function pollInterval(filter: TaskFilter, page: TaskPage | undefined): number | null {
  if (hasUnfinished(page)) return filter.status ? 6000 : 3000;
  if (filter.cursor) return null;
  return filter.status ? 30_000 : 15_000;
}

/** Announced by screen readers when it changes. */
function pageSummary(page: TaskPage): string {
  const count = (status: TaskStatus): number => page.tasks.filter((task) => task.status === status).length;
  const parts = STATUSES.filter((status) => count(status) > 0).map((status) => `${count(status)} ${STATUS_NAMES[status].toLowerCase()}`);
  return `${plural(page.tasks.length, "task")}${parts.length > 0 ? `: ${parts.join(", ")}` : ""}`;
}

function Filters({ filter, agents }: { filter: TaskFilter; agents: Agent[] | undefined }): VNode {
  const choose = (change: Partial<TaskFilter>): void => void navigate(tasksHref({ agent_id: filter.agent_id, status: filter.status, ...change }), { replace: true });
  const named = agents?.some((agent) => agent.agent_id === filter.agent_id) || filter.agent_id === "";
  const choices = [
    { value: "", label: "All agents" },
    ...(named ? [] : [{ value: filter.agent_id, label: agentName(agents, filter.agent_id) }]),
    ...(agents ?? []).map((agent) => ({ value: agent.agent_id, label: agent.name })),
  ];
  const statuses = [{ value: "", label: "Any status" }, ...STATUSES.map((status) => ({ value: status, label: STATUS_NAMES[status] }))];
  return (
    <form class="filters" role="search" aria-label="Filter tasks" onSubmit={(event) => event.preventDefault()}>
      <SelectField label="Agent" value={filter.agent_id} choices={choices} onValue={(agent_id) => choose({ agent_id })} />
      <SelectField label="Status" value={filter.status} choices={statuses} onValue={(status) => choose({ status })} />
    </form>
  );
}

function Shown({ page, filter, agents }: { page: TaskPage; filter: TaskFilter; agents: Agent[] | undefined }): VNode {
  if (page.tasks.length === 0) return <Nothing page={page} filter={filter} />;
  return (
    <>
      <TaskRows tasks={page.tasks} agents={agents ?? "unknown"} caption="Tasks, newest first" />
      <Steps page={page} filter={filter} />
    </>
  );
}

function Nothing({ page, filter }: { page: TaskPage; filter: TaskFilter }): VNode {
  if (page.next_cursor !== null) {
    return (
      <EmptyState icon="search" title="No matching tasks so far" actions={<LinkButton href={older(page, filter)}>Search older tasks</LinkButton>}>
        No tasks match the filter{page.looked_back_to && <> since <Time at={page.looked_back_to} absolute /></>}. Older tasks have not been searched yet.
      </EmptyState>
    );
  }
  if (filter.cursor) {
    return <EmptyState icon="tasks" title="No older tasks" actions={<LinkButton href={newest(filter)}>Newest tasks</LinkButton>}>All stored tasks have been listed.</EmptyState>;
  }
  if (filter.status || filter.agent_id) {
    return <EmptyState icon="search" title="No tasks match the filter" actions={<LinkButton href="/console/tasks">Show all tasks</LinkButton>}>A task is stored for one day after its end, unless this deployment is configured otherwise.</EmptyState>;
  }
  return (
    <EmptyState icon="tasks" title="No tasks yet" actions={<LinkButton href="/console/agents" kind="primary">Choose an agent</LinkButton>}>
      Every call to an agent's webhook URL creates a task. Choose an agent and press “Try it”, or use its URL in another system.
    </EmptyState>
  );
}

function Steps({ page, filter }: { page: TaskPage; filter: TaskFilter }): VNode | null {
  const short = page.tasks.length < filter.limit && page.next_cursor !== null;
  if (!filter.cursor && page.next_cursor === null) return null;
  return (
    <nav class="page-steps" aria-label="Pages of tasks">
      {short && page.looked_back_to && <span class="hint">Searched back to <Time at={page.looked_back_to} absolute />.</span>}
      {filter.cursor && <LinkButton href={newest(filter)} small>Newest</LinkButton>}
      {page.next_cursor !== null && <LinkButton href={older(page, filter)} small>{short ? "Search older tasks" : "Older"}</LinkButton>}
    </nav>
  );
}

function newest({ agent_id, status }: TaskFilter): string {
  return tasksHref({ agent_id, status });
}

function older(page: TaskPage, { agent_id, status }: TaskFilter): string {
  return tasksHref({ agent_id, status, cursor: page.next_cursor ?? "" });
}
