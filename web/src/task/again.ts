// Passes the payload of a task to "Try it" on its agent's page. Stored only in memory,
// because it can contain personal data.
let stored: { agentId: string; payload: string } | undefined;

export function storePayload(agentId: string, payload: string): void {
  stored = { agentId, payload };
}

/** Returns and removes the payload stored for this agent. */
export function takePayload(agentId: string): string | undefined {
  if (stored?.agentId !== agentId) return undefined;
  const { payload } = stored;
  stored = undefined;
  return payload;
}
