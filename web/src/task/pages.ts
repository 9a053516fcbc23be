// Reading the list of tasks.
import { api } from "../api.ts";
import { hasEnded } from "../task-words.ts";
import type { TaskPage } from "../types.ts";

export interface TaskFilter {
  agent_id: string;
  status: string;
  cursor: string;
  limit: number;
}

/** A page of the server's looks at a bounded number of tasks. With a filter it may
 * be short, so as many are read as fill one, up to this many. */
const PAGES_PER_PAGE = 4;

/** Reads the page that `filter` names. */
export async function readTasks(filter: TaskFilter, signal: AbortSignal, read = readOne): Promise<TaskPage> {
  let page = await read(filter, signal);
  for (let round = 1; round < PAGES_PER_PAGE && page.next_cursor !== null && page.tasks.length < filter.limit; round += 1) {
    const next = await read({ ...filter, cursor: page.next_cursor, limit: filter.limit - page.tasks.length }, signal);
    page = { ...next, tasks: [...page.tasks, ...next.tasks] };
  }
  return page;
}

function readOne(filter: TaskFilter, signal: AbortSignal): Promise<TaskPage> {
  return api.get<TaskPage>(`/api/tasks?${queryOf(filter)}`, signal);
}

/** The filter as a query, without what is not set. */
export function queryOf(filter: Partial<TaskFilter>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) if (value) query.set(name, String(value));
  return query.toString();
}

/** The console's own address of a filtered list. */
export function tasksHref(filter: Partial<TaskFilter>): string {
  const query = queryOf(filter);
  return query ? `/console/tasks?${query}` : "/console/tasks";
}

/** Whether any of these may still change. */
export function isMoving(page: TaskPage | undefined): boolean {
  return page?.tasks.some((task) => !hasEnded(task.status)) ?? false;
}
