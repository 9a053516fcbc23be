import { api } from "../api.ts";
import { useLoad } from "../load.ts";
import type { Agent, AgentsResponse } from "../types.ts";

/** All agents, for names and filters; `undefined` until they are loaded. */
export function useAgents(): Agent[] | undefined {
  return useLoad("agents", (signal) => api.get<AgentsResponse>("/api/agents", signal)).data?.agents;
}

/** The name of an agent, or the end of its id if the agent was deleted. */
export function agentName(agents: Agent[] | undefined, id: string): string {
  if (agents === undefined) return "…";
  return agents.find((agent) => agent.agent_id === id)?.name ?? `deleted (…${id.slice(-6)})`;
}
