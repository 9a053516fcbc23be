/** The tasks, newest first; of one agent if it is named. */
export function TaskTable(_: { agentId?: string }) {
  return null;
}
