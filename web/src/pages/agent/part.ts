import type { Agent } from "../../types.ts";

/** What each part of an agent's page gets. */
export interface PartProps {
  agent: Agent;
  /** Shows the agent that the server returned after a change. */
  onChanged: (agent: Agent) => void;
}
