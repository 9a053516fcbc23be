import { api } from "./api.ts";
import { type Loaded, useLoad } from "./load.ts";
import type { Document } from "./types.ts";

/** Where an agent's documents are read, and sent to. */
export function documentsPath(agentId: string): string {
  return `/api/agents/${encodeURIComponent(agentId)}/sources`;
}

/** An agent's documents, which its definition does not name; of no agent, none are read. */
export function useDocuments(agentId: string | null): Loaded<{ sources: Document[] }> {
  const path = documentsPath(agentId ?? "");
  return useLoad(agentId && path, (signal) => api.get<{ sources: Document[] }>(path, signal));
}
