import { api } from "../api.ts";
import { useLoad } from "../load.ts";
import type { Agent } from "../types.ts";

/** All agents, for names and filters; `undefined` until they are known. */
export function useAgents(): Agent[] | undefined {
  return useLoad("agents", (signal) => api.get<{ agents: Agent[] }>("/api/agents", signal)).data?.agents;
}

/** What an agent is called; of one that was deleted, the end of its id. */
export function agentName(agents: Agent[] | undefined, id: string): string {
  if (agents === undefined) return "…";
  return agents.find((agent) => agent.agent_id === id)?.name ?? `deleted (…${id.slice(-6)})`;
}
