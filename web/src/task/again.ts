// A payload on its way from a task to where its agent is tried. Kept in memory
// alone: what is in it may be nobody else's business.
let kept: { agentId: string; payload: string } | undefined;

export function keepPayload(agentId: string, payload: string): void {
  kept = { agentId, payload };
}

/** The payload kept for this agent, once. */
export function takePayload(agentId: string): string | undefined {
  if (kept?.agentId !== agentId) return undefined;
  const { payload } = kept;
  kept = undefined;
  return payload;
}
